//! Ordered writes, and what to withhold when one of them fails.
//!
//! `plan` orders the operations so that every frontend always points at backends that exist. That
//! holds only as long as each one succeeds: behind a backend that was not written its frontend must
//! not follow, and behind a frontend that stayed its old backends must not go, nor the sources that
//! it admits. `Gate` keeps account of that. What it withholds is reported like a failure; the agent
//! plans it again.

use std::{
    collections::BTreeSet,
    fmt,
    mem::discriminant,
    net::{IpAddr, SocketAddr},
};

use proxy_datapath::{
    family::Family,
    frontend::SOURCE_RANGES,
    tables::{Frontend, SourceKey},
};

use super::Error;
use crate::plan::{FamilyOp, MapState, Op, sets_of};

/// The service maps, wherever they are.
pub trait Tables: Send {
    /// What the maps hold.
    fn dump(&self) -> Result<MapState, Error>;

    /// Writes operations of one table in order, and names those that failed by their place.
    fn write(&mut self, run: &[Op]) -> Vec<(usize, Error)>;

    /// The service whose entry the operation would replace or remove; `None` if there is no entry.
    fn owner(&self, op: &Op) -> Result<Option<u32>, Error>;

    /// Writes operations in order, each table's in batches. An operation that fails does not stop
    /// those that do not depend on it.
    fn apply(&mut self, ops: &[Op]) -> Vec<Failure> {
        let mut gate = Gate::default();
        let mut failures = Vec::new();
        let mut place = 0;
        for run in ops.chunk_by(same_batch) {
            let mut admitted = Vec::with_capacity(run.len());
            let mut places = Vec::with_capacity(run.len());
            for op in run {
                match gate.objection(op, self) {
                    None => {
                        admitted.push(*op);
                        places.push(place);
                    }
                    Some(reason) => {
                        gate.close_behind(op, self);
                        let error = Error::Withheld { reason };
                        failures.push(Failure {
                            place,
                            op: *op,
                            error,
                        });
                    }
                }
                place += 1;
            }
            for (at, error) in self.write(&admitted) {
                let (place, op) = (places[at], admitted[at]);
                gate.close_behind(&op, self);
                failures.push(Failure { place, op, error });
            }
        }
        failures
    }
}

/// An operation that was not done, and why.
#[derive(Debug)]
pub struct Failure {
    /// Where the operation stands among those that were to be applied.
    pub place: usize,
    pub op: Op,
    pub error: Error,
}

/// What must not be written any more, because something before it was not.
#[derive(Default)]
struct Gate {
    /// Services whose frontends stay as they are, and so must their backends.
    services: BTreeSet<u32>,
    /// Services that admit the sources they did before, for one of the new ones is missing.
    sources: BTreeSet<u32>,
    slots: BTreeSet<u32>,
    addresses: BTreeSet<IpAddr>,
    /// A frontend stayed and its service is not known: no backend goes.
    every_service: bool,
}

// === impl Gate ===

impl Gate {
    fn is_open(&self) -> bool {
        self.services.is_empty()
            && self.sources.is_empty()
            && self.slots.is_empty()
            && self.addresses.is_empty()
            && !self.every_service
    }

    fn objection<T: Tables + ?Sized>(&self, op: &Op, tables: &T) -> Option<&'static str> {
        if self.is_open() {
            return None;
        }
        match op {
            Op::Slot { .. } => None,
            Op::V4(op4) => self.objection_in(op4, || tables.owner(op)),
            Op::V6(op6) => self.objection_in(op6, || tables.owner(op)),
        }
    }

    fn objection_in<F: Family>(
        &self,
        op: &FamilyOp<F>,
        owner: impl FnOnce() -> Result<Option<u32>, Error>,
    ) -> Option<&'static str> {
        match op {
            FamilyOp::Frontend {
                key,
                value: Some(value),
            } => self.objection_to_frontend(key.addr.into(), value),
            FamilyOp::Source { key, value: None } => {
                let needed = self.every_service
                    || self.services.contains(&key.service)
                    || self.sources.contains(&key.service);
                needed.then_some("a frontend that could not be changed may still admit the source")
            }
            FamilyOp::Backend { value, .. } => {
                let needed = match (owner(), value) {
                    (Ok(None), _) => false,
                    (Ok(Some(owner)), Some(value)) if value.service == owner => false,
                    (Ok(Some(owner)), _) => self.every_service || self.services.contains(&owner),
                    (Err(_), _) => true,
                };
                needed.then_some("a frontend that could not be changed may still need the backend")
            }
            _ => None,
        }
    }

    fn objection_to_frontend(&self, addr: IpAddr, value: &Frontend) -> Option<&'static str> {
        if self.services.contains(&value.service) {
            return Some("a backend or another frontend of its service could not be written");
        }
        let is_missing = |slots| self.slots.range(slots).next().is_some();
        if sets_of(value).into_iter().any(is_missing) {
            return Some("a slot of its set could not be written");
        }
        if value.flags & SOURCE_RANGES != 0 && self.sources.contains(&value.service) {
            return Some("a source that it admits could not be written");
        }
        self.addresses
            .contains(&addr)
            .then_some("its address could not be written")
    }

    /// Takes note of an operation that was not done.
    fn close_behind<T: Tables + ?Sized>(&mut self, op: &Op, tables: &T) {
        match op {
            Op::Slot { index, .. } => {
                self.slots.insert(*index);
            }
            Op::V4(op4) => self.close_behind_in(op4, || tables.owner(op)),
            Op::V6(op6) => self.close_behind_in(op6, || tables.owner(op)),
        }
    }

    fn close_behind_in<F: Family>(
        &mut self,
        op: &FamilyOp<F>,
        owner: impl FnOnce() -> Result<Option<u32>, Error>,
    ) {
        match op {
            FamilyOp::Backend {
                value: Some(value), ..
            } => {
                self.services.insert(value.service);
            }
            FamilyOp::Source {
                key,
                value: Some(_),
            } => {
                self.sources.insert(key.service);
            }
            // It stays for longer than planned, which harms nobody.
            FamilyOp::Backend { value: None, .. }
            | FamilyOp::Source { value: None, .. }
            | FamilyOp::Address { value: None, .. } => {}
            // No other row depends on them.
            FamilyOp::Range { .. } | FamilyOp::Node { .. } | FamilyOp::Uplink { .. } => {}
            FamilyOp::Address {
                addr,
                value: Some(_),
            } => {
                self.addresses.insert((*addr).into());
            }
            FamilyOp::Frontend { value, .. } => {
                self.services.extend(value.map(|value| value.service));
                match owner() {
                    Ok(owner) => self.services.extend(owner),
                    Err(_) => self.every_service = true,
                }
            }
        }
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.op {
            Op::V4(op) => write_op(f, op)?,
            Op::V6(op) => write_op(f, op)?,
            Op::Slot { index, .. } => write!(f, "slot {index}")?,
        }
        write!(f, ": {}", self.error)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

fn write_op<F: Family>(f: &mut fmt::Formatter<'_>, op: &FamilyOp<F>) -> fmt::Result {
    match op {
        FamilyOp::Backend { id, .. } => write!(f, "backend {id} (ipv{})", F::NUMBER),
        FamilyOp::Source { key, .. } => {
            let SourceKey {
                prefix_length,
                service,
                addr,
            } = *key;
            let (addr, bits) = (addr.into(), prefix_length.saturating_sub(32));
            write!(f, "source {addr}/{bits} of service port {service}")
        }
        FamilyOp::Range { index, .. } => write!(f, "range {index} (ipv{})", F::NUMBER),
        FamilyOp::Node { .. } => write!(f, "node (ipv{})", F::NUMBER),
        FamilyOp::Uplink { ifindex, .. } => write!(f, "uplink {ifindex} (ipv{})", F::NUMBER),
        FamilyOp::Address { addr, .. } => write!(f, "address {}", (*addr).into()),
        FamilyOp::Frontend { key, .. } => {
            let addr = SocketAddr::new(key.addr.into(), key.port().host());
            write!(f, "frontend {addr} protocol {}", key.proto())
        }
    }
}

/// Whether two neighbours go to the kernel in one call: the same table, and the same kind of write.
fn same_batch(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Slot { .. }, Op::Slot { .. }) => true,
        (Op::V4(a), Op::V4(b)) => same_family_batch(a, b),
        (Op::V6(a), Op::V6(b)) => same_family_batch(a, b),
        _ => false,
    }
}

fn same_family_batch<F: Family>(a: &FamilyOp<F>, b: &FamilyOp<F>) -> bool {
    discriminant(a) == discriminant(b) && removes(a) == removes(b)
}

const fn removes<F: Family>(op: &FamilyOp<F>) -> bool {
    matches!(
        op,
        FamilyOp::Backend { value: None, .. }
            | FamilyOp::Source { value: None, .. }
            | FamilyOp::Range { value: None, .. }
            | FamilyOp::Node { value: None }
            | FamilyOp::Uplink { value: None, .. }
            | FamilyOp::Address { value: None, .. }
            | FamilyOp::Frontend { value: None, .. }
    )
}
