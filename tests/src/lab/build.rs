//! How a lab comes to be: its router and nodes at once, its pods as a CNI plugin makes them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    Lab, Node, Place, TxOffload,
    agent::Agent,
    device_of, netns, node_name,
    topology::{self, PodLink},
};

/// Linux has no room for longer names of devices.
const DEVICE_NAME_MAX: usize = 15;
/// The first address of a pod: 1 is the gateway.
const FIRST_POD: u8 = 2;

// === impl Lab ===

impl Lab {
    /// Makes a pod on a node, as a CNI plugin would, and its object with these labels.
    pub fn add_pod(&mut self, node: u8, name: &str, labels: &str) -> Result<Place> {
        let host = self.node(node).next_pod;
        self.node_mut(node).next_pod += 1;
        let pod = self.add_pod_at(node, name, host)?;
        self.set_pod(name, labels)?;
        Ok(pod)
    }

    /// Makes a pod with the `host`th address of each of the node's ranges, and no object.
    pub fn add_pod_at(&mut self, node: u8, name: &str, host: u8) -> Result<Place> {
        let device = device_of(name);
        ensure!(
            device.len() <= DEVICE_NAME_MAX,
            "the pod's name {name} is too long for a device"
        );
        let pod = Place {
            name: name.to_owned(),
            netns: self.id.netns(name),
            cgroup: self.cgroup.join(node_name(node)).join(name),
            unhooked: self.cgroup.join("unhooked").join(name),
            logs: self.directory.join("logs"),
            addrs: topology::pod_addrs(node, host),
        };
        netns::ip(None, &[format!("netns add {}", pod.netns)])?;
        netns::set_sysctls(&pod.netns, topology::SYSCTLS)?;
        pod.make_cgroups()?;
        let link = PodLink {
            device: &device,
            addrs: pod.addrs,
            gateways: topology::pod_addrs(node, 1),
        };
        self.options
            .wiring()
            .wire_pod(&self.node(node).host.netns, &pod.netns, &link)?;
        self.set_tx_offload(&self.node(node).host, &device, Some(&pod))?;
        self.node_mut(node)
            .pods
            .insert(name.to_owned(), pod.clone());
        Ok(pod)
    }

    /// Removes a pod with its device and its object.
    pub fn remove_pod(&mut self, name: &str) -> Result<()> {
        let pod = self
            .nodes
            .iter_mut()
            .find_map(|node| node.pods.remove(name));
        let pod = pod.with_context(|| format!("the lab has no pod {name}"))?;
        self.set(&format!("delete pod {name}"))?;
        netns::ip(None, &[format!("netns del {}", pod.netns)])
    }

    /// Makes the router send what is for these addresses to a node, as a cloud's load balancer or a
    /// routing protocol would.
    pub fn route_to_node(&self, prefixes: &[&str], node: u8) -> Result<()> {
        let host = self.host(node);
        let via = |prefix: &&str| match prefix.contains(':') {
            true => format!("route add {prefix} via {}", host.addr6()),
            false => format!("route add {prefix} via {}", host.addr4()),
        };
        let lines: Vec<_> = prefixes.iter().map(via).collect();
        netns::ip(Some(&self.id.netns("router")), &lines)
    }

    pub(super) fn wire(&mut self) -> Result<()> {
        let nodes = 1..=self.options.nodes;
        let router = self.id.netns("router");
        let names: Vec<_> = nodes
            .clone()
            .map(|node| self.id.netns(&node_name(node)))
            .collect();
        let all = [&router, &self.outside.netns].into_iter().chain(&names);
        let lines: Vec<_> = all
            .clone()
            .map(|name| format!("netns add {name}"))
            .collect();
        netns::ip(None, &lines)?;
        for name in all {
            netns::set_sysctls(name, topology::SYSCTLS)?;
        }
        for name in names.iter().chain([&router]) {
            netns::set_sysctls(name, topology::FORWARDING)?;
        }
        topology::wire_router(&router, &self.outside.netns)?;
        if self.options.tx_offload == TxOffload::Off {
            turn_tx_offload_off(&self.outside, "eth0")?;
        }
        for (node, netns) in nodes.zip(&names) {
            self.options.wiring().wire_node(node, netns, &router)?;
            self.add_node(node, netns)?;
        }
        Ok(())
    }

    fn add_node(&mut self, node: u8, netns: &str) -> Result<()> {
        let name = node_name(node);
        let cgroup = self.cgroup.join(&name);
        make_cgroup(&cgroup)?;
        fs::create_dir(self.directory.join(&name))?;
        let host = Place {
            name: name.clone(),
            netns: netns.to_owned(),
            cgroup: cgroup.join("host"),
            unhooked: self.cgroup.join("unhooked").join(&name),
            logs: self.directory.join("logs"),
            addrs: [
                topology::node_addr4(node).into(),
                topology::node_addr6(node).into(),
            ],
        };
        host.make_cgroups()?;
        self.set_tx_offload(&host, "eth0", None)?;
        let agent = Agent::new(
            &host,
            &self.directory.join(&name),
            &cgroup,
            &self.manifests(),
        );
        agent.mount_bpffs()?;
        self.set(&format!("node {name} {} {}", host.addr4(), host.addr6()))?;
        self.nodes.push(Node {
            agent,
            host,
            pods: BTreeMap::new(),
            next_pod: FIRST_POD,
        });
        Ok(())
    }

    fn set_tx_offload(&self, host: &Place, device: &str, pod: Option<&Place>) -> Result<()> {
        let offload = self.options.tx_offload;
        if offload != TxOffload::On {
            turn_tx_offload_off(host, device)?;
        }
        if let (TxOffload::Off, Some(pod)) = (offload, pod) {
            turn_tx_offload_off(pod, "eth0")?;
        }
        Ok(())
    }
}

fn turn_tx_offload_off(place: &Place, device: &str) -> Result<()> {
    place.run("ethtool", &["-K", device, "tx", "off"]).map(drop)
}

pub(super) fn make_cgroup(path: &Path) -> Result<()> {
    // A pod may return under its name.
    fs::create_dir_all(path).with_context(|| format!("make cgroup {}", path.display()))
}
