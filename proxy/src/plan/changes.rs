//! The rows that may differ between the two sides, so that a plan costs what changed and not what
//! there is.

use std::{collections::BTreeMap, ops::Range};

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    tables::{FrontendKey, SourceKey},
};

use super::{FamilyState, MapState};

/// The rows that a pass touched: what `plan` compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub v4: FamilyChanges<Ipv4>,
    pub v6: FamilyChanges<Ipv6>,
    pub slots: Vec<Range<u32>>,
}

/// One family's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyChanges<F: Family> {
    pub frontends: Vec<FrontendKey<F>>,
    pub backends: Vec<u32>,
    pub addresses: Vec<F::Addr>,
    pub sources: Vec<SourceKey<F>>,
    pub ranges: Vec<u32>,
    pub nodes: Vec<u32>,
    pub uplinks: Vec<u32>,
}

// === impl Changes ===

impl Changes {
    /// Every row of either side: for a start, and to repair what others did to the maps.
    pub fn everything(actual: &MapState, desired: &MapState) -> Self {
        let mut changes = Self {
            v4: FamilyChanges::everything(&actual.v4, &desired.v4),
            v6: FamilyChanges::everything(&actual.v6, &desired.v6),
            slots: desired
                .slots
                .keys()
                .map(|&index| index..index + 1)
                .collect(),
        };
        changes.tidy();
        changes
    }

    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.v4.is_empty() && self.v6.is_empty()
    }

    /// Takes in those of another pass, for instance of one that could not be applied in full.
    pub fn merge(&mut self, other: Self) {
        self.v4.merge(other.v4);
        self.v6.merge(other.v6);
        self.slots.extend(other.slots);
        self.tidy();
    }

    /// Sorted and without repetition, as `plan` reads them.
    pub fn tidy(&mut self) {
        self.v4.tidy();
        self.v6.tidy();
        self.slots
            .sort_unstable_by_key(|range| (range.start, range.end));
        self.slots.dedup_by(|next, kept| {
            let joins = next.start <= kept.end;
            if joins {
                kept.end = kept.end.max(next.end);
            }
            joins
        });
    }
}

// === impl FamilyChanges ===

impl<F: Family> FamilyChanges<F> {
    fn everything(actual: &FamilyState<F>, desired: &FamilyState<F>) -> Self {
        Self {
            frontends: keys(&actual.frontends, &desired.frontends),
            backends: keys(&actual.backends, &desired.backends),
            addresses: keys(&actual.addresses, &desired.addresses),
            sources: keys(&actual.sources, &desired.sources),
            ranges: keys(&actual.ranges, &desired.ranges),
            nodes: keys(&actual.nodes, &desired.nodes),
            uplinks: keys(&actual.uplinks, &desired.uplinks),
        }
    }

    const fn is_empty(&self) -> bool {
        self.frontends.is_empty()
            && self.backends.is_empty()
            && self.addresses.is_empty()
            && self.sources.is_empty()
            && self.ranges.is_empty()
            && self.nodes.is_empty()
            && self.uplinks.is_empty()
    }

    fn merge(&mut self, other: Self) {
        self.frontends.extend(other.frontends);
        self.backends.extend(other.backends);
        self.addresses.extend(other.addresses);
        self.sources.extend(other.sources);
        self.ranges.extend(other.ranges);
        self.nodes.extend(other.nodes);
        self.uplinks.extend(other.uplinks);
    }

    fn tidy(&mut self) {
        sort(&mut self.frontends);
        sort(&mut self.backends);
        sort(&mut self.addresses);
        sort(&mut self.sources);
        sort(&mut self.ranges);
        sort(&mut self.nodes);
        sort(&mut self.uplinks);
    }
}

/// Those of both sides.
fn keys<K: Copy, V>(actual: &BTreeMap<K, V>, desired: &BTreeMap<K, V>) -> Vec<K> {
    actual.keys().chain(desired.keys()).copied().collect()
}

fn sort<T: Ord>(keys: &mut Vec<T>) {
    keys.sort_unstable();
    keys.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_changes_name_every_row_once() {
        let mut changes = Changes {
            slots: vec![4..6, 0..2],
            ..Changes::default()
        };
        changes.v4.backends = vec![3, 1];
        changes.v6.uplinks = vec![2];
        let mut other = Changes {
            slots: vec![1..3, 5..6],
            ..Changes::default()
        };
        other.v4.backends = vec![2, 3];
        other.v6.uplinks = vec![4, 2];
        changes.merge(other);
        assert_eq!(changes.slots, [0..3, 4..6]);
        assert_eq!(changes.v4.backends, [1, 2, 3]);
        assert_eq!(changes.v6.uplinks, [2, 4]);
        assert!(!changes.is_empty());
        assert!(Changes::default().is_empty());
    }
}
