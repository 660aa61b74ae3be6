//! The service maps in the kernel, opened where they are pinned.

use std::{collections::BTreeMap, ops::Range};

use aya::Pod;
use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    frontend::backend,
    tables::{
        Addresses4, Addresses6, Affinities4, Affinities6, Affinity, AffinityKey, Backend,
        Backends4, Backends6, Counters, Flow, FlowKey, Flows4, Flows6, Fragment, FragmentKey,
        Fragments4, Fragments6, Frontend, FrontendKey, Frontends4, Frontends6, Node, Nodes4,
        Nodes6, Prefix, Ranges4, Ranges6, Slots, SocketKey, SocketPeer, Sockets4, Sockets6,
        SourceKey, Sources4, Sources6, Table, Uplink, Uplinks4, Uplinks6,
    },
};

use super::{
    Access, Error, Map, PinDir, Tables,
    map::{Entry, Refusal},
    rows::Rows,
};
use crate::plan::{FamilyOp, FamilyState, MapState, Op, sets_of};

/// Every map of the datapath. Opened for reading, a write fails with `EPERM`.
pub struct BpfTables {
    pub v4: FamilyMaps<Ipv4>,
    pub v6: FamilyMaps<Ipv6>,
    pub slots: Map<Slots>,
    pub counters: Map<Counters>,
}

/// The maps that exist once for each family.
pub struct FamilyMaps<F: FamilyTables> {
    pub frontends: Map<F::Frontends>,
    pub addresses: Map<F::Addresses>,
    pub sources: Map<F::Sources>,
    pub affinities: Map<F::Affinities>,
    pub nodes: Map<F::Nodes>,
    pub ranges: Map<F::Ranges>,
    pub uplinks: Map<F::Uplinks>,
    pub backends: Map<F::Backends>,
    pub flows: Map<F::Flows>,
    pub fragments: Map<F::Fragments>,
    pub sockets: Map<F::Sockets>,
}

/// Which tables are a family's.
pub trait FamilyTables: Family<Addr: Pod> {
    type Frontends: Table<Key = FrontendKey<Self>, Value = Frontend>;
    type Addresses: Table<Key = Self::Addr, Value = u32>;
    type Sources: Table<Key = SourceKey<Self>, Value = u32>;
    type Affinities: Table<Key = AffinityKey<Self>, Value = Affinity>;
    type Nodes: Table<Key = u32, Value = Node<Self>>;
    type Ranges: Table<Key = u32, Value = Prefix<Self>>;
    type Uplinks: Table<Key = u32, Value = Uplink<Self>>;
    type Backends: Table<Key = u32, Value = Backend<Self>>;
    type Flows: Table<Key = FlowKey<Self>, Value = Flow<Self>>;
    type Fragments: Table<Key = FragmentKey<Self>, Value = Fragment>;
    type Sockets: Table<Key = SocketKey<Self>, Value = SocketPeer<Self>>;

    fn maps(tables: &BpfTables) -> &FamilyMaps<Self>;
}

// === impl FamilyTables ===

impl FamilyTables for Ipv4 {
    type Frontends = Frontends4;
    type Addresses = Addresses4;
    type Sources = Sources4;
    type Affinities = Affinities4;
    type Nodes = Nodes4;
    type Ranges = Ranges4;
    type Uplinks = Uplinks4;
    type Backends = Backends4;
    type Flows = Flows4;
    type Fragments = Fragments4;
    type Sockets = Sockets4;

    fn maps(tables: &BpfTables) -> &FamilyMaps<Self> {
        &tables.v4
    }
}

impl FamilyTables for Ipv6 {
    type Frontends = Frontends6;
    type Addresses = Addresses6;
    type Sources = Sources6;
    type Affinities = Affinities6;
    type Nodes = Nodes6;
    type Ranges = Ranges6;
    type Uplinks = Uplinks6;
    type Backends = Backends6;
    type Flows = Flows6;
    type Fragments = Fragments6;
    type Sockets = Sockets6;

    fn maps(tables: &BpfTables) -> &FamilyMaps<Self> {
        &tables.v6
    }
}

// === impl BpfTables ===

impl BpfTables {
    /// Opens what an agent has pinned, whether or not it still runs.
    pub fn open_pinned(pins: &PinDir, access: Access) -> Result<Self, Error> {
        Ok(Self {
            v4: FamilyMaps::open(pins, access)?,
            v6: FamilyMaps::open(pins, access)?,
            slots: open(pins, access)?,
            counters: open(pins, access)?,
        })
    }
}

impl Tables for BpfTables {
    fn dump(&self) -> Result<MapState, Error> {
        let v4 = self.v4.dump()?;
        let v6 = self.v6.dump()?;
        let sets = v4.frontends.values().chain(v6.frontends.values());
        let mut slots = BTreeMap::new();
        for range in joined(sets.flat_map(sets_of)) {
            self.slots
                .for_range(range.start, range.end - range.start, |index, backend| {
                    slots.insert(index, *backend);
                })?;
        }
        Ok(MapState { v4, v6, slots })
    }

    fn write(&mut self, run: &[Op]) -> Vec<Refusal> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut slots, mut backends) = (Vec::new(), Vec::new());
        for op in run {
            match *op {
                Op::V4(op) => v4.push(op),
                Op::V6(op) => v6.push(op),
                Op::Slot { index, backend } => {
                    slots.push(index);
                    backends.push(backend);
                }
            }
        }
        let mut failed = self.slots.update(&slots, &backends);
        failed.extend(Rows::of(&v4).write(&self.v4));
        failed.extend(Rows::of(&v6).write(&self.v6));
        failed
    }

    fn owner(&self, op: &Op) -> Result<Option<u32>, Error> {
        match op {
            Op::V4(op) => self.v4.owner(op),
            Op::V6(op) => self.v6.owner(op),
            Op::Slot { .. } => Ok(None),
        }
    }
}

// === impl FamilyMaps ===

impl<F: FamilyTables> FamilyMaps<F> {
    fn open(pins: &PinDir, access: Access) -> Result<Self, Error> {
        Ok(Self {
            frontends: open(pins, access)?,
            addresses: open(pins, access)?,
            sources: open(pins, access)?,
            affinities: open(pins, access)?,
            nodes: open(pins, access)?,
            ranges: open(pins, access)?,
            uplinks: open(pins, access)?,
            backends: open(pins, access)?,
            flows: open(pins, access)?,
            fragments: open(pins, access)?,
            sockets: open(pins, access)?,
        })
    }

    fn dump(&self) -> Result<FamilyState<F>, Error> {
        let mut state = FamilyState::default();
        self.frontends.for_each(|key, value| {
            state.frontends.insert(*key, *value);
        })?;
        self.addresses.for_each(|addr, value| {
            state.addresses.insert(*addr, *value);
        })?;
        self.sources.for_each(|key, value| {
            state.sources.insert(*key, *value);
        })?;
        self.uplinks.for_each(|ifindex, value| {
            state.uplinks.insert(*ifindex, *value);
        })?;
        filled(&self.nodes, &mut state.nodes)?;
        filled(&self.ranges, &mut state.ranges)?;
        self.for_each_backend(|id, value| {
            state.backends.insert(id, *value);
        })?;
        Ok(state)
    }

    /// Calls `visit` for every backend that is not gone.
    pub fn for_each_backend(&self, mut visit: impl FnMut(u32, &Backend<F>)) -> Result<(), Error> {
        self.backends
            .for_range(0, self.backends.capacity(), |id, value| {
                if value.state != backend::GONE {
                    visit(id, value);
                }
            })
    }

    fn owner(&self, op: &FamilyOp<F>) -> Result<Option<u32>, Error> {
        Ok(match op {
            FamilyOp::Backend { id, .. } => self
                .backends
                .lookup(id)?
                .filter(|found| found.state != backend::GONE)
                .map(|found| found.service),
            FamilyOp::Frontend { key, .. } => {
                self.frontends.lookup(key)?.map(|found| found.service)
            }
            FamilyOp::Source { .. }
            | FamilyOp::Range { .. }
            | FamilyOp::Node { .. }
            | FamilyOp::Uplink { .. }
            | FamilyOp::Address { .. } => None,
        })
    }
}

fn open<T: Table<Key: Entry, Value: Entry>>(
    pins: &PinDir,
    access: Access,
) -> Result<Map<T>, Error> {
    Map::open(&pins.map::<T>(), access)
}

/// An array's entries that are not empty.
fn filled<T: Table<Key = u32, Value: Entry + PartialEq>>(
    map: &Map<T>,
    rows: &mut BTreeMap<u32, T::Value>,
) -> Result<(), Error> {
    map.for_range(0, map.capacity(), |index, value| {
        if *value != T::Value::default() {
            rows.insert(index, *value);
        }
    })
}

/// The same numbers in fewer ranges: sets stand side by side, and one read serves many.
fn joined(ranges: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
    let mut ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_side_by_side_are_read_as_one() {
        let sets = [
            (7, 9),
            (0, 3),
            (3, 5),
            (20, 20),
            (8, 8),
            (1, 2),
            (12, 14),
            (8, 11),
        ];
        let ranges = joined(sets.into_iter().map(|(start, end)| start..end));
        assert_eq!(ranges, [0..5, 7..11, 12..14]);
    }
}
