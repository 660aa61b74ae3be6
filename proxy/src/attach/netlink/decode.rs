//! Devices, addresses and routes as the kernel's replies describe them: only what discovery reads.

use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NlaBuffer, NlasIterator, parse_i32,
    parse_ip, parse_string, parse_u32,
};

/// Not in every libc (linux/rtnetlink.h).
const RTA_VIA: u16 = 18;
/// `IFLA_XDP_ATTACHED` and what it says where the driver has no part in it (linux/if_link.h).
const IFLA_XDP_ATTACHED: u16 = 2;
const XDP_ATTACHED_SKB: u8 = 2;
/// The flags of an address that is the second choice at best.
const SECONDARY: u32 = libc::IFA_F_SECONDARY
    | libc::IFA_F_DEPRECATED
    | libc::IFA_F_TENTATIVE
    | libc::IFA_F_OPTIMISTIC
    | libc::IFA_F_DADFAILED;
/// `struct rtnexthop`: length, flags, hops, interface.
const NEXT_HOP_LEN: usize = 8;

/// A network device of our own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub ifindex: u32,
    pub ifname: String,
    pub loopback: bool,
    /// Whether its packets begin with an Ethernet header.
    pub ethernet: bool,
    pub up: bool,
    /// As `ip -details link` names it: `veth`, `bridge`, `vxlan`; none for most real devices.
    pub kind: Option<String>,
    /// The bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// The device it is tied to: the other end of a veth. An index in the namespace `netnsid`.
    pub peer: Option<u32>,
    /// Our number for the namespace of `peer`, if that is not our own; negative if the kernel gives
    /// none, because the namespace is about to go.
    pub netnsid: Option<i32>,
    /// Whether an XDP program is on it that its driver does not run.
    pub generic_xdp: bool,
}

/// An address on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub ifindex: u32,
    pub addr: IpAddr,
    /// Others know it too: neither this link's alone nor this machine's.
    pub global: bool,
    /// The kernel would rather send from another: it is secondary, temporary or deprecated, or
    /// whether it is unique is not known yet.
    pub secondary: bool,
}

/// One next hop of a unicast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub ifindex: u32,
    /// Destination prefix length; `0` is a default route.
    pub prefix_len: u8,
    /// Whether the destination is behind another router.
    pub gateway: bool,
}

/// A message that is read as `T`; `None` if it is of another type.
pub(super) struct Reply<T>(pub(super) Option<T>);

/// What `Reply` can be read as.
pub(super) trait Decode: Sized {
    const MESSAGE_TYPE: u16;

    fn decode(payload: &[u8]) -> Result<Self, DecodeError>;
}

/// The next hops of one route.
pub(super) type NextHops = Vec<Route>;

// === impl Reply ===

impl<T: Decode> NetlinkDeserializable for Reply<T> {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        if header.message_type == T::MESSAGE_TYPE {
            T::decode(payload).map(|decoded| Self(Some(decoded)))
        } else {
            Ok(Self(None))
        }
    }
}

// === impl Link ===

impl Decode for Link {
    const MESSAGE_TYPE: u16 = libc::RTM_NEWLINK;

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct ifinfomsg: family, padding, type: u16, index: i32, flags, change.
        let (header, attributes) = split_header::<16>(payload)?;
        let device_type = u16::from_ne_bytes([header[2], header[3]]);
        let mut link = Self {
            ifindex: word(header, 4),
            loopback: device_type == libc::ARPHRD_LOOPBACK,
            ethernet: device_type == libc::ARPHRD_ETHER,
            up: word(header, 8) & libc::IFF_UP as u32 != 0,
            ..Self::default()
        };
        each_attribute(attributes, |kind, value| {
            match kind {
                libc::IFLA_IFNAME => link.ifname = parse_string(value)?,
                libc::IFLA_LINKINFO => link.kind = info_kind(value)?,
                libc::IFLA_MASTER => link.master = Some(parse_u32(value)?),
                libc::IFLA_LINK => link.peer = Some(parse_u32(value)?),
                libc::IFLA_LINK_NETNSID => link.netnsid = Some(parse_i32(value)?),
                libc::IFLA_XDP => link.generic_xdp = has_generic_xdp(value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(link)
    }
}

fn info_kind(info: &[u8]) -> Result<Option<String>, DecodeError> {
    let mut name = None;
    each_attribute(info, |kind, value| {
        if kind == libc::IFLA_INFO_KIND {
            name = Some(parse_string(value)?);
        }
        Ok(())
    })?;
    Ok(name)
}

fn has_generic_xdp(xdp: &[u8]) -> Result<bool, DecodeError> {
    let mut generic = false;
    each_attribute(xdp, |kind, value| {
        if kind == IFLA_XDP_ATTACHED {
            generic = value == [XDP_ATTACHED_SKB];
        }
        Ok(())
    })?;
    Ok(generic)
}

// === impl Address ===

impl Decode for Address {
    const MESSAGE_TYPE: u16 = libc::RTM_NEWADDR;

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let (header, attributes) = split_header::<8>(payload)?;
        let (mut local, mut address) = (None, None);
        let mut flags = u32::from(header[2]);
        each_attribute(attributes, |kind, value| {
            match kind {
                // The header has room for the first eight only.
                libc::IFA_FLAGS => flags = parse_u32(value)?,
                libc::IFA_LOCAL => local = Some(parse_ip(value)?),
                libc::IFA_ADDRESS => address = Some(parse_ip(value)?),
                _ => {}
            }
            Ok(())
        })?;
        // On a point-to-point device `IFA_ADDRESS` is the other end's.
        let addr = local
            .or(address)
            .ok_or_else(|| DecodeError::from("address without address"))?;
        Ok(Self {
            ifindex: word(header, 4),
            addr,
            global: header[3] < libc::RT_SCOPE_LINK,
            secondary: flags & SECONDARY != 0,
        })
    }
}

// === impl NextHops ===

impl Decode for NextHops {
    const MESSAGE_TYPE: u16 = libc::RTM_NEWROUTE;

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        // struct rtmsg: family, destination length, source length, tos, table, protocol, scope,
        // type, flags: u32.
        let (header, attributes) = split_header::<12>(payload)?;
        let (prefix_len, route_type) = (header[1], header[7]);
        let mut hops = Self::new();
        if route_type != libc::RTN_UNICAST {
            return Ok(hops);
        }
        let (mut ifindex, mut gateway) = (None, false);
        each_attribute(attributes, |kind, value| {
            match kind {
                libc::RTA_OIF => ifindex = Some(parse_u32(value)?),
                libc::RTA_GATEWAY | RTA_VIA => gateway = true,
                libc::RTA_MULTIPATH => hops = multipath(value, prefix_len)?,
                _ => {}
            }
            Ok(())
        })?;
        hops.extend(ifindex.map(|ifindex| Route {
            ifindex,
            prefix_len,
            gateway,
        }));
        Ok(hops)
    }
}

fn multipath(mut bytes: &[u8], prefix_len: u8) -> Result<Vec<Route>, DecodeError> {
    let mut hops = Vec::new();
    while bytes.len() >= NEXT_HOP_LEN {
        let (header, _) = split_header::<NEXT_HOP_LEN>(bytes)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let attributes = bytes
            .get(NEXT_HOP_LEN..length)
            .ok_or_else(|| DecodeError::from("next hop longer than its route"))?;
        let mut gateway = false;
        each_attribute(attributes, |kind, _| {
            gateway |= matches!(kind, libc::RTA_GATEWAY | RTA_VIA);
            Ok(())
        })?;
        hops.push(Route {
            ifindex: word(header, 4),
            prefix_len,
            gateway,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(hops)
}

fn split_header<const LEN: usize>(bytes: &[u8]) -> Result<(&[u8; LEN], &[u8]), DecodeError> {
    bytes
        .split_first_chunk()
        .ok_or_else(|| DecodeError::buffer_too_small(bytes.len(), LEN))
}

fn word<const LEN: usize>(header: &[u8; LEN], at: usize) -> u32 {
    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn each_attribute(
    bytes: &[u8],
    mut on_attribute: impl FnMut(u16, &[u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    for attribute in NlasIterator::new(bytes) {
        let attribute: NlaBuffer<&[u8]> = attribute?;
        on_attribute(attribute.kind(), attribute.value())?;
    }
    Ok(())
}
