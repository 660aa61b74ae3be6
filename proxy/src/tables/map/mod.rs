//! One pinned map with the types of its `Table`: the only place where typed entries become bytes.

#[cfg(test)]
mod tests;

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::Pod;
use aya_obj::generated::bpf_map_type;
use proxy_datapath::tables::{Kind, Table};

use super::{
    Error,
    bpf_sys::{self, Access, Partial},
};

/// Entries of one read. More than any bucket of a hash holds; if not, it doubles.
const PAGE: usize = 4096;

pub struct Map<T: Table> {
    fd: OwnedFd,
    capacity: u32,
    table: PhantomData<fn() -> T>,
}

/// An entry that could not be written, by its place in the batch.
pub(super) type Refusal = (usize, Error);

/// Types that enter and leave maps as they are.
pub trait Entry: Pod + Default {}

impl<T: Pod + Default> Entry for T {}

// === impl Map ===

impl<T: Table<Key: Entry, Value: Entry>> Map<T> {
    /// Opens the map pinned at `path`, if it has this table's types.
    pub fn open(path: &Path, access: Access) -> Result<Self, Error> {
        let fd = bpf_sys::object_get(path, access).map_err(Error::path("open the map at", path))?;
        let shape = bpf_sys::map_shape(fd.as_fd()).map_err(Self::error("examine"))?;
        let found = (shape.kind, shape.key_size, shape.value_size);
        let wanted = (
            kind_number(T::KIND),
            size_of::<T::Key>() as u32,
            size_of::<T::Value>() as u32,
        );
        if found != wanted {
            let text = |(kind, key, value)| format!("type {kind}, key {key} B, value {value} B");
            return Err(Error::Layout {
                map: T::NAME.to_owned(),
                path: path.to_owned(),
                found: text(found),
                wanted: text(wanted),
            });
        }
        Ok(Self {
            fd,
            capacity: shape.max_entries,
            table: PhantomData,
        })
    }

    pub const fn capacity(&self) -> u32 {
        self.capacity
    }

    pub fn lookup(&self, key: &T::Key) -> Result<Option<T::Value>, Error> {
        const { assert!(!matches!(T::KIND, Kind::PerCpuArray)) };
        let mut value = T::Value::default();
        // SAFETY: `open` compared the sizes.
        let result = unsafe { bpf_sys::lookup_element(self.fd.as_fd(), key, &mut value) };
        match result {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Self::error("read")(error)),
        }
    }

    /// Calls `visit` for every entry of a hash or a trie. Entries that come or go meanwhile may be
    /// missed.
    pub fn for_each(&self, visit: impl FnMut(&T::Key, &T::Value)) -> Result<(), Error> {
        self.for_each_by(PAGE.min(self.capacity as usize).max(1), visit)
    }

    /// The same, beginning with reads of `page` entries.
    fn for_each_by(&self, page: usize, visit: impl FnMut(&T::Key, &T::Value)) -> Result<(), Error> {
        const {
            assert!(matches!(
                T::KIND,
                Kind::Hash | Kind::LruHash | Kind::LpmTrie
            ))
        };
        if matches!(T::KIND, Kind::LpmTrie) {
            self.for_each_from::<T::Key>(page, visit)
        } else {
            self.for_each_from::<u32>(page, visit)
        }
    }

    /// The same, where the kernel says by a `P` how far it has read.
    fn for_each_from<P: Entry>(
        &self,
        mut page: usize,
        mut visit: impl FnMut(&T::Key, &T::Value),
    ) -> Result<(), Error> {
        let mut from: Option<P> = None;
        let mut keys = vec![T::Key::default(); page];
        let mut values = vec![T::Value::default(); page];
        loop {
            // SAFETY: `open` compared the sizes and the kind, which `for_each_by` chose `P` by.
            let result =
                unsafe { bpf_sys::lookup_batch(self.fd.as_fd(), from, &mut keys, &mut values) };
            match result {
                Ok(read) => {
                    for (key, value) in keys.iter().zip(&values).take(read.count) {
                        visit(key, value);
                    }
                    if read.next.is_none() {
                        return Ok(());
                    }
                    from = read.next;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    page *= 2;
                    keys.resize(page, T::Key::default());
                    values.resize(page, T::Value::default());
                }
                Err(error) => return Err(Self::error("read")(error)),
            }
        }
    }

    /// Writes entries in order; an entry that cannot be written does not stop the others.
    pub fn update(&self, keys: &[T::Key], values: &[T::Value]) -> Vec<Refusal> {
        const { assert!(!matches!(T::KIND, Kind::PerCpuArray)) };
        each_in_turn(keys.len(), |from| {
            // SAFETY: `open` compared the sizes.
            unsafe { bpf_sys::update_batch(self.fd.as_fd(), &keys[from..], &values[from..]) }
        })
        .into_iter()
        .map(|(at, source)| (at, Self::error("write to")(source)))
        .collect()
    }

    /// Removes entries of a hash or a trie; one that is not there is removed already.
    pub fn remove(&self, keys: &[T::Key]) -> Vec<Refusal> {
        each_in_turn(keys.len(), |from| {
            // SAFETY: `open` compared the sizes.
            unsafe { bpf_sys::delete_batch(self.fd.as_fd(), &keys[from..]) }
        })
        .into_iter()
        .filter(|(_, source)| source.kind() != io::ErrorKind::NotFound)
        .map(|(at, source)| (at, Self::error("remove from")(source)))
        .collect()
    }

    fn error(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Map {
            map: T::NAME,
            operation,
            source,
        }
    }
}

impl<T: Table<Key = u32, Value: Entry>> Map<T> {
    /// Calls `visit` for the entries `start .. start + count` of an array, as far as it goes.
    pub fn for_range(
        &self,
        start: u32,
        count: u32,
        mut visit: impl FnMut(u32, &T::Value),
    ) -> Result<(), Error> {
        const { assert!(matches!(T::KIND, Kind::Array)) };
        let end = start.saturating_add(count).min(self.capacity);
        let page = PAGE.min(end.saturating_sub(start) as usize);
        let mut keys = vec![0u32; page];
        let mut values = vec![T::Value::default(); page];
        let mut index = start;
        while index < end {
            let wanted = page.min((end - index) as usize);
            let from = index.checked_sub(1);
            let keys = &mut keys[..wanted];
            // SAFETY: `open` compared the sizes.
            let read = unsafe { bpf_sys::lookup_batch(self.fd.as_fd(), from, keys, &mut values) }
                .map_err(Self::error("read"))?;
            for (key, value) in keys.iter().zip(&values).take(read.count) {
                visit(*key, value);
            }
            if read.next.is_none() {
                break;
            }
            index += read.count as u32;
        }
        Ok(())
    }
}

impl<T: Table<Key = u32, Value = u64>> Map<T> {
    /// Calls `visit` for every entry of a per-CPU array, with its value on each possible CPU.
    pub fn for_each_per_cpu(&self, mut visit: impl FnMut(u32, &[u64])) -> Result<(), Error> {
        const { assert!(matches!(T::KIND, Kind::PerCpuArray)) };
        let cpus = aya::util::nr_cpus()
            .map_err(|(path, source)| Error::path("count CPUs from", path)(source))?;
        let mut keys = vec![0u32; self.capacity as usize];
        let mut values = vec![0u64; keys.len() * cpus];
        // SAFETY: there are `cpus` values of eight bytes for each key.
        let read =
            unsafe { bpf_sys::lookup_batch(self.fd.as_fd(), None::<u32>, &mut keys, &mut values) }
                .map_err(Self::error("read"))?;
        for (key, values) in keys.iter().zip(values.chunks_exact(cpus)).take(read.count) {
            visit(*key, values);
        }
        Ok(())
    }
}

/// Runs a batch again from behind every entry that fails, and returns those.
fn each_in_turn(
    count: usize,
    mut batch: impl FnMut(usize) -> Result<(), Partial>,
) -> Vec<(usize, io::Error)> {
    let mut failed = Vec::new();
    let mut from = 0;
    while from < count {
        let Err(partial) = batch(from) else { break };
        let at = from + partial.done;
        failed.push((at, partial.source));
        from = at + 1;
    }
    failed
}

pub(super) const fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Hash => bpf_map_type::BPF_MAP_TYPE_HASH as u32,
        Kind::LruHash => bpf_map_type::BPF_MAP_TYPE_LRU_HASH as u32,
        Kind::LpmTrie => bpf_map_type::BPF_MAP_TYPE_LPM_TRIE as u32,
        Kind::Array => bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        Kind::PerCpuArray => bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY as u32,
    }
}
