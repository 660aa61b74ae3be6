//! The developer's commands: one file each, listed by `cargo xtask --help`.

fn main() {}
