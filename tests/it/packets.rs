//! The scenarios' packets, run through the loaded programs byte for byte.
//!
//! How: each step's objects are compiled and written to the programs' maps; each packet line is
//! built as a frame, run with BPF_PROG_TEST_RUN, and compared with the frame that the line
//! expects. Flows live on from line to line and step to step, so that a reply follows its packet.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use proxy_datapath::verdict::{Direction, Verdict};
use switchboard::{compile::Compiler, model::Cluster, plan::MapState, watch};
use tests::{
    privileges,
    scenario::{
        self, Scenario, Step,
        packet::{Expected, Hook, Kind, Options, Packet, PacketLine},
    },
    wire::{HOP_LIMIT, HOST_MAC, POD_MAC, frame},
};

use crate::{
    compile::settings,
    kernel::{DROP, Kernel, Left, NEXT, REDIRECT},
    namespace::{Namespace, UPLINK, pod},
};

/// Ethernet's destination and source.
const ARRIVING: [[u8; 6]; 2] = [HOST_MAC, POD_MAC];
const LEAVING: [[u8; 6]; 2] = [POD_MAC, HOST_MAC];

#[test]
fn packets_leave_as_the_scenarios_say() {
    if !privileges::are_there() {
        return;
    }
    let namespace = Namespace::new("packets").unwrap();
    let mut failures = Vec::new();
    let mut lines = 0;
    for file in scenario::files() {
        let scenario = Scenario::read(&file).unwrap();
        lines += scenario
            .steps
            .iter()
            .map(|step| step.packets.len())
            .sum::<usize>();
        if let Err(error) = namespace.run(|| check(&scenario)) {
            failures.push(format!("{}: {error:#}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(lines > 0, "no scenario has a packet");
}

fn check(scenario: &Scenario) -> Result<()> {
    if scenario.steps.iter().all(|step| step.packets.is_empty()) {
        return Ok(());
    }
    let mut kernel = Kernel::load()?;
    let mut compiler = Compiler::new(settings(scenario)?);
    // In the order of their names, as the devices are.
    let pods: BTreeSet<&str> = scenario
        .steps
        .iter()
        .flat_map(|step| step.objects.pods())
        .map(|pod| pod.name.as_str())
        .collect();
    for step in &scenario.steps {
        kernel.hold(&compile(&mut compiler, step)?)?;
        for line in &step.packets {
            check_line(&mut kernel, &pods, line)
                .with_context(|| format!("line {}: {}", line.line, line.packet))?;
        }
    }
    Ok(())
}

fn compile(compiler: &mut Compiler, step: &Step) -> Result<MapState> {
    let directory = tempfile::tempdir()?;
    for (name, text) in step.objects.to_files()? {
        fs::write(directory.path().join(name), text)?;
    }
    let mut cluster = Cluster::new(step.objects.own_node());
    for event in watch::directory::load(directory.path(), step.objects.own_node())? {
        cluster.handle(event);
    }
    let known = compiler.services().map(|port| port.service.clone());
    let dirty: BTreeSet<_> = known.chain(cluster.services().keys().cloned()).collect();
    compiler.compile(&cluster, &dirty, 0);
    Ok(compiler.desired().clone())
}

fn check_line(kernel: &mut Kernel, pods: &BTreeSet<&str>, line: &PacketLine) -> Result<()> {
    let device = |name: &str| {
        let place = pods.iter().position(|pod| *pod == name);
        pod(place.with_context(|| format!("no pod {name}"))?)
    };
    let (direction, ifindex) = match &line.hook {
        Hook::FromPod(pod) => (Direction::FromPod, device(pod)?),
        Hook::ToPod(pod) => (Direction::ToPod, device(pod)?),
        Hook::FromNet => (Direction::FromNet, UPLINK),
        Hook::ToNet => (Direction::ToNet, UPLINK),
    };
    // What a pod sends arrives here, as what comes from the wire does.
    let ethernet = match direction {
        Direction::FromPod | Direction::FromNet => ARRIVING,
        _ => LEAVING,
    };
    let sent = frame(&line.packet, ethernet);
    let left = kernel.run(direction, ifindex, &sent)?;
    match &line.expected {
        Expected::Pass(packet) => expect_frame(&left, NEXT, &frame(packet, ethernet), packet),
        Expected::Redirect(packet) => {
            expect_frame(&left, REDIRECT, &frame(packet, LEAVING), packet)
        }
        Expected::Forward(packet) => {
            let mut packet = packet.clone();
            let hops = line.packet.options.hops.unwrap_or(HOP_LIMIT);
            packet.options.hops = Some(hops - 1);
            expect_frame(&left, REDIRECT, &frame(&packet, ethernet), &packet)
        }
        Expected::Reject => expect_error(&left, &line.packet, Kind::Unreachable),
        Expected::Exceeded => expect_error(&left, &line.packet, Kind::Exceeded),
        Expected::TooBig => expect_error(&left, &line.packet, Kind::TooBig),
        Expected::Drop(reason) => {
            let is_it = left.action == DROP
                && matches!(left.verdict, Verdict::Drop(_))
                && left.verdict.name() == reason;
            ensure!(
                is_it,
                "left with {:?} and action {}",
                left.verdict,
                left.action
            );
            Ok(())
        }
    }
}

fn expect_frame(left: &Left, action: i32, expected: &[u8], packet: &Packet) -> Result<()> {
    ensure!(
        left.action == action,
        "left with {:?} and action {}, not {action}",
        left.verdict,
        left.action
    );
    ensure!(
        left.frame == expected,
        "not {packet}\n     left as {:02x?}\n    expected {expected:02x?}",
        left.frame
    );
    Ok(())
}

/// An error in the frontend's name that quotes the headers of what was sent.
fn expect_error(left: &Left, sent: &Packet, kind: fn(Box<Packet>) -> Kind) -> Result<()> {
    let quoted = Packet {
        options: Options {
            length: 0,
            ..sent.options.clone()
        },
        ..sent.clone()
    };
    let full = frame(sent, ARRIVING);
    let error = Packet {
        source: std::net::SocketAddr::new(sent.destination.ip(), 0),
        destination: std::net::SocketAddr::new(sent.source.ip(), 0),
        kind: kind(Box::new(quoted)),
        options: Options::default(),
    };
    let mut expected = frame(&error, LEAVING);
    // The quoted headers are those of the whole packet, lengths and checksums included.
    let v4 = sent.source.is_ipv4();
    let (ip, icmp) = if v4 { (20, 34) } else { (40, 54) };
    let quoted_length = expected.len() - 14 - ip - 8;
    expected.truncate(14 + ip + 8);
    expected.extend(&full[14..14 + quoted_length]);
    expected[icmp + 2..icmp + 4].fill(0);
    let checksum = icmp_checksum(&expected, v4);
    expected[icmp + 2..icmp + 4].copy_from_slice(&checksum.to_be_bytes());
    expect_frame(left, REDIRECT, &expected, &error)
}

fn icmp_checksum(frame: &[u8], v4: bool) -> u16 {
    if v4 {
        return tests::wire::internet_checksum(&[&frame[34..]]);
    }
    let length = u32::try_from(frame.len() - 54)
        .expect("a frame is short")
        .to_be_bytes();
    tests::wire::internet_checksum(&[&frame[22..54], &length, &[0, 0, 0, 58], &frame[54..]])
}
