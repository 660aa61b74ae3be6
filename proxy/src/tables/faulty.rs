//! Tables that fail now and then, by a seed, to show that what is left in between is sound.

use proxy_datapath::family::Family;

use super::{Error, Tables};
use crate::plan::{FamilyOp, MapState, Op};

/// Wraps other tables; out of a thousand writes so many fail as if the kernel had no memory.
#[derive(Clone, Debug)]
pub struct FaultyTables<T> {
    pub inner: T,
    pub failures_per_mille: u32,
    state: u64,
}

impl<T: Tables> FaultyTables<T> {
    pub const fn new(inner: T, failures_per_mille: u32, seed: u64) -> Self {
        // Zero is the one state that a xorshift never leaves.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self {
            inner,
            failures_per_mille,
            state,
        }
    }

    fn fails(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 32) % 1000 < u64::from(self.failures_per_mille)
    }
}

impl<T: Tables> Tables for FaultyTables<T> {
    fn dump(&self) -> Result<MapState, Error> {
        self.inner.dump()
    }

    fn write(&mut self, run: &[Op]) -> Vec<(usize, Error)> {
        let mut failed = Vec::new();
        for (at, op) in run.iter().enumerate() {
            if self.fails() {
                let source = std::io::Error::from_raw_os_error(libc::ENOMEM);
                failed.push((
                    at,
                    Error::Map {
                        map: map_of(op),
                        operation: "write to",
                        source,
                    },
                ));
            } else {
                failed.extend(
                    self.inner
                        .write(&[*op])
                        .into_iter()
                        .map(|(_, error)| (at, error)),
                );
            }
        }
        failed
    }

    fn owner(&self, op: &Op) -> Result<Option<u32>, Error> {
        self.inner.owner(op)
    }
}

const fn map_of(op: &Op) -> &'static str {
    const fn in_family<F: Family>(op: &FamilyOp<F>) -> &'static str {
        match op {
            FamilyOp::Backend { .. } => "BACKENDS",
            FamilyOp::Source { .. } => "SOURCES",
            FamilyOp::Range { .. } => "RANGES",
            FamilyOp::Node { .. } => "NODE",
            FamilyOp::Uplink { .. } => "UPLINKS",
            FamilyOp::Address { .. } => "ADDRESSES",
            FamilyOp::Frontend { .. } => "FRONTENDS",
        }
    }
    match op {
        Op::V4(op) => in_family(op),
        Op::V6(op) => in_family(op),
        Op::Slot { .. } => "SLOTS",
    }
}
