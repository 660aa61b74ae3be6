//! The ordered difference between what the maps hold and what they should hold.
//!
//! Both sides are the same type. The order makes before it breaks: backends, then slots, then VIPs,
//! then the frontends that point to them; removal in reverse. So after any single operation every
//! frontend points at slots that hold backends that exist (reliability.md R8).

use std::collections::BTreeMap;

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    tables::{Backend, Frontend, FrontendKey},
};

/// What the service maps hold, or should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapState {
    pub v4: FamilyState<Ipv4>,
    pub v6: FamilyState<Ipv6>,
    /// Backend id by slot; only slots that a frontend's range covers.
    pub slots: BTreeMap<u32, u32>,
}

/// One family's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyState<F: Family> {
    pub frontends: BTreeMap<FrontendKey<F>, Frontend>,
    /// By id; only those not gone.
    pub backends: BTreeMap<u32, Backend<F>>,
    pub vips: BTreeMap<F::Addr, u32>,
}

/// One map write; `None` removes (a backend becomes gone, a slot is left as it is).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    V4(FamilyOp<Ipv4>),
    V6(FamilyOp<Ipv6>),
    Slot { index: u32, backend: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyOp<F: Family> {
    Backend { id: u32, value: Option<Backend<F>> },
    Vip { addr: F::Addr, value: Option<u32> },
    Frontend { key: FrontendKey<F>, value: Option<Frontend> },
}
