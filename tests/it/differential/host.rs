//! The decision crate on the host, over tables in memory.

use proxy_datapath::{
    family::{Ipv4, Ipv6},
    flow, net,
    packet::{Packet, Rewrite, shape},
    parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, parse},
    plain,
    rewrite::rewrite,
    verdict::{Direction, DropReason, Verdict, code},
    wire::{Buffer, Bytes as _, Sum},
};
use switchboard::{observe::Simulation, plan::MapState};

pub(crate) struct Host<'a> {
    v4: Simulation<'a, Ipv4>,
    v6: Simulation<'a, Ipv6>,
}

/// How a packet left.
pub(crate) struct Left {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

// === impl Host ===

impl<'a> Host<'a> {
    pub(crate) fn new(maps: &'a MapState) -> Self {
        Self {
            v4: Simulation::new(&maps.v4, &maps.slots),
            v6: Simulation::new(&maps.v6, &maps.slots),
        }
    }

    /// What becomes of a frame that passes the device of this index.
    pub(crate) fn run(&mut self, direction: Direction, ifindex: u32, frame: &[u8]) -> Left {
        let mut frame = frame.to_vec();
        let ethertype = Buffer(&mut frame).load::<u16>(12);
        let verdict = match ethertype {
            Some(ETHERTYPE_IPV4) => run(&mut self.v4, direction, ifindex, &mut frame),
            Some(ETHERTYPE_IPV6) => run(&mut self.v6, direction, ifindex, &mut frame),
            _ => Verdict::Pass,
        };
        if verdict == Verdict::Hairpin {
            let (ends, _) = frame.split_at_mut(12);
            ends.rotate_left(6);
        }
        Left { verdict, frame }
    }
}

fn run<F: Header>(
    tables: &mut Simulation<'_, F>,
    direction: Direction,
    ifindex: u32,
    frame: &mut [u8],
) -> Verdict {
    let on_wire = matches!(direction, Direction::FromNet | Direction::ToNet);
    let endpoint = if on_wire { 0 } else { ifindex };
    let general = |bytes: &mut Buffer<'_>, tables: &mut Simulation<'_, F>| {
        decide(bytes, tables, direction, endpoint)
    };
    let bytes = &mut Buffer(frame);
    let decided = if on_wire {
        general(bytes, tables)
    } else {
        plain::run::<F, _, _>(bytes, tables, direction, endpoint, general)
    };
    Verdict::from_code(decided).expect("a decision is a code")
}

/// Every kind of packet, stage by stage.
fn decide<F: Header>(
    bytes: &mut Buffer<'_>,
    tables: &mut Simulation<'_, F>,
    direction: Direction,
    endpoint: u32,
) -> u32 {
    let mut packet = Packet::<F>::default();
    let mut layout = Layout::default();
    packet.key.endpoint = endpoint;
    parse(bytes, &mut packet, &mut layout);
    let mut new = Rewrite::of(&packet.key);
    let decided = match direction {
        Direction::FromPod => flow::from_pod(&packet, tables, &mut new),
        Direction::ToPod => flow::to_pod(&packet, tables, &mut new),
        Direction::FromNet => net::from_net(&packet, tables, &mut new),
        _ => net::to_net(&packet, tables, &mut new),
    };
    let translates = matches!(decided, code::TRANSLATE | code::HAIRPIN | code::FORWARD);
    if decided == code::FORWARD && hops::<F>(bytes) <= 1 {
        // Its sender is told, unless it is an error itself.
        return if packet.shape == shape::ICMP_ERROR {
            DropReason::HopLimit.code()
        } else {
            code::REJECT
        };
    }
    if translates && rewrite(bytes, &packet, &layout, &new).is_none() {
        return DropReason::RewriteFailed.code();
    }
    if decided == code::FORWARD {
        one_hop_less::<F>(bytes);
    }
    decided
}

const fn hops_at<F: Header>() -> usize {
    if F::NUMBER == 4 { 22 } else { 21 }
}

fn hops<F: Header>(bytes: &Buffer<'_>) -> u8 {
    bytes.0[hops_at::<F>()]
}

/// Counts this node as a hop.
fn one_hop_less<F: Header>(bytes: &mut Buffer<'_>) {
    /// The word with the hop limit, and the checksum.
    const WORD: u32 = 22;
    const CHECKSUM: u32 = 24;
    let hops = hops_at::<F>();
    let old = bytes.load::<u16>(WORD).expect("it was parsed");
    bytes.0[hops] -= 1;
    let new = bytes.load::<u16>(WORD).expect("it was parsed");
    if F::NUMBER == 4 {
        let checksum = bytes.load::<u16>(CHECKSUM).expect("it was parsed");
        let change = Sum::of(old.into(), new.into());
        bytes.store(CHECKSUM, change.apply(checksum));
    }
}
