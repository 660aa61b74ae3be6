//! From a frontend to one of its backends.

use crate::{
    family::{Family, Port, stir},
    tables::{
        Affinity, AffinityKey, Backend, Frontend, FrontendKey, RANGES_MAX, Services, port_of,
    },
    verdict::{DropReason, code},
};

/// `Frontend::flags`: somebody answers somewhere, so that an empty set drops and does not refuse
/// (services.md 65–67).
pub const ANSWERED: u32 = 1 << 0;
/// The set for clients in the cluster is the one of this node's backends.
pub const LOCAL: u32 = 1 << 1;
/// The set for the wire is the one of this node's backends.
pub const WIRE_LOCAL: u32 = 1 << 2;
/// Only sources that the service port admits (services.md 80).
pub const SOURCE_RANGES: u32 = 1 << 3;
/// The set is a Maglev table: a flow's tuple draws, so that every node draws alike.
pub const MAGLEV: u32 = 1 << 4;
/// What the frontend is, for people: `kind` in these bits.
pub const KIND_SHIFT: u32 = 8;

/// What a frontend's address is.
pub mod kind {
    pub const CLUSTER_IP: u32 = 0;
    pub const NODE_PORT: u32 = 1;
    pub const EXTERNAL_IP: u32 = 2;
    pub const LOAD_BALANCER: u32 = 3;
}

/// What the table of addresses says of one.
pub mod address {
    /// Some frontend has it.
    pub const FRONTEND: u32 = 1 << 0;
    /// A Service's ClusterIP: ports that are not the Service's are refused (services.md 72).
    pub const CLUSTER_IP: u32 = 1 << 1;
    /// Node ports are served here (services.md 90).
    pub const NODE_PORT: u32 = 1 << 2;
    /// This node's own.
    pub const NODE: u32 = 1 << 3;
    /// A loopback address where node ports are served: the host's alone, since everybody else who
    /// says it means another machine (services.md 95).
    pub const LOCALHOST: u32 = 1 << 4;
}

/// Places in the table of ranges.
pub mod range {
    /// Sources that count as pods of the cluster wherever they are (services.md 62).
    pub const PODS: u32 = 0;
    /// The first of those that ClusterIPs come from (services.md 73).
    pub const SERVICES: u32 = 1;
}

/// `Backend::state` and `Backend::flags`.
pub mod backend {
    /// The entry is free.
    pub const GONE: u32 = 0;
    /// In a set that new flows choose from.
    pub const ACTIVE: u32 = 1;
    /// Still serves the flows it has (services.md 110), gets no new ones.
    pub const TERMINATING: u32 = 2;

    /// On this node.
    pub const HERE: u32 = 1 << 0;
    /// In the set for clients of the whole cluster.
    pub const IN_CLUSTER_SET: u32 = 1 << 1;
    /// In the set of this node's backends.
    pub const IN_LOCAL_SET: u32 = 1 << 2;
}

/// Who begins a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<F: Family> {
    /// Whatever it is while `origin` is `SOCKET`.
    pub addr: F::Addr,
    /// One of `origin`.
    pub origin: u32,
    /// Draws where the set is a Maglev table.
    pub hash: u32,
}

/// Where a flow begins. By the hook, never by the address (services.md, section 3).
pub mod origin {
    /// A pod of this node, by a packet.
    pub const POD: u32 = 0;
    /// This node itself.
    pub const HOST: u32 = 1;
    /// Anywhere else.
    pub const WIRE: u32 = 2;
    /// A pod of this node, at a socket that may not have an address yet.
    pub const SOCKET: u32 = 3;
}

/// The backend that was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice<F: Family> {
    pub id: u32,
    pub addr: F::Addr,
    pub port: Port,
    /// `backend::HERE` and others.
    pub flags: u32,
}

/// Draws a backend for a new flow, uniformly (services.md 49). `PASS` if nothing is known of the
/// frontend; `choice` is set for `TRANSLATE` only.
#[inline(always)]
pub fn select<F: Family, T: Services<F>>(
    key: &FrontendKey<F>,
    client: &Client<F>,
    tables: &mut T,
    choice: &mut Choice<F>,
) -> u32 {
    let what = tables.address(&key.addr);
    if what == 0 {
        return no_frontend(key, tables);
    }
    let Some(frontend) = find(key, what, client.origin, tables) else {
        return if what & address::CLUSTER_IP != 0 {
            code::REJECT
        } else {
            code::PASS
        };
    };
    let asks_for_client = frontend.affinity != 0 || frontend.flags & SOURCE_RANGES != 0;
    if client.origin == origin::SOCKET && asks_for_client {
        // Its packets tell.
        return code::PASS;
    }
    if frontend.flags & SOURCE_RANGES != 0 && !tables.admits(frontend.service, client.addr) {
        return DropReason::SourceNotAdmitted.code();
    }
    let set = Set::of(&frontend, client, tables);
    if set.count == 0 {
        return refuse(&frontend);
    }
    match draw(&frontend, &set, client, tables) {
        Some((id, found)) if found.state != backend::GONE => {
            *choice = Choice {
                id,
                addr: found.addr,
                port: port_of(found.port_proto),
                flags: found.flags,
            };
            code::TRANSLATE
        }
        _ => DropReason::BackendMissing.code(),
    }
}

/// A Service's own address comes before the node's (services.md 44).
#[inline(always)]
fn find<F: Family, T: Services<F>>(
    key: &FrontendKey<F>,
    what: u32,
    origin: u32,
    tables: &T,
) -> Option<Frontend> {
    let mut found = None;
    if what & address::FRONTEND != 0 {
        found = tables.frontend(key);
    }
    let node_ports = what & address::NODE_PORT != 0
        || (what & address::LOCALHOST != 0 && origin == origin::HOST);
    if found.is_none() && node_ports {
        found = tables.frontend(&FrontendKey {
            addr: F::Addr::default(),
            port_proto: key.port_proto,
        });
    }
    found
}

/// Whether a new flow to this address may be anything but none of ours.
#[inline(always)]
pub(crate) fn concerns<F: Family, T: Services<F>>(addr: &F::Addr, tables: &T) -> bool {
    let key = FrontendKey {
        addr: *addr,
        port_proto: 0,
    };
    tables.address(addr) != 0 || no_frontend(&key, tables) != code::PASS
}

/// What becomes of a new flow to an address that is none of ours (services.md 73).
#[inline(always)]
pub(crate) fn no_frontend<F: Family, T: Services<F>>(key: &FrontendKey<F>, tables: &T) -> u32 {
    let mut index = range::SERVICES;
    while index < RANGES_MAX {
        let Some(range) = tables.range(index) else {
            break;
        };
        if range.mask == F::Addr::default() {
            break;
        }
        if F::within(&key.addr, range) {
            return DropReason::NoSuchClusterIp.code();
        }
        index += 1;
    }
    code::PASS
}

/// What a frontend without backends does (services.md 65–67).
#[inline(always)]
pub const fn refuse(frontend: &Frontend) -> u32 {
    if frontend.flags & ANSWERED != 0 {
        DropReason::NoLocalBackend.code()
    } else {
        code::REJECT
    }
}

/// The slots that a client's flow is drawn from.
struct Set {
    base: u32,
    count: u32,
    /// `backend::IN_CLUSTER_SET` or `backend::IN_LOCAL_SET`.
    member: u32,
}

impl Set {
    /// Pods and processes of the cluster choose from everywhere, the wire from where traffic may go
    /// (services.md 47). A pod of another node counts as one if its address is a pod's (62).
    #[inline(always)]
    fn of<F: Family, T: Services<F>>(frontend: &Frontend, client: &Client<F>, tables: &T) -> Self {
        let outside = client.origin == origin::WIRE
            && tables
                .range(range::PODS)
                .is_none_or(|pods| !F::within(&client.addr, pods));
        let (base, count, local) = if outside {
            (frontend.wire_base, frontend.wire_count, WIRE_LOCAL)
        } else {
            (frontend.base, frontend.count, LOCAL)
        };
        Self {
            base,
            count,
            member: if frontend.flags & local != 0 {
                backend::IN_LOCAL_SET
            } else {
                backend::IN_CLUSTER_SET
            },
        }
    }
}

/// The backend of the client's last flow, if it may stay (services.md 83–87), else a new one.
#[inline(always)]
fn draw<F: Family, T: Services<F>>(
    frontend: &Frontend,
    set: &Set,
    client: &Client<F>,
    tables: &mut T,
) -> Option<(u32, Backend<F>)> {
    if frontend.affinity == 0 {
        return draw_any(frontend, set, client, tables);
    }
    let key = AffinityKey {
        client: client.addr,
        service: frontend.service,
    };
    let used_s = tables.now_s();
    let stays = tables.affinity(&key).and_then(|known| {
        let found = tables.backend(known.backend)?;
        let fresh = used_s.saturating_sub(known.used_s) <= frontend.affinity;
        let is_member = found.service == frontend.service
            && found.state == backend::ACTIVE
            && found.flags & set.member != 0;
        (fresh && is_member).then_some((known.backend, found))
    });
    let drawn = match stays {
        Some(found) => found,
        None => draw_any(frontend, set, client, tables)?,
    };
    let affinity = Affinity {
        backend: drawn.0,
        used_s,
    };
    tables.insert_affinity(&key, &affinity);
    Some(drawn)
}

#[inline(always)]
fn draw_any<F: Family, T: Services<F>>(
    frontend: &Frontend,
    set: &Set,
    client: &Client<F>,
    tables: &mut T,
) -> Option<(u32, Backend<F>)> {
    let word = if frontend.flags & MAGLEV != 0 && client.origin != origin::SOCKET {
        client.hash
    } else {
        tables.random()
    };
    let id = tables.slot(set.base.wrapping_add(place(word, set.count)))?;
    Some((id, tables.backend(id)?))
}

/// A place below `count` for a random word.
#[inline(always)]
const fn place(word: u32, count: u32) -> u32 {
    ((word as u64 * count as u64) >> 32) as u32
}

/// What a flow's tuple draws: its source, whatever frontend it goes to.
#[inline(always)]
pub fn tuple_hash<F: Family>(source: &F::Addr, ports: u32, proto: u32) -> u32 {
    stir(stir(F::mix(source) ^ ports) ^ proto)
}
