//! That the manifests fit the agent: the rights that they give are those that it needs, and an API
//! server takes them. Every story runs its agents with these rights alone.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::lab::agent::Agent;

use super::fixture::Story;

const DAEMONSET: &str = include_str!("../../../manifests/base/daemonset.yaml");
/// Without it the agent works, but hears of the pods' addresses late.
const OPTIONAL: &str = "net_broadcast";

/// The capabilities that the DaemonSet adds after it dropped all, in the names of `setpriv`.
pub(super) fn of_daemonset() -> Vec<String> {
    assert!(
        DAEMONSET.contains("drop: [ALL]"),
        "the DaemonSet drops what it does not add"
    );
    let (_, rest) = DAEMONSET
        .split_once("add: [")
        .expect("the DaemonSet adds capabilities");
    let (list, _) = rest.split_once(']').expect("the list ends");
    list.split(',')
        .map(|name| name.trim().to_lowercase())
        .collect()
}

/// Leaves the agent these capabilities and no others from its next start on.
pub(super) fn restrict(agent: &mut Agent, capabilities: &[String]) {
    agent.set_launcher(&[
        "setpriv",
        &bounding_set(capabilities),
        "--no-new-privs",
        "--",
    ]);
}

fn bounding_set(capabilities: &[String]) -> String {
    let added: String = capabilities
        .iter()
        .map(|name| format!(",+{name}"))
        .collect();
    format!("--bounding-set=-all{added}")
}

#[test]
fn api_server_takes_the_manifests() {
    let Some(mut story) = Story::begin("manifests") else {
        return;
    };
    let kubectl = story.cluster().plane.kubectl();
    for overlay in ["base", "examples/lab"] {
        let folder = format!("{}/../manifests/{overlay}", env!("CARGO_MANIFEST_DIR"));
        let objects = kubectl
            .run(&["kustomize", &folder])
            .expect("the overlay is whole");
        let image = concat!("image: switchboard:", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(
            objects.matches(image).count(),
            1,
            "{overlay} has this version's image"
        );
        let apply = [
            "apply",
            "-k",
            &folder,
            "--dry-run=server",
            "--validate=strict",
        ];
        kubectl.run(&apply).expect("the API server takes it");
    }
}

/// The list of what may be listed is the list of what is.
#[test]
fn account_may_watch_what_the_agent_watches_and_write_events_and_nothing_else() {
    let Some(mut story) = Story::begin("account") else {
        return;
    };
    let status = story
        .cluster()
        .lab
        .agent(1)
        .status()
        .expect("the agent answers");
    assert_eq!(status.source.kind, "api");
    let watched: BTreeSet<String> = status
        .source
        .synced
        .keys()
        .map(|kind| format!("{}s", kind.to_lowercase()))
        .collect();
    let role = ["get", "clusterrole", "switchboard", "-o", "json"];
    let role = story.kubectl(&role).expect("the role exists");
    let role: Value = serde_json::from_str(&role).expect("a role in JSON");
    let mut allowed = BTreeSet::new();
    let mut told = 0;
    for rule in role["rules"].as_array().expect("a role has rules") {
        // Events are written, and nothing else is.
        if rule["resources"] == json!(["events"]) {
            assert_eq!(rule["verbs"], json!(["create", "patch"]), "{rule}");
            told += 1;
            continue;
        }
        assert_eq!(rule["verbs"], json!(["list", "watch"]), "{rule}");
        let resources = rule["resources"].as_array().expect("a rule has resources");
        allowed.extend(
            resources
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned),
        );
    }
    assert_eq!((allowed, told), (watched, 1));
}

#[test]
fn agent_needs_each_capability_of_the_daemonset() {
    let Some(mut story) = Story::begin("rights") else {
        return;
    };
    let all = of_daemonset();
    let agent = story.cluster().lab.agent_mut(1);
    agent.kill().expect("the agent is killed");
    for missing in &all {
        let rest: Vec<String> = all
            .iter()
            .filter(|name| *name != missing)
            .cloned()
            .collect();
        if missing == OPTIONAL {
            restrict(agent, &rest);
            agent.start().expect("the agent starts");
            assert!(agent.log().contains("CAP_NET_BROADCAST"), "{}", agent.log());
            agent.kill().expect("the agent is killed");
        } else {
            // An agent that works without it must not be waited for.
            let set = bounding_set(&rest);
            agent.set_launcher(&["timeout", "--signal=KILL", "30", "setpriv", &set, "--"]);
            let (status, said) = agent.start_another().expect("the agent ends by itself");
            assert!(!status.success(), "without {missing} the agent ends well");
            assert!(
                said.contains("cannot load the datapath"),
                "without {missing}: {said}"
            );
        }
    }
    restrict(agent, &all);
    agent.start().expect("the agent starts with all of them");
}
