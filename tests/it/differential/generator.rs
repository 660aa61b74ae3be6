//! Random packets around a few services: new flows, replies, errors, fragments, and damage, from a
//! pod and from the wire.

use std::net::{IpAddr, SocketAddr};

use proxy_datapath::verdict::{Direction, Verdict};
use tests::{
    scenario::packet::{Fragment, Kind, Options, Packet},
    wire::{HOST_MAC, POD_MAC, frame},
};

use super::{
    host::Left,
    tables::{
        BACKEND_PORT, CLIENT, FRONTEND_PORT, ITSELF, NOBODY, NODE_PORTS, NOT_HERE, REMOTE,
        SNAT_PORT, SOME_SOURCES, far, node_addr, pod_addr, vip_addr,
    },
};

/// Translated frames that later packets answer.
const REMEMBERED: usize = 64;
pub(crate) struct Generator {
    state: u64,
    translated: Vec<(Direction, Vec<u8>)>,
}

/// The client pod's address as a packet has it.
fn client_bytes(v6: bool) -> Vec<u8> {
    match pod_addr(v6, CLIENT) {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

// === impl Generator ===

impl Generator {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            state: seed ^ 0x9e37_79b9_7f4a_7c15,
            translated: Vec::new(),
        }
    }

    pub(crate) fn packet(&mut self) -> (Direction, Vec<u8>) {
        let (direction, mut frame) = match self.below(12) {
            0..3 if !self.translated.is_empty() => self.answer(),
            3 => self.error(),
            4..8 => self.arriving(),
            _ => self.fresh(),
        };
        match self.below(12) {
            0 => self.flip(&mut frame),
            1 => self.cut(&mut frame),
            _ => {}
        }
        (direction, frame)
    }

    /// Remembers what was translated, to answer it.
    pub(crate) fn follow(&mut self, direction: Direction, left: &Left) {
        let translates = [Verdict::Translate, Verdict::Hairpin, Verdict::Forward];
        if !translates.contains(&left.verdict) {
            return;
        }
        let way = if left.verdict == Verdict::Hairpin {
            Direction::ToPod
        } else {
            direction
        };
        let memory = (way, left.frame.clone());
        if self.translated.len() < REMEMBERED {
            self.translated.push(memory);
        } else {
            let place = self.below(REMEMBERED);
            self.translated[place] = memory;
        }
    }

    fn fresh(&mut self) -> (Direction, Vec<u8>) {
        let v6 = self.below(2) == 0;
        let frontend = self.frontend(v6);
        let backend = SocketAddr::new(pod_addr(v6, 9), BACKEND_PORT);
        let packet = Packet {
            source: SocketAddr::new(pod_addr(v6, CLIENT), self.client_port()),
            destination: if self.below(8) == 0 {
                backend
            } else {
                frontend
            },
            kind: self.kind(),
            options: self.options(),
        };
        (Direction::FromPod, frame(&packet, [HOST_MAC, POD_MAC]))
    }

    /// A packet that comes to this node: for a frontend, or for itself.
    fn arriving(&mut self) -> (Direction, Vec<u8>) {
        let v6 = self.below(2) == 0;
        let source = match self.below(4) {
            // A pod of another node.
            0 => pod_addr(v6, 9),
            _ => far(v6),
        };
        let destination = match self.below(6) {
            0 => SocketAddr::new(node_addr(v6), SNAT_PORT),
            _ => self.frontend(v6),
        };
        let mut options = self.options();
        options.hops = [None, None, None, Some(1), Some(2)][self.below(5)];
        let packet = Packet {
            source: SocketAddr::new(source, self.client_port()),
            destination,
            kind: self.kind(),
            options,
        };
        (Direction::FromNet, frame(&packet, [HOST_MAC, POD_MAC]))
    }

    /// Something that is dialled.
    fn frontend(&mut self, v6: bool) -> SocketAddr {
        if self.below(4) == 0 {
            let port = [NODE_PORTS[0], NODE_PORTS[1], 30082][self.below(3)];
            return SocketAddr::new(node_addr(v6), port);
        }
        let all = [REMOTE, REMOTE, ITSELF, NOBODY, NOT_HERE, SOME_SOURCES, 13];
        let last = all[self.below(all.len())];
        let port = [FRONTEND_PORT, FRONTEND_PORT, FRONTEND_PORT, 81][self.below(4)];
        SocketAddr::new(vip_addr(v6, last), port)
    }

    /// A packet in the other direction of one that was translated: addresses and ports swapped.
    fn answer(&mut self) -> (Direction, Vec<u8>) {
        let place = self.below(self.translated.len());
        let (way, mut frame) = self.translated[place].clone();
        let (at, length, header) = if frame[12] == 0x08 {
            (26, 4, usize::from(frame[14] & 0xf) * 4)
        } else {
            (22, 16, 40)
        };
        let (source, destination) = frame[at..at + 2 * length].split_at_mut(length);
        source.swap_with_slice(destination);
        let ports = 14 + header;
        if let Some(ports) = frame.get_mut(ports..ports + 4) {
            ports.rotate_left(2);
        }
        // What went to the pod comes from it, and the other way round; what the wire was led to a
        // pod of this node leaves it again.
        let to_itself = frame[at..].starts_with(&client_bytes(frame[12] != 0x08));
        let direction = match way {
            Direction::ToPod => Direction::FromPod,
            Direction::FromNet if to_itself => Direction::ToNet,
            Direction::FromNet => Direction::FromNet,
            Direction::ToNet => Direction::FromNet,
            _ => Direction::ToPod,
        };
        (direction, frame)
    }

    /// An ICMP error about a packet of a flow, from the far end, a router, or the pod.
    fn error(&mut self) -> (Direction, Vec<u8>) {
        let v6 = self.below(2) == 0;
        let client = SocketAddr::new(pod_addr(v6, CLIENT), self.client_port());
        let backend = SocketAddr::new(pod_addr(v6, 9), BACKEND_PORT);
        let frontend = SocketAddr::new(vip_addr(v6, REMOTE), FRONTEND_PORT);
        let inward = self.below(2) == 0;
        let (source, destination) = if inward {
            (client, backend)
        } else {
            (frontend, client)
        };
        let kind = self.kind();
        let length = self.below(24);
        let options = Options {
            length,
            ip_options: self.below(6) == 0,
            ..Options::default()
        };
        let quoted = Box::new(Packet {
            source,
            destination,
            kind,
            options,
        });
        let kind = match self.below(2) {
            0 => Kind::Unreachable(quoted),
            _ => Kind::TooBig(quoted),
        };
        let far = if inward { backend.ip() } else { client.ip() };
        let near = if inward { client.ip() } else { frontend.ip() };
        let source = if self.below(3) == 0 {
            pod_addr(v6, 200)
        } else {
            far
        };
        let packet = Packet {
            source: SocketAddr::new(source, 0),
            destination: SocketAddr::new(near, 0),
            kind,
            options: Options::default(),
        };
        if inward {
            (Direction::ToPod, frame(&packet, [POD_MAC, HOST_MAC]))
        } else {
            (Direction::FromPod, frame(&packet, [HOST_MAC, POD_MAC]))
        }
    }

    fn kind(&mut self) -> Kind {
        match self.below(10) {
            0..4 => Kind::Tcp(["S", "S", "A", "FA", "R", "SA"][self.below(6)].to_owned()),
            4..8 => Kind::Udp,
            8 => Kind::Sctp,
            _ => Kind::Echo,
        }
    }

    fn options(&mut self) -> Options {
        let fragment = (self.below(6) == 0).then(|| Fragment {
            id: self.below(4) as u32,
            offset: [0, 0, 8, 24, 64][self.below(5)],
            more: self.below(3) != 0,
        });
        Options {
            length: self.below(80),
            fragment,
            no_checksum: self.below(8) == 0,
            ip_options: self.below(8) == 0,
            cut: (self.below(16) == 0).then(|| self.below(24)),
            hops: None,
        }
    }

    /// Damages a byte behind the Ethernet header.
    fn flip(&mut self, frame: &mut [u8]) {
        let place = 14 + self.below(frame.len() - 14);
        frame[place] ^= 1 << self.below(8);
    }

    /// Cuts the end off; the kernel runs no program for less than an IP header.
    fn cut(&mut self, frame: &mut Vec<u8>) {
        let least = if frame[12] == 0x08 { 34 } else { 54 };
        let length = least + self.below(frame.len() - least + 1);
        frame.truncate(length);
    }

    /// Few, so that flows meet again.
    const fn client_port(&mut self) -> u16 {
        4000 + self.below(8) as u16
    }

    /// SplitMix64.
    const fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit as u64) as usize
    }
}
