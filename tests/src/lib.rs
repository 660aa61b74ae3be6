//! What the suites share: the lab, the scenario files, packet notation.

pub mod lab;
pub mod probe;
