//! What a packet costs in the programs of a pod's device and of the wire (BPF_PROG_TEST_RUN).
//!
//! Each figure is the least of several rounds, without the floor of its kind of program: what the
//! wrapper costs around a program that does nothing. Every round measures everything of a stage,
//! and the floors as well, so that what else the machine does for a while spoils no single row.
//! Run by `cargo xtask bench packets`, which compiles the objects.

mod cases;
mod cluster;
mod frame;
mod kernel;
mod namespace;

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use proxy_datapath::family::{Ipv4, Ipv6, proto};

use crate::{
    cases::{Case, FLOWS_MAX, Stage, stages},
    cluster::{ALL_PORTS, Cluster, USUAL_PORTS, fill, forget_flows, masquerade_from},
    kernel::{Kernel, Kind},
};

const ROUNDS: usize = 15;
/// Rounds of new flows are long: each must forget the flows of the one before.
const ROUNDS_OF_NEW: usize = 3;
const REPEAT: u32 = 1 << 17;

/// What is measured, and the least nanoseconds that a packet took.
struct Row {
    name: String,
    kind: Kind,
    least: f64,
}

/// What a kind of program costs before it does anything: the least nanoseconds.
struct Floor {
    kind: Kind,
    empty: f64,
    wrapper: f64,
}

fn main() -> Result<()> {
    let folder = env::var_os("SWITCHBOARD_BENCH_OBJECTS")
        .context("SWITCHBOARD_BENCH_OBJECTS is not set: run `cargo xtask bench packets`")?;
    stay_on_one_cpu()?;
    namespace::enter()?;
    let mut kernel = Kernel::load(Path::new(&folder))?;
    let mut floors = Kind::ALL.map(Floor::new);
    let before = load()?;
    let ipv4 = measure::<Ipv4>(&mut kernel, &mut floors)?;
    let ipv6 = measure::<Ipv6>(&mut kernel, &mut floors)?;
    let after = load()?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<54} {:>6} {:>6}", "ns per packet", "IPv4", "IPv6")?;
    for (four, six) in ipv4.iter().zip(&ipv6) {
        let [name, net, net_6] = [&four.name, &four.net(&floors), &six.net(&floors)];
        writeln!(out, "{name:<54} {net:>6} {net_6:>6}")?;
    }
    for Floor {
        kind,
        empty,
        wrapper,
    } in &floors
    {
        let name = kind.name();
        writeln!(
            out,
            "{name}: empty program {empty:.0}, taken off with the wrapper {wrapper:.0}"
        )?;
    }
    writeln!(out, "load of the machine: {before} before, {after} after")?;
    Ok(())
}

fn measure<F: Cluster>(kernel: &mut Kernel, floors: &mut [Floor]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, proto) in [("tcp", proto::TCP), ("udp", proto::UDP)] {
        fill::<F>(kernel, proto)?;
        for stage in &stages::<F>(proto) {
            for row in measure_stage::<F>(kernel, stage, floors)? {
                let name = format!("{name} {}", row.name);
                rows.push(Row { name, ..row });
            }
        }
    }
    Ok(rows)
}

fn measure_stage<F: Cluster>(
    kernel: &mut Kernel,
    stage: &Stage,
    floors: &mut [Floor],
) -> Result<Vec<Row>> {
    masquerade_from::<F>(kernel, USUAL_PORTS)?;
    let mut rows: Vec<Row> = stage.new.iter().map(|case| Row::new(case, "")).collect();
    for _ in 0..ROUNDS_OF_NEW {
        for (case, row) in stage.new.iter().zip(&mut rows) {
            forget_flows::<F>(kernel)?;
            row.note(kernel.run(case, FLOWS_MAX, FLOWS_MAX)?);
        }
    }
    forget_flows::<F>(kernel)?;
    masquerade_from::<F>(kernel, ALL_PORTS)?;
    kernel.run(&stage.first, FLOWS_MAX, FLOWS_MAX)?;
    let cases: Vec<(&Case, u32)> = stage
        .cases
        .iter()
        .flat_map(|case| case.flows.iter().map(move |flows| (case, *flows)))
        .collect();
    let mut established: Vec<Row> = cases
        .iter()
        .map(|(case, flows)| Row::new(case, &format!(", flows {flows}")))
        .collect();
    for _ in 0..ROUNDS {
        for floor in &mut *floors {
            floor.note(kernel, &stage.first)?;
        }
        for ((case, flows), row) in cases.iter().zip(&mut established) {
            row.note(kernel.run(case, *flows, REPEAT)?);
        }
    }
    rows.append(&mut established);
    Ok(rows)
}

// === impl Row ===

impl Row {
    fn new(case: &Case, rest: &str) -> Self {
        Self {
            name: format!("{}{rest}", case.label()),
            kind: Kind::of(case.direction),
            least: f64::INFINITY,
        }
    }

    const fn note(&mut self, ns: f64) {
        self.least = self.least.min(ns);
    }

    /// Without the floor.
    fn net(&self, floors: &[Floor]) -> String {
        let floor = floors.iter().find(|floor| floor.kind == self.kind);
        let wrapper = floor.map_or(0.0, |floor| floor.wrapper);
        format!("{:.0}", self.least - wrapper)
    }
}

// === impl Floor ===

impl Floor {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            empty: f64::INFINITY,
            wrapper: f64::INFINITY,
        }
    }

    /// With the frame of any case: the wrapper writes all alike.
    fn note(&mut self, kernel: &mut Kernel, case: &Case) -> Result<()> {
        self.empty = self.empty.min(kernel.empty(self.kind, case, REPEAT)?);
        self.wrapper = self.wrapper.min(kernel.floor(self.kind, case, REPEAT)?);
        Ok(())
    }
}

/// The wrapper counts without atomics, and a packet that moves between CPUs finds cold caches.
fn stay_on_one_cpu() -> Result<()> {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(rustix::thread::sched_getcpu());
    rustix::thread::sched_setaffinity(None, &cpus).context("stay on one CPU")
}

/// How many tasks were ready to run, over the last minute.
fn load() -> Result<String> {
    let averages = fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let minute = averages.split(' ').next().unwrap_or_default();
    Ok(minute.to_owned())
}
