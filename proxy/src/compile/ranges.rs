//! Contiguous ranges of slots: the smallest gap that is large enough, and the lowest of those, so
//! that large gaps stay whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The gaps between the ranges in use.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Length by start; neighbours are always joined.
    gaps: BTreeMap<u32, u32>,
    /// The same as (length, start).
    by_length: BTreeSet<(u32, u32)>,
}

// === impl Ranges ===

impl Ranges {
    pub(super) fn new(limit: u32) -> Self {
        let mut ranges = Self {
            gaps: BTreeMap::new(),
            by_length: BTreeSet::new(),
        };
        ranges.insert(0..limit);
        ranges
    }

    pub(super) fn largest_gap(&self) -> u32 {
        self.by_length.last().map_or(0, |&(length, _)| length)
    }

    pub(super) fn take(&mut self, length: u32) -> Option<Range<u32>> {
        let &(_, start) = self.by_length.range((length, 0)..).next()?;
        let range = start..start + length;
        self.reserve(range.clone()).then_some(range)
    }

    /// Takes this very range; false if any of it is in use or out of range.
    pub(super) fn reserve(&mut self, range: Range<u32>) -> bool {
        let Some((&start, &length)) = self.gaps.range(..=range.start).next_back() else {
            return false;
        };
        let gap = start..start + length;
        if range.is_empty() || range.end > gap.end {
            return false;
        }
        self.remove(&gap);
        self.insert(gap.start..range.start);
        self.insert(range.end..gap.end);
        true
    }

    pub(super) fn free(&mut self, range: Range<u32>) {
        let mut joined = range;
        if let Some((&start, &length)) = self.gaps.range(..joined.start).next_back()
            && start + length == joined.start
        {
            self.remove(&(start..start + length));
            joined.start = start;
        }
        if let Some(&length) = self.gaps.get(&joined.end) {
            self.remove(&(joined.end..joined.end + length));
            joined.end += length;
        }
        self.insert(joined);
    }

    fn insert(&mut self, gap: Range<u32>) {
        if !gap.is_empty() {
            self.gaps.insert(gap.start, gap.end - gap.start);
            self.by_length.insert((gap.end - gap.start, gap.start));
        }
    }

    fn remove(&mut self, gap: &Range<u32>) {
        self.gaps.remove(&gap.start);
        self.by_length.remove(&(gap.end - gap.start, gap.start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_gap_that_fits_is_used() {
        let mut ranges = Ranges::new(100);
        let taken: Vec<_> = [10, 3, 10]
            .iter()
            .filter_map(|&length| ranges.take(length))
            .collect();
        assert_eq!(taken, [0..10, 10..13, 13..23]);
        ranges.free(0..10);
        ranges.free(13..23);
        assert_eq!(ranges.take(4), Some(0..4), "not from the large gap");
        assert_eq!(ranges.largest_gap(), 87);
    }

    #[test]
    fn freed_neighbours_become_one_gap() {
        let mut ranges = Ranges::new(30);
        for _ in 0..3 {
            ranges.take(10).unwrap();
        }
        assert_eq!(ranges.largest_gap(), 0);
        ranges.free(0..10);
        ranges.free(20..30);
        ranges.free(10..20);
        assert_eq!(ranges.take(30), Some(0..30));
    }

    #[test]
    fn a_range_is_taken_once() {
        let mut ranges = Ranges::new(10);
        assert!(ranges.reserve(2..5));
        for taken in [2..5, 0..3, 4..6, 8..11, 20..21, 7..7] {
            assert!(!ranges.reserve(taken.clone()), "{taken:?}");
        }
        assert!(ranges.reserve(0..2) && ranges.reserve(5..10));
        assert_eq!(ranges.take(1), None);
    }
}
