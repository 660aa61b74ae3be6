//! The network namespace that packets are measured in: an uplink whose routes and neighbours are
//! all known, so that what is sent on finds its way. No packet enters it.

use std::{
    fs::{self, File},
    io::Write as _,
    net::IpAddr,
    os::fd::AsFd as _,
    process::{self, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use proxy_datapath::family::{Ipv4, Ipv6};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::Cluster;

/// The device that leads to other nodes.
pub(crate) const UPLINK: u32 = 10;
/// A pod's device.
pub(crate) const POD: u32 = 11;

/// Moves this thread into a namespace of its own, which ends with it.
pub(crate) fn enter() -> Result<()> {
    let name = format!("switchboard-bench-{}", process::id());
    ip(&format!("netns add {name}\n"))?;
    let entered = move_into(&name);
    // What was entered stays without its name.
    ip(&format!("netns delete {name}\n"))?;
    entered?;
    for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{key}");
        fs::write(&path, "1").with_context(|| format!("write {path}"))?;
    }
    ip(&format!(
        "link add uplink index {UPLINK} type veth peer beyond\n\
         link add pod index {POD} type veth peer inside\n\
         link set beyond up\n\
         link set uplink up\n\
         {}{}",
        way::<Ipv4>(24),
        way::<Ipv6>(64)
    ))
}

fn move_into(name: &str) -> Result<()> {
    let path = format!("/run/netns/{name}");
    let file = File::open(&path).with_context(|| format!("open {path}"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("enter {path}"))
}

/// Everything is behind one neighbour.
fn way<F: Cluster>(prefix: u8) -> String {
    let (node, gateway) = (F::node(), F::gateway());
    let (everywhere, usable) = match node {
        IpAddr::V4(_) => ("0.0.0.0/0", ""),
        IpAddr::V6(_) => ("::/0", " nodad"),
    };
    format!(
        "addr add {node}/{prefix} dev uplink{usable}\n\
         neigh add {gateway} lladdr 02:00:00:00:00:03 dev uplink\n\
         route add {everywhere} via {gateway} dev uplink\n"
    )
}

/// Runs lines of `ip` where we are.
fn ip(lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run ip")?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    stdin.write_all(lines.as_bytes()).context("write to ip")?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip: {}\n{lines}", error.trim());
    Ok(())
}
