//! Switchboard's contract and decisions: the map layout, and what becomes of a packet or a socket.
//!
//! Runs unmodified in the kernel (`proxy-ebpf`) and on the host (tests, `switchboard trace`): every
//! decision is generic over an address family and over the tables it reads. The packet path is
//! `parse` → `flow::from_pod` or `flow::to_pod` → `rewrite`; the sockets' is `socket`.
//!
//! Nothing here allocates, panics, or reads a clock or randomness except through `tables`.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod begin;
pub mod family;
pub mod flow;
pub mod fragment;
pub mod frontend;
pub mod header;
pub mod net;
pub mod packet;
pub mod parse;
pub mod plain;
pub mod rewrite;
pub mod sctp;
pub mod snat;
pub mod socket;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod wire;
