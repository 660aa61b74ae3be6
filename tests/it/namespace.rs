//! A network namespace in which programs find what they ask the kernel for: an uplink that leads
//! everywhere but to 10.9.0.0/16 and takes 1300 bytes, and devices by which pods are told apart. No
//! packet enters it.

use std::{
    fs::{self, File},
    io::Write as _,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The device that leads to other nodes.
pub(crate) const UPLINK: u32 = 10;
/// The first pod's device.
const FIRST_POD: u32 = 11;
/// As many pods as a scenario has.
const PODS: u32 = 16;

pub(crate) struct Namespace {
    name: String,
}

// === impl Namespace ===

impl Namespace {
    /// `suite` is part of its name.
    pub(crate) fn new(suite: &str) -> Result<Self> {
        let name = format!("switchboard-{suite}-{}", std::process::id());
        ip(&format!("netns add {name}\n"))?;
        let namespace = Self { name };
        namespace.run(|| {
            let mut lines = format!("link add uplink index {UPLINK} type veth peer beyond\n");
            for pod in (0..PODS).step_by(2) {
                let index = FIRST_POD + pod;
                let (beside, other) = (pod + 1, index + 1);
                let peer = format!("peer pod{beside} index {other}");
                lines += &format!("link add pod{pod} index {index} type veth {peer}\n");
            }
            lines += "link set uplink mtu 1300 up\nlink set beyond up\n";
            lines += "route add default dev uplink\nroute add ::/0 dev uplink\n";
            lines += "route add unreachable 10.9.0.0/16\n";
            // The length of a packet counts only on a way that is known to the end.
            lines += "neigh add 10.1.1.9 lladdr 02:00:00:00:00:03 dev uplink\n";
            ip(&lines)?;
            for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
                let path = format!("/proc/sys/net/{key}");
                fs::write(&path, "1").with_context(|| format!("write {path}"))?;
            }
            Ok(())
        })?;
        Ok(namespace)
    }

    /// Runs `work` in a thread of its own inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(&path).with_context(|| format!("open {path}"))?;
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("enter {path}"))?;
                work()
            });
            thread
                .join()
                .map_err(|_panic| anyhow!("work in {path} panicked"))?
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What stays is an empty namespace that says whose it was.
        let _ = ip(&format!("netns delete {}\n", self.name));
    }
}

/// The device of the pod with this number.
pub(crate) fn pod(number: usize) -> Result<u32> {
    let number = u32::try_from(number)?;
    ensure!(
        number < PODS,
        "{number} is more pods than there are devices"
    );
    Ok(FIRST_POD + number)
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
