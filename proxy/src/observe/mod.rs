//! Text and numbers about the state: what the agent tells over its socket, and how tables read.
//!
//! Everything here only looks: a trace runs on tables that it could not write to if it tried.

pub mod dump;
mod names;
mod query;
mod row;
mod server;
pub mod service;
mod simulate;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
pub mod trace;
mod world;

pub use names::{NAMES_FILE, NameFile, Names, PortName, read_names, rename};
pub use query::Query;
pub use row::Row;
pub(crate) use server::{Failure, QuestionWords};
pub use server::{SOCKET_NAME, Server, ServerError};
pub use simulate::Simulation;
pub use world::{World, names};
