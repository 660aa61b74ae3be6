//! The lab: network namespaces as nodes, pods, a router and a client outside, and one agent on
//! each node.
//!
//! Everything carries the lab's id in its name and is removed when the lab is dropped or its
//! process ends (`cleanup`). All processes are in the lab's cgroup: those of node N in `nN`, which
//! is where that node's agent attaches its socket hooks, the others in `unhooked`.

pub mod agent;
mod build;
pub mod cleanup;
mod cluster;
pub(crate) mod netns;
mod place;
mod process;
pub mod status;
mod topology;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use agent::Agent;
use anyhow::{Context, Result};
use cleanup::{Id, Reaper};
pub use place::Place;
pub use process::{Load, Running, Session, binary, wait_for};
use topology::Wiring;
pub use topology::{Topology, TxOffload};

use crate::scenario::objects::Objects;

/// How a lab is built.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub topology: Topology,
    pub nodes: u8,
    pub tx_offload: TxOffload,
    /// Where it is not what the topology leaves room for.
    pub pod_mtu: Option<u16>,
}

#[derive(Debug)]
pub struct Lab {
    options: Options,
    directory: PathBuf,
    cgroup: PathBuf,
    outside: Place,
    nodes: Vec<Node>,
    objects: Objects,
    /// How often the objects were written.
    generation: u16,
    id: Id,
    /// Removes it all; gone when the lab is kept.
    reaper: Option<Reaper>,
}

#[derive(Debug)]
struct Node {
    agent: Agent,
    host: Place,
    pods: BTreeMap<String, Place>,
    next_pod: u8,
}

// === impl Options ===

impl Options {
    pub const fn new(topology: Topology, nodes: u8) -> Self {
        Self {
            topology,
            nodes,
            tx_offload: TxOffload::On,
            pod_mtu: None,
        }
    }

    const fn wiring(&self) -> Wiring {
        Wiring {
            topology: self.topology,
            nodes: self.nodes,
            pod_mtu: self.pod_mtu,
        }
    }
}

// === impl Lab ===

impl Lab {
    /// The nodes `n1`, `n2` and so on, without pods and without agents.
    pub fn new(options: Options) -> Result<Self> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            cleanup::remove_stale();
        }
        let id = Id::new(number);
        let reaper = Reaper::start(&id)?;
        let directory = id.directory();
        let cgroup = id.cgroup()?;
        fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        for folder in ["logs", "manifests"] {
            fs::create_dir(directory.join(folder))?;
        }
        for folder in ["", "unhooked", "outside"] {
            build::make_cgroup(&cgroup.join(folder))?;
        }
        let outside = Place {
            name: "outside".to_owned(),
            netns: id.netns("outside"),
            cgroup: cgroup.join("outside"),
            unhooked: cgroup.join("unhooked"),
            logs: directory.join("logs"),
            addrs: [topology::OUTSIDE4.into(), topology::OUTSIDE6.into()],
        };
        let mut lab = Self {
            options,
            directory,
            cgroup,
            outside,
            nodes: Vec::new(),
            objects: Objects::default(),
            generation: 0,
            id,
            reaper: Some(reaper),
        };
        lab.wire()?;
        Ok(lab)
    }

    /// A folder of the lab, for files that tests need.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder that the agents read their objects from.
    pub fn manifests(&self) -> PathBuf {
        self.directory.join("manifests")
    }

    /// The client that is no part of the cluster.
    pub const fn outside(&self) -> &Place {
        &self.outside
    }

    /// The processes of node N itself, counted from 1.
    pub fn host(&self, node: u8) -> &Place {
        &self.node(node).host
    }

    /// The addresses that node N may send from: those of its uplink, its tunnel and its bridge.
    pub fn own_addrs(&self, node: u8) -> Vec<IpAddr> {
        let inner = [0, 1].map(|host| topology::pod_addrs(node, host));
        [[self.host(node).addrs].as_slice(), &inner]
            .concat()
            .concat()
    }

    pub fn pod(&self, name: &str) -> &Place {
        let pod = self.nodes.iter().find_map(|node| node.pods.get(name));
        pod.unwrap_or_else(|| panic!("the lab has no pod {name}"))
    }

    pub fn has_pod(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.pods.contains_key(name))
    }

    pub fn agent(&self, node: u8) -> &Agent {
        &self.node(node).agent
    }

    pub fn agent_mut(&mut self, node: u8) -> &mut Agent {
        &mut self.node_mut(node).agent
    }

    /// Publishes the objects and starts the agent of each node.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// As `start`, with further arguments for the agents.
    pub fn start_with(&mut self, args: &[&str]) -> Result<()> {
        self.write_manifests()?;
        for node in &mut self.nodes {
            node.agent.launch(args)?;
        }
        for node in &mut self.nodes {
            node.agent.wait_until_ready()?;
        }
        self.wait_until_applied()
    }

    /// Leaves everything up when this process ends.
    pub fn keep(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.agent.leave();
        }
        self.reaper.take().map_or(Ok(()), Reaper::keep)
    }

    fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node) - 1]
    }

    fn node_mut(&mut self, node: u8) -> &mut Node {
        &mut self.nodes[usize::from(node) - 1]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = node.agent.log();
                // A test that fails with nobody to read it has failed all the same.
                let _ = writeln!(io::stderr(), "--- agent of {}\n{log}", node.host.name());
            }
        }
    }
}

/// The name of a node, as agents and objects know it.
pub fn node_name(node: u8) -> String {
    format!("n{node}")
}

/// The node's side of a pod's device.
pub fn device_of(pod: &str) -> String {
    format!("v-{pod}")
}

/// `10.96.0.10:80`, `[fd00:96::10]:80`.
pub fn socket_text(addr: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(addr, port).to_string()
}
