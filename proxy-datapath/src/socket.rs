//! Translation at a socket, so that no packet needs it: when it connects, or sends without.
//!
//! Pods' TCP, and the host's TCP and UDP (docs/decisions.md, "Which UDP is translated where"). What a
//! socket was told is remembered by its cookie, so that it is told the frontend's name again.

use crate::{
    family::{Family, Port, proto},
    frontend::{Choice, Client, backend, origin, select},
    tables::{FrontendKey, Services, SocketKey, SocketPeer, port_proto},
    verdict::code,
};

/// `SocketKey::port_proto`: the entry leads from a frontend to the socket's backend. Without it,
/// from the backend to the frontend that was dialled.
pub const TO_BACKEND: u32 = 1 << 31;

/// A socket that is about to speak to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial<F: Family> {
    pub cookie: [u32; 2],
    pub addr: F::Addr,
    pub port: Port,
    pub proto: u32,
    /// `1` for a socket of the host's network namespace, `0` for a pod's.
    pub host: u32,
}

/// The table that remembers translated sockets.
pub trait Sockets<F: Family>: Services<F> {
    fn socket(&self, key: &SocketKey<F>) -> Option<SocketPeer<F>>;
    fn insert_socket(&mut self, key: &SocketKey<F>, peer: &SocketPeer<F>);
}

/// Decides over `connect`.
#[inline(always)]
pub fn connect<F: Family, T: Sockets<F>>(
    dial: &Dial<F>,
    tables: &mut T,
    choice: &mut Choice<F>,
) -> u32 {
    if dial.proto != proto::TCP && (dial.proto != proto::UDP || dial.host == 0) {
        return code::PASS;
    }
    let verdict = select(&dial.frontend(), &dial.client(tables), tables, choice);
    if verdict == code::TRANSLATE {
        remember(dial, tables, choice);
    }
    verdict
}

/// Decides over one datagram of a UDP socket that is not connected: it keeps its backend, as a flow
/// does, for as long as there is one.
#[inline(always)]
pub fn sendmsg<F: Family, T: Sockets<F>>(
    dial: &Dial<F>,
    tables: &mut T,
    choice: &mut Choice<F>,
) -> u32 {
    if dial.host == 0 || dial.proto != proto::UDP {
        return code::PASS;
    }
    let way = SocketKey {
        cookie: dial.cookie,
        addr: dial.addr,
        port_proto: port_proto(dial.port, dial.proto) | TO_BACKEND,
    };
    if let Some(peer) = tables.socket(&way)
        && let Some(found) = tables.backend(peer.backend)
        && found.state != backend::GONE
        && found.addr == peer.addr
        && found.port_proto == peer.port_proto
    {
        *choice = Choice {
            id: peer.backend,
            addr: found.addr,
            port: found.port(),
            flags: found.flags,
        };
        // Another frontend with the same backend may have had the last answer.
        let told = way_back(dial, choice);
        if tables
            .socket(&told)
            .is_none_or(|told| told.addr != dial.addr)
        {
            remember(dial, tables, choice);
        }
        return code::TRANSLATE;
    }
    let verdict = select(&dial.frontend(), &dial.client(tables), tables, choice);
    if verdict == code::TRANSLATE {
        remember(dial, tables, choice);
        let peer = SocketPeer {
            addr: choice.addr,
            port_proto: port_proto(choice.port, dial.proto),
            backend: choice.id,
        };
        tables.insert_socket(&way, &peer);
    }
    verdict
}

/// The frontend that the socket dialled when it was led to this backend.
#[inline(always)]
pub fn dialled<F: Family, T: Sockets<F>>(dial: &Dial<F>, tables: &T) -> Option<SocketPeer<F>> {
    tables.socket(&SocketKey {
        cookie: dial.cookie,
        addr: dial.addr,
        port_proto: port_proto(dial.port, dial.proto),
    })
}

#[inline(always)]
fn remember<F: Family, T: Sockets<F>>(dial: &Dial<F>, tables: &mut T, choice: &Choice<F>) {
    let key = way_back(dial, choice);
    let peer = SocketPeer {
        addr: dial.addr,
        port_proto: port_proto(dial.port, dial.proto),
        backend: choice.id,
    };
    tables.insert_socket(&key, &peer);
}

/// The key under which the socket finds the frontend again that led it to this backend.
#[inline(always)]
const fn way_back<F: Family>(dial: &Dial<F>, choice: &Choice<F>) -> SocketKey<F> {
    SocketKey {
        cookie: dial.cookie,
        addr: choice.addr,
        port_proto: port_proto(choice.port, dial.proto),
    }
}

// === impl Dial ===

impl<F: Family> Dial<F> {
    #[inline(always)]
    const fn frontend(&self) -> FrontendKey<F> {
        FrontendKey::new(self.addr, self.port, self.proto)
    }

    /// The host's clients share the node's address (services.md 87). A pod's socket may have none
    /// yet.
    #[inline(always)]
    fn client<T: Services<F>>(&self, tables: &mut T) -> Client<F> {
        let host = self.host != 0;
        Client {
            addr: tables.node().map(|node| node.addr).unwrap_or_default(),
            origin: if host { origin::HOST } else { origin::SOCKET },
            hash: tables.random(),
        }
    }
}
