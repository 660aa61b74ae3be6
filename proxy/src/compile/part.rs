//! What one service port has in one family's tables, and what it should have.

use std::{fmt, iter, net::SocketAddr};

use ipnet::IpNet;
use proxy_datapath::{
    family::{Family, Port},
    frontend::{ANSWERED, MAGLEV, backend},
    tables::{FrontendKey, SourceKey, port_of, port_proto},
};

use super::{
    endpoints::PortEndpoint,
    maglev,
    sets::Sets,
    traffic_policy::{List, Lists},
};
use crate::model::{Endpoint, Protocol, ServicePort};

/// What a service port has in one family's tables.
#[derive(Debug)]
pub(super) struct Part<F: Family> {
    /// Its frontends, as far as there was room for them.
    pub(super) frontends: Vec<FrontendKey<F>>,
    /// What its frontends point to; `None` while nothing has fitted.
    pub(super) sets: Option<Sets>,
    /// Frontends that it had while it had one of these sets: the maps may still point them there.
    pub(super) former: Vec<FrontendKey<F>>,
    /// Backend ids by address and port.
    pub(super) backends: Vec<u32>,
    /// The sources that it admits, in the order of their keys.
    pub(super) sources: Vec<SourceKey<F>>,
}

/// What a service port should have in one family's tables.
#[derive(Debug, Default)]
pub(super) struct Wanted<F: Family> {
    pub(super) frontends: Vec<WantedFrontend<F>>,
    /// In the order of the endpoints.
    pub(super) backends: Vec<WantedBackend<F>>,
    /// By `List`: positions among the backends, ascending; `None` if no frontend asks for it.
    pub(super) lists: [Option<Vec<usize>>; 2],
    /// Somebody answers somewhere (services.md 65–67).
    pub(super) answered: bool,
    /// The sets are Maglev tables of the lists.
    pub(super) maglev: bool,
    /// As in `Frontend`.
    pub(super) affinity: u32,
    /// Ranges that its load-balancer addresses admit, if they ask.
    pub(super) sources: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WantedFrontend<F: Family> {
    pub(super) key: FrontendKey<F>,
    /// Where the flows of the cluster's own clients are drawn from, and those of everybody else.
    pub(super) inside: List,
    pub(super) wire: List,
    /// Its kind, and `frontend::SOURCE_RANGES`.
    pub(super) flags: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct WantedBackend<F: Family> {
    pub(super) addr: F::Addr,
    pub(super) port_proto: u32,
    pub(super) state: u32,
    /// `backend::HERE` and others.
    pub(super) flags: u32,
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
            sets: None,
            former: Vec::new(),
            backends: Vec::new(),
            sources: Vec::new(),
        }
    }
}

impl<F: Family> Part<F> {
    /// Whom the maps may point to its sets.
    pub(super) fn readers(&self) -> Vec<FrontendKey<F>> {
        self.former.iter().chain(&self.frontends).copied().collect()
    }
}

// === impl Wanted ===

impl<F: Family> Wanted<F> {
    /// Takes in the endpoints. Those that some list has are active. For UDP, whatever else still
    /// serves keeps the flows that it has, whether or not it is ready, near or local (services.md
    /// 110, 115).
    pub(super) fn add_backends(
        &mut self,
        port: &ServicePort,
        endpoints: &[PortEndpoint<'_, F>],
        lists: &Lists,
        is_here: impl Fn(&Endpoint) -> bool,
    ) {
        const SETS: [u32; 2] = [backend::IN_CLUSTER_SET, backend::IN_LOCAL_SET];
        self.answered = lists.answered;
        self.lists = lists.members.each_ref().map(|members| {
            let members = members.as_ref()?;
            Some(Vec::with_capacity(members.len()))
        });
        self.backends.reserve_exact(endpoints.len());
        let mut rest = lists.members.each_ref().map(|members| {
            let members = members.as_deref().unwrap_or_default();
            members.iter().peekable()
        });
        for (at, found) in endpoints.iter().enumerate() {
            let mut flags = 0;
            for (list, rest) in rest.iter_mut().enumerate() {
                if rest.next_if_eq(&&at).is_some() {
                    flags |= SETS[list];
                    self.lists[list]
                        .iter_mut()
                        .for_each(|list| list.push(self.backends.len()));
                }
            }
            let state = if flags != 0 {
                backend::ACTIVE
            } else if port.protocol == Protocol::Udp && found.endpoint.serving {
                backend::TERMINATING
            } else {
                continue;
            };
            if is_here(found.endpoint) {
                flags |= backend::HERE;
            }
            self.backends.push(WantedBackend {
                addr: found.addr,
                port_proto: port_proto(Port::new(found.port), port.protocol.number()),
                state,
                flags,
            });
        }
    }

    /// What all its frontends say.
    pub(super) const fn set_flags(&self) -> u32 {
        let answered = if self.answered { ANSWERED } else { 0 };
        answered | if self.maglev { MAGLEV } else { 0 }
    }

    /// What a list's set may be made of, the best first.
    pub(super) fn tables(&self, list: usize) -> impl Iterator<Item = Vec<usize>> {
        let members = self.lists[list].as_deref().unwrap_or_default();
        let is_table = self.maglev && !members.is_empty();
        let sizes = is_table.then(|| maglev::sizes(members.len()));
        let hashes: Vec<u64> = if is_table {
            members.iter().map(|&at| self.backends[at].hash()).collect()
        } else {
            Vec::new()
        };
        let tables = sizes.into_iter().flatten().map(move |size| {
            let table = maglev::table(&hashes, size);
            table.into_iter().map(|at| members[at]).collect()
        });
        tables.chain(iter::once_with(|| members.to_vec()))
    }
}

// === impl WantedBackend ===

impl<F: Family> WantedBackend<F> {
    fn hash(&self) -> u64 {
        let addr = SocketAddr::new(self.addr.into(), port_of(self.port_proto).host());
        maglev::hash(addr.to_string().as_bytes())
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
