//! The agent and the CLI of Switchboard, as a library for its binary and its tests.
//!
//! Control flows one way: `watch` → `model` → `compile` → `plan` → `tables` (ARCHITECTURE.md).

pub mod agent;
pub mod attach;
pub mod cli;
pub mod compile;
pub mod config;
pub mod model;
pub mod observe;
pub mod plan;
pub mod serve;
pub mod tables;
pub mod watch;
