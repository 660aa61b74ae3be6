//! The ordered difference between what the maps hold and what they should hold.
//!
//! Both sides are the same type. The order makes before it breaks: backends, then slots, then what
//! a frontend asks (sources, ranges, the node, its uplinks), then addresses, then the frontends
//! that point to them all; removal in reverse. So after any single operation every frontend points
//! at slots that hold backends that exist (reliability.md R8).

mod changes;
mod order;
mod state;

pub(crate) use self::state::sets_of;
pub use self::{
    changes::{Changes, FamilyChanges},
    order::plan,
    state::{FamilyState, MapState},
};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    tables::{Backend, Frontend, FrontendKey, Node, Prefix, SourceKey, Uplink},
};

/// One map write; `None` removes (a backend becomes gone, a range or the node empty, a slot is left
/// as it is).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    V4(FamilyOp<Ipv4>),
    V6(FamilyOp<Ipv6>),
    Slot { index: u32, backend: u32 },
}

/// A start of a large cluster plans half a million.
const _: () = assert!(size_of::<Op>() <= 88);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyOp<F: Family> {
    Backend {
        id: u32,
        value: Option<Backend<F>>,
    },
    Source {
        key: SourceKey<F>,
        value: Option<u32>,
    },
    Range {
        index: u32,
        value: Option<Prefix<F>>,
    },
    Node {
        value: Option<Node<F>>,
    },
    Uplink {
        ifindex: u32,
        value: Option<Uplink<F>>,
    },
    Address {
        addr: F::Addr,
        value: Option<u32>,
    },
    Frontend {
        key: FrontendKey<F>,
        value: Option<Frontend>,
    },
}
