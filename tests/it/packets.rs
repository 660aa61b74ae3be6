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
        packet::{Direction as Way, Expected, Kind, Options, Packet, PacketLine},
    },
    wire::{HOST_MAC, POD_MAC, frame},
};

use crate::kernel::{DROP, Kernel, Left, NEXT, REDIRECT};

const FROM_POD: [[u8; 6]; 2] = [HOST_MAC, POD_MAC];
const TO_POD: [[u8; 6]; 2] = [POD_MAC, HOST_MAC];

#[test]
fn packets_leave_as_the_scenarios_say() {
    if !privileges::are_there() {
        return;
    }
    let mut failures = Vec::new();
    let mut lines = 0;
    for file in scenario::files() {
        let scenario = Scenario::read(&file).unwrap();
        lines += scenario
            .steps
            .iter()
            .map(|step| step.packets.len())
            .sum::<usize>();
        if let Err(error) = check(&scenario) {
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
    let mut compiler = Compiler::new();
    for step in &scenario.steps {
        kernel.hold(&compile(&mut compiler, step)?)?;
        for line in &step.packets {
            check_line(&mut kernel, line)
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

fn check_line(kernel: &mut Kernel, line: &PacketLine) -> Result<()> {
    let (direction, ethernet) = match line.direction {
        Way::Out => (Direction::FromPod, FROM_POD),
        Way::In => (Direction::ToPod, TO_POD),
    };
    let sent = frame(&line.packet, ethernet);
    let left = kernel.run(direction, &sent)?;
    match &line.expected {
        Expected::Pass(packet) => expect_frame(&left, NEXT, &frame(packet, ethernet), packet),
        Expected::Redirect(packet) => expect_frame(&left, REDIRECT, &frame(packet, TO_POD), packet),
        Expected::Reject => expect_reject(&left, &line.packet),
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

/// Port unreachable, in the frontend's name, that quotes the headers of what was sent.
fn expect_reject(left: &Left, sent: &Packet) -> Result<()> {
    let quoted = Packet {
        options: Options {
            length: 0,
            ..sent.options.clone()
        },
        ..sent.clone()
    };
    let full = frame(sent, FROM_POD);
    let error = Packet {
        source: std::net::SocketAddr::new(sent.destination.ip(), 0),
        destination: std::net::SocketAddr::new(sent.source.ip(), 0),
        kind: Kind::Unreachable(Box::new(quoted)),
        options: Options::default(),
    };
    let mut expected = frame(&error, TO_POD);
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
