//! The sets of one service port: ranges of slots, one for each list that its frontends choose from.
//!
//! A set that changes gets a range of its own, and the frontends flip to it. Lists that are equal
//! share one set.

use std::ops::Range;

use proxy_datapath::{
    family::Family,
    frontend::{ANSWERED, LOCAL, MAGLEV, WIRE_LOCAL},
    tables::{Frontend, FrontendKey},
};

use super::{
    part::{NoRoom, Part, Wanted, WantedFrontend},
    pass::{Pass, Slots},
    store::Left,
    traffic_policy::List,
};
use crate::plan::sets_of;

/// A range of slots; empty where nobody can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) base: u32,
    pub(super) count: u32,
}

/// What the frontends of a service port point to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    /// By `List`; `None` if no frontend asks for it.
    pub(super) spans: [Option<Span>; 2],
    /// `frontend::ANSWERED` and `frontend::MAGLEV`.
    pub(super) flags: u32,
}

/// Sets that have their ranges, before anything is written.
pub(super) struct Placed {
    pub(super) sets: Sets,
    /// What to write into the slots: positions among the wanted backends.
    fresh: Vec<(Span, Vec<usize>)>,
    /// A table is smaller than it should be.
    pub(super) short: Result<(), NoRoom>,
}

// === impl Span ===

impl Span {
    pub(super) const fn range(self) -> Range<u32> {
        self.base..self.base.saturating_add(self.count)
    }
}

impl From<Range<u32>> for Span {
    fn from(range: Range<u32>) -> Self {
        Self {
            base: range.start,
            count: range.end - range.start,
        }
    }
}

// === impl Sets ===

impl Sets {
    /// The sets that a frontend of the tables points to.
    pub(super) fn of_row(row: &Frontend) -> Self {
        let mut spans = [None; 2];
        for (span, is_local) in [
            ((row.wire_base, row.wire_count), row.flags & WIRE_LOCAL != 0),
            ((row.base, row.count), row.flags & LOCAL != 0),
        ] {
            let (base, count) = span;
            spans[usize::from(is_local)] = Some(Span { base, count });
        }
        Self {
            spans,
            flags: row.flags & (ANSWERED | MAGLEV),
        }
    }

    /// What a frontend's row is; `None` if the list that it asks for has never fitted.
    pub(super) fn row<F: Family>(
        &self,
        frontend: &WantedFrontend<F>,
        service: u32,
        affinity: u32,
    ) -> Option<Frontend> {
        let inside = self.spans[frontend.inside as usize]?;
        let wire = self.spans[frontend.wire as usize]?;
        let mut flags = self.flags | frontend.flags;
        if frontend.inside == List::Local {
            flags |= LOCAL;
        }
        if frontend.wire == List::Local {
            flags |= WIRE_LOCAL;
        }
        Some(Frontend {
            base: inside.base,
            count: inside.count,
            wire_base: wire.base,
            wire_count: wire.count,
            flags,
            service,
            affinity,
        })
    }

    /// The ranges that are in use, each once.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u32>> + use<> {
        let [cluster, local] = self.spans;
        let local = local.filter(|local| Some(*local) != cluster);
        let all = [cluster, local].into_iter().flatten();
        all.filter(|span| span.count > 0).map(Span::range)
    }
}

// === impl Pass: sets ===

impl<F: Family> Pass<'_, F> {
    /// Finds a range for each list that is wanted, or keeps the one that holds it; `ids` are those
    /// of the wanted backends that exist. Nothing is taken if something does not fit.
    pub(super) fn place(
        &mut self,
        part: &Part<F>,
        wanted: &Wanted<F>,
        ids: &[Option<u32>],
    ) -> Result<Placed, NoRoom> {
        let known = part.sets.unwrap_or_default().spans;
        let mut placed = Placed {
            sets: Sets {
                spans: [None; 2],
                flags: wanted.set_flags(),
            },
            fresh: Vec::new(),
            short: Ok(()),
        };
        for list in [List::Cluster, List::Local].map(|list| list as usize) {
            let Some(members) = &wanted.lists[list] else {
                continue;
            };
            if list > 0 && wanted.lists[0].as_ref() == Some(members) {
                placed.sets.spans[list] = placed.sets.spans[0];
                continue;
            }
            if let Err(no_room) = self.place_list(list, known[list], (wanted, ids), &mut placed) {
                for (span, _) in placed.fresh {
                    self.sets.ranges.free(span.range());
                }
                return Err(no_room);
            }
        }
        Ok(placed)
    }

    fn place_list(
        &mut self,
        list: usize,
        known: Option<Span>,
        (wanted, ids): (&Wanted<F>, &[Option<u32>]),
        placed: &mut Placed,
    ) -> Result<(), NoRoom> {
        let mut short = Ok(());
        for table in wanted.tables(list) {
            let held = known.filter(|known| self.holds(*known, &table, ids));
            let span = if table.is_empty() {
                Span::default()
            } else if let Some(known) = held {
                known
            } else if let Some(span) = self.sets.take(table.len()) {
                placed.fresh.push((span, table));
                span
            } else {
                short = short.and(Err(NoRoom {
                    what: if wanted.maglev {
                        "slots in a row for a full Maglev table"
                    } else {
                        "slots in a row"
                    },
                    needed: table.len(),
                    free: self.sets.ranges.largest_gap(),
                    family: 0,
                }));
                continue;
            };
            placed.sets.spans[list] = Some(span);
            placed.short = placed.short.and(short);
            return Ok(());
        }
        short
    }

    /// Whether a set is made of exactly these.
    fn holds(&self, span: Span, table: &[usize], ids: &[Option<u32>]) -> bool {
        let held = self.sets.slots.range(span.range());
        span.count as usize == table.len()
            && held
                .map(|(_, id)| Some(*id))
                .eq(table.iter().map(|&at| ids[at]))
    }

    /// Writes the slots of the sets that were placed, and leaves those that they replace.
    pub(super) fn fill(&mut self, part: &mut Part<F>, placed: &Placed, ids: &[u32]) {
        let before = part.sets.unwrap_or_default();
        let kept: Vec<Range<u32>> = placed.sets.ranges().collect();
        for range in before.ranges().filter(|range| !kept.contains(range)) {
            self.leave_range(range, part.readers());
        }
        if kept
            .iter()
            .all(|range| !before.ranges().any(|known| known == *range))
        {
            part.former.clear();
        }
        for (span, table) in &placed.fresh {
            let ids = table.iter().map(|&at| ids[at]);
            self.sets.slots.extend(span.range().zip(ids));
            self.sets.changes.push(span.range());
        }
        part.sets = Some(placed.sets);
    }

    /// Leaves the sets that no frontend points to: those of frontends that are gone, while the sets
    /// that should take their place do not fit.
    pub(super) fn leave_unread(&mut self, part: &mut Part<F>) {
        let Some(sets) = &mut part.sets else { return };
        if sets.ranges().next().is_none() {
            return;
        }
        let rows = part.frontends.iter();
        let read: Vec<Range<u32>> = rows
            .filter_map(|key| self.rows.frontends.get(key))
            .flat_map(sets_of)
            .collect();
        let before = *sets;
        for span in &mut sets.spans {
            *span = span.filter(|span| span.count == 0 || read.contains(&span.range()));
        }
        let after: Vec<Range<u32>> = sets.ranges().collect();
        for range in before.ranges().filter(|range| !after.contains(range)) {
            self.leave_range(range, part.readers());
        }
    }

    /// Leaves every set that the service port has.
    pub(super) fn leave_sets(&mut self, part: &mut Part<F>) {
        for range in part.sets.take().iter().flat_map(Sets::ranges) {
            self.leave_range(range, part.readers());
        }
        part.former.clear();
    }

    pub(super) fn leave_range(&mut self, range: Range<u32>, readers: Vec<FrontendKey<F>>) {
        for index in range.clone() {
            self.sets.slots.remove(&index);
        }
        self.half.quarantine.add(Left::Set { range, readers });
    }
}

// === impl Slots ===

impl Slots<'_> {
    fn take(&mut self, length: usize) -> Option<Span> {
        let length = u32::try_from(length).ok()?;
        self.ranges.take(length).map(Span::from)
    }
}
