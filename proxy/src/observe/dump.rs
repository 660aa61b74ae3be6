//! Whole tables as rows, sorted by what a person would look for, never by a hash table's order.

use proxy_datapath::family::Family;

use super::row::Row;
use crate::plan::{FamilyState, MapState};

/// Frontends and backends of both families, as scenarios expect them.
pub fn render(maps: &MapState) -> String {
    let mut rows = frontends(maps);
    rows.extend(backends(maps));
    rows.iter().map(|row| format!("{row}\n")).collect()
}

pub fn frontends(maps: &MapState) -> Vec<Row> {
    fn family<'a, F: Family>(
        state: &'a FamilyState<F>,
        maps: &'a MapState,
    ) -> impl Iterator<Item = Row> + 'a {
        state
            .frontends
            .iter()
            .map(|(key, frontend)| Row::frontend(key, frontend, maps))
    }
    sorted(family(&maps.v4, maps).chain(family(&maps.v6, maps)))
}

pub fn vips(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state.vips.keys().map(|addr| Row::Vip {
            address: (*addr).into(),
        })
    }
    sorted(family(&maps.v4).chain(family(&maps.v6)))
}

pub fn slots(maps: &MapState) -> Vec<Row> {
    maps.slots
        .iter()
        .map(|(&index, &backend)| Row::Slot { index, backend })
        .collect()
}

pub fn backends(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state
            .backends
            .iter()
            .map(|(&id, backend)| Row::backend(id, backend))
    }
    sorted(family(&maps.v4).chain(family(&maps.v6)))
}

pub fn sorted(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_unstable();
    rows
}
