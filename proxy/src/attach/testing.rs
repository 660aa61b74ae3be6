//! Network namespaces for the tests of this module.

use std::{
    env, fs,
    io::{self, Write},
    os::fd::AsFd,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::thread::{CapabilitySet, LinkNameSpaceType, capabilities, move_into_link_name_space};

static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// A network namespace that exists for as long as this does. Its name stays under 15 characters.
pub(crate) struct Namespace {
    name: String,
}

// === impl Namespace ===

impl Namespace {
    /// `None` where the machine does not allow it: the running test is then skipped, which is said
    /// in the form that `cargo xtask test` counts, and is a failure with `REQUIRE_PRIVILEGED=1`.
    pub(crate) fn new() -> Option<Self> {
        let needed = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
        let ours = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        if !ours.contains(needed) {
            skip("it makes network namespaces, which takes CAP_NET_ADMIN and CAP_SYS_ADMIN");
            return None;
        }
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let name = format!("sbd{}-{number}", process::id());
        ip(&format!("netns add {name}"));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        Some(namespace)
    }

    /// Runs `ip` with these arguments inside.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&format!("-netns {} {arguments}", self.name));
    }

    /// Makes a veth pair with its ends here and there.
    pub(crate) fn veth(&self, here: &str, other: &Self, there: &str) {
        self.ip(&format!(
            "link add {here} type veth peer name {there} netns {}",
            other.name
        ));
        self.ip(&format!("link set {here} up"));
        other.ip(&format!("link set {there} up"));
    }

    /// Runs `body` on a thread of its own inside.
    pub(crate) fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let file = fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failing test must not be hidden by a second panic.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
}

fn skip(reason: &str) {
    let forced = env::var("REQUIRE_PRIVILEGED").is_ok_and(|value| value == "1");
    assert!(
        !forced,
        "cannot run, and REQUIRE_PRIVILEGED=1 forbids to skip: {reason}"
    );
    let thread = thread::current();
    let name = thread.name().unwrap_or("a test");
    // The test harness would keep back what a passing test prints.
    let _ = writeln!(io::stderr(), "skipped: {name}: {reason}");
}
