//! Whole tables as rows, sorted by what a person would look for, never by a hash table's order.

use proxy_datapath::family::Family;

use super::row::Row;
use crate::plan::{FamilyState, MapState};

/// Services: frontends, the sources they admit and their backends, as scenarios expect them.
pub fn render(maps: &MapState) -> String {
    let rows = frontends(maps)
        .into_iter()
        .chain(sources(maps))
        .chain(backends(maps));
    lines(rows)
}

/// What addresses are to this node, as scenarios expect it.
pub fn render_addresses(maps: &MapState) -> String {
    let rows = addresses(maps)
        .into_iter()
        .chain(ranges(maps))
        .chain(nodes(maps))
        .chain(uplinks(maps));
    lines(rows)
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

pub fn sources(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state.sources.keys().filter_map(Row::source)
    }
    sorted(family(&maps.v4).chain(family(&maps.v6)))
}

pub fn addresses(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state
            .addresses
            .iter()
            .map(|(&addr, &flags)| Row::address(addr, flags))
    }
    sorted(family(&maps.v4).chain(family(&maps.v6)))
}

pub fn ranges(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state
            .ranges
            .iter()
            .filter_map(|(&index, range)| Row::range(index, range))
    }
    sorted(family(&maps.v4).chain(family(&maps.v6)))
}

pub fn nodes(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state.nodes.values().map(Row::node)
    }
    sorted(family(&maps.v4).chain(family(&maps.v6)))
}

pub fn uplinks(maps: &MapState) -> Vec<Row> {
    fn family<F: Family>(state: &FamilyState<F>) -> impl Iterator<Item = Row> {
        state
            .uplinks
            .iter()
            .map(|(&ifindex, uplink)| Row::uplink(ifindex, uplink))
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

fn lines(rows: impl Iterator<Item = Row>) -> String {
    rows.map(|row| format!("{row}\n")).collect()
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
            backend 1 10.1.0.9:8080/tcp active service=1 here
            backend 1 [fd00:10:1::9]:8080/tcp active service=1 here
            backend 2 10.1.1.9:8080/tcp active service=1
            backend 3 10.1.1.7:8080/tcp terminating service=1
        "#]]
        .assert_eq(&render(&testing::maps()));
    }

    #[test]
    fn every_table_of_services_has_its_rows() {
        let rows = slots(&testing::maps());
        expect![[r#"
            slot 4 backend=2
            slot 5 backend=1
            slot 6 backend=1
        "#]]
        .assert_eq(&lines(rows.into_iter()));
        expect![[r#"
            frontend 0.0.0.0:30080/tcp service=1 kind=NodePort backends=1-2 wire=1 wire-local
            frontend 10.96.0.9:80/tcp service=2 reject
            frontend 10.96.0.10:80/tcp service=1 backends=1-2
            frontend 10.96.0.10:443/tcp service=3 drop
            frontend 203.0.113.5:80/tcp service=1 kind=LoadBalancer backends=1-2 wire=1 ranges
            frontend [fd00:96::a]:80/tcp service=1 backends=1 affinity=10800s
            source service=1 198.51.100.0/24
            backend 1 10.1.0.9:8080/tcp active service=1 here
            backend 1 [fd00:10:1::9]:8080/tcp active service=1 here
            backend 2 10.1.1.9:8080/tcp active service=1
            backend 3 10.1.1.7:8080/tcp terminating service=1
        "#]]
        .assert_eq(&render(&testing::exposed_maps()));
        expect![[r#"
            address 10.0.0.1 node-port,node
            address 10.96.0.9 frontend,cluster-ip
            address 10.96.0.10 frontend,cluster-ip
            address 203.0.113.5 frontend
            address fd00:96::a frontend,cluster-ip
            range 0 pods 10.1.0.0/16
            range 1 services 10.96.0.0/12
            node ipv4 10.0.0.1 ports=1024-29999,61000-65535
            uplink 2 ipv4 10.0.0.1
        "#]]
        .assert_eq(&render_addresses(&testing::exposed_maps()));
    }
}
