//! Each device has the programs of its role, also when that changes.

use super::{super::*, Node, both};
use crate::tables::bpf_sys;

impl Device {
    fn with_role(&self, role: Role) -> Self {
        Self {
            role,
            ..self.clone()
        }
    }
}

#[test]
fn pods_and_uplinks_have_programs_of_their_own_at_the_same_hooks() {
    for method in [Method::Tcx, Method::Clsact] {
        let Some(node) = Node::new(&["va", "vb"]) else {
            return;
        };
        let devices = [node.device("va"), node.device("vb").with_role(Role::Uplink)];
        let mut agent = node.agent(method);
        node.reconcile(&mut agent, &devices);
        let wanted = [both(&devices[0]), both(&devices[1])].concat();
        assert_eq!(node.list(&agent), wanted, "{method:?}");
        assert_eq!(
            wanted.iter().map(|one| one.program).collect::<Vec<_>>(),
            Program::PACKET
        );
        node.reconcile(&mut agent, &devices[..1]);
        assert_eq!(node.list(&agent), both(&devices[0]), "{method:?}");
    }
}

#[test]
fn device_that_changes_its_role_gets_the_other_programs() {
    for method in [Method::Tcx, Method::Clsact] {
        let Some(node) = Node::new(&["va"]) else {
            return;
        };
        let device = node.device("va");
        let mut agent = node.agent(method);
        for role in [Role::Pod, Role::Uplink, Role::Pod] {
            let device = device.with_role(role);
            node.reconcile(&mut agent, std::slice::from_ref(&device));
            assert_eq!(node.list(&agent), both(&device), "{method:?}");
        }
        // The one before is gone, not only hidden.
        assert_eq!(
            node.links().len(),
            if method == Method::Tcx { 2 } else { 0 }
        );
    }
}

#[test]
fn filter_of_another_role_is_replaced_and_not_joined() {
    let Some(node) = Node::new(&["va"]) else {
        return;
    };
    let device = node.device("va");
    let mut agent = node.agent(Method::Clsact);
    for (role, program) in [
        (Role::Pod, Program::FromPod),
        (Role::Uplink, Program::FromNet),
    ] {
        node.reconcile(&mut agent, &[device.with_role(role)]);
        let shown = node.tc("filter show dev va ingress");
        let name = format!("switchboard/{}", program.name());
        assert_eq!(shown.matches("switchboard/").count(), 1, "{shown}");
        assert!(shown.contains(&name), "{shown}");
        let id = bpf_sys::program_id(agent.programs.fd(program)).unwrap();
        assert!(shown.contains(&format!(" id {id} ")), "{shown}");
    }
}

#[test]
fn cleanup_takes_the_programs_of_uplinks_along() {
    for method in [Method::Tcx, Method::Clsact] {
        let Some(node) = Node::new(&["vb"]) else {
            return;
        };
        let device = node.device("vb").with_role(Role::Uplink);
        let mut agent = node.agent(method);
        node.reconcile(&mut agent, &[device]);
        node.host.enter(|| cleanup(&node.pins(), false)).unwrap();
        assert_eq!(node.list(&agent), [], "{method:?}");
        assert!(!node.tc("qdisc show dev vb").contains("clsact"));
    }
}
