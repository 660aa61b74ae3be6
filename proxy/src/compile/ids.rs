//! Numbers for things that live in tables: the lowest free one first, so that the same history
//! gives the same numbers and a table stays dense.
//!
//! Number 0 is never given out: it is what an empty slot holds.

/// Which of the numbers `1 .. limit` are in use.
#[derive(Debug)]
pub(super) struct Ids {
    /// A bit for each number, grown on demand.
    used: Vec<u64>,
    limit: u32,
    taken: u32,
    /// No word before this one has a free bit.
    first_free: usize,
}

const BITS: u32 = u64::BITS;

// === impl Ids ===

impl Ids {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            used: vec![1],
            limit,
            taken: 0,
            first_free: 0,
        }
    }

    /// How many numbers can still be taken.
    pub(super) const fn available(&self) -> u32 {
        self.limit.saturating_sub(1).saturating_sub(self.taken)
    }

    /// The lowest free number.
    pub(super) fn take(&mut self) -> Option<u32> {
        while self.used.get(self.first_free) == Some(&u64::MAX) {
            self.first_free += 1;
        }
        let word = self.used.get(self.first_free).copied().unwrap_or_default();
        let id = u32::try_from(self.first_free).ok()? * BITS + word.trailing_ones();
        self.reserve(id).then_some(id)
    }

    /// Takes this very number; false if it is in use or out of range.
    pub(super) fn reserve(&mut self, id: u32) -> bool {
        let (word, bit) = place(id);
        if id >= self.limit || self.used.get(word).is_some_and(|used| used & bit != 0) || id == 0 {
            return false;
        }
        if word >= self.used.len() {
            self.used.resize(word + 1, 0);
        }
        self.used[word] |= bit;
        self.taken += 1;
        true
    }

    pub(super) fn free(&mut self, id: u32) {
        let (word, bit) = place(id);
        debug_assert!(
            self.used[word] & bit != 0,
            "only a number that was taken is freed"
        );
        self.used[word] &= !bit;
        self.taken -= 1;
        self.first_free = self.first_free.min(word);
    }
}

const fn place(id: u32) -> (usize, u64) {
    ((id / BITS) as usize, 1 << (id % BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_comes_first_and_never_zero() {
        let mut ids = Ids::new(1000);
        let taken: Vec<_> = (0..200).filter_map(|_| ids.take()).collect();
        assert_eq!(taken, (1..=200).collect::<Vec<_>>());
        ids.free(150);
        ids.free(7);
        assert_eq!(
            (ids.take(), ids.take(), ids.take()),
            (Some(7), Some(150), Some(201))
        );
    }

    #[test]
    fn numbers_end_at_the_limit() {
        let mut ids = Ids::new(3);
        assert_eq!(ids.available(), 2);
        assert_eq!(
            (ids.take(), ids.take(), ids.take()),
            (Some(1), Some(2), None)
        );
        assert_eq!(ids.available(), 0);
        assert!(!ids.reserve(3));
    }

    #[test]
    fn a_reserved_number_is_not_given_out() {
        let mut ids = Ids::new(100_000);
        assert!(ids.reserve(1) && ids.reserve(90_000));
        assert!(!ids.reserve(1) && !ids.reserve(0));
        assert_eq!(ids.take(), Some(2));
    }
}
