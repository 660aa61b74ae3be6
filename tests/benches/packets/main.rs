//! What a packet costs in the programs of a pod's device and of the wire (BPF_PROG_TEST_RUN).
//!
//! Each figure is the least of several rounds, without the floor of its kind of program: what the
//! wrapper costs around a program that does nothing. Run by `cargo xtask bench packets`, which
//! compiles the objects.

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
const REPEAT: u32 = 1 << 18;

/// What is measured, and the least nanoseconds that a packet took.
type Row = (String, f64);

/// What the wrapper costs, for each kind of program.
struct Floors {
    tc: f64,
    xdp: f64,
}

fn main() -> Result<()> {
    let folder = env::var_os("SWITCHBOARD_BENCH_OBJECTS")
        .context("SWITCHBOARD_BENCH_OBJECTS is not set: run `cargo xtask bench packets`")?;
    stay_on_one_cpu()?;
    namespace::enter()?;
    let mut kernel = Kernel::load(Path::new(&folder))?;
    let before = load()?;
    let ipv4 = measure::<Ipv4>(&mut kernel)?;
    let ipv6 = measure::<Ipv6>(&mut kernel)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<62} {:>6} {:>6}", "ns per packet", "IPv4", "IPv6")?;
    for ((name, four), (_, six)) in ipv4.iter().zip(&ipv6) {
        writeln!(out, "{name:<62} {four:>6.0} {six:>6.0}")?;
    }
    writeln!(
        out,
        "load of the machine before: {before}, after: {}",
        load()?
    )?;
    Ok(())
}

fn measure<F: Cluster>(kernel: &mut Kernel) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, proto) in [("tcp", proto::TCP), ("udp", proto::UDP)] {
        fill::<F>(kernel, proto)?;
        let stages = stages::<F>(proto);
        let mut found = Vec::new();
        let floors = floors(kernel, &stages, &mut found)?;
        for stage in &stages {
            measure_stage::<F>(kernel, stage, &floors, &mut found)?;
        }
        rows.extend(
            found
                .into_iter()
                .map(|(row, ns)| (format!("{name} {row}"), ns)),
        );
    }
    Ok(rows)
}

/// Of the first packet of each kind: the wrapper writes every frame alike.
fn floors(kernel: &mut Kernel, stages: &[Stage], rows: &mut Vec<Row>) -> Result<Floors> {
    let mut floor = |kind: Kind| {
        let case = stages
            .iter()
            .flat_map(|stage| &stage.cases)
            .find(|case| Kind::of(case.direction) == kind)
            .with_context(|| format!("no packet is for {}", kind.name()))?;
        let empty = least(ROUNDS, || kernel.empty(case, REPEAT))?;
        rows.push((format!("{} empty program, no wrapper", kind.name()), empty));
        let floor = least(ROUNDS, || kernel.floor(case, REPEAT))?;
        rows.push((
            format!("{} floor: the wrapper, taken off below", kind.name()),
            floor,
        ));
        anyhow::Ok(floor)
    };
    Ok(Floors {
        tc: floor(Kind::Tc)?,
        xdp: floor(Kind::Xdp)?,
    })
}

fn measure_stage<F: Cluster>(
    kernel: &mut Kernel,
    stage: &Stage,
    floors: &Floors,
    rows: &mut Vec<Row>,
) -> Result<()> {
    masquerade_from::<F>(kernel, USUAL_PORTS)?;
    for case in &stage.new {
        let ns = least(ROUNDS_OF_NEW, || {
            forget_flows::<F>(kernel)?;
            kernel.run(case, FLOWS_MAX, FLOWS_MAX)
        })?;
        rows.push((case.label(), ns - floors.of(case)));
    }
    forget_flows::<F>(kernel)?;
    masquerade_from::<F>(kernel, ALL_PORTS)?;
    kernel.run(&stage.first, FLOWS_MAX, FLOWS_MAX)?;
    for case in &stage.cases {
        for flows in case.flows {
            let ns = least(ROUNDS, || kernel.run(case, *flows, REPEAT))?;
            let row = format!("{}, flows {flows}", case.label());
            rows.push((row, ns - floors.of(case)));
        }
    }
    Ok(())
}

// === impl Floors ===

impl Floors {
    const fn of(&self, case: &Case) -> f64 {
        match Kind::of(case.direction) {
            Kind::Tc => self.tc,
            Kind::Xdp => self.xdp,
        }
    }
}

fn least(rounds: usize, mut work: impl FnMut() -> Result<f64>) -> Result<f64> {
    (0..rounds).try_fold(f64::INFINITY, |least, _| Ok(work()?.min(least)))
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
