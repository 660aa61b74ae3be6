//! What the kernel says over netlink: devices, addresses, routes, sockets, and that they changed.
//!
//! Replies are decoded here, attribute by attribute (`decode`): a kernel that describes a device in
//! a way unknown to us must not hide the device. A socket belongs to the network namespace of the
//! thread that opened it, wherever it is used later.

mod decode;
mod monitor;
mod request;
mod routing;

pub use decode::{Address, Link, Route};
pub use monitor::Monitor;
pub use request::{Error, Requests};
pub use routing::Routing;
