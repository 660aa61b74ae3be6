//! The objects as the proxy needs them: parsed, defaulted, without anything it never reads
//! (services.md 17).

use std::{fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use proxy_datapath::family::proto;

use super::Kind;
use crate::config::Algorithm;

/// Namespace and name; the namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// Names an object, or the place in a file where one could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectRef {
    Object {
        kind: Kind,
        key: ObjectKey,
    },
    /// `file:line`.
    File(Arc<str>),
    /// The object of our own node does not exist, and other facts about the whole.
    Cluster(Arc<str>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Service(ObjectKey, Service),
    EndpointSlice(ObjectKey, EndpointSlice),
    Pod(ObjectKey, Pod),
    Node(ObjectKey, Node),
    ServiceCidr(ObjectKey, ServiceCidr),
}

/// A Service that may have frontends: one without a ClusterIP on purpose (`None`), an ExternalName
/// and one of another proxy never become this (services.md 1, 5).
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub service_type: ServiceType,
    /// Every usable ClusterIP, at most one of each family (services.md 6).
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    /// Load-balancer addresses with ipMode VIP (services.md 18).
    pub load_balancer_ips: Vec<IpAddr>,
    pub ports: Vec<ServicePort>,
    pub internal_traffic_policy: TrafficPolicy,
    pub external_traffic_policy: TrafficPolicy,
    /// `0` for none; used with type LoadBalancer and a local external policy (services.md 30).
    pub health_check_node_port: u16,
    /// Seconds, with `sessionAffinity: ClientIP` (services.md 20).
    pub affinity_timeout_s: Option<u32>,
    /// Sources that the load-balancer addresses admit; `None` for all (services.md 78). An empty
    /// list admits nobody: nothing in it could be read.
    pub source_ranges: Option<Vec<IpNet>>,
    /// `switchboard.io/algorithm`, instead of the configured one.
    pub algorithm: Option<Algorithm>,
    /// Seconds since 1970; the older Service wins a conflict (services.md 22 and section 3).
    pub created_s: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty for the only port of a Service that names none.
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
    /// `0` for none.
    pub node_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// One slice of a Service's endpoints, of one family (services.md 9–16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service it belongs to, in the same namespace.
    pub service: Arc<str>,
    pub family: IpFamily,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<Endpoint>,
    /// Milliseconds since 1970: when that happened of which the slice's last change came.
    /// The model counts it once and does not keep it.
    pub triggered_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
}

/// An endpoint with nil conditions resolved (services.md 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub addr: IpAddr,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    /// Topology hints (services.md 38).
    pub zone_hints: Box<[Arc<str>]>,
    pub node_hints: Box<[Arc<str>]>,
}

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub node: Arc<str>,
    /// `status.podIPs`.
    pub addrs: Vec<IpAddr>,
    pub host_network: bool,
    /// Succeeded or Failed: its addresses may belong to another pod.
    pub finished: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// InternalIP first, then ExternalIP, in the order of the object (services.md 121).
    pub addrs: Vec<IpAddr>,
    /// `topology.kubernetes.io/zone`, if not empty.
    pub zone: Option<Arc<str>>,
    pub pod_cidrs: Vec<IpNet>,
    /// Being deleted, or about to be by the cluster autoscaler: load balancers are told to go
    /// elsewhere (services.md 103).
    pub leaving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCidr {
    pub cidrs: Vec<IpNet>,
}

/// A device of this node that leads to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    pub ifindex: u32,
    /// The one to send from first, in each family.
    pub addrs: Vec<IpAddr>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Whether it replaces an endpoint of the same address that was read before it (services.md
    /// 12). Ready and terminating at once is the mark of `publishNotReadyAddresses`: it is ready
    /// (16).
    pub const fn replaces(&self) -> bool {
        self.ready || !self.terminating
    }
}

// === impl ObjectKey ===

impl ObjectKey {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

// === impl ObjectRef ===

impl ObjectRef {
    pub const fn new(kind: Kind, key: ObjectKey) -> Self {
        Self::Object { kind, key }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { kind, key } => write!(f, "{} {key}", kind.name()),
            Self::File(place) => f.write_str(place),
            Self::Cluster(what) => f.write_str(what),
        }
    }
}

// === impl Object ===

impl Object {
    pub fn reference(&self) -> ObjectRef {
        let (kind, key) = match self {
            Self::Service(key, _) => (Kind::Service, key),
            Self::EndpointSlice(key, _) => (Kind::EndpointSlice, key),
            Self::Pod(key, _) => (Kind::Pod, key),
            Self::Node(key, _) => (Kind::Node, key),
            Self::ServiceCidr(key, _) => (Kind::ServiceCidr, key),
        };
        ObjectRef::new(kind, key.clone())
    }
}

// === impl IpFamily ===

impl IpFamily {
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub const fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// As Kubernetes writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

// === impl Protocol ===

impl Protocol {
    /// The protocol number of the Internet Protocol.
    pub const fn number(self) -> u32 {
        match self {
            Self::Tcp => proto::TCP,
            Self::Udp => proto::UDP,
            Self::Sctp => proto::SCTP,
        }
    }

    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            proto::TCP => Some(Self::Tcp),
            proto::UDP => Some(Self::Udp),
            proto::SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// As Kubernetes writes it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Lower case, as our texts have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
