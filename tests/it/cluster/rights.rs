//! That the capabilities which the DaemonSet asks for are what the agent needs: every story runs
//! with these alone, and without any one of them something is missing.

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
