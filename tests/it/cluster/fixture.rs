//! One lab and one control plane for the whole suite, and what every story does with them.
//!
//! Starting both takes seconds, so they are shared and the stories take turns. Nothing has to stop
//! them: all processes are in the lab's cgroup, which the lab's reaper empties at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::daemonset;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{
    control_plane::{ControlPlane, Kubectl, Site, objects, programs},
    lab::{self, Lab, Options, Place, Running, Topology, wait_for},
    privileges,
};

/// What the agents know of, in the order in which they try them.
pub(super) const KNOWN_SERVERS: [usize; 2] = [0, 1];
/// An API server that the agents do not know of.
pub(super) const UNKNOWN_SERVER: usize = 2;

/// From a change in the API to the packets that show it.
const CONVERGE_TIMEOUT: Duration = Duration::from_secs(20);
/// From the start of the controller-manager to its first slices.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(60);
/// With two backends, one of them is not drawn at all in one of 2^23 rounds.
const DRAWS: usize = 24;
const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

pub(super) struct Cluster {
    pub(super) lab: Lab,
    pub(super) plane: ControlPlane,
}

/// A namespace of the cluster for one test, and its turn to use the cluster.
pub(super) struct Story {
    cluster: MutexGuard<'static, Option<Cluster>>,
    namespace: &'static str,
    servers: BTreeMap<String, Running>,
    /// In the lab, to be removed at the end.
    pods: Vec<String>,
}

// === impl Cluster ===

impl Cluster {
    fn start() -> Result<Self> {
        let mut lab = Lab::new(Options::new(Topology::Ptp, 2))?;
        let site = Site {
            address: lab.outside().addr4(),
            enter: lab.outside().enter_words()?,
        };
        let dir = lab.directory().join("control-plane");
        let plane = ControlPlane::start(&dir, site, UNKNOWN_SERVER + 1)?;
        let kubectl = plane.kubectl();
        // The agents get the rights that the DaemonSet has, and no others.
        kubectl.apply(include_str!("../../../manifests/base/rbac.yaml"))?;
        let kubeconfig = plane.kubeconfig_of_account("kube-system", "switchboard")?;
        for node in 1..=2 {
            let name = lab::node_name(node);
            let host = lab.host(node);
            kubectl.apply(&objects::node(&name).to_string())?;
            let status = objects::node_status(&[host.addr4(), host.addr6()]);
            kubectl.patch_status("", &format!("node/{name}"), &status)?;
        }
        let servers = KNOWN_SERVERS.map(|index| plane.server_url(index)).join(",");
        let kubeconfig = kubeconfig.to_str().context("the lab's folder is no text")?;
        for node in 1..=2 {
            let source = ["--kubeconfig", kubeconfig, "--api-server", &servers];
            let agent = lab.agent_mut(node);
            daemonset::restrict(agent, &daemonset::of_daemonset());
            agent.start_with(&source)?;
        }
        Ok(Self { lab, plane })
    }

    /// The first API server runs and no other, whatever the story before did.
    fn reset(&mut self) -> Result<()> {
        self.plane.resume()?;
        for index in 1..=UNKNOWN_SERVER {
            if self.plane.is_running(index) {
                self.plane.stop_api_server(index)?;
            }
        }
        Ok(())
    }
}

// === impl Story ===

impl Story {
    /// Waits for the cluster and makes a namespace in it; none where the suite cannot run.
    pub(super) fn begin(namespace: &'static str) -> Option<Self> {
        static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);
        if !privileges::are_there() {
            return None;
        }
        if let Some(reason) = programs::unavailable() {
            privileges::skip(&reason);
            return None;
        }
        // A story that failed leaves the cluster usable for the next.
        let mut cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        if cluster.is_none() {
            *cluster = Some(Cluster::start().expect("the cluster starts"));
        }
        let reset = cluster.as_mut().map_or(Ok(()), Cluster::reset);
        reset.expect("the API servers are as at the start");
        let story = Self {
            cluster,
            namespace,
            servers: BTreeMap::new(),
            pods: Vec::new(),
        };
        story.open().expect("the namespace is made");
        Some(story)
    }

    fn open(&self) -> Result<()> {
        self.apply(&[objects::namespace(self.namespace)])?;
        // Pods are refused until the controller has made the account that they run as.
        let account = [
            "wait",
            "--for=create",
            "serviceaccount/default",
            "--timeout=20s",
        ];
        self.kubectl(&account).map(drop)
    }

    pub(super) fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("begin starts the cluster")
    }

    fn cluster_ref(&self) -> &Cluster {
        self.cluster.as_ref().expect("begin starts the cluster")
    }

    /// kubectl in the story's namespace.
    pub(super) fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with(&self.cluster_ref().plane.kubectl(), args)
    }

    pub(super) fn kubectl_with(&self, kubectl: &Kubectl, args: &[&str]) -> Result<String> {
        kubectl.run(&[&["-n", self.namespace], args].concat())
    }

    pub(super) fn apply(&self, objects: &[Value]) -> Result<()> {
        self.cluster_ref().plane.kubectl().apply(&list(objects))
    }

    /// A pod of the lab that the API server does not know of, to send requests from.
    pub(super) fn add_client(&mut self, node: u8) -> Result<Place> {
        let name = format!("client{node}");
        let place = self.cluster().lab.add_pod(node, &name, "")?;
        self.pods.push(name);
        Ok(place)
    }

    /// A pod that serves, known to the API server under the same name, and ready.
    pub(super) fn add_pod(&mut self, node: u8, name: &str, app: &str) -> Result<Place> {
        let place = self.cluster().lab.add_pod(node, name, "")?;
        self.pods.push(name.to_owned());
        let listen: Vec<String> = PROTOCOLS
            .into_iter()
            .flat_map(|protocol| {
                [place.addr4(), place.addr6()]
                    .map(|ip| format!("{protocol}/{}", SocketAddr::new(ip, objects::POD_PORT)))
            })
            .collect();
        let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
        self.servers.insert(name.to_owned(), place.serve(&listen)?);
        self.apply(&[objects::pod(
            self.namespace,
            name,
            &lab::node_name(node),
            app,
        )])?;
        self.set_ready(name, true)?;
        Ok(place)
    }

    pub(super) fn set_ready(&self, pod: &str, ready: bool) -> Result<()> {
        let place = self.cluster_ref().lab.pod(pod);
        let status = objects::pod_status(&[place.addr4(), place.addr6()], ready);
        let kubectl = self.cluster_ref().plane.kubectl();
        kubectl.patch_status(self.namespace, &format!("pod/{pod}"), &status)
    }

    /// Deletes a pod as a kubelet does that has ended it. Its server goes on, so that requests
    /// which still get there are seen.
    pub(super) fn delete_pod(&self, pod: &str) -> Result<()> {
        self.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"])
            .map(drop)
    }

    /// Begins the end of a pod, which nobody completes.
    pub(super) fn terminate_pod(&self, pod: &str) -> Result<()> {
        self.kubectl(&["delete", "pod", pod, "--grace-period=600", "--wait=false"])
            .map(drop)
    }

    /// The frontends of a service's port 80.
    pub(super) fn frontends(&self, service: &str) -> Result<Vec<SocketAddr>> {
        let text = self.kubectl(&["get", "service", service, "-o", "json"])?;
        let object: Value = serde_json::from_str(&text)?;
        let addresses: Vec<IpAddr> =
            serde_json::from_value(object["spec"]["clusterIPs"].clone()).context("clusterIPs")?;
        Ok(addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, 80))
            .collect())
    }

    /// Waits until the controller-manager has written that exactly these pods are ready: after its
    /// start it takes its time, which is not what the stories are about.
    pub(super) fn wait_for_slices(&self, service: &str, pods: &[&str]) -> Result<()> {
        let label = format!("kubernetes.io/service-name={service}");
        let expected: BTreeSet<&str> = pods.iter().copied().collect();
        wait_for(
            &format!("{pods:?} in the slices"),
            CONTROLLER_TIMEOUT,
            || {
                let slices =
                    self.kubectl(&["get", "endpointslices", "-l", &label, "-o", "json"])?;
                let slices: Value = serde_json::from_str(&slices)?;
                let slices = slices["items"].as_array().context("a list has items")?;
                ensure!(
                    slices.len() == 2,
                    "{} slices, not one in each family",
                    slices.len()
                );
                for slice in slices {
                    let endpoints = slice["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
                    let ready = endpoints
                        .iter()
                        .filter(|one| one["conditions"]["ready"] == true);
                    let ready: BTreeSet<&str> = ready
                        .filter_map(|one| one["targetRef"]["name"].as_str())
                        .collect();
                    ensure!(ready == expected, "{ready:?} are ready");
                }
                Ok(())
            },
        )
    }

    /// Waits until exactly these answer at every frontend, over TCP and UDP. An error counts as an
    /// answer of that name.
    #[track_caller]
    pub(super) fn expect(&self, client: &Place, frontends: &[SocketAddr], answers: &[&str]) {
        let expected: BTreeSet<String> = answers.iter().map(|&name| name.to_owned()).collect();
        for frontend in frontends {
            for protocol in PROTOCOLS {
                let target = format!("{protocol} {frontend}");
                wait_for(
                    &format!("{expected:?} at {target}"),
                    CONVERGE_TIMEOUT,
                    || {
                        let seen = draw(client, &target, &expected)?;
                        ensure!(seen == expected, "{seen:?} answered");
                        Ok(())
                    },
                )
                .expect("the answers become the expected ones");
            }
        }
    }

    /// Waits until nobody answers at any of the frontends, by whatever error.
    #[track_caller]
    pub(super) fn expect_nobody(&self, client: &Place, frontends: &[SocketAddr]) {
        for frontend in frontends {
            for protocol in PROTOCOLS {
                let target = format!("{protocol} {frontend} --timeout-ms 300");
                wait_for(&format!("silence at {target}"), CONVERGE_TIMEOUT, || {
                    let exchange = client.ask(&target)?;
                    ensure!(!exchange.is_answered(), "{} answered", exchange.name());
                    Ok(())
                })
                .expect("nobody answers any more");
            }
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        // What is left of a story that failed must not fail the next; each has its own names.
        let all = [
            "delete",
            "service,pod",
            "--all",
            "--grace-period=0",
            "--force",
        ];
        let _ = self.kubectl(&all);
        let namespace = self.namespace;
        let _ = self.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
        self.servers.clear();
        for pod in std::mem::take(&mut self.pods) {
            let _ = self.cluster().lab.remove_pod(&pod);
        }
    }
}

/// Who answers to as many new connections or flows, up to the first that is not expected.
fn draw(client: &Place, target: &str, expected: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut session = client.client(&format!("{target} --timeout-ms 1000"))?;
    let mut seen = BTreeSet::new();
    for draw in 0..DRAWS {
        if draw > 0 {
            session.reopen()?;
        }
        let exchange = session.ask()?;
        let name = exchange
            .error
            .clone()
            .unwrap_or_else(|| exchange.name().to_owned());
        let stray = !expected.contains(&name);
        seen.insert(name);
        if stray {
            break;
        }
    }
    Ok(seen)
}

pub(super) fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}
