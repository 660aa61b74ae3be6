//! What is measured: packets of each kind, and what must become of them.

use std::net::{IpAddr, SocketAddr};

use proxy_datapath::verdict::{Direction, code};

use crate::{
    cluster::{AWAY, Cluster, HERE, SPREAD},
    frame::{ACK, Frame, SYN, frame},
};

/// Every value that a port can have.
pub(crate) const FLOWS_MAX: u32 = 1 << 16;
const FLOWS: &[u32] = &[1, 256, FLOWS_MAX];

/// Packets of one kind, and what must become of each.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) direction: Direction,
    pub(crate) code: u32,
    pub(crate) frame: Frame,
    /// Where the frame has the port by which flows differ.
    pub(crate) port: u32,
    /// How many flows take turns.
    pub(crate) flows: &'static [u32],
}

/// Packets that share their flows.
pub(crate) struct Stage {
    /// First packets, each kind with no flow before it.
    pub(crate) new: Vec<Case>,
    /// First packets of the flows that `cases` are of.
    pub(crate) first: Case,
    pub(crate) cases: Vec<Case>,
}

/// Frames of one protocol.
#[derive(Clone, Copy)]
struct Frames {
    proto: u32,
}

pub(crate) fn stages<F: Cluster>(proto: u32) -> [Stage; 3] {
    let frames = Frames { proto };
    [pod::<F>(frames), here::<F>(frames), away::<F>(frames)]
}

/// A pod of this node is the client.
fn pod<F: Cluster>(frames: Frames) -> Stage {
    use Direction::{FromPod, ToPod};
    let (pod, vip) = (F::pod(), F::frontend(HERE));
    let new = || Case::sent("new", (FromPod, code::TRANSLATE), frames.syn(pod, vip));
    Stage {
        new: vec![new()],
        first: new(),
        cases: vec![
            Case::sent(
                "established",
                (FromPod, code::TRANSLATE),
                frames.ack(pod, vip),
            ),
            Case::answer(
                "established",
                (ToPod, code::TRANSLATE),
                frames.back(F::backend(HERE), pod),
            ),
            Case::sent(
                "not ours, first",
                (FromPod, code::PASS),
                frames.syn(pod, F::backend(SPREAD)),
            )
            .alone(),
            Case::sent(
                "not ours",
                (FromPod, code::PASS),
                frames.ack(pod, F::backend(SPREAD)),
            )
            .alone(),
            Case::answer(
                "not ours",
                (ToPod, code::PASS),
                frames.back(F::backend(SPREAD), pod),
            )
            .alone(),
        ],
    }
}

/// The client is outside, the backend on this node.
fn here<F: Cluster>(frames: Frames) -> Stage {
    use Direction::{FromNet, FromWire, ToNet};
    let (client, vip) = (F::outsider(), F::frontend(HERE));
    let stranger = F::backend(SPREAD);
    let node = SocketAddr::new(F::node(), stranger.port());
    let new = || {
        Case::sent(
            "new, backend here",
            (FromNet, code::TRANSLATE),
            frames.syn(client, vip),
        )
    };
    let mut cases = vec![
        Case::sent(
            "established, backend here",
            (FromNet, code::TRANSLATE),
            frames.ack(client, vip),
        ),
        Case::answer(
            "established, backend here",
            (ToNet, code::TRANSLATE),
            frames.back(F::backend(HERE), client),
        ),
        Case::sent(
            "established, backend here",
            (FromWire, code::PASS),
            frames.ack(client, vip),
        ),
        Case::answer(
            "not ours",
            (ToNet, code::PASS),
            frames.back(stranger, client),
        )
        .alone(),
    ];
    for direction in [FromNet, FromWire] {
        let passes = (direction, code::PASS);
        cases.extend([
            Case::sent("not ours, first", passes, frames.syn(client, stranger)).alone(),
            Case::sent("not ours", passes, frames.ack(client, stranger)).alone(),
            Case::sent("not ours, for the node", passes, frames.ack(client, node)).alone(),
        ]);
    }
    Stage {
        new: vec![new()],
        first: new(),
        cases,
    }
}

/// The client is outside, the backend on another node.
fn away<F: Cluster>(frames: Frames) -> Stage {
    let hooks = [Direction::FromNet, Direction::FromWire];
    let client = F::outsider();
    let first = |service, hook| {
        Case::sent(
            "new, masqueraded",
            (hook, code::FORWARD),
            frames.syn(client, F::frontend(service)),
        )
    };
    let follow = |hook| {
        [
            Case::sent(
                "established, masqueraded",
                (hook, code::FORWARD),
                frames.ack(client, F::frontend(AWAY)),
            ),
            Case::answer(
                "reply, masqueraded",
                (hook, code::FORWARD),
                frames.back(F::backend(AWAY), F::node()),
            ),
        ]
    };
    Stage {
        new: hooks.map(|hook| first(SPREAD, hook)).into(),
        first: first(AWAY, Direction::FromNet),
        cases: hooks.into_iter().flat_map(follow).collect(),
    }
}

// === impl Case ===

impl Case {
    /// Flows differ by the source's port.
    const fn sent(name: &'static str, (direction, code): (Direction, u32), frame: Frame) -> Self {
        Self {
            name,
            direction,
            code,
            port: frame.source_port,
            frame,
            flows: FLOWS,
        }
    }

    /// Flows differ by the destination's port.
    const fn answer(name: &'static str, ends: (Direction, u32), frame: Frame) -> Self {
        Self {
            port: frame.destination_port,
            ..Self::sent(name, ends, frame)
        }
    }

    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.direction.name(), self.name)
    }

    /// One flow is enough: what is none of ours leaves nothing behind that could be large.
    const fn alone(self) -> Self {
        Self {
            flows: &[1],
            ..self
        }
    }
}

// === impl Frames ===

impl Frames {
    fn syn(self, from: IpAddr, to: SocketAddr) -> Frame {
        frame(SocketAddr::new(from, 0), to, self.proto, SYN)
    }

    fn ack(self, from: IpAddr, to: SocketAddr) -> Frame {
        frame(SocketAddr::new(from, 0), to, self.proto, ACK)
    }

    fn back(self, from: SocketAddr, to: IpAddr) -> Frame {
        frame(from, SocketAddr::new(to, 0), self.proto, ACK)
    }
}
