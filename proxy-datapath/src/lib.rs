//! Switchboard's contract and decisions, for the kernel and for `cargo test` alike.
#![no_std]

pub mod family;
pub mod tables;
