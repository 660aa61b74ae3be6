//! From a frontend to one of its backends.

use crate::{
    family::{Family, Port},
    tables::{Frontend, FrontendKey, Services, port_of},
    verdict::{DropReason, code},
};

/// `Frontend::flags`: there are backends, but traffic must stay on this node and none is here.
pub const NO_LOCAL_BACKEND: u32 = 1 << 0;

/// `Backend::state`.
pub mod backend {
    /// The entry is free.
    pub const GONE: u32 = 0;
    /// In the set that new flows choose from.
    pub const ACTIVE: u32 = 1;
    /// Still serves the flows it has (services.md 110), gets no new ones.
    pub const TERMINATING: u32 = 2;
}

/// The backend that was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice<F: Family> {
    pub id: u32,
    pub addr: F::Addr,
    pub port: Port,
}

/// Draws a backend for a new flow, uniformly (services.md 49). `PASS` if nothing is known of the
/// frontend; `choice` is set for `TRANSLATE` only.
#[inline(always)]
pub fn select<F: Family, T: Services<F>>(
    key: &FrontendKey<F>,
    tables: &mut T,
    choice: &mut Choice<F>,
) -> u32 {
    let Some(frontend) = tables.frontend(key) else {
        return code::PASS;
    };
    if frontend.count == 0 {
        return refuse(&frontend);
    }
    let drawn = (u64::from(tables.random()) * u64::from(frontend.count)) >> 32;
    let Some(id) = tables.slot(frontend.base.wrapping_add(drawn as u32)) else {
        return DropReason::BackendMissing.code();
    };
    match tables.backend(id) {
        Some(found) if found.state != backend::GONE => {
            *choice = Choice {
                id,
                addr: found.addr,
                port: port_of(found.port_proto),
            };
            code::TRANSLATE
        }
        _ => DropReason::BackendMissing.code(),
    }
}

/// What a frontend without backends does (services.md 65, 66).
#[inline(always)]
pub const fn refuse(frontend: &Frontend) -> u32 {
    if frontend.flags & NO_LOCAL_BACKEND != 0 {
        DropReason::NoLocalBackend.code()
    } else {
        code::REJECT
    }
}
