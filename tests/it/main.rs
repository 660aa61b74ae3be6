//! Every suite in one binary: building and linking it once is what takes the time.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, helpers included"
)]

mod abi;
mod cluster;
mod compile;
mod differential;
mod kernel;
mod lab;
mod namespace;
mod packets;
mod tidy;
mod verifier;
