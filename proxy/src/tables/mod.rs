//! The only place that touches bpf maps: loading, pinning, dumping and writing them.
//!
//! Order between tables is not here but in `plan`. What is here is what to do when a write of an
//! ordered list fails: see `apply`.

mod apply;
mod bpf;
pub mod bpf_sys;
#[cfg(test)]
mod contract;
mod error;
mod faulty;
mod load;
mod map;
mod memory;
mod pins;
mod programs;
mod read;
mod rows;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use self::pins::list;
pub use self::{
    apply::{Failure, Tables},
    bpf::{BpfTables, FamilyMaps, FamilyTables},
    bpf_sys::Access,
    error::Error,
    faulty::FaultyTables,
    load::{Datapath, OBJECT},
    map::Map,
    memory::MemoryTables,
    pins::{PinDir, PinLock},
    programs::{Program, Programs},
    read::{Counter, HostSocket, Usage},
};
