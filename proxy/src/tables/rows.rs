//! Operations of one table as the columns that a batch takes.

use proxy_datapath::{
    family::Family,
    tables::{Backend, Frontend, FrontendKey, Kind, Node, Prefix, SourceKey, Table, Uplink},
};

use super::{
    FamilyMaps, FamilyTables, Map,
    map::{Entry, Refusal},
};
use crate::plan::FamilyOp;

/// Operations of one family, by table.
pub(super) struct Rows<F: Family> {
    backends: Column<u32, Backend<F>>,
    sources: Column<SourceKey<F>, u32>,
    ranges: Column<u32, Prefix<F>>,
    nodes: Column<u32, Node<F>>,
    uplinks: Column<u32, Uplink<F>>,
    addresses: Column<F::Addr, u32>,
    frontends: Column<FrontendKey<F>, Frontend>,
}

struct Column<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
    gone: Vec<K>,
}

// === impl Rows ===

impl<F: FamilyTables> Rows<F> {
    pub(super) fn of(run: &[FamilyOp<F>]) -> Self {
        let mut rows = Self {
            backends: Column::default(),
            sources: Column::default(),
            ranges: Column::default(),
            nodes: Column::default(),
            uplinks: Column::default(),
            addresses: Column::default(),
            frontends: Column::default(),
        };
        for op in run {
            match *op {
                FamilyOp::Backend { id, value } => rows.backends.push(id, value),
                FamilyOp::Source { key, value } => rows.sources.push(key, value),
                FamilyOp::Range { index, value } => rows.ranges.push(index, value),
                FamilyOp::Node { value } => rows.nodes.push(0, value),
                FamilyOp::Uplink { ifindex, value } => rows.uplinks.push(ifindex, value),
                FamilyOp::Address { addr, value } => rows.addresses.push(addr, value),
                FamilyOp::Frontend { key, value } => rows.frontends.push(key, value),
            }
        }
        rows
    }

    /// Names those that failed by their place, which is only right where the run was of one table
    /// and either wrote or removed.
    pub(super) fn write(self, maps: &FamilyMaps<F>) -> Vec<Refusal> {
        let mut failed = self.backends.write(&maps.backends);
        failed.extend(self.sources.write(&maps.sources));
        failed.extend(self.ranges.write(&maps.ranges));
        failed.extend(self.nodes.write(&maps.nodes));
        failed.extend(self.uplinks.write(&maps.uplinks));
        failed.extend(self.addresses.write(&maps.addresses));
        failed.extend(self.frontends.write(&maps.frontends));
        failed
    }
}

// === impl Column ===

impl<K, V> Default for Column<K, V> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
            gone: Vec::new(),
        }
    }
}

impl<K: Entry, V: Entry> Column<K, V> {
    fn push(&mut self, key: K, value: Option<V>) {
        match value {
            Some(value) => {
                self.keys.push(key);
                self.values.push(value);
            }
            None => self.gone.push(key),
        }
    }

    fn write<T: Table<Key = K, Value = V>>(self, map: &Map<T>) -> Vec<Refusal> {
        let mut failed = map.update(&self.keys, &self.values);
        failed.extend(match T::KIND {
            // An array keeps all its entries; what is gone is empty.
            Kind::Array => map.update(&self.gone, &vec![V::default(); self.gone.len()]),
            _ => map.remove(&self.gone),
        });
        failed
    }
}
