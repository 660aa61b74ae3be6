//! What one service port has in one family's tables, and what it should have.

use std::{fmt, ops::Range};

use proxy_datapath::{
    family::{Family, Port},
    frontend::{NO_LOCAL_BACKEND, backend},
    tables::{Frontend, FrontendKey, port_proto},
};

use super::{endpoints::PortEndpoint, traffic_policy::Selection};
use crate::model::{Protocol, ServicePort};

/// What a service port has in one family's tables.
#[derive(Debug)]
pub(super) struct Part<F: Family> {
    /// Its frontends, as far as there was room for them.
    pub(super) frontends: Vec<FrontendKey<F>>,
    /// What its frontends hold; `None` while nothing has fitted.
    pub(super) value: Option<Frontend>,
    /// Frontends that it had when the set was the same: the maps may still point them there.
    pub(super) former: Vec<FrontendKey<F>>,
    /// Backend ids by address and port.
    pub(super) backends: Vec<u32>,
}

/// What a service port should have in one family's tables.
#[derive(Debug, Default)]
pub(super) struct Wanted<F: Family> {
    pub(super) frontends: Vec<FrontendKey<F>>,
    /// In the order of the set.
    pub(super) backends: Vec<WantedBackend<F>>,
    /// What a frontend without backends does.
    pub(super) flags: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WantedBackend<F: Family> {
    pub(super) addr: F::Addr,
    pub(super) port_proto: u32,
    pub(super) state: u32,
}

/// A table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) what: &'static str,
    pub(super) needed: usize,
    pub(super) free: u32,
    /// `4`, `6`; `0` for what both share.
    pub(super) family: u8,
}

// === impl Part ===

impl<F: Family> Default for Part<F> {
    fn default() -> Self {
        Self {
            frontends: Vec::new(),
            value: None,
            former: Vec::new(),
            backends: Vec::new(),
        }
    }
}

impl<F: Family> Part<F> {
    /// The slots of its set, if it has one.
    pub(super) fn set(&self) -> Option<Range<u32>> {
        let value = self.value.filter(|value| value.count > 0)?;
        Some(value.base..value.base + value.count)
    }
}

// === impl Wanted ===

impl<F: Family> Wanted<F> {
    /// The members of the set are active. For UDP, whatever else still serves keeps the flows that
    /// it has, whether or not it is ready, near or local (services.md 110, 115).
    pub(super) fn new(
        frontends: Vec<FrontendKey<F>>,
        port: &ServicePort,
        endpoints: &[PortEndpoint<'_, F>],
        selection: &Selection,
    ) -> Self {
        let mut members: &[usize] = match selection {
            Selection::Choose(members) => members,
            Selection::Reject | Selection::Drop => &[],
        };
        let mut backends = Vec::with_capacity(endpoints.len());
        for (at, found) in endpoints.iter().enumerate() {
            let state = if members.first() == Some(&at) {
                members = &members[1..];
                backend::ACTIVE
            } else if port.protocol == Protocol::Udp && found.endpoint.serving {
                backend::TERMINATING
            } else {
                continue;
            };
            let port_proto = port_proto(Port::new(found.port), port.protocol.number());
            backends.push(WantedBackend {
                addr: found.addr,
                port_proto,
                state,
            });
        }
        let flags = if *selection == Selection::Drop {
            NO_LOCAL_BACKEND
        } else {
            0
        };
        Self {
            frontends,
            backends,
            flags,
        }
    }
}

// === impl WantedBackend ===

impl<F: Family> WantedBackend<F> {
    pub(super) const fn is_member(&self) -> bool {
        self.state == backend::ACTIVE
    }
}

// === impl NoRoom ===

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            needed,
            free,
            family,
        } = self;
        write!(f, "no room for {needed} more {what}")?;
        if *family != 0 {
            write!(f, " (ipv{family})")?;
        }
        write!(f, ", {free} are free")
    }
}
