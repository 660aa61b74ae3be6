//! A netlink socket for requests, one at a time.
//!
//! The kernel answers a dump while it is being read, so these calls block for as long as the kernel
//! works and no longer.

use std::{io, time::Duration};

use netlink_packet_core::{
    DecodeError, ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// The kernel writes 32 KiB at once at most.
const BUFFER_LEN: usize = 64 * 1024;
/// After so many attempts a dump that changes under our hands is taken as it is: what interrupted
/// it is also an event, after which everything is read again.
const ATTEMPTS_MAX: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    #[error("{operation} over netlink")]
    Request {
        operation: &'static str,
        source: io::Error,
    },
    #[error("{operation} over netlink: the answer cannot be read")]
    Answer {
        operation: &'static str,
        source: DecodeError,
    },
}

pub struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    /// Something changed meanwhile; parts may be missing or doubled.
    Interrupted,
}

// === impl Error ===

impl Error {
    /// The error number of the kernel's answer, if that is what went wrong.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source) | Self::Request { source, .. } => source.raw_os_error(),
            Self::Answer { .. } => None,
        }
    }
}

// === impl Requests ===

impl Requests {
    /// Opens a socket for one of the netlink protocols.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(protocol)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
            Ok(socket)
        };
        let socket = open().map_err(Error::Open)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER_LEN],
        })
    }

    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Asks for everything that matches, and returns what `keep` makes of each part.
    pub fn dump<Q, R, T>(
        &mut self,
        operation: &'static str,
        request: Q,
        mut keep: impl FnMut(R) -> Option<T>,
    ) -> Result<Vec<T>, Error>
    where
        Q: NetlinkSerializable,
        R: NetlinkDeserializable,
    {
        let mut message = message(request, NLM_F_REQUEST | NLM_F_DUMP);
        let mut kept = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            kept.clear();
            self.send(operation, &mut message)?;
            let end = self.receive(operation, |part| kept.extend(keep(part)))?;
            if end == End::Complete {
                break;
            }
        }
        Ok(kept)
    }

    /// Asks for something to be done.
    pub fn execute<Q>(&mut self, operation: &'static str, request: Q) -> Result<(), Error>
    where
        Q: NetlinkSerializable + NetlinkDeserializable,
    {
        self.execute_with(operation, request, 0)
    }

    /// The same with flags such as `NLM_F_CREATE`.
    pub fn execute_with<Q>(
        &mut self,
        operation: &'static str,
        request: Q,
        flags: u16,
    ) -> Result<(), Error>
    where
        Q: NetlinkSerializable + NetlinkDeserializable,
    {
        let mut message = message(request, NLM_F_REQUEST | NLM_F_ACK | flags);
        self.send(operation, &mut message)?;
        self.receive(operation, |_: Q| ())?;
        Ok(())
    }

    fn send(
        &mut self,
        operation: &'static str,
        message: &mut NetlinkMessage<impl NetlinkSerializable>,
    ) -> Result<(), Error> {
        // While an answer has not been read to its end the kernel refuses another (EBUSY).
        while self
            .socket
            .recv(&mut &mut self.buffer[..], libc::MSG_DONTWAIT)
            .is_ok()
        {}
        self.sequence = self.sequence.wrapping_add(1);
        message.header.sequence_number = self.sequence;
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket
            .send(&bytes, 0)
            .map_err(|source| Error::Request { operation, source })
            .map(|_sent| ())
    }

    /// Reads the answer to the last request to its end.
    fn receive<R: NetlinkDeserializable>(
        &mut self,
        operation: &'static str,
        mut on_part: impl FnMut(R),
    ) -> Result<End, Error> {
        let failed = |source| Error::Request { operation, source };
        let unreadable = |source| Error::Answer { operation, source };
        let mut end = End::Complete;
        loop {
            let received = self
                .socket
                .recv(&mut &mut self.buffer[..], 0)
                .map_err(failed)?;
            let mut rest = self.buffer.get(..received).unwrap_or(&self.buffer);
            while rest.len() >= HEADER_LEN {
                let part = NetlinkMessage::<R>::deserialize(rest).map_err(unreadable)?;
                // Messages are padded to four bytes.
                let padded = (part.header.length as usize).next_multiple_of(4);
                rest = rest.get(padded..).unwrap_or_default();
                if part.header.sequence_number != self.sequence {
                    // Of an answer that was given up.
                    continue;
                }
                if part.header.flags & NLM_F_DUMP_INTR != 0 {
                    end = End::Interrupted;
                }
                match part.payload {
                    NetlinkPayload::InnerMessage(part) => on_part(part),
                    NetlinkPayload::Done(done) => {
                        return check(done.code).map_err(failed).map(|()| end);
                    }
                    NetlinkPayload::Error(ErrorMessage { code, .. }) => {
                        let code = code.map_or(0, i32::from);
                        return check(code).map_err(failed).map(|()| end);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn message<Q: NetlinkSerializable>(request: Q, flags: u16) -> NetlinkMessage<Q> {
    let mut message =
        NetlinkMessage::new(Default::default(), NetlinkPayload::InnerMessage(request));
    message.header.flags = flags;
    message.finalize();
    message
}

/// Codes are negative error numbers, 0 for none.
fn check(code: i32) -> io::Result<()> {
    if code < 0 {
        Err(io::Error::from_raw_os_error(-code))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::{RouteNetlinkMessage, address::AddressMessage, link::LinkMessage};
    use netlink_sys::protocols::NETLINK_ROUTE;

    use super::*;

    #[test]
    fn rest_of_an_unread_answer_is_not_taken_for_the_next() {
        let mut requests = Requests::open(NETLINK_ROUTE).unwrap();
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut unread = message(links, NLM_F_REQUEST | NLM_F_DUMP);
        requests.send("list devices", &mut unread).unwrap();

        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answer = requests.dump("list addresses", addresses, Some).unwrap();
        let is_address = |part| matches!(part, &RouteNetlinkMessage::NewAddress(_));
        assert!(answer.iter().all(is_address), "{answer:?}");
    }

    #[test]
    fn refusal_carries_the_error_number() {
        let mut requests = Requests::open(NETLINK_ROUTE).unwrap();
        let mut nameless = LinkMessage::default();
        nameless.header.index = u32::MAX >> 1;
        let refused = requests.execute("delete", RouteNetlinkMessage::DelLink(nameless));
        let errno = refused.unwrap_err().errno();
        assert!(
            matches!(errno, Some(libc::ENODEV | libc::EPERM)),
            "{errno:?}"
        );
    }
}
