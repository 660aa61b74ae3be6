//! Discovery, as a table and against the kernel.

mod classification;
mod cni_cache;
mod events;
mod kernel;
mod uplinks;
