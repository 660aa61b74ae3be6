//! What `trace` is asked, and the text that a question is written as.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::model::Protocol;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub from: Source,
    pub to: Destination,
    /// Without it, the source's address decides.
    pub at: Option<Place>,
}

/// `IP[:PORT]`, an IPv6 address with a port in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub addr: IpAddr,
    pub port: Option<u16>,
}

/// `IP:PORT/PROTO`, or `IP/icmp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Port {
        addr: SocketAddr,
        protocol: Protocol,
    },
    Icmp(IpAddr),
}

/// Where a packet meets the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It comes from a pod of this node.
    Pod,
    /// It comes from the node itself.
    Host,
    /// It arrives from outside of the node.
    Wire,
}

// === impl Source ===

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(addr) = parse_addr(text) {
            return Ok(Self { addr, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(addr) => Ok(Self {
                addr: addr.ip().to_canonical(),
                port: Some(addr.port()),
            }),
            Err(_) => Err(format!(
                "`{text}` is no source: write IP or IP:PORT, such as 10.1.0.5 or [fd00::5]:4000"
            )),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.addr, port).fmt(f),
            None => self.addr.fmt(f),
        }
    }
}

// === impl Destination ===

impl Destination {
    pub const fn addr(&self) -> IpAddr {
        match self {
            Self::Port { addr, .. } => addr.ip(),
            Self::Icmp(addr) => *addr,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (addr, protocol) = text.rsplit_once('/')?;
        if protocol.eq_ignore_ascii_case("icmp") {
            return parse_addr(addr).map(Self::Icmp);
        }
        let protocol = Protocol::parse(&protocol.to_ascii_uppercase())?;
        let addr: SocketAddr = addr.parse().ok()?;
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Some(Self::Port { addr, protocol })
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| {
            format!(
                "`{text}` is no destination: write IP:PORT/tcp, /udp or /sctp, or IP/icmp, such as \
                 10.96.0.10:80/tcp or [fd00:96::a]:53/udp"
            )
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { addr, protocol } => write!(f, "{addr}/{protocol}"),
            Self::Icmp(addr) => write!(f, "{addr}/icmp"),
        }
    }
}

// === impl Place ===

impl Place {
    pub const ALL: [Self; 3] = [Self::Pod, Self::Host, Self::Wire];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Host => "host",
            Self::Wire => "wire",
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|place| place.name() == text)
            .ok_or_else(|| format!("`{text}` is no place: write pod, host or wire"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A bare address; IPv6 may stand in brackets, and a v4-mapped one means the IPv4 address, as it
/// does for a socket.
fn parse_addr(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let addr: IpAddr = match bare {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => text.parse().ok()?,
    };
    Some(addr.to_canonical())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::bare("10.1.0.5")]
    #[case::with_port("10.1.0.5:4000")]
    #[case::bare_ipv6("fd00:10:1::5")]
    #[case::ipv6_with_port("[fd00:10:1::5]:4000")]
    fn a_source_reads_as_it_is_written(#[case] text: &str) {
        assert_eq!(
            text.parse::<Source>().map(|source| source.to_string()),
            Ok(text.to_owned())
        );
    }

    #[rstest]
    #[case::tcp("10.96.0.10:80/tcp", "10.96.0.10:80/tcp")]
    #[case::upper_case("10.96.0.10:53/UDP", "10.96.0.10:53/udp")]
    #[case::ipv6("[fd00:96::a]:80/sctp", "[fd00:96::a]:80/sctp")]
    #[case::icmp("10.96.0.10/icmp", "10.96.0.10/icmp")]
    #[case::bare_ipv6_icmp("fd00:96::a/icmp", "fd00:96::a/icmp")]
    #[case::ipv6_icmp_in_brackets("[fd00:96::a]/icmp", "fd00:96::a/icmp")]
    #[case::v4_mapped("[::ffff:10.96.0.10]:80/tcp", "10.96.0.10:80/tcp")]
    fn a_destination_reads_as_it_is_written(#[case] text: &str, #[case] back: &str) {
        assert_eq!(
            text.parse::<Destination>().map(|to| to.to_string()),
            Ok(back.to_owned())
        );
    }

    #[rstest]
    #[case::no_protocol("10.96.0.10:80")]
    #[case::no_port("10.96.0.10/tcp")]
    #[case::unknown_protocol("10.96.0.10:80/http")]
    #[case::ipv6_without_brackets("fd00:96::a:80/tcp")]
    #[case::port_too_large("10.96.0.10:65536/tcp")]
    #[case::icmp_with_a_port("10.96.0.10:80/icmp")]
    #[case::host_name("echo:80/tcp")]
    fn what_is_no_destination_is_said_with_an_example(#[case] text: &str) {
        let error = text.parse::<Destination>().unwrap_err();
        assert!(
            error.starts_with(&format!("`{text}` is no destination: write")),
            "{error}"
        );
    }
}
