//! A node without a kernel: passes are applied one operation at a time, and after each of them
//! every frontend must lead to backends that exist and are its own.

use std::{collections::BTreeSet, net::SocketAddr};

use proxy_datapath::{
    family::Family,
    frontend::{NO_LOCAL_BACKEND, backend},
    tables::{FrontendKey, port_of, proto_of},
};

use crate::{
    compile::{Compiler, Limits},
    model::{Cluster, Protocol},
    plan::{Changes, FamilyState, MapState, Op, plan},
};

/// Cluster, compiler and maps, with a clock that the test moves.
pub(crate) struct TestNode {
    pub(crate) cluster: Cluster,
    pub(crate) compiler: Compiler,
    pub(crate) actual: MapState,
    pub(crate) now_s: u64,
    limits: Limits,
    /// Touched by passes that were not applied in full.
    unwritten: Changes,
}

impl TestNode {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self::with_limits(cluster, Limits::default())
    }

    pub(crate) fn with_limits(cluster: Cluster, limits: Limits) -> Self {
        let actual = MapState::default();
        Self {
            cluster,
            compiler: Compiler::with_limits(&actual, limits),
            actual,
            now_s: 1000,
            limits,
            unwritten: Changes::default(),
        }
    }

    /// One pass over what changed; returns the operations, all of them done.
    pub(crate) fn pass(&mut self) -> Vec<Op> {
        let ops = self.pass_up_to(usize::MAX);
        assert_eq!(self.actual.clone().covered(), *self.compiler.desired());
        ops
    }

    /// One pass of which only the first operations succeed.
    pub(crate) fn pass_up_to(&mut self, done: usize) -> Vec<Op> {
        let dirty = self.cluster.take_dirty();
        self.pass_over(&dirty, done)
    }

    /// A pass that is not applied.
    pub(crate) fn compile_only(&mut self) -> Changes {
        let dirty = self.cluster.take_dirty();
        self.compiler.compile(&self.cluster, &dirty, self.now_s)
    }

    /// A pass over everything, as after a start.
    pub(crate) fn full_pass(&mut self) -> Vec<Op> {
        self.full_pass_up_to(usize::MAX)
    }

    /// A pass over everything of which only the first operations succeed.
    pub(crate) fn full_pass_up_to(&mut self, done: usize) -> Vec<Op> {
        self.cluster.take_dirty();
        let all = self.cluster.services().keys().cloned().collect();
        self.pass_over(&all, done)
    }

    fn pass_over(&mut self, dirty: &BTreeSet<crate::model::ObjectKey>, done: usize) -> Vec<Op> {
        let mut changes = self.compiler.compile(&self.cluster, dirty, self.now_s);
        changes.merge(std::mem::take(&mut self.unwritten));
        let mut ops = plan(&self.actual, self.compiler.desired(), &changes);
        if ops.len() > done {
            ops.truncate(done);
            self.unwritten = changes;
        }
        for op in &ops {
            self.actual.apply(op);
            check(&self.actual);
        }
        self.compiler.settle(&self.actual, self.now_s);
        ops
    }

    /// Another agent takes over the maps as they are; slots that nobody reads are not read back.
    pub(crate) fn restart(&mut self) {
        self.actual = std::mem::take(&mut self.actual).covered();
        self.compiler = Compiler::with_limits(&self.actual, self.limits);
        self.unwritten = Changes::default();
    }

    /// A line for each frontend of the maps: `10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080`.
    pub(crate) fn frontends(&self) -> Vec<String> {
        let mut lines = frontends(&self.actual.v4, &self.actual);
        lines.extend(frontends(&self.actual.v6, &self.actual));
        lines
    }

    /// A line for each backend of the maps: `1 10.1.0.1:8080/tcp active`.
    pub(crate) fn backends(&self) -> Vec<String> {
        let mut lines = backends(&self.actual.v4);
        lines.extend(backends(&self.actual.v6));
        lines
    }

    pub(crate) fn diagnostics(&self) -> Vec<String> {
        let all = self.compiler.diagnostics();
        all.map(|found| format!("{}: {}", found.object, found.reason))
            .collect()
    }
}

/// What must hold after every single operation.
fn check(actual: &MapState) {
    check_family(&actual.v4, actual);
    check_family(&actual.v6, actual);
}

fn check_family<F: Family>(rows: &FamilyState<F>, actual: &MapState) {
    for (key, frontend) in &rows.frontends {
        assert!(rows.vips.contains_key(&key.addr), "{key:?} has an address");
        for index in frontend.base..frontend.base + frontend.count {
            let id = actual.slots.get(&index);
            let found = id.and_then(|id| rows.backends.get(id));
            let found = found.unwrap_or_else(|| panic!("{key:?} slot {index} holds {id:?}"));
            assert_eq!(found.service, frontend.service, "{key:?} slot {index}");
            assert_eq!(
                proto_of(found.port_proto),
                key.proto(),
                "{key:?} slot {index}"
            );
        }
    }
}

fn name<F: Family>(addr: F::Addr, port_proto: u32) -> String {
    let protocol = Protocol::from_number(proto_of(port_proto)).unwrap();
    format!(
        "{}/{protocol}",
        SocketAddr::new(addr.into(), port_of(port_proto).host())
    )
}

fn frontends<F: Family>(rows: &FamilyState<F>, actual: &MapState) -> Vec<String> {
    let line = |(key, value): (&FrontendKey<F>, &proxy_datapath::tables::Frontend)| {
        let mut line = name::<F>(key.addr, key.port_proto);
        match (value.count, value.flags) {
            (0, NO_LOCAL_BACKEND) => line.push_str(" drop"),
            (0, _) => line.push_str(" reject"),
            _ => {}
        }
        for (_, id) in actual.slots.range(value.base..value.base + value.count) {
            let row = &rows.backends[id];
            let addr = SocketAddr::new(row.addr.into(), row.port().host());
            line.push_str(&format!(" {addr}"));
        }
        line
    };
    let mut lines: Vec<String> = rows.frontends.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

fn backends<F: Family>(rows: &FamilyState<F>) -> Vec<String> {
    let line = |(id, row): (&u32, &proxy_datapath::tables::Backend<F>)| {
        let state = if row.state == backend::ACTIVE {
            "active"
        } else {
            "terminating"
        };
        format!("{id} {} {state}", name::<F>(row.addr, row.port_proto))
    };
    rows.backends.iter().map(line).collect()
}
