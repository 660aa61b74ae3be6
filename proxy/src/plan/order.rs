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
    v4.vips(Way::Make, &mut ops);
    v6.vips(Way::Make, &mut ops);
    v4.frontends(Way::Make, &mut ops);
    v6.frontends(Way::Make, &mut ops);
    v4.frontends(Way::Remove, &mut ops);
    v6.frontends(Way::Remove, &mut ops);
    v4.vips(Way::Remove, &mut ops);
    v6.vips(Way::Remove, &mut ops);
    v4.backends(Way::Remove, &mut ops);
    v6.backends(Way::Remove, &mut ops);
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
    fn backends(&self, way: Way, ops: &mut Vec<Op>) {
        let Self {
            actual,
            desired,
            touched,
            op,
        } = self;
        let rows = differing(&touched.backends, &actual.backends, &desired.backends, way);
        ops.extend(rows.map(|(id, value)| op(FamilyOp::Backend { id, value })));
    }

    fn vips(&self, way: Way, ops: &mut Vec<Op>) {
        let Self {
            actual,
            desired,
            touched,
            op,
        } = self;
        let rows = differing(&touched.vips, &actual.vips, &desired.vips, way);
        ops.extend(rows.map(|(addr, value)| op(FamilyOp::Vip { addr, value })));
    }

    fn frontends(&self, way: Way, ops: &mut Vec<Op>) {
        let Self {
            actual,
            desired,
            touched,
            op,
        } = self;
        let rows = differing(
            &touched.frontends,
            &actual.frontends,
            &desired.frontends,
            way,
        );
        ops.extend(rows.map(|(key, value)| op(FamilyOp::Frontend { key, value })));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proxy_datapath::{
        family::{Addr4, Port, proto},
        frontend::backend,
        tables::{Backend, Frontend, FrontendKey, port_proto},
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
            base: slot,
            count: 1,
            flags: 0,
            service: 1,
        };
        state.v4.frontends.insert(key, value);
        state.v4.vips.insert(addr(vip), 1);
        let value = Backend {
            addr: addr(pod),
            port_proto: HTTP,
            state: backend::ACTIVE,
            service: 1,
        };
        state.v4.backends.insert(u32::from(pod), value);
        state.slots.insert(slot, u32::from(pod));
        state
    }

    fn names(ops: &[Op]) -> Vec<&'static str> {
        ops.iter()
            .map(|op| match op {
                Op::V4(FamilyOp::Backend { value: Some(_), .. }) => "backend",
                Op::V4(FamilyOp::Backend { value: None, .. }) => "no backend",
                Op::V4(FamilyOp::Vip { value: Some(_), .. }) => "vip",
                Op::V4(FamilyOp::Vip { value: None, .. }) => "no vip",
                Op::V4(FamilyOp::Frontend { value: Some(_), .. }) => "frontend",
                Op::V4(FamilyOp::Frontend { value: None, .. }) => "no frontend",
                Op::Slot { .. } => "slot",
                Op::V6(_) => "ipv6",
            })
            .collect()
    }

    #[test]
    fn what_is_pointed_to_is_made_before_and_broken_after() {
        let (actual, desired) = (one(1, 101, 0), one(2, 102, 1));
        let ops = plan(&actual, &desired, &Changes::everything(&actual, &desired));
        assert_eq!(
            names(&ops),
            [
                "backend",
                "slot",
                "vip",
                "frontend",
                "no frontend",
                "no vip",
                "no backend"
            ]
        );
        let mut reached = actual;
        for op in &ops {
            reached.apply(op);
        }
        assert_eq!(reached.slots.len(), 2, "a slot is never cleared");
        assert_eq!(reached.covered(), desired);
    }

    #[test]
    fn equal_sides_need_nothing() {
        let state = one(1, 101, 0);
        assert_eq!(
            plan(&state, &state, &Changes::everything(&state, &state)),
            []
        );
    }

    #[test]
    fn only_what_was_touched_is_compared() {
        let (actual, desired) = (one(1, 101, 0), one(2, 102, 1));
        let mut touched = Changes::default();
        touched.v4.backends.push(102);
        assert_eq!(names(&plan(&actual, &desired, &touched)), ["backend"]);
    }
}
