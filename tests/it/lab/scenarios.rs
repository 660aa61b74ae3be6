//! The scenarios that have a `lab` section, step by step over a lab of their own.
//!
//! They use the lab's own plan: nodes `n1` and `n2`, pods of node N with 10.1.N.x and fd00:1:N::x.
//! Every pod answers on port 8080. A pod calls twice: translated at its socket and by its packets.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result, ensure};
use tests::{
    lab::{Lab, Options, Place, Running, Topology},
    privileges,
    scenario::{
        Scenario, Step,
        call::{Call, Reply},
        files,
        objects::Pod,
    },
};

use super::DRAWS_MAX;

const PORT: u16 = 8080;
const SILENCE: &str = "--timeout-ms 300";

struct Stage {
    lab: Lab,
    /// The pods that there are, each with its place and its server.
    pods: BTreeMap<String, (Place, Running)>,
}

#[test]
fn calls_are_answered_as_the_scenarios_say() {
    if !privileges::are_there() {
        return;
    }
    let mut failures = Vec::new();
    let mut calls = 0;
    for path in files() {
        let scenario = Scenario::read(&path).unwrap();
        let count: usize = scenario.steps.iter().map(|step| step.calls.len()).sum();
        calls += count;
        if count > 0
            && let Err(error) = play(&scenario)
        {
            failures.push(format!("{}: {error:#}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(calls > 0, "no scenario has a call");
}

fn play(scenario: &Scenario) -> Result<()> {
    let mut stage = Stage {
        lab: Lab::new(Options::new(Topology::Ptp, 2))?,
        pods: BTreeMap::new(),
    };
    for (number, step) in scenario.steps.iter().enumerate() {
        stage.enter(step)?;
        if number == 0 {
            stage.lab.start()?;
        } else {
            if step.restart {
                stage.lab.agent_mut(1).kill()?;
                stage.lab.agent_mut(1).start()?;
            }
            stage.lab.publish()?;
        }
        for call in &step.calls {
            stage
                .make(call)
                .with_context(|| format!("step {:?}, line {}", step.title, call.line))?;
        }
    }
    Ok(())
}

// === impl Stage ===

impl Stage {
    /// Brings the lab's pods and objects to what the step has.
    fn enter(&mut self, step: &Step) -> Result<()> {
        let wanted: BTreeMap<_, _> = step.objects.pods().map(|pod| (&pod.name, pod)).collect();
        let gone: Vec<_> = self
            .pods
            .keys()
            .filter(|name| !wanted.contains_key(name))
            .cloned()
            .collect();
        for name in gone {
            self.pods.remove(&name);
            if self.lab.has_pod(&name) {
                self.lab.remove_pod(&name)?;
            }
        }
        for (name, pod) in wanted {
            if !self.pods.contains_key(name) {
                let place = self.place(pod)?;
                let server = place.serve_port(PORT)?;
                self.pods.insert(name.clone(), (place, server));
            }
        }
        self.lab.set_objects(&step.objects);
        Ok(())
    }

    fn place(&mut self, pod: &Pod) -> Result<Place> {
        let node = pod.node().unwrap_or("n1");
        let number = node.strip_prefix('n').and_then(|text| text.parse().ok());
        let number = number.with_context(|| format!("{node} is no node of the lab"))?;
        if pod.is_host_network() {
            return Ok(self.lab.host(number).renamed(&pod.name));
        }
        let host = pod.addrs.iter().find_map(|addr| match addr {
            IpAddr::V4(addr) => Some(addr.octets()[3]),
            IpAddr::V6(_) => None,
        });
        let host = host.context("a pod of the lab has an IPv4 address")?;
        let place = self.lab.add_pod_at(number, &pod.name, host)?;
        let has = |addr| [place.addr4(), place.addr6()].contains(addr);
        ensure!(pod.addrs.iter().all(has), "{place:?} has other addresses");
        Ok(place)
    }

    fn make(&self, call: &Call) -> Result<()> {
        let clients = match self.pods.get(&call.client) {
            Some((place, _)) => vec![place.clone(), place.unhooked()],
            None => vec![
                self.lab
                    .host(call.client.trim_start_matches('n').parse()?)
                    .clone(),
            ],
        };
        for client in clients {
            let to = format!("{} {}", call.protocol, call.to);
            match &call.expected {
                Reply::From(names) => {
                    let mut missing = names.clone();
                    for _ in 0..DRAWS_MAX {
                        let exchange = client.ask(&to)?;
                        ensure!(names.contains(exchange.name()), "{to}: {exchange:?}");
                        missing.remove(exchange.name());
                        if missing.is_empty() {
                            break;
                        }
                    }
                    ensure!(missing.is_empty(), "{to}: {missing:?} never answered");
                }
                Reply::Refused => {
                    let exchange = client.ask(&to)?;
                    ensure!(exchange.failed_with("ECONNREFUSED"), "{to}: {exchange:?}");
                }
                Reply::Silent => {
                    let exchange = client.ask(&format!("{to} {SILENCE}"))?;
                    let refused = exchange.failed_with("ECONNREFUSED");
                    ensure!(!exchange.is_answered() && !refused, "{to}: {exchange:?}");
                }
            }
        }
        Ok(())
    }
}
