//! How long each device has been without a claim.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Endpoint, EndpointKind};

/// The devices that wait, by index, and since when.
#[derive(Debug)]
pub(super) struct Waits {
    limit: Duration,
    since: BTreeMap<u32, Instant>,
}

// === impl Waits ===

impl Waits {
    pub(super) const fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: BTreeMap::new(),
        }
    }

    pub(super) fn is_over(&self, ifindex: u32, now: Instant) -> bool {
        self.since
            .get(&ifindex)
            .is_some_and(|since| now.duration_since(*since) >= self.limit)
    }

    /// Takes note of who waits. Nobody's time runs before the facts are `complete`.
    pub(super) fn update(&mut self, endpoints: &[Endpoint], complete: bool, now: Instant) {
        let waits =
            |kind: &EndpointKind| matches!(kind, EndpointKind::Pending | EndpointKind::Unclaimed);
        let earlier = std::mem::take(&mut self.since);
        let waiting = endpoints
            .iter()
            .filter(|endpoint| complete && waits(&endpoint.kind));
        let since = |ifindex| earlier.get(&ifindex).copied().unwrap_or(now);
        self.since = waiting.map(|e| (e.ifindex, since(e.ifindex))).collect();
    }

    /// When the next wait is over.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.since
            .values()
            .map(|since| *since + self.limit)
            .filter(|end| *end > now)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn device(ifindex: u32, kind: EndpointKind) -> Endpoint {
        let (ifname, addrs) = ("veth".into(), Default::default());
        Endpoint {
            ifindex,
            ifname,
            netnsid: Some(0),
            addrs,
            kind,
        }
    }

    #[test]
    fn wait_ends_after_its_limit_and_begins_anew_after_a_claim() {
        let start = Instant::now();
        let mut waits = Waits::new(LIMIT);
        waits.update(&[device(7, EndpointKind::Pending)], true, start);
        assert!(!waits.is_over(7, start + LIMIT - Duration::from_millis(1)));
        assert!(waits.is_over(7, start + LIMIT));
        assert_eq!(waits.next(start), Some(start + LIMIT));

        let later = start + LIMIT;
        waits.update(&[device(7, EndpointKind::Unclaimed)], true, later);
        assert!(
            waits.is_over(7, later),
            "it stays over while nothing claims the device"
        );
        assert_eq!(waits.next(later), None);

        waits.update(&[], true, later);
        waits.update(&[device(7, EndpointKind::Pending)], true, later);
        assert!(!waits.is_over(7, later));
    }

    #[test]
    fn no_time_runs_before_the_facts_are_complete() {
        let start = Instant::now();
        let mut waits = Waits::new(LIMIT);
        waits.update(&[device(7, EndpointKind::Pending)], false, start);
        assert!(!waits.is_over(7, start + LIMIT));
        assert_eq!(waits.next(start), None);
    }
}
