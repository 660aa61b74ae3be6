//! Packet notation: `POD out|in PACKET => PACKET pass|redirect`, or `=> reject`, `=> drop REASON`.
//! On the wire: `net in|out PACKET`, seen from this node, where `=> PACKET forward` is sent to its
//! next hop, and `=> exceeded` or `=> too-big` answered with why it is not.
//!
//! A packet is `SOURCE > DESTINATION KIND`, where KIND is TCP flags (`S`, `SA`, `FA` …), `udp`,
//! `sctp`, `echo`, or an ICMP error `unreachable [PACKET]`, `too-big [PACKET]` or `exceeded
//! [PACKET]` with the packet it quotes; then options: `len=BYTES` of payload, `id=N` and
//! `offset=BYTES` and `more` of a fragment, `no-checksum`, `options` for IP options or an
//! extension header, `hops=N` for a hop limit other than 64, `cut=BYTES` for a packet that ends
//! so many bytes after its IP header. Checksums and lengths are always checked and never
//! mentioned, nor is that a forwarded packet has a hop less.

use std::{fmt, net::SocketAddr};

use anyhow::{Context, Result, bail, ensure};

/// One packet at one hook, and what must become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketLine {
    /// The line of the file.
    pub line: usize,
    pub hook: Hook,
    pub packet: Packet,
    pub expected: Expected,
}

/// Where it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Sent by this pod.
    FromPod(String),
    /// About to be received by this pod.
    ToPod(String),
    /// Arrives at this node.
    FromNet,
    /// Leaves this node.
    ToNet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The port is 0 where the kind has none.
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub kind: Kind,
    pub options: Options,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The flags, in the order of the notation.
    Tcp(String),
    Udp,
    Sctp,
    Echo,
    /// Destination unreachable, port unreachable, with the packet it is about.
    Unreachable(Box<Packet>),
    /// Fragmentation needed, packet too big; 1300 bytes would not be.
    TooBig(Box<Packet>),
    /// Hop limit exceeded.
    Exceeded(Box<Packet>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Bytes of payload.
    pub length: usize,
    pub fragment: Option<Fragment>,
    /// UDP without a checksum.
    pub no_checksum: bool,
    /// IPv4 options, or an IPv6 extension header.
    pub ip_options: bool,
    /// How much of the transport header and payload there is, if not all.
    pub cut: Option<usize>,
    /// The hop limit, if it is not the usual one.
    pub hops: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    pub id: u32,
    /// In bytes; a later fragment has no transport header.
    pub offset: u16,
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Goes on up the stack like this.
    Pass(Packet),
    /// Is sent on like this, by-passing the stack.
    Redirect(Packet),
    /// Is sent to its next hop like this, with a hop less.
    Forward(Packet),
    /// Is answered with port unreachable.
    Reject,
    /// Is answered with its hop limit exceeded.
    Exceeded,
    /// Is answered with what it may be at the most.
    TooBig,
    /// The drop reason.
    Drop(String),
}

// === impl PacketLine ===

impl PacketLine {
    pub fn parse(text: &str, line: usize) -> Result<Self> {
        let (given, expected) = text
            .split_once("=>")
            .context("no => in the packet's line")?;
        let mut words = Words::new(given);
        let device = words.next().context("no pod")?;
        let hook = match (device, words.next()) {
            ("net", Some("in")) => Hook::FromNet,
            ("net", Some("out")) => Hook::ToNet,
            (pod, Some("out")) => Hook::FromPod(pod.to_owned()),
            (pod, Some("in")) => Hook::ToPod(pod.to_owned()),
            (_, other) => bail!("{other:?} is neither out nor in"),
        };
        let packet = words.packet()?;
        words.end()?;
        Ok(Self {
            line,
            hook,
            packet,
            expected: Expected::parse(expected)?,
        })
    }
}

// === impl Expected ===

impl Expected {
    fn parse(text: &str) -> Result<Self> {
        let mut words = Words::new(text);
        let expected = match words.peek() {
            Some("reject") => {
                words.next();
                Self::Reject
            }
            Some("exceeded") => {
                words.next();
                Self::Exceeded
            }
            Some("too-big") => {
                words.next();
                Self::TooBig
            }
            Some("drop") => {
                words.next();
                Self::Drop(words.next().context("no drop reason")?.to_owned())
            }
            _ => {
                let packet = words.packet()?;
                match words.next() {
                    Some("pass") => Self::Pass(packet),
                    Some("redirect") => Self::Redirect(packet),
                    Some("forward") => Self::Forward(packet),
                    other => bail!("{other:?} is not pass, redirect or forward"),
                }
            }
        };
        words.end()?;
        Ok(expected)
    }
}

// === impl Packet ===

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |addr: SocketAddr| match addr.port() {
            0 => addr.ip().to_string(),
            _ => addr.to_string(),
        };
        write!(f, "{} > {} ", end(self.source), end(self.destination))?;
        match &self.kind {
            Kind::Tcp(flags) => f.write_str(flags)?,
            Kind::Udp => f.write_str("udp")?,
            Kind::Sctp => f.write_str("sctp")?,
            Kind::Echo => f.write_str("echo")?,
            Kind::Unreachable(inner) => write!(f, "unreachable [{inner}]")?,
            Kind::TooBig(inner) => write!(f, "too-big [{inner}]")?,
            Kind::Exceeded(inner) => write!(f, "exceeded [{inner}]")?,
        }
        let Options {
            length,
            fragment,
            no_checksum,
            ip_options,
            cut,
            hops,
        } = self.options;
        if length != 0 {
            write!(f, " len={length}")?;
        }
        if let Some(Fragment { id, offset, more }) = fragment {
            write!(f, " id={id} offset={offset}")?;
            f.write_str(if more { " more" } else { "" })?;
        }
        f.write_str(if no_checksum { " no-checksum" } else { "" })?;
        f.write_str(if ip_options { " options" } else { "" })?;
        if let Some(cut) = cut {
            write!(f, " cut={cut}")?;
        }
        hops.map_or(Ok(()), |hops| write!(f, " hops={hops}"))
    }
}

// === words ===

/// The words of a line; brackets are words of their own.
struct Words<'a>(std::iter::Peekable<std::vec::IntoIter<&'a str>>);

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let words: Vec<_> = text.split_whitespace().flat_map(split_brackets).collect();
        Self(words.into_iter().peekable())
    }

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn peek(&mut self) -> Option<&'a str> {
        self.0.peek().copied()
    }

    fn end(&mut self) -> Result<()> {
        let rest = self.next();
        ensure!(rest.is_none(), "{rest:?} is one word too many");
        Ok(())
    }

    fn packet(&mut self) -> Result<Packet> {
        let source = parse_end(self.next().context("no source")?)?;
        ensure!(self.next() == Some(">"), "no > after the source");
        let destination = parse_end(self.next().context("no destination")?)?;
        let kind = match self.next().context("no kind of packet")? {
            "udp" => Kind::Udp,
            "sctp" => Kind::Sctp,
            "echo" => Kind::Echo,
            "unreachable" => Kind::Unreachable(Box::new(self.quoted()?)),
            "too-big" => Kind::TooBig(Box::new(self.quoted()?)),
            "exceeded" => Kind::Exceeded(Box::new(self.quoted()?)),
            flags if flags.chars().all(|flag| "SAFRPU".contains(flag)) => {
                Kind::Tcp(flags.to_owned())
            }
            other => bail!("{other:?} is no kind of packet"),
        };
        Ok(Packet {
            source,
            destination,
            kind,
            options: self.options()?,
        })
    }

    fn quoted(&mut self) -> Result<Packet> {
        ensure!(self.next() == Some("["), "no [ before the quoted packet");
        let packet = self.packet()?;
        ensure!(self.next() == Some("]"), "no ] after the quoted packet");
        Ok(packet)
    }

    fn options(&mut self) -> Result<Options> {
        let mut options = Options::default();
        while let Some(word) = self.peek() {
            match word.split_once('=') {
                Some(("len", value)) => options.length = value.parse()?,
                Some(("cut", value)) => options.cut = Some(value.parse()?),
                Some(("hops", value)) => options.hops = Some(value.parse()?),
                Some(("id", value)) => {
                    options.fragment.get_or_insert_default().id = value.parse()?;
                }
                Some(("offset", value)) => {
                    options.fragment.get_or_insert_default().offset = value.parse()?;
                }
                None if word == "more" => options.fragment.get_or_insert_default().more = true,
                None if word == "no-checksum" => options.no_checksum = true,
                None if word == "options" => options.ip_options = true,
                _ => break,
            }
            self.next();
        }
        Ok(options)
    }
}

/// Brackets around a quoted packet stand alone; those of `[fd00::1]:80` belong to the address.
fn split_brackets(word: &str) -> Vec<&str> {
    let is_address = word.contains("]:");
    match (word.strip_prefix('['), word.strip_suffix(']')) {
        (Some(rest), _) if !is_address && !rest.is_empty() => vec!["[", rest],
        (Some(rest), _) if rest.starts_with('[') => vec!["[", rest],
        (_, Some(rest)) if !rest.is_empty() => vec![rest, "]"],
        _ => vec![word],
    }
}

/// `ADDR`, `ADDR:PORT`, `[ADDR]:PORT`.
fn parse_end(text: &str) -> Result<SocketAddr> {
    let bare = text.parse().map(|addr| SocketAddr::new(addr, 0));
    bare.or_else(|_| text.parse())
        .with_context(|| format!("parse address {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_into_its_parts() {
        let text = "client out 10.1.0.5:4000 > 10.96.0.10:80 S \
                    => 10.1.0.5:4000 > 10.1.0.9:8080 S redirect";
        let line = PacketLine::parse(text, 7).unwrap();
        assert_eq!(line.hook, Hook::FromPod("client".to_owned()));
        assert_eq!(line.line, 7);
        assert_eq!(line.packet.destination, "10.96.0.10:80".parse().unwrap());
        assert_eq!(line.packet.kind, Kind::Tcp("S".to_owned()));
        let Expected::Redirect(packet) = &line.expected else {
            panic!("{line:?}")
        };
        assert_eq!(packet.to_string(), "10.1.0.5:4000 > 10.1.0.9:8080 S");
    }

    #[test]
    fn the_wire_is_a_device_of_its_own() {
        let text = "net in 192.0.2.7:4000 > 10.0.0.1:30080 S \
                    => 10.0.0.1:2000 > 10.1.1.9:8080 S forward";
        let line = PacketLine::parse(text, 7).unwrap();
        assert_eq!(line.hook, Hook::FromNet);
        assert!(matches!(line.expected, Expected::Forward(_)), "{line:?}");
    }

    #[test]
    fn every_kind_survives_the_round_trip() {
        for text in [
            "10.1.0.5:4000 > 10.96.0.10:53 udp len=12 no-checksum",
            "[fd00:1::5]:4000 > [fd00:96::10]:80 SA options",
            "10.1.0.5:1 > 10.96.0.10:2 sctp",
            "10.1.0.5:1 > 10.96.0.10:2 S options cut=8",
            "10.1.0.5 > 10.96.0.10 echo",
            "10.1.0.9 > 10.1.0.5 unreachable [10.1.0.5:4000 > 10.1.0.9:53 udp len=8]",
            "fd00:1::9 > fd00:1::5 too-big [[fd00:1::5]:4000 > [fd00:1::9]:53 udp]",
            "10.1.0.5:4000 > 10.96.0.10:53 udp len=1400 id=7 offset=0 more",
            "192.0.2.7:4000 > 10.0.0.1:30080 S hops=1",
        ] {
            let mut words = Words::new(text);
            let packet = words.packet().unwrap();
            words.end().unwrap();
            assert_eq!(packet.to_string(), text);
        }
    }

    #[test]
    fn refusals_need_no_packet() {
        let given = "client out 10.1.0.5:4000 > 10.96.0.10:80 S";
        let parse = |expected| PacketLine::parse(&format!("{given} => {expected}"), 1);
        assert_eq!(parse("reject").unwrap().expected, Expected::Reject);
        let dropped = Expected::Drop("no-local-backend".to_owned());
        assert_eq!(parse("drop no-local-backend").unwrap().expected, dropped);
        assert!(parse("drop").is_err());
        assert!(parse("reject it").is_err());
    }
}
