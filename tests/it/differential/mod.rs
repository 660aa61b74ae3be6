//! The same random packets through the host's decision and through the loaded programs: verdict and
//! bytes must be equal, packet after packet, with the flows that both remember.
//!
//! Every frontend has a single backend, so that chance has no say. `DIFFERENTIAL_SEED` repeats a
//! run, `DIFFERENTIAL_PACKETS` makes it longer.

mod generator;
mod host;
mod tables;

use std::env;

use proxy_datapath::verdict::{Direction, DropReason, Verdict};
use switchboard::plan::MapState;
use tests::privileges;

use self::{generator::Generator, host::Host};
use crate::{
    kernel::{DROP, Kernel, NEXT, REDIRECT},
    namespace::{Namespace, UPLINK, pod},
};

const PACKETS: u64 = 20_000;

#[test]
fn host_and_kernel_decide_and_rewrite_alike() {
    if !privileges::are_there() {
        return;
    }
    let number = |name: &str| {
        env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let seed = number("DIFFERENTIAL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let packets = number("DIFFERENTIAL_PACKETS").unwrap_or(PACKETS);
    let maps = tables::maps();
    let namespace = Namespace::new("differential").unwrap();
    namespace
        .run(|| {
            compare(&maps, seed, packets);
            Ok(())
        })
        .unwrap();
}

fn compare(maps: &MapState, seed: u64, packets: u64) {
    let mut kernel = Kernel::load().unwrap();
    kernel.hold(maps).unwrap();
    let mut host = Host::new(maps);
    let device = pod(0).unwrap();
    let mut generator = Generator::new(seed);
    let mut seen = std::collections::BTreeMap::<_, u64>::new();
    for turn in 0..packets {
        let (direction, frame) = generator.packet();
        let ifindex = match direction {
            Direction::FromNet | Direction::ToNet => UPLINK,
            _ => device,
        };
        let expected = host.run(direction, ifindex, &frame);
        let left = kernel.run(direction, ifindex, &frame).unwrap();
        let action = match expected.verdict {
            Verdict::Pass | Verdict::Translate => NEXT,
            Verdict::Hairpin | Verdict::Reject | Verdict::Forward => REDIRECT,
            Verdict::Drop(_) => DROP,
        };
        let told = format!("seed {seed}, packet {turn}, {direction:?}: {frame:02x?}");
        assert_eq!(left.verdict, expected.verdict, "{told}");
        assert_eq!(left.action, action, "{told}");
        // A refusal's bytes are the kernel's alone, and have their scenarios.
        if expected.verdict != Verdict::Reject && !matches!(expected.verdict, Verdict::Drop(_)) {
            assert_eq!(left.frame, expected.frame, "{told}");
        }
        *seen.entry((direction, expected.verdict)).or_default() += 1;
        generator.follow(direction, &expected);
    }
    for wanted in [
        (Direction::FromPod, Verdict::Pass),
        (Direction::FromPod, Verdict::Translate),
        (Direction::FromPod, Verdict::Hairpin),
        (Direction::FromPod, Verdict::Reject),
        (Direction::ToPod, Verdict::Translate),
        (Direction::FromNet, Verdict::Pass),
        (Direction::FromNet, Verdict::Translate),
        (Direction::FromNet, Verdict::Forward),
        (Direction::FromNet, Verdict::Reject),
        (
            Direction::FromNet,
            Verdict::Drop(DropReason::SourceNotAdmitted),
        ),
        (
            Direction::FromNet,
            Verdict::Drop(DropReason::NoLocalBackend),
        ),
        (Direction::FromNet, Verdict::Drop(DropReason::NoSnatPort)),
        (
            Direction::FromNet,
            Verdict::Drop(DropReason::NoSuchClusterIp),
        ),
        (Direction::ToNet, Verdict::Translate),
    ] {
        assert!(
            seen.contains_key(&wanted),
            "seed {seed} never led to {wanted:?}: {seen:?}"
        );
    }
}
