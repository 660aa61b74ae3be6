//! Network namespaces by the names that `ip netns` gives them, and the `ip` command itself.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps its names.
const DIRECTORY: &str = "/run/netns";

pub(super) fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The names of all namespaces.
pub(super) fn names() -> Vec<String> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Moves the calling thread into the namespace, for good.
pub(crate) fn enter(name: &str) -> Result<()> {
    let file = File::open(path(name)).with_context(|| format!("open namespace {name}"))?;
    move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&file),
        Some(LinkNameSpaceType::Network),
    )
    .with_context(|| format!("enter namespace {name}"))
}

/// Runs `work` in a thread of its own inside the namespace.
pub(super) fn within<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(name)?;
            work()
        });
        thread
            .join()
            .map_err(|_panic| anyhow::anyhow!("work in namespace {name} panicked"))?
    })
}

/// Writes sysctls, given as paths below /proc/sys, inside the namespace.
pub(super) fn set_sysctls(name: &str, settings: &[(&str, &str)]) -> Result<()> {
    within(name, || {
        for (key, value) in settings {
            let path = Path::new("/proc/sys").join(key);
            fs::write(&path, value).with_context(|| format!("write {value} to {key}"))?;
        }
        Ok(())
    })
}

/// Runs lines of `ip` in the namespace; without a name, where we are.
pub(super) fn ip(name: Option<&str>, lines: &[String]) -> Result<()> {
    let inside = name.map(|name| ["-n", name]);
    run(
        "ip",
        inside.iter().flatten().copied().chain(["-batch", "-"]),
        lines,
    )
}

/// Runs lines of `bridge` in the namespace.
pub(super) fn bridge(name: &str, lines: &[String]) -> Result<()> {
    run("bridge", ["-n", name, "-batch", "-"], lines)
}

/// Runs a command in the namespace and returns what it prints.
pub(super) fn output(name: &str, program: &str, args: &[&str]) -> Result<String> {
    let output = within(name, || {
        let output = Command::new(program).args(args).output();
        output.with_context(|| format!("run {program}"))
    })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} in {name}: {}", args.join(" "), stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a str>, lines: &[String]) -> Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {program}"))?;
    let input = lines.join("\n") + "\n";
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    stdin
        .write_all(input.as_bytes())
        .with_context(|| format!("write to {program}"))?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "{program}: {}\n{input}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
