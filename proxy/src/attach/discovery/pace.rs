//! How far apart looks are.
//!
//! The first event after a quiet time is answered at once, since a new device is to be attached
//! before its pod runs. Events that keep coming and change nothing, such as those of a node with
//! many routes, are answered less and less often.

use std::time::{Duration, Instant};

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(320);

#[derive(Debug, Default)]
pub(super) struct Pace {
    pause: Duration,
    /// When the last pause was to end.
    until: Option<Instant>,
}

// === impl Pace ===

impl Pace {
    /// How long to pause after a look that found something else than the one before, or not.
    pub(super) fn pause_after(
        &mut self,
        began: Instant,
        ended: Instant,
        differs: bool,
    ) -> Duration {
        let was_quiet = self.until.is_none_or(|until| began > until + self.pause);
        self.pause = if differs || was_quiet {
            PAUSE_MIN
        } else {
            PAUSE_MAX.min(self.pause * 2)
        };
        self.until = Some(ended + self.pause);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(50);

    #[test]
    fn events_that_change_nothing_are_answered_less_and_less_often() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let ended = now + LOOK;
            let pause = pace.pause_after(now, ended, false);
            pauses.push(pause.as_millis());
            now = ended + pause;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 320]);
        assert_eq!(pace.pause_after(now, now + LOOK, true), PAUSE_MIN);
    }

    #[test]
    fn event_after_a_quiet_time_is_answered_at_once() {
        let mut pace = Pace::default();
        let start = Instant::now();
        pace.pause_after(start, start, false);
        let again = start + PAUSE_MIN;
        let pause = pace.pause_after(again, again, false);
        assert!(pause > PAUSE_MIN);
        let quiet = again + pause * 3;
        assert_eq!(pace.pause_after(quiet, quiet, false), PAUSE_MIN);
    }
}
