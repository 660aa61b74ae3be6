//! The client's requests: new TCP connections, new UDP flows, and one connection that lasts.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;

use crate::{
    lab::{Load, Place},
    probe::Tally,
};

const LOADS: [(&str, &str); 3] = [
    (
        "tcp, a connection each",
        "tcp 10.96.0.10:80 --interval-us 3000",
    ),
    (
        "udp, a flow each",
        "udp [fd00:96::10]:80 --interval-us 3000",
    ),
    (
        "tcp, one connection",
        "tcp [fd00:96::10]:80 --interval-us 3000 --keep",
    ),
];
/// The loads that choose a pod with every request.
const CHOOSING: usize = 2;
const BAR: usize = 24;

pub(super) struct Traffic {
    loads: Vec<Load>,
    /// What each load had done at the last mark.
    marks: Vec<Tally>,
}

/// A load's final figures.
pub(super) struct Total {
    pub(super) what: &'static str,
    pub(super) tally: Tally,
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn start(client: &Place) -> Result<Self> {
        let loads: Vec<_> = LOADS
            .iter()
            .map(|(_, args)| client.load(args))
            .collect::<Result<_>>()?;
        Ok(Self {
            marks: vec![Tally::default(); loads.len()],
            loads,
        })
    }

    /// Counts from here on; waits for tallies that know all that came before.
    pub(super) fn mark(&mut self) -> Result<()> {
        for (load, mark) in self.loads.iter().zip(&mut self.marks) {
            // The next tally may have been on its way already.
            load.wait_for_more(1)?;
            *mark = load.wait_for_more(1)?;
        }
        Ok(())
    }

    /// Answers since the mark, of all loads.
    pub(super) fn answered(&self) -> u64 {
        let now = self
            .loads
            .iter()
            .map(|load| load.tally().answered)
            .sum::<u64>();
        now - self.marks.iter().map(|mark| mark.answered).sum::<u64>()
    }

    /// Answers of this pod to new connections and flows since the mark.
    pub(super) fn answers_of(&self, name: &str) -> u64 {
        (0..CHOOSING).map(|load| self.since_mark(load, name)).sum()
    }

    /// Each pod's part of the requests that chose one since the mark.
    pub(super) fn shares(&self) -> BTreeMap<String, f64> {
        let mut answers = BTreeMap::<String, u64>::new();
        for load in &self.loads[..CHOOSING] {
            for name in load.tally().by_name.keys() {
                answers
                    .entry(name.clone())
                    .or_insert_with(|| self.answers_of(name));
            }
        }
        let all = answers.values().sum::<u64>().max(1);
        answers
            .into_iter()
            .map(|(name, count)| (name, count as f64 / all as f64))
            .collect()
    }

    /// One line for each pod, and one for what was lost.
    pub(super) fn table(&self, pods: &[(&str, u8)]) -> String {
        let shares = self.shares();
        let mut text = String::new();
        for (name, node) in pods {
            let share = shares.get(*name).copied().unwrap_or_default();
            let bar = "█".repeat((share * BAR as f64).round() as usize);
            let [tcp, udp] = [0, 1].map(|load| self.since_mark(load, name));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "         {name} n{node}  {bar:<BAR$} {:5.1} %  tcp {tcp:>5}  udp {udp:>5}",
                share * 100.0
            );
        }
        let tallies: Vec<_> = self.loads.iter().map(Load::tally).collect();
        let lost: u64 = tallies
            .iter()
            .map(|tally| tally.sent - tally.answered)
            .sum();
        let sent: u64 = tallies.iter().map(|tally| tally.sent).sum();
        let _ = writeln!(
            text,
            "         {sent} requests since the start, {lost} lost"
        );
        text
    }

    pub(super) fn finish(&mut self) -> Result<Vec<Total>> {
        let loads = std::mem::take(&mut self.loads);
        let names = LOADS.iter().map(|(what, _)| *what);
        names
            .zip(loads)
            .map(|(what, load)| {
                Ok(Total {
                    what,
                    tally: load.finish()?,
                })
            })
            .collect()
    }

    fn since_mark(&self, load: usize, name: &str) -> u64 {
        let count = |tally: &Tally| tally.by_name.get(name).copied().unwrap_or_default();
        let now = self.loads.get(load).map_or(0, |load| count(&load.tally()));
        now.saturating_sub(self.marks.get(load).map_or(0, count))
    }
}
