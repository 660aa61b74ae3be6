//! Numbers and ranges that nothing desires any more, until they may be used for something else.
//!
//! A program that runs at that moment may have read the old frontend, and the write that replaces
//! it may fail. So the rest begins when the maps are known to have let go, and not before.

use std::collections::VecDeque;

/// Seconds on the agent's clock between the last use and the next. The clock shows whole seconds:
/// three of them are two at least.
pub(super) const REST_S: u64 = 3;

#[derive(Debug)]
pub(super) struct Quarantine<T> {
    /// The maps may still hold these.
    leaving: Vec<T>,
    /// The maps do not; with the time when each is free, ascending.
    resting: VecDeque<(u64, T)>,
}

impl<T> Default for Quarantine<T> {
    fn default() -> Self {
        Self {
            leaving: Vec::new(),
            resting: VecDeque::new(),
        }
    }
}

// === impl Quarantine ===

impl<T> Quarantine<T> {
    pub(super) fn add(&mut self, item: T) {
        self.leaving.push(item);
    }

    /// Begins the rest of those that the maps no longer hold.
    pub(super) fn settle(&mut self, now_s: u64, in_use: impl Fn(&T) -> bool) {
        let gone = self.leaving.extract_if(.., |item| !in_use(item));
        self.resting.extend(gone.map(|item| (now_s + REST_S, item)));
        self.leaving.shrink_to(0);
    }

    /// Those that have rested.
    pub(super) fn release(&mut self, now_s: u64) -> impl Iterator<Item = T> {
        let rested = self
            .resting
            .partition_point(|(free_at_s, _)| *free_at_s <= now_s);
        self.resting.drain(..rested).map(|(_, item)| item)
    }

    /// When something will have rested.
    pub(super) fn next_s(&self) -> Option<u64> {
        self.resting.front().map(|(free_at_s, _)| *free_at_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_begins_when_the_maps_have_let_go() {
        let mut quarantine = Quarantine::default();
        quarantine.add("held");
        quarantine.add("free");
        quarantine.settle(10, |item| *item == "held");
        assert_eq!(quarantine.next_s(), Some(10 + REST_S));
        assert_eq!(quarantine.release(9 + REST_S).count(), 0);
        assert_eq!(
            quarantine.release(10 + REST_S).collect::<Vec<_>>(),
            ["free"]
        );
        quarantine.settle(20, |_| false);
        assert_eq!(quarantine.release(19 + REST_S).count(), 0);
        assert_eq!(
            quarantine.release(20 + REST_S).collect::<Vec<_>>(),
            ["held"]
        );
    }
}
