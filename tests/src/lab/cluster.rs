//! The objects that the lab's agents read, and how a test knows that they have read them.
//!
//! Each publication ends with a Service of its own that nobody uses, in the file that is read last:
//! an agent that shows it has applied all that came before.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::scenario::objects::Objects;

use super::{Lab, agent::Agent, device_of, process::wait_for};

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);
const MARKER_ADDR: &str = "10.96.255.254";
const MARKER_PORT_BASE: u16 = 10_000;
/// In the order of names, the last file, and its objects the last of their kinds.
const MARKER_FILE: &str = "zzz-generation.json";
const MARKER_NAMESPACE: &str = "zzz-lab";

// === impl Lab ===

impl Lab {
    /// Adds, replaces or deletes objects, in the notation of scenarios; nothing is published yet.
    pub fn set(&mut self, lines: &str) -> Result<()> {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.objects
                .apply(line)
                .with_context(|| format!("apply {line:?}"))?;
        }
        Ok(())
    }

    /// Replaces all objects; nothing is published yet.
    pub fn set_objects(&mut self, objects: &Objects) {
        self.objects = objects.clone();
    }

    /// Adds or replaces a file in the agents' folder; nothing is published yet.
    pub fn set_file(&mut self, name: &str, text: &str) {
        self.objects.set_file(name, text.to_owned());
    }

    /// Gives a pod other labels and flags than it was made with.
    pub fn set_pod(&mut self, name: &str, words: &str) -> Result<()> {
        let line = self.pod_line(name, words)?;
        self.set(&line)
    }

    /// Writes every object and waits until the agents that run have applied them and have attached
    /// to every pod and to the uplink.
    pub fn publish(&mut self) -> Result<()> {
        self.write_manifests()?;
        self.wait_until_applied()
    }

    /// Writes every object.
    pub fn write_manifests(&mut self) -> Result<()> {
        self.generation += 1;
        let mut files = self.objects.to_files()?;
        files.insert(
            MARKER_FILE.to_owned(),
            format!("{:#}\n", marker(self.generation)),
        );
        let folder = self.manifests();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if !files.contains_key(&*entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path())?;
            }
        }
        for (name, text) in files {
            write_whole(&self.directory.join("incoming"), folder.join(name), &text)?;
        }
        Ok(())
    }

    /// Waits for what was written last.
    pub fn wait_until_applied(&mut self) -> Result<()> {
        let generation = self.generation;
        for (number, node) in (1..).zip(&self.nodes) {
            if !node.agent.is_running() {
                continue;
            }
            let what = format!("generation {generation} on n{number}");
            wait_for(&what, PUBLISH_TIMEOUT, || {
                ensure!(has_marker(&node.agent, generation)?, "it is not there");
                let status = node.agent.status()?;
                let pods = node.pods.keys().map(|pod| (device_of(pod), "pod"));
                for (device, wanted) in pods.chain([("eth0".to_owned(), "uplink")]) {
                    let endpoint = status.endpoints.iter().find(|one| one.ifname == device);
                    let state = endpoint.map(|endpoint| endpoint.state.as_str());
                    ensure!(state == Some(wanted), "{device} is {state:?}");
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The line of a pod that the lab made.
    pub(super) fn pod_line(&self, name: &str, words: &str) -> Result<String> {
        let found = self
            .nodes
            .iter()
            .enumerate()
            .find_map(|(index, node)| node.pods.get(name).map(|pod| (index + 1, pod)));
        let (node, pod) = found.with_context(|| format!("the lab has no pod {name}"))?;
        Ok(format!(
            "pod {name} {} {} on=n{node} {words}",
            pod.addr4(),
            pod.addr6()
        ))
    }
}

fn has_marker(agent: &Agent, generation: u16) -> Result<bool> {
    let address = format!("{MARKER_ADDR}:{}", MARKER_PORT_BASE + generation);
    let backends = agent
        .services()?
        .into_iter()
        .flat_map(|service| service.frontends);
    Ok(backends
        .filter(|frontend| frontend.address.to_string() == address)
        .any(|frontend| !frontend.backends.is_empty()))
}

/// A Service with one backend that does not exist.
fn marker(generation: u16) -> Value {
    let port = MARKER_PORT_BASE + generation;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": MARKER_NAMESPACE, "name": "generation" },
        "spec": { "clusterIP": MARKER_ADDR, "ports": [{ "port": port }] },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": MARKER_NAMESPACE,
            "name": "generation",
            "labels": { "kubernetes.io/service-name": "generation" },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": port }],
        "endpoints": [{ "addresses": ["198.51.100.1"] }],
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [service, slice] })
}

/// Replaces a file in one step, so that nobody reads half of it.
fn write_whole(temporary: &std::path::Path, path: PathBuf, text: &str) -> Result<()> {
    fs::write(temporary, text).with_context(|| format!("write {}", temporary.display()))?;
    fs::rename(temporary, &path).with_context(|| format!("write {}", path.display()))
}
