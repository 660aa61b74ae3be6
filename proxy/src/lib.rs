//! The agent and the CLI of Switchboard, as a library for its binary and its tests.
//!
//! Control flows one way: `watch` → `model` → `compile` → `plan` → `tables` (ARCHITECTURE.md).

pub mod attach;
pub mod config;
pub mod model;
pub mod plan;
pub mod tables;
pub mod watch;
