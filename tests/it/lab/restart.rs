//! The agent may die at any time: what it programmed stays, and a new one takes it over without a
//! packet noticing.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use tests::{
    lab::{Load, Options, Place, Topology},
    privileges,
};

use super::{Web, to_vips};

/// Of each load: nearly a second.
const REQUESTS_PER_PHASE: u64 = 100;

#[test]
fn nothing_is_lost_while_the_agent_is_killed_and_started_again() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::new(Options::new(Topology::Ptp, 2));
    // A pod of its own: no sandboxed runtime shares its ports with other processes.
    let unhooked = web.lab.add_pod(1, "raw", "").unwrap().unhooked();
    web.lab.publish().unwrap();
    let loads = start_loads(&web, &unhooked);
    progress(&loads);
    let pins = inodes(&web.lab.agent(1).pin_dir());

    web.lab.agent_mut(1).kill().unwrap();
    progress(&loads);
    let status = web.lab.agent_mut(1).start().unwrap();
    progress(&loads);

    assert_eq!(
        status.writes_total, 0,
        "nothing changed, so nothing is written"
    );
    assert_eq!(
        inodes(&web.lab.agent(1).pin_dir()),
        pins,
        "maps and links are the same objects"
    );
    for (what, load) in loads {
        let tally = load.finish().unwrap();
        assert_eq!(tally.sent, tally.answered, "{what}: {tally:?}");
        assert!(tally.errors.is_empty(), "{what}: {tally:?}");
    }
}

#[test]
fn what_changed_while_the_agent_was_down_is_caught_up_with() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    web.lab.agent_mut(1).kill().unwrap();
    web.lab.set_pod("far", "").unwrap();
    web.lab
        .set("service default/second 10.96.0.20 80/tcp->8080 app=web")
        .unwrap();
    web.lab.write_manifests().unwrap();
    web.lab.agent_mut(1).start().unwrap();
    web.lab.wait_until_applied().unwrap();
    for _ in 0..20 {
        assert_eq!(web.client.ask("tcp 10.96.0.10:80").unwrap().name(), "near");
        assert_eq!(web.client.ask("tcp 10.96.0.20:80").unwrap().name(), "near");
    }
}

#[test]
fn an_orderly_stop_leaves_the_programs_in_place_too() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    let status = web.lab.agent_mut(1).stop().unwrap();
    assert!(status.success(), "{status}");
    for protocol in ["tcp", "udp"] {
        for to in to_vips(protocol, 80) {
            super::assert_spread(&web.client, &to, &["near", "far"]);
        }
    }
}

#[test]
fn a_second_agent_on_the_node_is_refused() {
    if !privileges::are_there() {
        return;
    }
    let web = Web::small();
    let (status, said) = web.lab.agent(1).start_another().unwrap();
    assert!(!status.success(), "{said}");
    assert!(said.contains("another agent"), "{said}");
    let pid = web.lab.agent(1).pid().unwrap().to_string();
    assert!(said.contains(&pid), "it names the one that runs: {said}");
    super::assert_spread(&web.client, "tcp 10.96.0.10:80", &["near", "far"]);
}

#[test]
fn cleanup_removes_everything_and_says_before_what_it_would() {
    if !privileges::are_there() {
        return;
    }
    let mut web = Web::small();
    let agent = web.lab.agent_mut(1);
    let refusal = agent.cli(&["cleanup"]).unwrap_err().to_string();
    assert!(
        refusal.contains("agent"),
        "not under a running agent: {refusal}"
    );
    agent.kill().unwrap();
    let pins = inodes(&agent.pin_dir());
    let plan = agent.cli(&["cleanup", "--dry-run"]).unwrap();
    assert!(plan.contains("connect4"), "{plan}");
    assert_eq!(inodes(&agent.pin_dir()), pins, "a dry run removes nothing");
    super::assert_spread(&web.client, "tcp 10.96.0.10:80", &["near", "far"]);

    let agent = web.lab.agent(1);
    agent.cli(&["cleanup"]).unwrap();
    assert_eq!(inodes(&agent.pin_dir()), BTreeMap::new());
    for client in [web.client.clone(), web.client.unhooked()] {
        for protocol in ["tcp", "udp"] {
            let exchange = client.ask(&format!("{protocol} 10.96.0.10:80 --timeout-ms 300"));
            assert!(
                !exchange.unwrap().is_answered(),
                "programs are still attached"
            );
        }
    }
}

fn start_loads(web: &Web, unhooked: &Place) -> Vec<(String, Load)> {
    let mut loads = Vec::new();
    let mut start = |place: &Place, to: &str, keep: &str| {
        let load = place.load(&format!("{to} --interval-us 8000 {keep}"));
        loads.push((format!("{} {to} {keep}", place.name()), load.unwrap()));
    };
    for protocol in ["tcp", "udp"] {
        let [v4, v6] = to_vips(protocol, 80);
        // New flows all the time, and one that lasts.
        start(&web.client, &v4, "");
        start(&web.client, &v6, "--keep");
        start(unhooked, &v4, "--keep");
        start(unhooked, &v6, "");
        start(web.lab.host(1), &v4, "");
    }
    loads
}

/// Waits until each load has sent some more requests.
fn progress(loads: &[(String, Load)]) {
    let goals: Vec<_> = loads
        .iter()
        .map(|(_, load)| load.tally().sent + REQUESTS_PER_PHASE)
        .collect();
    for ((what, load), goal) in loads.iter().zip(goals) {
        let tally = load.wait_until_sent(goal);
        tally.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    }
}

/// Every pinned object below the folder, by its inode, which a new pin would not keep.
fn inodes(folder: &Path) -> BTreeMap<String, u64> {
    let mut inodes = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                inodes.insert(entry.path().display().to_string(), metadata.ino());
            }
        }
    }
    inodes
}
