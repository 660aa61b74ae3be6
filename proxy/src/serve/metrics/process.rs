//! What every Prometheus client tells of its process, from `/proc/self`.

use std::{fs, str::FromStr};

use prometheus::{Registry, proto::MetricFamily};
use rustix::{
    param::clock_ticks_per_second,
    process::{Resource, getrlimit},
};

use super::define::Define;

/// Parts of it never change.
#[derive(Debug)]
pub(super) struct Process {
    start_time_s: Option<f64>,
}

/// The fields of `/proc/self/stat` after the name, which may hold spaces itself.
struct Stat(Vec<String>);

// === impl Process ===

impl Process {
    pub(super) fn new() -> Self {
        Self {
            start_time_s: start_time_s(),
        }
    }

    /// What cannot be read is left out.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let registry = Registry::new();
        let define = Define(&registry);
        let stat = Stat::read();
        let gauges = [
            (
                "process_virtual_memory_bytes",
                "Virtual memory.",
                memory("VmSize:"),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory.",
                memory("VmRSS:"),
            ),
            (
                "process_virtual_memory_max_bytes",
                "Limit of virtual memory; -1 for none.",
                Some(limit(Resource::As)),
            ),
            ("process_open_fds", "Open file descriptors.", open_fds()),
            (
                "process_max_fds",
                "Limit of open file descriptors; -1 for none.",
                Some(limit(Resource::Nofile)),
            ),
            (
                "process_start_time_seconds",
                "When the process started.",
                self.start_time_s,
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                define.value(name, help, value);
            }
        }
        if let Some(used) = stat.as_ref().and_then(Stat::cpu_s) {
            let counter = define.seconds("process_cpu_seconds_total", "CPU time, user and system.");
            counter.inc_by(used);
        }
        registry.gather()
    }
}

fn start_time_s() -> Option<f64> {
    let booted: f64 = field(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    Some(booted + Stat::read()?.start_s()?)
}

fn memory(name: &str) -> Option<f64> {
    let kilobytes: f64 = field(&fs::read_to_string("/proc/self/status").ok()?, name)?;
    Some(kilobytes * 1024.0)
}

/// The first word after a line's name.
fn field<T: FromStr>(text: &str, name: &str) -> Option<T> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<f64> {
    // One of them is the directory that is being read.
    Some(
        fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1) as f64,
    )
}

fn limit(resource: Resource) -> f64 {
    getrlimit(resource)
        .current
        .map_or(-1.0, |limit| limit as f64)
}

// === impl Stat ===

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let (_, rest) = text.rsplit_once(") ")?;
        Some(Self(rest.split_whitespace().map(str::to_owned).collect()))
    }

    /// `utime` and `stime`, fields 14 and 15 of proc_pid_stat(5).
    fn cpu_s(&self) -> Option<f64> {
        Some(self.ticks_s(14)? + self.ticks_s(15)?)
    }

    /// `starttime`, field 22, since the machine booted.
    fn start_s(&self) -> Option<f64> {
        self.ticks_s(22)
    }

    /// A field by its number in the manual; the first here is the third.
    fn ticks_s(&self, number: usize) -> Option<f64> {
        let ticks: f64 = self.0.get(number - 3)?.parse().ok()?;
        Some(ticks / clock_ticks_per_second() as f64)
    }
}
