//! Frames of 80 bytes, as the wrapper program writes them.

use std::net::{IpAddr, SocketAddr};

use proxy_datapath::family::proto;

pub(crate) const LENGTH: usize = 80;
const ETHERNET: usize = 14;

/// A frame, and where in it the ports of its ends stand.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) bytes: [u8; LENGTH],
    pub(crate) source_port: u32,
    pub(crate) destination_port: u32,
}

/// TCP flags, as they stand in the header.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// One packet of a flow; `flags` are TCP's. Its transport checksum is left to be wrong: programs
/// adjust what is there, whatever it is.
pub(crate) fn frame(from: SocketAddr, to: SocketAddr, proto: u32, flags: u8) -> Frame {
    let mut bytes = [0; LENGTH];
    let transport = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes[12..14].copy_from_slice(&[0x08, 0x00]);
            let header = &mut bytes[ETHERNET..ETHERNET + 20];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&length_after(ETHERNET));
            header[8] = 64;
            header[9] = proto as u8;
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&destination.octets());
            let sum = checksum(header);
            header[10..12].copy_from_slice(&sum);
            ETHERNET + 20
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
            let header = &mut bytes[ETHERNET..ETHERNET + 40];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&length_after(ETHERNET + 40));
            header[6] = proto as u8;
            header[7] = 64;
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
            ETHERNET + 40
        }
        _ => panic!("{from} and {to} are of two families"),
    };
    bytes[transport..transport + 2].copy_from_slice(&from.port().to_be_bytes());
    bytes[transport + 2..transport + 4].copy_from_slice(&to.port().to_be_bytes());
    if proto == proto::TCP {
        bytes[transport + 12] = 5 << 4;
        bytes[transport + 13] = flags;
    } else {
        bytes[transport + 4..transport + 6].copy_from_slice(&length_after(transport));
        bytes[transport + 6..transport + 8].copy_from_slice(&[0x12, 0x34]);
    }
    let source_port = transport as u32;
    Frame {
        bytes,
        source_port,
        destination_port: source_port + 2,
    }
}

const fn length_after(offset: usize) -> [u8; 2] {
    ((LENGTH - offset) as u16).to_be_bytes()
}

/// The Internet checksum.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
