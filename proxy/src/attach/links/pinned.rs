//! A link that is held by a pin, and given another program where it stands.
//!
//! A link is never taken away to be made anew: for as long as there was a moment without a program,
//! packets would pass untranslated (CVE-2023-27595). Its id tells: it stays the same over restarts.

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya_obj::generated::bpf_attach_type;

use super::Error;
use crate::tables::{
    Access,
    bpf_sys::{self, LinkPlace, LinkState, LinkTarget},
};

/// Where a link belongs, as it is asked for and as the kernel then describes it.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) target: LinkTarget<'a>,
    pub(super) place: LinkPlace,
    pub(super) attach_type: bpf_attach_type,
}

/// Sees to it that `path` pins a link at `spot` with this program. Returns the link's id.
pub(super) fn hold(path: &Path, program: BorrowedFd<'_>, spot: &Spot<'_>) -> Result<u32, Error> {
    if let Some((link, state)) = open(path)?
        && state.place == spot.place
    {
        let wanted =
            bpf_sys::program_id(program).map_err(Error::at("examine the program of", path))?;
        if state.program_id == wanted {
            return Ok(state.id);
        }
        match bpf_sys::link_update(link.as_fd(), program) {
            Ok(()) => return Ok(state.id),
            // What it was attached to has vanished since.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
            Err(error) => return Err(Error::at("update the link at", path)(error)),
        }
    }
    // The new one first: if the old one is alive elsewhere, both work for a moment, and what one
    // has translated the other leaves alone.
    let link = bpf_sys::link_create(program, spot.target, spot.attach_type)
        .map_err(Error::at("attach the program for", path))?;
    release(path)?;
    bpf_sys::object_pin(link.as_fd(), path).map_err(Error::at("pin the link at", path))?;
    let state =
        bpf_sys::link_state(link.as_fd()).map_err(Error::at("examine the link at", path))?;
    Ok(state.id)
}

/// Detaches and unpins a link at once; if there is none, that is done already.
pub(super) fn release(path: &Path) -> Result<(), Error> {
    let Some((link, _)) = open(path)? else {
        return Ok(());
    };
    bpf_sys::link_detach(link.as_fd()).map_err(Error::at("detach the link at", path))?;
    fs::remove_file(path).map_err(Error::at("unpin the link at", path))
}

/// What is pinned at `path`, if anything is.
pub(super) fn state(path: &Path) -> Result<Option<LinkState>, Error> {
    Ok(open(path)?.map(|(_, state)| state))
}

fn open(path: &Path) -> Result<Option<(std::os::fd::OwnedFd, LinkState)>, Error> {
    let link = match bpf_sys::object_get(path, Access::Write) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::at("open the link at", path)(error)),
    };
    let state =
        bpf_sys::link_state(link.as_fd()).map_err(Error::at("examine the link at", path))?;
    Ok(Some((link, state)))
}
