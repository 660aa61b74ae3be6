//! From the model to the maps: one pass of compile, plan and apply over what changed.

use std::{
    collections::{BTreeSet, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use proxy_datapath::{
    family::{Family, proto},
    tables::Backend,
};
use tracing::{debug, info, warn};

use crate::{
    attach::{netlink, sockets::UdpSockets},
    compile::{Compiler, Settings},
    model::{Cluster, Diagnostic, IpFamily},
    observe::{NameFile, names, rename, snapshot::Apply},
    plan::{Changes, FamilyOp, FamilyState, MapState, Op, plan},
    tables::{BpfTables, Error, Tables, Usage},
};

pub(super) struct Programmer {
    pub(super) cluster: Cluster,
    pub(super) compiler: Compiler,
    pub(super) tables: BpfTables,
    /// What the maps hold, operation by operation.
    actual: MapState,
    /// Rows of earlier passes that could not be written.
    unwritten: Changes,
    sockets: UdpSockets,
    /// UDP backends that went, with their ids, until their sockets are ended.
    gone: BTreeSet<(SocketAddr, u32)>,
    /// Why sockets could not be ended in the last pass.
    pub(super) sockets_error: Option<String>,
    /// Whose sockets were looked for, until they are reported.
    ended: Vec<Ended>,
    /// What service ids stand for, for when this agent does not run.
    names: NameFile,
    /// Set by the first pass, which covers everything.
    begun: bool,
    pub(super) clock: Instant,
    /// Diagnostics that the log has.
    logged: BTreeSet<Diagnostic>,
    /// Map writes that failed in the last pass.
    pub(super) failed: Vec<(String, String)>,
    pub(super) writes_total: u64,
    pub(super) last_apply: Option<Apply>,
}

/// One look for the UDP sockets of backends that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) family: IpFamily,
    pub(super) sockets: u64,
    pub(super) took: Duration,
}

// === impl Programmer ===

impl Programmer {
    /// Begins with what the maps hold, so that ids stay and nothing is written twice.
    pub(super) fn new(
        cluster: Cluster,
        tables: BpfTables,
        names: NameFile,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let actual = tables.dump()?;
        let sockets = UdpSockets::open().context("cannot look at this node's sockets")?;
        Ok(Self {
            compiler: Compiler::restore(&actual, settings),
            cluster,
            tables,
            actual,
            unwritten: Changes::default(),
            sockets,
            gone: BTreeSet::new(),
            sockets_error: None,
            ended: Vec::new(),
            names,
            begun: false,
            clock: Instant::now(),
            logged: BTreeSet::new(),
            failed: Vec::new(),
            writes_total: 0,
            last_apply: None,
        })
    }

    /// Programs what changed; everything the first time. Before every first list is complete it
    /// does nothing, and what an earlier agent left stays in force (services.md 23). False if
    /// something could not be written, or a socket not ended: call again later.
    pub(super) fn pass(&mut self) -> bool {
        self.log_diagnostics();
        if !self.cluster.is_synced() {
            return true;
        }
        let dirty = self.cluster.take_dirty();
        let mut changes = self.compiler.compile(&self.cluster, &dirty, self.now_s());
        let first = !self.begun;
        if first {
            changes = Changes::everything(&self.actual, self.compiler.desired());
            info!(
                services = self.cluster.services().len(),
                "every first list is complete"
            );
            self.begun = true;
        }
        changes.merge(std::mem::take(&mut self.unwritten));
        self.log_diagnostics();
        let ops = plan(&self.actual, self.compiler.desired(), &changes);
        let renamed = first || rename(&ops, &self.actual);
        let done = self.apply(&ops, changes);
        if first {
            // Filled in ascending order, the maps' nodes are half empty.
            self.actual.pack();
        }
        if renamed && let Err(error) = self.names.update(&names(&self.compiler)) {
            warn!("cannot keep the names of service ids: {error}");
        }
        self.compiler.settle(&self.actual, self.now_s());
        done
    }

    /// When to pass again though nothing happened: something may fit then that did not.
    pub(super) fn again_in(&self) -> Option<Duration> {
        let at_s = self.compiler.retry_at_s()?;
        Some(Duration::from_secs(at_s.saturating_sub(self.now_s())))
    }

    /// Whether the maps hold what follows from complete lists.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// What an operation is for, in its user's words.
    fn object_of(&self, op: &Op) -> String {
        let id = match op {
            Op::V4(op) => service_of(op),
            Op::V6(op) => service_of(op),
            Op::Slot { .. } => None,
        };
        let id = id.or_else(|| self.tables.owner(op).ok().flatten());
        id.and_then(|id| self.compiler.services().find(|port| port.id == id))
            .map_or_else(
                || format!("{op:?}"),
                |port| format!("Service {}", port.service),
            )
    }

    /// How full the tables are.
    pub(super) fn usage(&self) -> Result<Vec<Usage>, Error> {
        self.tables.usage(&self.actual)
    }

    fn now_s(&self) -> u64 {
        self.clock.elapsed().as_secs()
    }

    fn apply(&mut self, ops: &[Op], changes: Changes) -> bool {
        self.failed.clear();
        if ops.is_empty() {
            return self.end_sockets();
        }
        let began = Instant::now();
        let going = self.udp_backends_that_go(ops);
        self.gone.extend(going);
        let failures = self.tables.apply(ops);
        let undone: HashSet<usize> = failures.iter().map(|failure| failure.place).collect();
        for (place, op) in ops.iter().enumerate() {
            if !undone.contains(&place) {
                self.actual.apply(op);
            }
        }
        let ended = self.end_sockets();
        let (writes, failed) = ((ops.len() - failures.len()) as u64, failures.len() as u64);
        self.writes_total += writes;
        self.last_apply = Some(Apply {
            at: jiff::Timestamp::now(),
            writes,
            failed,
            duration_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        debug!(writes, failed, elapsed = ?began.elapsed(), "programmed");
        if failures.is_empty() {
            return ended;
        }
        self.failed = failures
            .iter()
            .map(|failure| (self.object_of(&failure.op), super::chain(&failure.error)))
            .collect();
        for (object, reason) in self.failed.iter().take(8) {
            warn!(%object, "cannot write to the maps: {reason}");
        }
        self.unwritten = changes;
        false
    }

    /// The UDP backends that these operations remove, with their ids.
    fn udp_backends_that_go(&self, ops: &[Op]) -> BTreeSet<(SocketAddr, u32)> {
        ops.iter()
            .filter_map(|op| match op {
                Op::V4(op) => udp_backend_that_goes(&self.actual.v4, op),
                Op::V6(op) => udp_backend_that_goes(&self.actual.v6, op),
                Op::Slot { .. } => None,
            })
            .collect()
    }

    /// Ends the host's UDP sockets that were led to backends that went (services.md 111).
    /// Those that were led to the same address through another frontend stay. False if some may
    /// be left, which the next pass tries again.
    fn end_sockets(&mut self) -> bool {
        if self.gone.is_empty() {
            return true;
        }
        let actual = &self.actual;
        self.gone
            .retain(|(addr, id)| udp_backend(actual, *id, *addr) != Some(*addr));
        match self.end_sockets_of_gone() {
            Ok(()) => {
                self.sockets_error = None;
                true
            }
            Err(error) => {
                let reason = format!("{error:#}");
                if self.sockets_error.as_ref() != Some(&reason) {
                    warn!("cannot end udp sockets whose backend is gone: {reason}");
                }
                self.sockets_error = Some(reason);
                // A kernel built without CONFIG_INET_DIAG_DESTROY will not learn it.
                let is_hopeless = error
                    .downcast_ref::<netlink::Error>()
                    .is_some_and(|error| error.errno() == Some(libc::EOPNOTSUPP));
                if is_hopeless {
                    self.gone.clear();
                }
                is_hopeless
            }
        }
    }

    /// One family does not keep the other back.
    fn end_sockets_of_gone(&mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for family in IpFamily::ALL {
            let of_family = |(addr, _): &(SocketAddr, u32)| IpFamily::of(addr.ip()) == family;
            let gone: BTreeSet<_> = self.gone.iter().copied().filter(of_family).collect();
            if gone.is_empty() {
                continue;
            }
            let began = Instant::now();
            match self.end_sockets_of(&gone) {
                Ok(sockets) => {
                    if sockets > 0 {
                        info!(sockets, "ended udp sockets whose backend is gone");
                    }
                    self.gone.retain(|gone| !of_family(gone));
                    self.ended.push(Ended {
                        family,
                        sockets: sockets as u64,
                        took: began.elapsed(),
                    });
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    fn end_sockets_of(&mut self, gone: &BTreeSet<(SocketAddr, u32)>) -> anyhow::Result<usize> {
        let translated = self
            .tables
            .udp_sockets(|backend, id| gone.contains(&(backend, id)))?;
        let cookies: BTreeSet<u64> = translated.iter().map(|socket| socket.cookie).collect();
        if cookies.is_empty() {
            return Ok(0);
        }
        let addrs = gone.iter().map(|(addr, _)| *addr).collect();
        Ok(self
            .sockets
            .destroy(&addrs, |cookie| cookies.contains(&cookie))?)
    }

    /// What was ended since it was asked for last.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Everything that is wrong with an object, whoever found it.
    pub(super) fn diagnostics(&self) -> BTreeSet<Diagnostic> {
        self.cluster
            .diagnostics()
            .chain(self.compiler.diagnostics())
            .collect()
    }

    fn log_diagnostics(&mut self) {
        let known = self.diagnostics();
        for diagnostic in known.difference(&self.logged) {
            warn!(object = %diagnostic.object, "{}", diagnostic.reason);
        }
        self.logged = known;
    }
}

fn udp_backend_that_goes<F: Family>(
    actual: &FamilyState<F>,
    op: &FamilyOp<F>,
) -> Option<(SocketAddr, u32)> {
    let FamilyOp::Backend { id, value } = op else {
        return None;
    };
    let before = actual.backends.get(id)?;
    let replaced = value
        .is_none_or(|after| after.addr != before.addr || after.port_proto != before.port_proto);
    let addr = udp_addr(before).filter(|_| replaced)?;
    Some((addr, *id))
}

/// The UDP backend of this id, in the family of `like`.
fn udp_backend(actual: &MapState, id: u32, like: SocketAddr) -> Option<SocketAddr> {
    if like.is_ipv4() {
        udp_addr(actual.v4.backends.get(&id)?)
    } else {
        udp_addr(actual.v6.backends.get(&id)?)
    }
}

fn udp_addr<F: Family>(backend: &Backend<F>) -> Option<SocketAddr> {
    let addr = || SocketAddr::new(backend.addr.into(), backend.port().host());
    (backend.proto() == proto::UDP).then(addr)
}

/// The service that an operation writes an entry for.
fn service_of<F: Family>(op: &FamilyOp<F>) -> Option<u32> {
    match op {
        FamilyOp::Backend { value, .. } => value.map(|backend| backend.service),
        FamilyOp::Frontend { value, .. } => value.map(|frontend| frontend.service),
        FamilyOp::Source { key, .. } => Some(key.service),
        FamilyOp::Range { .. }
        | FamilyOp::Node { .. }
        | FamilyOp::Uplink { .. }
        | FamilyOp::Address { .. } => None,
    }
}
