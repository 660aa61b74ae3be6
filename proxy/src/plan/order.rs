//! From two states to operations, in the order in which they are safe one by one.

use std::collections::BTreeMap;

use proxy_datapath::family::Family;

use super::{Changes, FamilyChanges, FamilyOp, FamilyState, MapState, Op};

/// What turns `actual` into `desired` in the rows that were touched.
pub fn plan(actual: &MapState, desired: &MapState, touched: &Changes) -> Vec<Op> {
    let v4 = Half {
        actual: &actual.v4,
        desired: &desired.v4,
        touched: &touched.v4,
        op: Op::V4,
    };
    let v6 = Half {
        actual: &actual.v6,
        desired: &desired.v6,
        touched: &touched.v6,
        op: Op::V6,
    };
    let mut ops = Vec::new();
    v4.backends(Way::Make, &mut ops);
    v6.backends(Way::Make, &mut ops);
    fill_slots(actual, desired, touched, &mut ops);
    // From here on neither family depends on the other.
    v4.make(&mut ops);
    v6.make(&mut ops);
    v4.remove(&mut ops);
    v6.remove(&mut ops);
    ops
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Make,
    Remove,
}

struct Half<'a, F: Family> {
    actual: &'a FamilyState<F>,
    desired: &'a FamilyState<F>,
    touched: &'a FamilyChanges<F>,
    op: fn(FamilyOp<F>) -> Op,
}

/// The slots that a desired set covers and that hold something else.
fn fill_slots(actual: &MapState, desired: &MapState, touched: &Changes, ops: &mut Vec<Op>) {
    for range in &touched.slots {
        for (&index, &backend) in desired.slots.range(range.clone()) {
            if actual.slots.get(&index) != Some(&backend) {
                ops.push(Op::Slot { index, backend });
            }
        }
    }
}

/// The keys whose rows differ and go the given way, with what is desired of them.
fn differing<'a, K: Ord + Copy, V: PartialEq + Copy>(
    keys: &'a [K],
    actual: &'a BTreeMap<K, V>,
    desired: &'a BTreeMap<K, V>,
    way: Way,
) -> impl Iterator<Item = (K, Option<V>)> + 'a {
    keys.iter().filter_map(move |key| {
        let value = desired.get(key);
        let goes_there = value.is_some() == (way == Way::Make);
        (goes_there && value != actual.get(key)).then(|| (*key, value.copied()))
    })
}

// === impl Half ===

impl<F: Family> Half<'_, F> {
    /// All but the backends, which the slots come behind.
    fn make(&self, ops: &mut Vec<Op>) {
        self.sources(Way::Make, ops);
        self.ranges(Way::Make, ops);
        self.node(Way::Make, ops);
        self.uplinks(Way::Make, ops);
        self.addresses(Way::Make, ops);
        self.frontends(Way::Make, ops);
    }

    fn remove(&self, ops: &mut Vec<Op>) {
        self.frontends(Way::Remove, ops);
        self.addresses(Way::Remove, ops);
        self.uplinks(Way::Remove, ops);
        self.node(Way::Remove, ops);
        self.ranges(Way::Remove, ops);
        self.sources(Way::Remove, ops);
        self.backends(Way::Remove, ops);
    }

    fn backends(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.backends, &self.desired.backends);
        let rows = differing(&self.touched.backends, actual, desired, way);
        ops.extend(rows.map(|(id, value)| (self.op)(FamilyOp::Backend { id, value })));
    }

    fn sources(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.sources, &self.desired.sources);
        let rows = differing(&self.touched.sources, actual, desired, way);
        ops.extend(rows.map(|(key, value)| (self.op)(FamilyOp::Source { key, value })));
    }

    fn ranges(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.ranges, &self.desired.ranges);
        let rows = differing(&self.touched.ranges, actual, desired, way);
        ops.extend(rows.map(|(index, value)| (self.op)(FamilyOp::Range { index, value })));
    }

    fn node(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.nodes, &self.desired.nodes);
        let rows = differing(&self.touched.nodes, actual, desired, way);
        ops.extend(rows.map(|(_, value)| (self.op)(FamilyOp::Node { value })));
    }

    fn uplinks(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.uplinks, &self.desired.uplinks);
        let rows = differing(&self.touched.uplinks, actual, desired, way);
        ops.extend(rows.map(|(ifindex, value)| (self.op)(FamilyOp::Uplink { ifindex, value })));
    }

    fn addresses(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.addresses, &self.desired.addresses);
        let rows = differing(&self.touched.addresses, actual, desired, way);
        ops.extend(rows.map(|(addr, value)| (self.op)(FamilyOp::Address { addr, value })));
    }

    fn frontends(&self, way: Way, ops: &mut Vec<Op>) {
        let (actual, desired) = (&self.actual.frontends, &self.desired.frontends);
        let rows = differing(&self.touched.frontends, actual, desired, way);
        ops.extend(rows.map(|(key, value)| (self.op)(FamilyOp::Frontend { key, value })));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proxy_datapath::{
        family::{Addr4, Port, proto},
        frontend::{SOURCE_RANGES, address, backend, range},
        tables::{Backend, Frontend, FrontendKey, Node, Prefix, SourceKey, Uplink, port_proto},
    };

    use super::*;

    const HTTP: u32 = port_proto(Port::new(80), proto::TCP);

    fn addr(last: u8) -> Addr4 {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// A state with one frontend at 10.0.0.`vip` and one backend at 10.0.0.`pod`.
    fn one(vip: u8, pod: u8, slot: u32) -> MapState {
        let mut state = MapState::default();
        let key = FrontendKey {
            addr: addr(vip),
            port_proto: HTTP,
        };
        let value = Frontend {
            wire_base: slot,
            wire_count: 1,
            flags: SOURCE_RANGES,
            service: 1,
            ..Frontend::default()
        };
        state.v4.frontends.insert(key, value);
        state.v4.addresses.insert(addr(vip), address::FRONTEND);
        let value = Backend {
            addr: addr(pod),
            port_proto: HTTP,
            state: backend::ACTIVE,
            service: 1,
            ..Backend::default()
        };
        state.v4.backends.insert(u32::from(pod), value);
        state.slots.insert(slot, u32::from(pod));
        state
    }

    /// The same with one row of each table that says where the node is.
    fn placed(mut state: MapState, last: u8) -> MapState {
        let key = SourceKey {
            prefix_length: 64,
            service: 1,
            addr: addr(last),
        };
        let whole = u32::from(last);
        state.v4.sources.insert(key, 1);
        let prefix = Prefix {
            addr: addr(last),
            mask: Ipv4Addr::BROADCAST.into(),
        };
        state.v4.ranges.insert(range::PODS + whole, prefix);
        let uplink = Uplink { addr: addr(last) };
        state.v4.uplinks.insert(whole, uplink);
        state
    }

    fn name<F: Family>(op: &FamilyOp<F>) -> String {
        let (table, removes) = match op {
            FamilyOp::Backend { value, .. } => ("backend", value.is_none()),
            FamilyOp::Source { value, .. } => ("source", value.is_none()),
            FamilyOp::Range { value, .. } => ("range", value.is_none()),
            FamilyOp::Node { value } => ("node", value.is_none()),
            FamilyOp::Uplink { value, .. } => ("uplink", value.is_none()),
            FamilyOp::Address { value, .. } => ("address", value.is_none()),
            FamilyOp::Frontend { value, .. } => ("frontend", value.is_none()),
        };
        format!("{}{table}", if removes { "no " } else { "" })
    }

    fn names(ops: &[Op]) -> Vec<String> {
        ops.iter()
            .map(|op| match op {
                Op::V4(op) => name(op),
                Op::V6(op) => format!("{} of IPv6", name(op)),
                Op::Slot { .. } => "slot".to_owned(),
            })
            .collect()
    }

    fn everything(actual: &MapState, desired: &MapState) -> Vec<Op> {
        plan(actual, desired, &Changes::everything(actual, desired))
    }

    #[test]
    fn what_is_pointed_to_is_made_before_and_broken_after() {
        let actual = placed(one(1, 101, 0), 7);
        let desired = placed(one(2, 102, 1), 8);
        let ops = everything(&actual, &desired);
        let made = [
            "backend", "slot", "source", "range", "uplink", "address", "frontend",
        ];
        let broken = [
            "no frontend",
            "no address",
            "no uplink",
            "no range",
            "no source",
            "no backend",
        ];
        assert_eq!(names(&ops), [&made[..], &broken[..]].concat());
        let mut reached = actual;
        for op in &ops {
            reached.apply(op);
        }
        assert_eq!(reached.slots.len(), 2, "a slot is never cleared");
        assert_eq!(reached.covered(), desired);
    }

    #[test]
    fn a_node_is_made_replaced_and_removed_like_any_row() {
        let state = |last: Option<u8>| {
            let mut state = MapState::default();
            let node = last.map(|last| Node {
                addr: addr(last),
                ..Node::default()
            });
            state.v4.nodes.extend(node.map(|node| (0, node)));
            state
        };
        for (actual, desired, expected) in [
            (None, Some(1), &["node"][..]),
            (Some(1), Some(2), &["node"]),
            (Some(1), Some(1), &[]),
            (Some(1), None, &["no node"]),
        ] {
            let (mut actual, desired) = (state(actual), state(desired));
            let ops = everything(&actual, &desired);
            assert_eq!(names(&ops), expected);
            ops.iter().for_each(|op| actual.apply(op));
            assert_eq!(actual, desired);
        }
    }

    #[test]
    fn everything_is_made_in_both_families_before_anything_is_broken() {
        let both = |vip: u8, pod: u8, slot: u32| {
            let mut state = one(vip, pod, slot);
            let key = FrontendKey {
                addr: Ipv6Addr::from(u128::from(vip)).into(),
                port_proto: HTTP,
            };
            state.v6.frontends.insert(key, Frontend::default());
            state.v6.addresses.insert(key.addr, address::FRONTEND);
            state
        };
        let ops = everything(&both(1, 101, 0), &both(2, 102, 1));
        let names = names(&ops);
        let first_broken = names.iter().position(|name| name.starts_with("no "));
        let last_made = names.iter().rposition(|name| !name.starts_with("no "));
        assert!(last_made < first_broken, "{names:?}");
        assert_eq!(names.len(), 11, "{names:?}");
    }

    #[test]
    fn equal_sides_need_nothing() {
        let state = placed(one(1, 101, 0), 7);
        assert_eq!(everything(&state, &state), []);
    }

    #[test]
    fn only_what_was_touched_is_compared() {
        let (actual, desired) = (one(1, 101, 0), one(2, 102, 1));
        let mut touched = Changes::default();
        touched.v4.backends.push(102);
        assert_eq!(names(&plan(&actual, &desired, &touched)), ["backend"]);
    }
}
