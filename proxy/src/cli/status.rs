//! `switchboard status`.

use std::{io::Write, net::IpAddr};

use anyhow::Context;
use serde::Serialize;

use super::{
    Ending, Location, Streams, client,
    output::{Output, or_none, write_columns},
    pinned,
};
use crate::{
    observe::snapshot::{Counter, Endpoint, EndpointState, Problem, Status, TableUsage},
    tables::Tables,
};

/// Show the agent of this node: sources, devices, tables, counters, and what is wrong with objects
///
/// Where no agent runs, the tables that it left in the kernel are shown, and the exit status is 3.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  switchboard status -o json | jq .diagnostics")]
pub(super) struct Args {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    location: Location,
}

/// What the maps tell without an agent.
#[derive(Serialize)]
struct Pinned {
    tables: Vec<TableUsage>,
    counters: Vec<Counter>,
}

pub(super) fn run(args: &Args, streams: &mut Streams<'_>) -> anyhow::Result<Ending> {
    let output = args.output;
    if let Some(status) = client::ask::<Status>(&args.location.run_dir, "/status")? {
        output.write(streams.out, &status, |out| {
            write_status(&status, output.is_wide(), out)
        })?;
        return Ok(Ending::Done);
    }
    let maps = pinned::open(&args.location, streams)?.kernel;
    let state = maps.dump().context("read the maps")?;
    let tables = maps
        .usage(&state)
        .context("count the entries of the tables")?;
    let counters = maps.counters().context("read the counters")?;
    let pinned = Pinned {
        tables: tables.into_iter().map(Into::into).collect(),
        counters: counters.into_iter().filter_map(Counter::moved).collect(),
    };
    output.write(streams.out, &pinned, |out| {
        write_tables(&pinned.tables, out)?;
        write_counters(&pinned.counters, out)
    })?;
    Ok(Ending::NoAgent)
}

fn write_status(status: &Status, wide: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    write_summary(status, out)?;
    let shown = |endpoint: &&Endpoint| wide || endpoint.state != EndpointState::Uplink;
    write_endpoints(status.endpoints.iter().filter(shown), out)?;
    write_tables(&status.tables, out)?;
    write_counters(&status.counters, out)?;
    write_problems(&status.diagnostics, out)
}

fn write_summary(status: &Status, out: &mut dyn Write) -> anyhow::Result<()> {
    let node = if status.node.found {
        format!("{} ({})", status.node.name, join(&status.node.addresses))
    } else {
        format!(
            "{} (it has no Node object: neither zone nor addresses are known)",
            status.node.name
        )
    };
    let waiting: Vec<&str> = status
        .source
        .synced
        .iter()
        .filter(|(_, synced)| !**synced)
        .map(|(kind, _)| kind.as_str())
        .collect();
    let synced = if waiting.is_empty() {
        "complete".to_owned()
    } else {
        format!("waiting for {}", waiting.join(", "))
    };
    let last = status.last_apply.as_ref().map_or(String::new(), |last| {
        let failed = if last.failed > 0 {
            format!(", {} failed", last.failed)
        } else {
            String::new()
        };
        format!(
            "; {} in {} µs at {:.0}{failed}",
            last.writes, last.duration_us, last.at
        )
    });
    writeln!(out, "Node:           {node}")?;
    writeln!(
        out,
        "Agent:          {}, pid {}, since {:.0}",
        status.version, status.pid, status.started
    )?;
    writeln!(
        out,
        "Source:         {} {}, {synced}",
        status.source.kind, status.source.location
    )?;
    writeln!(
        out,
        "Attached:       {} on devices, cgroup {}",
        status.attach, status.cgroup
    )?;
    writeln!(
        out,
        "Service CIDRs:  {}",
        or_none(Some(&status.service_cidrs.join(", ")))
    )?;
    writeln!(out, "Service ports:  {}", status.service_ports)?;
    Ok(writeln!(
        out,
        "Map writes:     {}{last}",
        status.writes_total
    )?)
}

fn write_endpoints<'a>(
    endpoints: impl Iterator<Item = &'a Endpoint>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let rows: Vec<[String; 5]> = endpoints
        .map(|endpoint| {
            [
                endpoint.ifname.clone(),
                endpoint.ifindex.to_string(),
                endpoint.state.name().to_owned(),
                or_none(endpoint.pod.as_deref()),
                or_none(Some(&join(&endpoint.addresses))),
            ]
        })
        .collect();
    write_section(["DEVICE", "INDEX", "STATE", "POD", "ADDRESSES"], rows, out)
}

fn write_tables(tables: &[TableUsage], out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = tables.iter().map(|table| {
        [
            table.name.clone(),
            table.used.to_string(),
            table.capacity.to_string(),
        ]
    });
    write_section(["TABLE", "USED", "CAPACITY"], rows.collect(), out)
}

fn write_counters(counters: &[Counter], out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = counters.iter().map(|counter| {
        [
            counter.direction.clone(),
            counter.verdict.clone(),
            counter.packets.to_string(),
        ]
    });
    write_section(["DIRECTION", "VERDICT", "PACKETS"], rows.collect(), out)
}

fn write_problems(problems: &[Problem], out: &mut dyn Write) -> anyhow::Result<()> {
    let rows = problems
        .iter()
        .map(|problem| [problem.object.clone(), problem.reason.clone()]);
    write_section(["OBJECT", "PROBLEM"], rows.collect(), out)
}

/// An empty line and a table; nothing at all without rows.
fn write_section<const N: usize>(
    header: [&str; N],
    rows: Vec<[String; N]>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_columns(out, header, rows)
}

fn join(addrs: &[IpAddr]) -> String {
    addrs
        .iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{
        cli::testing::{FakeAgent, run},
        observe::{
            Query,
            snapshot::{Apply, NodeStatus, SourceStatus},
        },
    };

    fn status() -> Status {
        let endpoint = |ifname: &str, ifindex, state, addr: &str, pod: Option<&str>| Endpoint {
            ifname: ifname.to_owned(),
            ifindex,
            state,
            addresses: vec![addr.parse().unwrap()],
            pod: pod.map(str::to_owned),
        };
        Status {
            version: "0.1.0".to_owned(),
            pid: 4711,
            started: "2026-01-02T03:04:05Z".parse().unwrap(),
            node: NodeStatus {
                name: "node-1".to_owned(),
                found: true,
                addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
                zone: Some("a".to_owned()),
            },
            source: SourceStatus {
                kind: "directory".to_owned(),
                location: "/objects".to_owned(),
                synced: [("Pod".to_owned(), false), ("Service".to_owned(), true)].into(),
            },
            attach: "tcx".to_owned(),
            cgroup: "/sys/fs/cgroup".to_owned(),
            service_ports: 2,
            writes_total: 12,
            last_apply: Some(Apply {
                at: "2026-01-02T03:04:06Z".parse().unwrap(),
                writes: 5,
                failed: 1,
                duration_us: 130,
            }),
            endpoints: vec![
                endpoint(
                    "veth0",
                    7,
                    EndpointState::Pod,
                    "10.1.0.5",
                    Some("default/client"),
                ),
                endpoint("veth1", 8, EndpointState::Unclaimed, "10.1.0.6", None),
                endpoint("eth0", 2, EndpointState::Uplink, "10.0.0.1", None),
            ],
            service_cidrs: vec!["10.96.0.0/16".to_owned()],
            diagnostics: vec![Problem {
                object: "Service default/echo".to_owned(),
                reason: "10.96.0.10:80/tcp belongs to Service default/older".to_owned(),
            }],
            tables: vec![TableUsage {
                name: "FRONTENDS4".to_owned(),
                used: 2,
                capacity: 65_536,
            }],
            counters: vec![Counter {
                direction: "from_pod".to_owned(),
                verdict: "translate".to_owned(),
                packets: 9,
            }],
        }
    }

    fn agent() -> FakeAgent {
        FakeAgent::start(|query| {
            if let Query::Status(reply) = query {
                reply.send(status()).unwrap();
            }
        })
    }

    #[test]
    fn status_shows_the_agent_and_what_is_wrong() {
        let ran = agent().run(&["status"]);
        assert_eq!(ran.ending.unwrap(), Ending::Done);
        expect![[r#"
            Node:           node-1 (10.0.0.1, fd00::1)
            Agent:          0.1.0, pid 4711, since 2026-01-02T03:04:05Z
            Source:         directory /objects, waiting for Pod
            Attached:       tcx on devices, cgroup /sys/fs/cgroup
            Service CIDRs:  10.96.0.0/16
            Service ports:  2
            Map writes:     12; 5 in 130 µs at 2026-01-02T03:04:06Z, 1 failed

            DEVICE   INDEX   STATE       POD              ADDRESSES
            veth0    7       pod         default/client   10.1.0.5
            veth1    8       unclaimed   <none>           10.1.0.6

            TABLE        USED   CAPACITY
            FRONTENDS4   2      65536

            DIRECTION   VERDICT     PACKETS
            from_pod    translate   9

            OBJECT                 PROBLEM
            Service default/echo   10.96.0.10:80/tcp belongs to Service default/older
        "#]]
        .assert_eq(&ran.out);
    }

    #[test]
    fn the_wide_status_lists_uplinks_too() {
        let ran = agent().run(&["status", "-o", "wide"]);
        assert!(ran.out.contains("eth0"), "{}", ran.out);
    }

    #[test]
    fn programs_read_the_status_as_json_and_yaml() {
        let agent = agent();
        let json = agent.run(&["status", "-o", "json"]).out;
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status());
        let yaml = agent.run(&["status", "-o", "yaml"]).out;
        assert_eq!(serde_saphyr::from_str::<Status>(&yaml).unwrap(), status());
    }

    #[test]
    fn a_node_without_its_object_is_said() {
        let mut status = status();
        status.node.found = false;
        let mut out = Vec::new();
        write_summary(&status, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("Node:           node-1 (it has no Node object"),
            "{text}"
        );
    }

    #[test]
    fn without_an_agent_and_maps_the_error_says_what_to_try() {
        let dir = tempfile::TempDir::new().unwrap();
        let dir = dir.path().to_str().unwrap();
        let ran = run(&["status", "--run-dir", dir, "--pin-dir", dir]);
        let error = format!("{:#}", ran.ending.unwrap_err()).replace(dir, "DIR");
        expect!["no agent answers in DIR: cannot open the map at DIR/maps/frontends4_v2: No such file or directory (os error 2); has an agent run here, and are you root?"].assert_eq(&error);
    }
}
