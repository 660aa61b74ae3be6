//! From packet notation to bytes, with every length and checksum right.
//!
//! Written out by hand: the suites need fragments, extension headers, SCTP and packets inside ICMP
//! errors, which no packet builder offers together.

use std::net::{IpAddr, SocketAddr};

use crate::scenario::packet::{Fragment, Kind, Packet};

/// The host's and the pod's end of a device.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const POD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
/// What a packet begins with if nothing is said.
pub const HOP_LIMIT: u8 = 64;

/// The frame that the notation stands for. `ethernet` is the destination and the source.
pub fn frame(packet: &Packet, ethernet: [[u8; 6]; 2]) -> Vec<u8> {
    let ethertype: u16 = if packet.source.is_ipv4() {
        0x0800
    } else {
        0x86dd
    };
    let mut frame = ethernet.concat();
    frame.extend(ethertype.to_be_bytes());
    frame.extend(ip(packet));
    frame
}

/// An IP packet; in a fragment, the part of the datagram that it carries.
fn ip(packet: &Packet) -> Vec<u8> {
    let (protocol, mut payload) = match packet.options.fragment {
        Some(Fragment { offset, .. }) if offset > 0 => (
            protocol(&packet.kind, packet.source),
            vec![0xab; packet.options.length],
        ),
        _ => transport(packet),
    };
    if let Some(cut) = packet.options.cut {
        payload.truncate(cut);
    }
    match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let options: &[u8] = if packet.options.ip_options {
                &[1, 1, 1, 1]
            } else {
                &[]
            };
            let header = 20 + options.len();
            let total = u16::try_from(header + payload.len()).expect("a packet is below 64 KiB");
            let (id, fragment) = fragment4(packet.options.fragment);
            let mut bytes = vec![
                0x40 | u8::try_from(header / 4).expect("at most 15 words"),
                0,
            ];
            bytes.extend(total.to_be_bytes());
            bytes.extend(id.to_be_bytes());
            bytes.extend(fragment.to_be_bytes());
            bytes.extend([hops(packet), protocol, 0, 0]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend(options);
            let checksum = internet_checksum(&[&bytes]);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
            bytes.extend(payload);
            bytes
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (next, extensions) = extensions6(packet, protocol);
            let length = u16::try_from(extensions.len() + payload.len()).expect("below 64 KiB");
            let mut bytes = vec![0x60, 0, 0, 0];
            bytes.extend(length.to_be_bytes());
            bytes.extend([next, hops(packet)]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend(extensions);
            bytes.extend(payload);
            bytes
        }
        (source, destination) => panic!("{source} and {destination} are of two families"),
    }
}

fn hops(packet: &Packet) -> u8 {
    packet.options.hops.unwrap_or(HOP_LIMIT)
}

fn fragment4(fragment: Option<Fragment>) -> (u16, u16) {
    fragment.map_or((0, 0x4000), |Fragment { id, offset, more }| {
        let id = u16::try_from(id).expect("an IPv4 identification has 16 bits");
        (id, (u16::from(more) << 13) | (offset / 8))
    })
}

/// The next header's number and the extension headers, if the packet has any.
fn extensions6(packet: &Packet, protocol: u8) -> (u8, Vec<u8>) {
    const DESTINATION_OPTIONS: u8 = 60;
    const FRAGMENT: u8 = 44;
    let mut next = protocol;
    let mut bytes = Vec::new();
    if let Some(Fragment { id, offset, more }) = packet.options.fragment {
        bytes = vec![next, 0];
        bytes.extend((offset | u16::from(more)).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        next = FRAGMENT;
    }
    if packet.options.ip_options {
        // One option of padding.
        bytes.splice(0..0, [next, 0, 1, 4, 0, 0, 0, 0]);
        next = DESTINATION_OPTIONS;
    }
    (next, bytes)
}

const fn protocol(kind: &Kind, source: SocketAddr) -> u8 {
    match kind {
        Kind::Tcp(_) => TCP,
        Kind::Udp => UDP,
        Kind::Sctp => SCTP,
        Kind::Echo | Kind::Unreachable(_) | Kind::TooBig(_) | Kind::Exceeded(_) => {
            if source.is_ipv4() { 1 } else { 58 }
        }
    }
}

/// The protocol and its header with payload.
fn transport(packet: &Packet) -> (u8, Vec<u8>) {
    let protocol = protocol(&packet.kind, packet.source);
    let ports = [
        packet.source.port().to_be_bytes(),
        packet.destination.port().to_be_bytes(),
    ];
    let payload: Vec<u8> = (0..packet.options.length).map(|at| at as u8).collect();
    let mut bytes = ports.concat();
    let checksum_at = match &packet.kind {
        Kind::Tcp(flags) => {
            bytes.extend([
                0,
                0,
                0,
                1,
                0,
                0,
                0,
                0,
                0x50,
                tcp_flags(flags),
                0xff,
                0xff,
                0,
                0,
                0,
                0,
            ]);
            16
        }
        Kind::Udp => {
            let length = u16::try_from(8 + payload.len()).expect("below 64 KiB");
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0]);
            6
        }
        Kind::Sctp => {
            bytes.extend([0, 0, 0, 7, 0, 0, 0, 0]);
            bytes.extend(payload);
            let checksum = crc32c(&bytes);
            bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
            return (protocol, bytes);
        }
        Kind::Echo | Kind::Unreachable(_) | Kind::TooBig(_) | Kind::Exceeded(_) => {
            bytes = icmp(packet);
            2
        }
    };
    bytes.extend(payload);
    if !packet.options.no_checksum {
        let checksum = match (&packet.kind, packet.source.is_ipv4()) {
            (Kind::Echo | Kind::Unreachable(_) | Kind::TooBig(_) | Kind::Exceeded(_), true) => {
                internet_checksum(&[&bytes])
            }
            _ => internet_checksum(&[&pseudo_header(packet, protocol, bytes.len()), &bytes]),
        };
        let checksum = if checksum == 0 && protocol == UDP {
            0xffff
        } else {
            checksum
        };
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    (protocol, bytes)
}

fn icmp(packet: &Packet) -> Vec<u8> {
    let v4 = packet.source.is_ipv4();
    let (head, quoted): ([u8; 8], _) = match (&packet.kind, v4) {
        (Kind::Unreachable(quoted), true) => ([3, 3, 0, 0, 0, 0, 0, 0], Some(quoted)),
        (Kind::Unreachable(quoted), false) => ([1, 4, 0, 0, 0, 0, 0, 0], Some(quoted)),
        (Kind::TooBig(quoted), true) => ([3, 4, 0, 0, 0, 0, 0x05, 0x14], Some(quoted)),
        (Kind::TooBig(quoted), false) => ([2, 0, 0, 0, 0, 0, 0x05, 0x14], Some(quoted)),
        (Kind::Exceeded(quoted), true) => ([11, 0, 0, 0, 0, 0, 0, 0], Some(quoted)),
        (Kind::Exceeded(quoted), false) => ([3, 0, 0, 0, 0, 0, 0, 0], Some(quoted)),
        (_, true) => ([8, 0, 0, 0, 0, 1, 0, 1], None),
        (_, false) => ([128, 0, 0, 0, 0, 1, 0, 1], None),
    };
    let mut bytes = head.to_vec();
    bytes.extend(quoted.into_iter().flat_map(|quoted| ip(quoted)));
    bytes
}

fn tcp_flags(names: &str) -> u8 {
    names.chars().fold(0, |flags, name| {
        flags
            | match name {
                'F' => 0x01,
                'S' => 0x02,
                'R' => 0x04,
                'P' => 0x08,
                'A' => 0x10,
                'U' => 0x20,
                other => panic!("{other} is no TCP flag"),
            }
    })
}

fn pseudo_header(packet: &Packet, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for end in [packet.source, packet.destination] {
        match end.ip() {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
    }
    let length = u32::try_from(length).expect("below 64 KiB");
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

/// RFC 1071, over parts of even length but for the last.
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// RFC 9260, appendix A.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    })
}
