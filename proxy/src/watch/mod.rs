//! The sources of truth: the Kubernetes API or a directory of manifests, as `model::Event`s.
//!
//! Both sources end in `convert`, so that an object means the same wherever it was read. A source
//! sends what exists, what stopped existing, and once for each kind that its first list is
//! complete; it never says that something is gone before it has seen a complete list
//! (reliability.md R3).

pub mod convert;
pub mod directory;
pub mod kube;
mod notices;
#[cfg(test)]
mod text;

pub use notices::{Notice, Notices, Severity};
