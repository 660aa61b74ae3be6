//! Random packets around a few services: new flows, replies, errors, fragments, and damage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_datapath::{
    family::{Family, Ipv6, Port, proto},
    frontend::backend,
    tables::{Backend, Frontend, FrontendKey, port_proto},
    verdict::{Direction, Verdict},
};
use switchboard::plan::{FamilyState, MapState};
use tests::{
    scenario::packet::{Fragment, Kind, Options, Packet},
    wire::{HOST_MAC, POD_MAC, frame},
};

use super::host::Left;

/// Translated frames that later packets answer.
const REMEMBERED: usize = 64;
const CLIENT: u8 = 5;
/// Frontends by their address's last byte: to another pod, to the client itself, to nobody.
const REMOTE: u8 = 10;
const ITSELF: u8 = 11;
const NOBODY: u8 = 12;
const FRONTEND_PORT: u16 = 80;
const BACKEND_PORT: u16 = 8080;
const PROTOCOLS: [u32; 3] = [proto::TCP, proto::UDP, proto::SCTP];

pub(crate) struct Generator {
    state: u64,
    translated: Vec<(Direction, Vec<u8>)>,
}

/// The tables that both sides get.
pub(crate) fn maps() -> MapState {
    let mut maps = MapState::default();
    fill(&mut maps.v4, &mut maps.slots);
    fill::<Ipv6>(&mut maps.v6, &mut maps.slots);
    maps
}

fn fill<F: Family>(state: &mut FamilyState<F>, slots: &mut std::collections::BTreeMap<u32, u32>) {
    let v6 = F::NUMBER == 6;
    let mut id = 0;
    for protocol in PROTOCOLS {
        for vip in [REMOTE, ITSELF, NOBODY] {
            let addr = F::from_ip(vip_addr(v6, vip)).expect("of the family");
            let key = FrontendKey::new(addr, Port::new(FRONTEND_PORT), protocol);
            let slot = id + if v6 { 100 } else { 0 };
            let mut frontend = Frontend {
                base: slot,
                count: 0,
                flags: 0,
                service: id,
            };
            if vip != NOBODY {
                let pod = if vip == ITSELF { CLIENT } else { 9 };
                let addr = F::from_ip(pod_addr(v6, pod)).expect("of the family");
                let port_proto = port_proto(Port::new(BACKEND_PORT), protocol);
                let value = Backend {
                    addr,
                    port_proto,
                    state: backend::ACTIVE,
                    service: id,
                };
                state.backends.insert(id, value);
                slots.insert(slot, id);
                frontend.count = 1;
            }
            state.frontends.insert(key, frontend);
            state.vips.insert(addr, 1);
            id += 1;
        }
    }
}

fn vip_addr(v6: bool, last: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10, 96, 0, last).into()
    }
}

fn pod_addr(v6: bool, last: u8) -> IpAddr {
    if v6 {
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10, 1, 0, last).into()
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
        let (direction, mut frame) = match self.below(8) {
            0 | 1 if !self.translated.is_empty() => self.answer(),
            2 => self.error(),
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
        if !matches!(left.verdict, Verdict::Translate | Verdict::Hairpin) {
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
        let last = [REMOTE, REMOTE, ITSELF, NOBODY, 13][self.below(5)];
        let port = [FRONTEND_PORT, FRONTEND_PORT, FRONTEND_PORT, 81][self.below(4)];
        let frontend = SocketAddr::new(vip_addr(v6, last), port);
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
        // What went to the pod comes from it, and the other way round.
        let direction = match way {
            Direction::ToPod => Direction::FromPod,
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
