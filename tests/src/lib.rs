//! What the suites share: the lab, the scenario files, packet notation.

pub mod control_plane;
pub mod demo;
pub mod lab;
pub mod privileges;
pub mod probe;
pub mod scenario;
pub mod wire;
