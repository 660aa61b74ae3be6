//! Whoever dials a node port, a load balancer's address or an external one reaches the backend,
//! wherever both are, and hears from the frontend (services.md 44, 46–48, 52–54, 57–62, 67).
//!
//! The backend sees the client's own address, except where its answer could miss the node that
//! translated: there it sees that node's.

mod flows;
mod stage;

use std::net::SocketAddr;

use tests::{
    lab::{Options, Topology, TxOffload},
    privileges,
    probe::Exchange,
};

use self::stage::{
    BACKENDS, Backend, Client, FRONTENDS, Frontend, POLICIES, PROTOCOLS, Policy, Stage,
};

const SILENCE: &str = "--timeout-ms 300";

/// One line of the table.
struct Row<'a> {
    client: &'a Client,
    frontend: Frontend,
    backend: &'static Backend,
    policy: Policy,
    protocol: &'static str,
    v4: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Answered, and the backend saw the client itself.
    Kept,
    /// Answered, and the backend saw node 1.
    Masqueraded,
    Silence,
}

#[test]
fn everybody_reaches_every_frontend_46_47_53_54_58() {
    if !privileges::are_there() {
        return;
    }
    for topology in super::TOPOLOGIES {
        check(&Stage::new(Options::new(topology, 2), &[]), |_| true);
    }
}

#[test]
fn checksums_of_the_wire_are_right_where_no_device_makes_them() {
    if !privileges::are_there() {
        return;
    }
    for tx_offload in [TxOffload::OffAtNodes, TxOffload::Off] {
        let options = Options {
            tx_offload,
            ..Options::new(Topology::Ptp, 2)
        };
        check(&Stage::new(options, &[]), |row| {
            row.policy == Policy::Cluster
        });
    }
}

/// Without offloads, since a packet of this machine may come over a veth without its checksum.
#[test]
fn what_goes_on_to_another_node_may_leave_before_the_kernel_takes_it_in() {
    if !privileges::are_there() {
        return;
    }
    let options = Options {
        tx_offload: TxOffload::Off,
        ..Options::new(Topology::Ptp, 2)
    };
    let stage = Stage::new(options, &["--xdp", "generic"]);
    check(&stage, |row| row.client.node.is_none());
    let counters = stage.lab.agent(1).cli(&["dump", "counters"]).unwrap();
    let counts = |line: &str| line.contains("from_wire") && line.contains("forward");
    assert!(counters.lines().any(counts), "{counters}");
}

#[test]
fn filters_of_clsact_serve_the_wire_and_outlive_the_agent() {
    if !privileges::are_there() {
        return;
    }
    let args = ["--attach", "clsact"];
    let mut stage = Stage::new(Options::new(Topology::Ptp, 2), &args);
    let from_outside = |row: &Row<'_>| row.client.node.is_none();
    check(&stage, from_outside);
    stage.lab.agent_mut(1).kill().unwrap();
    check(&stage, from_outside);
    stage.lab.agent_mut(1).start().unwrap();
    check(&stage, from_outside);
}

/// Asks for every line of the table that is chosen, and tells of all that went wrong at once.
#[track_caller]
fn check(stage: &Stage, chosen: impl Fn(&Row<'_>) -> bool) {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for row in rows(stage).iter().filter(|row| chosen(row)) {
        asked += 1;
        wrong.extend(row.problem(stage));
    }
    assert!(asked > 0, "the table is empty");
    let counters = [1, 2].map(|node| stage.lab.agent(node).cli(&["dump", "counters"]).ok());
    assert!(
        wrong.is_empty(),
        "{} of {asked}:\n{}\n{counters:#?}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn rows(stage: &Stage) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for client in &stage.clients {
        for frontend in FRONTENDS {
            for (backend, policy) in BACKENDS
                .iter()
                .flat_map(|backend| POLICIES.map(|policy| (backend, policy)))
            {
                for (protocol, v4) in PROTOCOLS
                    .iter()
                    .flat_map(|protocol| [true, false].map(|v4| (*protocol, v4)))
                {
                    rows.push(Row {
                        client,
                        frontend,
                        backend,
                        policy,
                        protocol,
                        v4,
                    });
                }
            }
        }
    }
    rows
}

// === impl Row ===

impl Row<'_> {
    /// What must become of it. A cluster's own clients are translated where they are, except that a
    /// node port of another node is translated there, as what comes from outside is.
    fn expected(&self) -> Outcome {
        let at_home = match self.client.node {
            Some(1) => true,
            Some(_) => self.frontend != Frontend::NodePort,
            None => false,
        };
        if at_home {
            return Outcome::Kept;
        }
        match (self.policy, self.backend.node) {
            (_, 1) => Outcome::Kept,
            // A pod's address tells that it is of the cluster (62), a host's does not.
            (Policy::Local, _) if !self.client.is_pod => Outcome::Silence,
            _ => Outcome::Masqueraded,
        }
    }

    /// What is wrong with the answer.
    fn problem(&self, stage: &Stage) -> Option<String> {
        let expected = self.expected();
        let frontend = self
            .frontend
            .addr(&stage.lab, self.backend, self.policy, self.v4);
        let patience = if expected == Outcome::Silence {
            SILENCE
        } else {
            ""
        };
        let to = format!("{} {frontend}", self.protocol);
        let exchange = self.client.place.ask(&format!("{to} {patience}")).unwrap();
        let outcome = self.outcome(&exchange, frontend, stage);
        if outcome == Ok(expected) {
            return None;
        }
        Some(format!(
            "{}{} > {to} ({:?}) > {} ({:?}): {outcome:?} instead of {expected:?}: {exchange:?}",
            self.client.place.name(),
            if self.client.is_hooked {
                ""
            } else {
                ", unhooked"
            },
            self.frontend,
            self.backend.name,
            self.policy,
        ))
    }

    fn outcome(
        &self,
        exchange: &Exchange,
        frontend: SocketAddr,
        stage: &Stage,
    ) -> Result<Outcome, &'static str> {
        let Some(answer) = &exchange.answer else {
            return match exchange.failed_with("timeout") {
                true => Ok(Outcome::Silence),
                false => Err("refused"),
            };
        };
        if answer.name != self.backend.name {
            return Err("another backend answers");
        }
        if exchange.peer != Some(frontend) {
            return Err("getpeername does not name the frontend");
        }
        // The port may be another where two flows would be one to the backend.
        if Some(answer.client.ip()) == exchange.local.map(|local| local.ip()) {
            return Ok(Outcome::Kept);
        }
        match stage.lab.own_addrs(1).contains(&answer.client.ip()) {
            true => Ok(Outcome::Masqueraded),
            false => Err("the source is neither the client nor the node"),
        }
    }
}
