//! Whether the proxy keeps up, and whether its node should get traffic: the state behind
//! `/healthz`, `/livez` and the health check ports (services.md 98, 102–106).
//!
//! Time comes through `Clock`. How long a change has waited is measured by the monotonic clock, so
//! that a step of the other one makes nobody unhealthy; the other one is only shown.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::model::{Cluster, IpFamily};

/// One point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub monotonic: Instant,
    pub wall: Timestamp,
}

#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Moment + Send + Sync>);

/// The agent's loop writes it, the servers read it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    v4: Progress,
    v6: Progress,
    node_eligible: bool,
}

/// How far one family is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// The oldest change that is not programmed yet.
    pending_since: Option<Instant>,
    /// `None` before the first success: the family does not count yet.
    synced_at: Option<Timestamp>,
}

/// The state as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub now: Timestamp,
    pub healthy: bool,
    pub node_eligible: bool,
    /// The latest success of any family.
    pub synced_at: Option<Timestamp>,
    /// The families that were programmed at least once.
    pub families: Vec<FamilyReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyReport {
    pub family: IpFamily,
    pub synced_at: Timestamp,
    pub healthy: bool,
}

// === impl Clock ===

impl Clock {
    pub fn new(now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Moment {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| Moment {
            monotonic: Instant::now(),
            wall: Timestamp::now(),
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

// === impl Health ===

impl Health {
    /// A change that waits for `timeout` makes the proxy unhealthy.
    pub fn new(timeout: Duration, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            clock,
            timeout,
            state: Mutex::default(),
        }))
    }

    /// Something of this family has changed and is not programmed yet.
    pub fn queued(&self, family: IpFamily) {
        let now = self.0.clock.now().monotonic;
        self.change(|state| {
            state.of(family).pending_since.get_or_insert(now);
        });
    }

    /// Everything that was known of this family is programmed.
    pub fn synced(&self, family: IpFamily) {
        let now = self.0.clock.now().wall;
        self.change(|state| {
            *state.of(family) = Progress {
                pending_since: None,
                synced_at: Some(now),
            };
        });
    }

    /// Whether load balancers may send to this node (services.md 103): the Node is known and not
    /// about to go.
    pub fn node(&self, cluster: &Cluster) {
        let eligible = cluster.node().is_some_and(|node| !node.leaving);
        self.change(|state| state.node_eligible = eligible);
    }

    pub fn is_healthy(&self) -> bool {
        self.report().healthy
    }

    pub fn report(&self) -> Report {
        let now = self.0.clock.now();
        let state = *self.lock();
        let families: Vec<FamilyReport> = [(IpFamily::V4, state.v4), (IpFamily::V6, state.v6)]
            .into_iter()
            .filter_map(|(family, progress)| {
                Some(FamilyReport {
                    family,
                    synced_at: progress.synced_at?,
                    healthy: !progress.is_late(now.monotonic, self.0.timeout),
                })
            })
            .collect();
        Report {
            now: now.wall,
            healthy: families.iter().all(|family| family.healthy),
            node_eligible: state.node_eligible,
            synced_at: families.iter().map(|family| family.synced_at).max(),
            families,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change is one assignment: a state that a panic left is whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    const fn of(&mut self, family: IpFamily) -> &mut Progress {
        match family {
            IpFamily::V4 => &mut self.v4,
            IpFamily::V6 => &mut self.v6,
        }
    }
}

// === impl Progress ===

impl Progress {
    fn is_late(&self, now: Instant, timeout: Duration) -> bool {
        self.pending_since
            .is_some_and(|since| now.saturating_duration_since(since) >= timeout)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        model::{
            Node, Object, ObjectKey,
            testing::{apply, synced_cluster},
        },
        serve::testing::TestClock,
    };

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// `q`ueued or `s`ynced, `4` or `6`, or seconds that pass.
    fn play(story: &str) -> Report {
        let clock = TestClock::default();
        let health = Health::new(TIMEOUT, clock.clock());
        for word in story.split_whitespace() {
            match word {
                "q4" => health.queued(IpFamily::V4),
                "q6" => health.queued(IpFamily::V6),
                "s4" => health.synced(IpFamily::V4),
                "s6" => health.synced(IpFamily::V6),
                seconds => clock.pass(Duration::from_secs(seconds.parse().unwrap())),
            }
        }
        health.report()
    }

    #[rstest]
    #[case::starting("", true)]
    #[case::starting_with_a_change("q4 3600", true)]
    #[case::nothing_pending("s4 s6 3600", true)]
    #[case::an_api_server_that_is_away_25("s4 s6 86400", true)]
    #[case::a_young_change("s4 100 q4 59", true)]
    #[case::an_old_change("s4 q4 60", false)]
    #[case::the_oldest_counts("s4 q4 30 q4 30", false)]
    #[case::programmed_late("s4 q4 100 s4", true)]
    #[case::changed_again("s4 q4 50 s4 q4 50", true)]
    #[case::the_other_family_does_not_clear_it("s4 s6 q4 q6 30 s6 30", false)]
    #[case::each_family_by_itself("s4 s6 q6 60 q4", false)]
    fn an_old_pending_change_is_unhealthy_102(#[case] story: &str, #[case] healthy: bool) {
        assert_eq!(play(story).healthy, healthy);
    }

    #[rstest]
    #[case::known(Some(false), true)]
    #[case::leaving(Some(true), false)]
    #[case::unknown(None, false)]
    fn a_node_that_stays_may_get_traffic_103(#[case] leaving: Option<bool>, #[case] may: bool) {
        let health = Health::new(TIMEOUT, Clock::default());
        let mut cluster = synced_cluster();
        if let Some(leaving) = leaving {
            let node = Node {
                leaving,
                ..Node::default()
            };
            let here = ObjectKey::new("", "here");
            apply(&mut cluster, Object::Node(here, node));
        }
        health.node(&cluster);
        assert_eq!(health.report().node_eligible, may);
    }

    #[test]
    fn the_report_says_which_family_is_late_105() {
        let report = play("s4 10 s6 q4 60");
        let families: Vec<_> = report
            .families
            .iter()
            .map(|one| (one.family, one.healthy))
            .collect();
        assert_eq!(families, [(IpFamily::V4, false), (IpFamily::V6, true)]);
        assert_eq!(report.synced_at, Some(report.families[1].synced_at));
    }
}
