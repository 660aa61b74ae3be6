//! Many entries of a map in one system call, which is three times as fast as one by one.
//!
//! The kernel copies as many bytes as the map says, not the caller; hence every function's promise.

use std::{io, os::fd::BorrowedFd, ptr};

use aya::Pod;
use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::{call, fd_number, zeroed};

/// What one call of `lookup_batch` read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// So many keys and values were filled in.
    pub count: usize,
    /// Where the next call goes on; `None` after the last entry.
    pub next: Option<T>,
}

/// A batch that stopped: the first `done` entries were handled, the one after them failed.
#[derive(Debug)]
pub struct Partial {
    pub done: usize,
    pub source: io::Error,
}

/// One entry.
///
/// # Safety
/// `K` and `V` have the sizes of the map's keys and values, which are not per CPU.
pub unsafe fn lookup_element<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &mut V,
) -> io::Result<()> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = fd_number(map);
    attr.__bindgen_anon_2.key = ptr::from_ref(key) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = ptr::from_mut(value) as u64;
    call(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr).map(drop)
}

/// Entries from `from` on: for a hash a bucket as the last page named it, for an array the index
/// before the first one wanted, for a trie the key of the last page's last entry. `ENOSPC` means
/// that a bucket holds more entries than `keys`.
///
/// # Safety
/// `K` has the size of the map's keys, and for each key there are as many values as the kernel has:
/// one of the map's value size, or one of eight bytes for every possible CPU. `T` is a `u32` where
/// the map is a hash or an array, and has the size of its keys where it is a trie.
pub unsafe fn lookup_batch<T: Pod + Default, K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    from: Option<T>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Page<T>> {
    assert!(
        values.len() >= keys.len(),
        "a batch has at least one value for each key"
    );
    let mut next = T::default();
    let mut attr = zeroed();
    attr.batch.map_fd = fd_number(map);
    attr.batch.in_batch = from.as_ref().map_or(0, |from| ptr::from_ref(from) as u64);
    attr.batch.out_batch = ptr::from_mut(&mut next) as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = keys.len() as u32;
    match call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(_) => Ok(Page {
            count: count(&attr),
            next: Some(next),
        }),
        // The end of the map; what was read before it counts.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Page {
            count: count(&attr),
            next: None,
        }),
        Err(error) => Err(error),
    }
}

/// Writes entries in order, new or not.
///
/// # Safety
/// `K` and `V` have the sizes of the map's keys and values, which are not per CPU.
pub unsafe fn update_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> Result<(), Partial> {
    assert_eq!(
        keys.len(),
        values.len(),
        "a batch has one value for each key"
    );
    let mut attr = zeroed();
    attr.batch.values = values.as_ptr() as u64;
    write(bpf_cmd::BPF_MAP_UPDATE_BATCH, map, keys, attr)
}

/// Removes entries in order, up to one that is not there.
///
/// # Safety
/// `K` has the size of the map's keys.
pub unsafe fn delete_batch<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> Result<(), Partial> {
    write(bpf_cmd::BPF_MAP_DELETE_BATCH, map, keys, zeroed())
}

fn write<K: Pod>(
    command: bpf_cmd,
    map: BorrowedFd<'_>,
    keys: &[K],
    mut attr: bpf_attr,
) -> Result<(), Partial> {
    attr.batch.map_fd = fd_number(map);
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.count = keys.len() as u32;
    call(command, &mut attr).map(drop).map_err(|source| {
        // The kernel writes the count back only once it has begun.
        let done = count(&attr);
        Partial {
            done: if done >= keys.len() { 0 } else { done },
            source,
        }
    })
}

const fn count(attr: &bpf_attr) -> usize {
    // SAFETY: every caller has filled in `batch`, and any bits are a valid integer.
    unsafe { attr.batch.count as usize }
}
