//! What a packet costs in the programs of a pod's device (BPF_PROG_TEST_RUN).
//!
//! Each figure is the least of several rounds, without the floor: what the wrapper costs around a
//! program that does nothing. Run by `cargo xtask bench packets`, which compiles the objects.

mod frame;
mod kernel;

use std::{
    env,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result};
use proxy_datapath::{
    family::{Ipv4, Ipv6, proto},
    verdict::{Direction, code},
};

use crate::{
    frame::{ACK, Frame, SYN, frame},
    kernel::{BACKEND_PORT, Cluster, Kernel},
};

const ROUNDS: usize = 15;
/// Rounds of new flows are long: each must forget the flows of the one before.
const ROUNDS_OF_NEW: usize = 3;
const REPEAT: u32 = 1 << 18;
/// Every value that a port can have.
const FLOWS_MAX: u32 = 1 << 16;
const FLOWS: [u32; 3] = [1, 256, FLOWS_MAX];

/// What is measured, and the least nanoseconds that a packet took.
type Row = (String, f64);

/// Packets of one kind, and what must become of each.
struct Case {
    name: &'static str,
    direction: Direction,
    code: u32,
    frame: Frame,
    /// Where the frame has the client's port, by which flows differ.
    port: u32,
    flows: &'static [u32],
}

fn main() -> Result<()> {
    let folder = env::var_os("SWITCHBOARD_BENCH_OBJECTS")
        .context("SWITCHBOARD_BENCH_OBJECTS is not set: run `cargo xtask bench packets`")?;
    stay_on_one_cpu()?;
    let mut kernel = Kernel::load(Path::new(&folder))?;
    let ipv4 = measure::<Ipv4>(&mut kernel)?;
    let ipv6 = measure::<Ipv6>(&mut kernel)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<40} {:>8} {:>8}", "ns per packet", "IPv4", "IPv6")?;
    for ((name, four), (_, six)) in ipv4.iter().zip(&ipv6) {
        writeln!(out, "{name:<40} {four:>8.0} {six:>8.0}")?;
    }
    Ok(())
}

fn measure<F: Cluster>(kernel: &mut Kernel) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, proto) in [("tcp", proto::TCP), ("udp", proto::UDP)] {
        kernel.fill::<F>(proto)?;
        let first = Case::outward::<F>("new", code::TRANSLATE, F::frontend(), (proto, SYN));
        let empty = least(ROUNDS, || kernel.empty(&first.frame, REPEAT))?;
        rows.push((format!("{name} empty program, no wrapper"), empty));
        let floor = least(ROUNDS, || kernel.floor(&first.frame, first.port, 1, REPEAT))?;
        rows.push((format!("{name} floor: the wrapper, taken off below"), floor));
        let new = least(ROUNDS_OF_NEW, || {
            kernel.forget_flows::<F>()?;
            kernel.run(&first, FLOWS_MAX, FLOWS_MAX)
        })?;
        rows.push((format!("{name} from_pod new"), new - floor));
        // The flows of the last round are the established ones.
        for case in cases::<F>(proto) {
            for flows in case.flows {
                let ns = least(ROUNDS, || kernel.run(&case, *flows, REPEAT))?;
                let hook = case.direction.name();
                rows.push((
                    format!("{name} {hook} {}, flows {flows}", case.name),
                    ns - floor,
                ));
            }
        }
    }
    Ok(rows)
}

fn cases<F: Cluster>(proto: u32) -> [Case; 4] {
    let stranger = SocketAddr::new(F::backend(1, 0), BACKEND_PORT);
    let backend = SocketAddr::new(F::backend(0, 0), BACKEND_PORT);
    let established = "established";
    [
        Case::outward::<F>(established, code::TRANSLATE, F::frontend(), (proto, ACK)),
        Case::inward::<F>(established, code::TRANSLATE, backend, proto),
        Case {
            flows: &[1],
            ..Case::outward::<F>("not ours", code::PASS, stranger, (proto, SYN))
        },
        Case {
            flows: &[1],
            ..Case::inward::<F>("not ours", code::PASS, stranger, proto)
        },
    ]
}

// === impl Case ===

impl Case {
    /// What a pod sends.
    fn outward<F: Cluster>(
        name: &'static str,
        code: u32,
        to: SocketAddr,
        (proto, flags): (u32, u8),
    ) -> Self {
        let frame = frame(SocketAddr::new(F::client(), 0), to, proto, flags);
        let port = frame.source_port;
        Self {
            name,
            direction: Direction::FromPod,
            code,
            frame,
            port,
            flows: &FLOWS,
        }
    }

    /// What a pod is about to receive.
    fn inward<F: Cluster>(name: &'static str, code: u32, from: SocketAddr, proto: u32) -> Self {
        let frame = frame(from, SocketAddr::new(F::client(), 0), proto, ACK);
        let port = frame.destination_port;
        Self {
            name,
            direction: Direction::ToPod,
            code,
            frame,
            port,
            flows: &FLOWS,
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

impl Cluster for Ipv4 {
    fn vip(service: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a60_0000 + service).into()
    }

    fn backend(service: u32, index: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a01_0000 + service * 16 + index).into()
    }

    fn client() -> IpAddr {
        Ipv4Addr::new(10, 2, 0, 5).into()
    }
}

impl Cluster for Ipv6 {
    fn vip(service: u32) -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0096 << 96) + u128::from(service)).into()
    }

    fn backend(service: u32, index: u32) -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0001 << 96) + u128::from(service * 16 + index)).into()
    }

    fn client() -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0002 << 96) + 5).into()
    }
}
