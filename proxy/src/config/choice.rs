//! The choices among few: what a flag, a line of a file or an annotation may say.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a new flow gets its backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Each with the same probability
    #[default]
    Random,
    /// By a hash of the flow that every node computes alike
    Maglev,
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

/// Where the program on the wire runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// On network cards whose drivers run it
    #[default]
    Auto,
    Off,
    /// In the drivers of all Ethernet devices that lead elsewhere
    Driver,
    /// On the same devices, in the kernel; for tests
    Generic,
}

// === impl Algorithm ===

impl Algorithm {
    /// What comes closest to a scheduler of IPVS; `None` for one that goes by connections, or that
    /// does not exist.
    pub fn of_scheduler(scheduler: &str) -> Option<Self> {
        match scheduler {
            "mh" | "sh" => Some(Self::Maglev),
            "rr" | "wrr" => Some(Self::Random),
            _ => None,
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
