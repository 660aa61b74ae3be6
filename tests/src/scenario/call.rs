//! A call over the lab: `CLIENT tcp|udp ADDR:PORT => POD[,POD...]`, `=> refused` or `=> silent`.
//!
//! The client is a pod or a node. Of several pods each must answer in the end, and nobody else.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context, Result, ensure};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The line of the file.
    pub line: usize,
    pub client: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub to: SocketAddr,
    pub expected: Reply,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of each of these pods.
    From(BTreeSet<String>),
    Refused,
    /// Nothing comes back.
    Silent,
}

// === impl Call ===

impl Call {
    pub fn parse(text: &str, line: usize) -> Result<Self> {
        let (given, expected) = text.split_once("=>").context("no => in the call")?;
        let words: Vec<_> = given.split_whitespace().collect();
        let [client, protocol, to] = words[..] else {
            anyhow::bail!("a call is CLIENT PROTOCOL ADDR:PORT");
        };
        ensure!(
            ["tcp", "udp"].contains(&protocol),
            "{protocol} is neither tcp nor udp"
        );
        let expected = match expected.trim() {
            "refused" => Reply::Refused,
            "silent" => Reply::Silent,
            names => Reply::From(
                names
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect(),
            ),
        };
        Ok(Self {
            line,
            client: client.to_owned(),
            protocol: protocol.to_owned(),
            to: to.parse().with_context(|| format!("parse address {to}"))?,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_its_client_and_who_answers() {
        let call = Call::parse("client udp [fd00:96::10]:80 => near,far", 3).unwrap();
        assert_eq!((call.client.as_str(), call.line), ("client", 3));
        assert_eq!(call.to, "[fd00:96::10]:80".parse().unwrap());
        let names = ["near", "far"].map(str::to_owned).into();
        assert_eq!(call.expected, Reply::From(names));
    }

    #[test]
    fn a_call_without_an_expectation_is_an_error() {
        assert!(Call::parse("client tcp 10.96.0.10:80", 1).is_err());
        assert!(Call::parse("client sctp 10.96.0.10:80 => refused", 1).is_err());
    }
}
