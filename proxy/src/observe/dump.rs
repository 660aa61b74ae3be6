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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::observe::testing;

    #[test]
    fn tables_are_rendered_in_the_order_of_addresses_and_ids() {
        expect![[r#"
            frontend 10.96.0.9:80/tcp service=2 reject
            frontend 10.96.0.10:80/tcp service=1 backends=1-2
            frontend 10.96.0.10:443/tcp service=3 drop
            frontend [fd00:96::a]:80/tcp service=1 backends=1
            backend 1 10.1.0.9:8080/tcp active service=1
            backend 1 [fd00:10:1::9]:8080/tcp active service=1
            backend 2 10.1.1.9:8080/tcp active service=1
            backend 3 10.1.1.7:8080/tcp terminating service=1
        "#]]
        .assert_eq(&render(&testing::maps()));
    }

    #[test]
    fn every_table_of_services_has_its_rows() {
        let maps = testing::maps();
        let rows = vips(&maps).into_iter().chain(slots(&maps));
        expect![[r#"
            vip 10.96.0.9
            vip 10.96.0.10
            vip fd00:96::a
            slot 4 backend=2
            slot 5 backend=1
            slot 6 backend=1
        "#]]
        .assert_eq(&rows.map(|row| format!("{row}\n")).collect::<String>());
    }
}
