//! What the demo measured, in a few lines.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::{DRAINED, traffic::Total};

#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Each pod's part of the requests while all were ready.
    pub(super) shares: BTreeMap<String, f64>,
    /// From writing the file until both agents had applied it.
    pub(super) drain: Duration,
    pub(super) back: Duration,
    /// Answers while no agent ran on the client's node.
    pub(super) while_down: u64,
    /// From the start of the new agent until it had read everything.
    pub(super) restart: Duration,
    /// Map writes of the new agent.
    pub(super) writes: u64,
}

// === impl Summary ===

impl Summary {
    pub(super) fn render(&self, totals: &[Total]) -> String {
        let mut text = String::from("\n");
        for Total { what, tally } in totals {
            let lost = tally.sent - tally.answered;
            let line = format!(
                "{} requests, {lost} lost; median {} µs, slowest {:.1} ms",
                tally.sent,
                tally.median_micros,
                tally.max_micros as f64 / 1e3
            );
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {what:<22} {line}");
        }
        let shares: Vec<_> = self
            .shares
            .iter()
            .map(|(name, share)| format!("{name} {:.0} %", share * 100.0))
            .collect();
        let _ = writeln!(text, "  {:<22} {}", "spread", shares.join(", "));
        let (drain, back) = (self.drain.as_millis(), self.back.as_millis());
        let change = format!("out after {drain} ms, back after {back} ms, from file to both nodes");
        let _ = writeln!(text, "  {:<22} {change}", format!("{DRAINED} drained"));
        let restart = format!(
            "{} answers without one; ready {} ms after its start, with {} map writes",
            self.while_down,
            self.restart.as_millis(),
            self.writes
        );
        let _ = writeln!(text, "  {:<22} {restart}\n", "agent killed");
        text
    }
}
