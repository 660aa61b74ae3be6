//! The lab itself, without agents: where these fail, no other lab test says anything.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::ensure;
use tests::{
    lab::{Lab, Options, binary, socket_text, wait_for},
    privileges,
};

use super::TOPOLOGIES;

#[test]
fn pods_reach_each_other_and_the_outside_without_an_agent() {
    if !privileges::are_there() {
        return;
    }
    for topology in TOPOLOGIES {
        let mut lab = Lab::new(Options::new(topology, 2)).unwrap();
        let near = lab.add_pod(1, "near", "").unwrap();
        let beside = lab.add_pod(1, "beside", "").unwrap();
        let far = lab.add_pod(2, "far", "").unwrap();
        let servers = [&beside, &far, lab.outside(), lab.host(1), lab.host(2)];
        let _running = servers.map(|place| place.serve_port(8080).unwrap());
        for server in servers {
            for addr in [server.addr4(), server.addr6()] {
                for protocol in ["tcp", "udp"] {
                    let to = format!("{protocol} {}", socket_text(addr, 8080));
                    let exchange = near.ask(&to).unwrap();
                    assert_eq!(
                        exchange.name(),
                        server.name(),
                        "{topology:?} {to}: {exchange:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_stays_of_a_lab_whose_process_is_killed() {
    if !privileges::are_there() {
        return;
    }
    let mut demo = Command::new(binary("demo").unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let id = format!("sb{}-0", demo.id());
    let traces = || {
        let folders = ["/run/netns".into(), std::env::temp_dir()].map(std::fs::read_dir);
        let entries = folders.into_iter().flatten().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(&id)).count()
    };
    let timeout = Duration::from_secs(10);
    wait_for("the lab", timeout, || {
        ensure!(traces() >= 7, "{} traces", traces());
        Ok(())
    })
    .unwrap();
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait_for("the removal", timeout, || {
        ensure!(traces() == 0, "{} traces", traces());
        Ok(())
    })
    .unwrap();
}
