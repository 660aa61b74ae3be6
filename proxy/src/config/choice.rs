//! The choices among few: what a flag, a line of a file or an annotation may say.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a packet reaches a backend on another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// From this node's address, so that the reply comes back here
    #[default]
    Snat,
    /// In a VXLAN tunnel, with the client's address; the reply comes back through this node
    Tunnel,
    /// In a VXLAN tunnel, with the client's address; the backend's node answers the client
    Dsr,
}

/// How a new flow gets its backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Each with the same probability
    #[default]
    Random,
    /// By a hash of the flow that every node computes alike
    Maglev,
    /// The one with the fewest connections of this node
    LeastConnections,
}

/// The mode of kube-proxy that a configuration was written for; it decides defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Nftables,
    Iptables,
    Ipvs,
}

// === impl Algorithm ===

impl Algorithm {
    /// What comes closest to a scheduler of IPVS: by connections, by a hash that is the same on
    /// every node, or neither.
    pub fn of_scheduler(scheduler: &str) -> Self {
        match scheduler {
            "lc" | "wlc" | "sed" | "nq" | "lblc" | "lblcr" => Self::LeastConnections,
            "mh" | "sh" => Self::Maglev,
            _ => Self::Random,
        }
    }
}

// === impl Dialect ===

impl Dialect {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        }
    }
}
