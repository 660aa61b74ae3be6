//! What becomes of a packet: every way to leave, with a number for the kernel and a name for
//! people.
//!
//! The packet path speaks in codes and an out-parameter, because an enum with a payload that
//! crosses a join spills a register the verifier calls unreadable (docs/decisions.md, "Codes, not
//! enums").

/// Codes, as the counters are indexed. Codes from `DROP` on are drop reasons.
pub mod code {
    /// None of ours, or nothing to change.
    pub const PASS: u32 = 0;
    /// Leaves with the tuple of the rewrite.
    pub const TRANSLATE: u32 = 1;
    /// As `TRANSLATE`, back out of the device it came from.
    pub const HAIRPIN: u32 = 2;
    /// Refused: ICMP port unreachable, or ECONNREFUSED at a socket (services.md 65, 70).
    pub const REJECT: u32 = 3;
    /// As `TRANSLATE`, to the next hop without the stack, which refuses packets in this node's name
    /// that come in from outside.
    pub const FORWARD: u32 = 4;
    /// Silently dropped; the reason is added.
    pub const DROP: u32 = 16;
}

/// Counters for each direction.
pub const CODES: u32 = 32;
pub const DIRECTIONS: u32 = 6;

/// Where a verdict was given; the counters' other index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Direction {
    FromPod = 0,
    ToPod = 1,
    Socket = 2,
    FromNet = 3,
    ToNet = 4,
    FromWire = 5,
}

#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Pass,
    Translate,
    Hairpin,
    Reject,
    Forward,
    Drop(DropReason),
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum DropReason {
    /// `internalTrafficPolicy: Local`, backends elsewhere and none here (services.md 66).
    NoLocalBackend = 0,
    /// A slot names a backend that does not exist: the agent's fault, never the user's.
    BackendMissing = 1,
    /// There was no room to remember the flow, so that its replies could not be translated.
    FlowNotStored = 2,
    /// A later fragment whose first was never seen, or is forgotten (policy.md I4).
    FragmentWithoutFirst = 3,
    /// A later fragment that would overwrite the first one, or a first one sent twice with other
    /// ports (policy.md I4).
    FragmentOverlap = 4,
    /// A first fragment too short to hold the transport header (policy.md I4).
    FragmentTiny = 5,
    /// For a frontend's address, with headers that end too early or never.
    Unparsable = 6,
    /// The packet could not be written.
    RewriteFailed = 7,
    /// In a range of ClusterIPs, but no Service's (services.md 73).
    NoSuchClusterIp = 8,
    /// Not in the Service's `loadBalancerSourceRanges` (services.md 80).
    SourceNotAdmitted = 9,
    /// No port is left for a flow that has to come back to this node.
    NoSnatPort = 10,
    /// This node has no address to send from toward the backend.
    NoSnatAddress = 11,
    /// Nothing leads to the next hop.
    NoRoute = 12,
    /// The hop limit is used up.
    HopLimit = 13,
}

const _: () = assert!(CODES * DIRECTIONS <= crate::tables::COUNTERS_MAX);
const _: () = assert!(code::DROP + (DropReason::ALL.len() as u32) <= CODES);

// === impl Direction ===

impl Direction {
    pub const ALL: [Self; DIRECTIONS as usize] = [
        Self::FromPod,
        Self::ToPod,
        Self::Socket,
        Self::FromNet,
        Self::ToNet,
        Self::FromWire,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
            Self::Socket => "socket",
            Self::FromNet => "from_net",
            Self::ToNet => "to_net",
            Self::FromWire => "from_wire",
        }
    }

    /// Where a verdict's counter stands.
    #[inline(always)]
    pub const fn counter(self, code: u32) -> u32 {
        self as u32 * CODES + code
    }
}

// === impl Verdict ===

impl Verdict {
    /// `None` for a number that is no code.
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            code::PASS => Some(Self::Pass),
            code::TRANSLATE => Some(Self::Translate),
            code::HAIRPIN => Some(Self::Hairpin),
            code::REJECT => Some(Self::Reject),
            code::FORWARD => Some(Self::Forward),
            _ => DropReason::ALL
                .into_iter()
                .find(|reason| reason.code() == code)
                .map(Self::Drop),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Translate => "translate",
            Self::Hairpin => "hairpin",
            Self::Reject => "reject",
            Self::Forward => "forward",
            Self::Drop(reason) => reason.name(),
        }
    }
}

// === impl DropReason ===

impl DropReason {
    pub const ALL: [Self; 14] = [
        Self::NoLocalBackend,
        Self::BackendMissing,
        Self::FlowNotStored,
        Self::FragmentWithoutFirst,
        Self::FragmentOverlap,
        Self::FragmentTiny,
        Self::Unparsable,
        Self::RewriteFailed,
        Self::NoSuchClusterIp,
        Self::SourceNotAdmitted,
        Self::NoSnatPort,
        Self::NoSnatAddress,
        Self::NoRoute,
        Self::HopLimit,
    ];

    #[inline(always)]
    pub const fn code(self) -> u32 {
        code::DROP + self as u32
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::NoLocalBackend => "no-local-backend",
            Self::BackendMissing => "backend-missing",
            Self::FlowNotStored => "flow-not-stored",
            Self::FragmentWithoutFirst => "fragment-without-first",
            Self::FragmentOverlap => "fragment-overlap",
            Self::FragmentTiny => "fragment-tiny",
            Self::Unparsable => "unparsable",
            Self::RewriteFailed => "rewrite-failed",
            Self::NoSuchClusterIp => "no-such-cluster-ip",
            Self::SourceNotAdmitted => "source-not-admitted",
            Self::NoSnatPort => "no-snat-port",
            Self::NoSnatAddress => "no-snat-address",
            Self::NoRoute => "no-route",
            Self::HopLimit => "hop-limit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_reason_has_a_code_of_its_own() {
        for reason in DropReason::ALL {
            assert_eq!(
                Verdict::from_code(reason.code()),
                Some(Verdict::Drop(reason))
            );
        }
        assert_eq!(Verdict::from_code(code::REJECT), Some(Verdict::Reject));
        assert_eq!(Verdict::from_code(CODES - 1), None);
    }
}
