//! A node without a kernel: passes are applied one operation at a time, and after each of them
//! every frontend must lead to backends that exist and are its own.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use proxy_datapath::{
    family::Family,
    frontend::{ANSWERED, MAGLEV, SOURCE_RANGES, address, backend},
    tables::{Backend, Frontend, FrontendKey, port_of, proto_of},
};

use crate::{
    compile::{Compiler, Limits, Settings},
    model::{Cluster, Protocol},
    plan::{Changes, FamilyState, MapState, Op, plan, sets_of},
};

/// Cluster, compiler and maps, with a clock that the test moves.
pub(crate) struct TestNode {
    pub(crate) cluster: Cluster,
    pub(crate) compiler: Compiler,
    pub(crate) actual: MapState,
    pub(crate) now_s: u64,
    settings: Settings,
    limits: Limits,
    /// Touched by passes that were not applied in full.
    unwritten: Changes,
}

impl TestNode {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self::made(cluster, Settings::default(), Limits::default())
    }

    pub(crate) fn with_settings(cluster: Cluster, settings: Settings) -> Self {
        Self::made(cluster, settings, Limits::default())
    }

    pub(crate) fn with_limits(cluster: Cluster, limits: Limits) -> Self {
        Self::made(cluster, Settings::default(), limits)
    }

    fn made(cluster: Cluster, settings: Settings, limits: Limits) -> Self {
        let actual = MapState::default();
        Self {
            cluster,
            compiler: Compiler::with_limits(&actual, settings.clone(), limits),
            actual,
            now_s: 1000,
            settings,
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
        self.compiler = Compiler::with_limits(&self.actual, self.settings.clone(), self.limits);
        self.unwritten = Changes::default();
    }

    /// What is desired but for the rows about the node itself.
    pub(crate) fn services_rows(&self) -> MapState {
        let mut rows = self.compiler.desired().clone();
        rows.v4.nodes.clear();
        rows.v6.nodes.clear();
        rows
    }

    /// A line for each frontend of the maps: `10.96.0.1:80/tcp 10.1.0.1:8080 10.1.0.2:8080`, and
    /// after a bar what the wire gets, if that differs.
    pub(crate) fn frontends(&self) -> Vec<String> {
        let mut lines = frontends(&self.actual.v4, &self.actual);
        lines.extend(frontends(&self.actual.v6, &self.actual));
        lines
    }

    /// A line for each backend of the maps: `1 10.1.0.1:8080/tcp active`; ` here` if it is.
    pub(crate) fn backends(&self) -> Vec<String> {
        let mut lines = backends(&self.actual.v4);
        lines.extend(backends(&self.actual.v6));
        lines
    }

    /// A line for each address of the maps: `10.96.0.1 frontend cluster-ip`.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut lines = addresses(&self.actual.v4);
        lines.extend(addresses(&self.actual.v6));
        lines
    }

    /// A line for each range that a frontend admits: `192.0.2.1:80/tcp 10.0.0.0/8`.
    pub(crate) fn sources(&self) -> Vec<String> {
        let mut lines = sources(&self.actual.v4);
        lines.extend(sources(&self.actual.v6));
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
        assert!(
            key.addr == F::Addr::default() || rows.addresses.contains_key(&key.addr),
            "{key:?} has an address"
        );
        for index in sets_of(frontend).into_iter().flatten() {
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
    let line = |(key, value): (&FrontendKey<F>, &Frontend)| {
        let refuses = if value.flags & ANSWERED != 0 {
            "drop"
        } else {
            "reject"
        };
        let [inside, wire] = sets_of(value).map(|set| {
            let ids = actual.slots.range(set).map(|(_, id)| &rows.backends[id]);
            let addrs: Vec<String> = ids.map(backend_name).collect();
            if addrs.is_empty() {
                refuses.to_owned()
            } else if value.flags & MAGLEV != 0 {
                format!("maglev of {}", addrs.len())
            } else {
                addrs.join(" ")
            }
        });
        let mut line = format!("{} {inside}", name::<F>(key.addr, key.port_proto));
        if wire != inside {
            line.push_str(&format!(" | {wire}"));
        }
        if value.affinity != 0 {
            line.push_str(&format!(" affinity {}", value.affinity));
        }
        if value.flags & SOURCE_RANGES != 0 {
            line.push_str(" guarded");
        }
        line
    };
    let mut lines: Vec<String> = rows.frontends.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

fn backend_name<F: Family>(row: &Backend<F>) -> String {
    SocketAddr::new(row.addr.into(), row.port().host()).to_string()
}

fn backends<F: Family>(rows: &FamilyState<F>) -> Vec<String> {
    let line = |(id, row): (&u32, &Backend<F>)| {
        let state = if row.state == backend::ACTIVE {
            "active"
        } else {
            "terminating"
        };
        let here = if row.flags & backend::HERE != 0 {
            " here"
        } else {
            ""
        };
        format!("{id} {} {state}{here}", name::<F>(row.addr, row.port_proto))
    };
    rows.backends.iter().map(line).collect()
}

fn addresses<F: Family>(rows: &FamilyState<F>) -> Vec<String> {
    const FLAGS: [(u32, &str); 4] = [
        (address::FRONTEND, " frontend"),
        (address::CLUSTER_IP, " cluster-ip"),
        (address::NODE, " node"),
        (address::NODE_PORT, " node-port"),
    ];
    let line = |(addr, flags): (&F::Addr, &u32)| {
        let set = FLAGS.iter().filter(|(flag, _)| flags & flag != 0);
        let addr: IpAddr = (*addr).into();
        format!("{addr}{}", set.map(|(_, name)| *name).collect::<String>())
    };
    let mut lines: Vec<String> = rows.addresses.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

fn sources<F: Family>(rows: &FamilyState<F>) -> Vec<String> {
    let mut lines = Vec::new();
    for source in rows.sources.keys() {
        let of_service = |(_, row): &(&FrontendKey<F>, &Frontend)| {
            row.service == source.service && row.flags & SOURCE_RANGES != 0
        };
        for (key, _) in rows.frontends.iter().filter(of_service) {
            let (addr, bits): (IpAddr, u32) = (source.addr.into(), source.prefix_length - 32);
            let name = name::<F>(key.addr, key.port_proto);
            lines.push(format!("{name} {addr}/{bits}"));
        }
    }
    lines.sort_unstable();
    lines
}
