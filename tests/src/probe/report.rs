//! What probes tell the lab, and servers their clients.

use std::{collections::BTreeMap, io, net::SocketAddr};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What a server says about the request that it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The server's name.
    pub name: String,
    /// The client's address as the server sees it; a v4-mapped one in its IPv4 form.
    pub client: SocketAddr,
    /// Length of the request.
    pub bytes: usize,
    /// The number that the request began with.
    pub sequence: u64,
}

/// One request, or the opening of a socket, as the client saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    pub answer: Option<Answer>,
    /// `timeout`, or the name of the error number.
    pub error: Option<String>,
    /// What getsockname and getpeername say.
    pub local: Option<SocketAddr>,
    pub peer: Option<SocketAddr>,
    /// Where the answer to an unconnected socket came from.
    pub from: Option<SocketAddr>,
    pub micros: u64,
}

/// What became of the requests of a load so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub sent: u64,
    pub answered: u64,
    /// Answers by server.
    pub by_name: BTreeMap<String, u64>,
    /// Failures by error.
    pub errors: BTreeMap<String, u64>,
    pub median_micros: u64,
    pub max_micros: u64,
}

// === impl Exchange ===

impl Exchange {
    /// Who answered; empty if nobody did.
    pub fn name(&self) -> &str {
        self.answer.as_ref().map_or("", |answer| &answer.name)
    }

    pub fn failed_with(&self, error: &str) -> bool {
        self.error.as_deref() == Some(error)
    }

    pub const fn is_answered(&self) -> bool {
        self.answer.is_some()
    }
}

/// The name that `errno(3)` has for an error; `timeout` for all that mean one.
pub(super) fn error_name(error: &io::Error) -> String {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw_os_error) else {
        return format!("{:?}", error.kind());
    };
    let name = match errno {
        Errno::AGAIN | Errno::INPROGRESS => "timeout",
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::CONNRESET => "ECONNRESET",
        Errno::CONNABORTED => "ECONNABORTED",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::MSGSIZE => "EMSGSIZE",
        Errno::PERM => "EPERM",
        Errno::PIPE => "EPIPE",
        Errno::NOTCONN => "ENOTCONN",
        Errno::ADDRINUSE => "EADDRINUSE",
        Errno::DESTADDRREQ => "EDESTADDRREQ",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.to_owned()
}
