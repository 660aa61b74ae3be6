//! Devices and links: which network devices are pods', and the programs on them.

pub mod conntrack;
pub mod discovery;
pub mod links;
pub mod netlink;
pub mod sockets;

#[cfg(test)]
pub(crate) mod testing;
