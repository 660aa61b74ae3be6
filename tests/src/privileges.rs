//! Whether this machine lets a test make namespaces and load programs.

use std::{
    env,
    io::{self, Write},
    thread,
};

/// True for root. Otherwise the running test is skipped, which is said on standard error in the
/// form that `cargo xtask test` counts; with `REQUIRE_PRIVILEGED=1` it fails instead.
pub fn are_there() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    skip("it needs root: network namespaces, cgroups and bpf");
    false
}

/// Says that the running test is skipped, and why.
pub fn skip(reason: &str) {
    let forced = env::var("REQUIRE_PRIVILEGED").is_ok_and(|value| value == "1");
    assert!(
        !forced,
        "cannot run, and REQUIRE_PRIVILEGED=1 forbids to skip: {reason}"
    );
    let thread = thread::current();
    let name = thread.name().unwrap_or("a test");
    // Written directly: the test harness would keep back what a passing test prints.
    // In one piece, so that other threads' lines stay out of it.
    let line = format!("skipped: {name}: {reason}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}
