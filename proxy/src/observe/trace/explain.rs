//! The steps of an answer, for people: what was looked at, and why it came out so.

use proxy_datapath::{
    family::Family,
    frontend::{KIND_SHIFT, LOCAL, MAGLEV, WIRE_LOCAL, address, kind, range},
    packet::Packet,
    tables::Frontend,
};

use super::{Destination, Outcome, Place, SourceAddr};
use crate::{model::Protocol, observe::row::seconds, plan::FamilyState};

/// Which program decides.
pub(super) const fn hook(place: Place, to: Destination) -> &'static str {
    let Destination::Port { protocol, .. } = to else {
        return "ICMP messages have no port, so that no frontend matches them";
    };
    match (place, protocol) {
        (Place::Pod, Protocol::Tcp) => {
            "a pod's TCP is decided over when its socket connects, or else by from_pod"
        }
        (Place::Pod, _) => "what a pod sends is decided over by from_pod, on its device",
        (Place::Host, Protocol::Sctp) => "no hook sees the host's SCTP: this is what tables say",
        (Place::Host, _) => "the host is decided over when its socket connects or sends",
        (Place::Wire, _) => {
            "what arrives from elsewhere is decided over by from_net, on its device"
        }
    }
}

/// Why the frontend chooses as it does.
pub(super) fn set(frontend: &Frontend, outside: bool) -> Vec<String> {
    let mut steps = Vec::new();
    let is_external = frontend.flags >> KIND_SHIFT != kind::CLUSTER_IP;
    let has = |flag: u32| frontend.flags & flag != 0;
    let which = match (is_external, outside) {
        (true, true) if has(WIRE_LOCAL) => Some(
            "externalTrafficPolicy is Local and the client is outside of the cluster: it gets \
             backends on this node only",
        ),
        (true, false) if has(WIRE_LOCAL) => Some(
            "externalTrafficPolicy is Local, but the client is in the cluster: it gets every \
             backend",
        ),
        (false, _) if has(LOCAL) => {
            Some("internalTrafficPolicy is Local: only backends on this node")
        }
        _ => None,
    };
    steps.extend(which.map(str::to_owned));
    if has(MAGLEV) {
        steps.push("the flow's source decides which backend (Maglev)".to_owned());
    }
    if frontend.affinity != 0 {
        steps.push(format!(
            "a client that was here in the last {} s stays with its backend",
            seconds(frontend.affinity)
        ));
    }
    steps
}

/// What the destination is instead of a frontend.
pub(super) fn no_frontend<F: Family>(
    to: Destination,
    packet: &Packet<F>,
    family: &FamilyState<F>,
) -> String {
    let addr = packet.key.destination;
    let flags = family.addresses.get(&addr).copied().unwrap_or(0);
    let ranges = family.ranges.range(range::SERVICES..);
    if flags & address::CLUSTER_IP != 0 {
        format!("{to} is no port of the Service that has the ClusterIP")
    } else if flags == 0 && { ranges }.any(|(_, range)| F::within(&addr, range)) {
        format!("{to} is in a range of ClusterIPs, but no Service's")
    } else {
        format!("{to} is no frontend")
    }
}

/// Whether a source on the wire counts as a pod of the cluster (services.md 62).
pub(super) fn is_pod<F: Family>(addr: F::Addr, family: &FamilyState<F>) -> bool {
    let pods = family.ranges.get(&range::PODS);
    pods.is_some_and(|pods| F::within(&addr, pods))
}

/// How it ends.
pub(super) fn end(
    outcome: Outcome,
    source: Option<SourceAddr>,
    reason: Option<&str>,
    backends: usize,
) -> String {
    match (outcome, source, reason) {
        (Outcome::Translate, Some(SourceAddr::Frontend), _) => {
            "the client is the only backend: it sees the frontend as its client".to_owned()
        }
        (Outcome::Translate, Some(source), _) => {
            format!(
                "one of {backends} is drawn, the source is {}",
                source.name()
            )
        }
        (Outcome::Drop, _, Some(reason)) => format!("the packet is dropped: {reason}"),
        (Outcome::Reject, _, _) => "nobody answers: the client is told that it is refused".into(),
        _ => "the packet passes as it is".to_owned(),
    }
}
