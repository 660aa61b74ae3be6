//! What `trace` answers. Other tools read this object: its fields and words are a contract.

use std::fmt;

use proxy_datapath::{
    frontend::{KIND_SHIFT, kind},
    tables::Frontend,
};
use serde::{Deserialize, Serialize};

use crate::observe::World;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub outcome: Outcome,
    /// The frontend that matched, whatever the outcome.
    pub frontend: Option<FrontendName>,
    /// Every backend that the packet could be given, sorted; empty unless it is translated.
    pub backends: Vec<String>,
    /// The source that the backend sees; null unless the packet is translated.
    pub source: Option<SourceAddr>,
    /// Why the packet is dropped; null unless it is.
    pub reason: Option<String>,
    /// How the decision was come by, for people.
    pub steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Translate,
    Pass,
    Reject,
    Drop,
}

/// Namespace, name and port are null only where no agent runs that knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontendName {
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// The port's name.
    pub port: Option<String>,
    pub kind: FrontendKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontendKind {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    #[serde(rename = "ExternalIP")]
    ExternalIp,
    LoadBalancer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceAddr {
    /// The client's own address.
    Kept,
    /// An address of this node.
    Node,
    /// The frontend's address: the client reaches itself.
    Frontend,
    /// It depends on the backend that is drawn.
    Mixed,
}

// === impl Outcome ===

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Translate => "translate",
            Self::Pass => "pass",
            Self::Reject => "reject",
            Self::Drop => "drop",
        }
    }
}

// === impl FrontendName ===

impl FrontendName {
    pub(super) fn new(frontend: &Frontend, world: &World<'_>) -> Self {
        let name = world.name(frontend.service);
        Self {
            namespace: name.map(|name| name.service.namespace.to_string()),
            name: name.map(|name| name.service.name.to_string()),
            port: name.map(|name| name.port.to_string()),
            kind: FrontendKind::of(frontend),
        }
    }
}

impl fmt::Display for FrontendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, "{namespace}/{name}")?,
            _ => f.write_str("unknown")?,
        }
        if let Some(port) = self.port.as_deref().filter(|port| !port.is_empty()) {
            write!(f, ":{port}")?;
        }
        write!(f, " ({})", self.kind.name())
    }
}

// === impl FrontendKind ===

impl FrontendKind {
    const fn of(frontend: &Frontend) -> Self {
        match frontend.flags >> KIND_SHIFT {
            kind::NODE_PORT => Self::NodePort,
            kind::EXTERNAL_IP => Self::ExternalIp,
            kind::LOAD_BALANCER => Self::LoadBalancer,
            _ => Self::ClusterIp,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::ExternalIp => "ExternalIP",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

// === impl SourceAddr ===

impl SourceAddr {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Node => "node",
            Self::Frontend => "frontend",
            Self::Mixed => "mixed",
        }
    }
}
