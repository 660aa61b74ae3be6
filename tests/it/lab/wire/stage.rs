//! The lab of these tests: one Service for each kind of backend and each policy, all of them with
//! every kind of frontend.
//!
//! Frontends are node 1's: its address for node ports, and addresses that the router sends to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};
use tests::lab::{Lab, Options, Place, Running};

pub(super) const BACKENDS: [Backend; 4] = [
    Backend::new("pod-here", 1, false),
    Backend::new("pod-there", 2, false),
    Backend::new("host-here", 1, true),
    Backend::new("host-there", 2, true),
];
pub(super) const POLICIES: [Policy; 2] = [Policy::Cluster, Policy::Local];
pub(super) const FRONTENDS: [Frontend; 3] = [
    Frontend::NodePort,
    Frontend::LoadBalancer,
    Frontend::ExternalIp,
];
pub(super) const PROTOCOLS: [&str; 2] = ["tcp", "udp"];

/// Of load balancers and external addresses.
const VIRTUAL: [&str; 2] = ["203.0.113.0/24", "2001:db8:ff::/64"];
const POD_CIDRS: &str = "10.1.0.0/16,fd00:1::/32";
const POD_PORT: u16 = 8080;
const HOST_PORT: u16 = 9090;
const PORT: u16 = 80;
const FIRST_NODE_PORT: u16 = 30_080;

/// The only backend of its Services.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) name: &'static str,
    pub(super) node: u8,
    host_network: bool,
}

/// `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Cluster,
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frontend {
    NodePort,
    LoadBalancer,
    ExternalIp,
}

/// Who dials, and where it is.
pub(super) struct Client {
    pub(super) place: Place,
    pub(super) is_hooked: bool,
    /// `None` for the client outside.
    pub(super) node: Option<u8>,
    pub(super) is_pod: bool,
}

pub(super) struct Stage {
    pub(super) lab: Lab,
    pub(super) clients: Vec<Client>,
    _servers: Vec<Running>,
}

// === impl Stage ===

impl Stage {
    pub(super) fn new(options: Options, args: &[&str]) -> Self {
        let mut lab = Lab::new(options).unwrap();
        let clients = clients(&mut lab);
        let mut servers = Vec::new();
        for backend in &BACKENDS {
            let place = if backend.host_network {
                let place = lab.host(backend.node).renamed(backend.name);
                let addrs = format!("{} {}", place.addr4(), place.addr6());
                let line = format!(
                    "pod {} {addrs} on=n{} hostnetwork",
                    backend.name, backend.node
                );
                lab.set(&line).unwrap();
                place
            } else {
                lab.add_pod(backend.node, backend.name, "").unwrap()
            };
            servers.push(place.serve_port(backend.port()).unwrap());
            for policy in POLICIES {
                let file = format!("{}-{policy:?}.json", backend.name);
                lab.set_file(&file, &objects(backend, policy, &place).to_string());
            }
        }
        lab.route_to_node(&VIRTUAL, 1).unwrap();
        lab.start_with(&[&["--cluster-cidr", POD_CIDRS], args].concat())
            .unwrap();
        Self {
            lab,
            clients,
            _servers: servers,
        }
    }
}

/// Pods with and without socket hooks, hosts, and the client outside.
fn clients(lab: &mut Lab) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in [1, 2] {
        let pod = lab.add_pod(node, &format!("client{node}"), "").unwrap();
        for (place, is_hooked) in [(pod.clone(), true), (pod.unhooked(), false)] {
            clients.push(Client {
                place,
                is_hooked,
                node: Some(node),
                is_pod: true,
            });
        }
        clients.push(Client {
            place: lab.host(node).clone(),
            is_hooked: true,
            node: Some(node),
            is_pod: false,
        });
    }
    clients.push(Client {
        place: lab.outside().clone(),
        is_hooked: false,
        node: None,
        is_pod: false,
    });
    clients
}

// === impl Backend ===

impl Backend {
    const fn new(name: &'static str, node: u8, host_network: bool) -> Self {
        Self {
            name,
            node,
            host_network,
        }
    }

    pub(super) const fn port(&self) -> u16 {
        if self.host_network {
            HOST_PORT
        } else {
            POD_PORT
        }
    }

    /// The number of the Service with this backend and policy.
    fn service(&self, policy: Policy) -> u16 {
        let place = BACKENDS.iter().position(|other| other == self).unwrap();
        u16::try_from(place * POLICIES.len()).unwrap() + policy as u16
    }
}

// === impl Frontend ===

impl Frontend {
    /// What to dial for a backend's Service.
    pub(super) fn addr(self, lab: &Lab, backend: &Backend, policy: Policy, v4: bool) -> SocketAddr {
        let service = backend.service(policy);
        if self == Self::NodePort {
            let host = lab.host(1);
            let addr = if v4 { host.addr4() } else { host.addr6() };
            return SocketAddr::new(addr, FIRST_NODE_PORT + service);
        }
        let addrs = virtual_addrs(self, service);
        SocketAddr::new(addrs[usize::from(!v4)], PORT)
    }
}

/// The addresses of a Service in both families.
fn virtual_addrs(frontend: Frontend, service: u16) -> [IpAddr; 2] {
    let number = 10
        + service
        + if frontend == Frontend::ExternalIp {
            100
        } else {
            0
        };
    let [_, low] = number.to_be_bytes();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, number);
    [Ipv4Addr::new(203, 0, 113, low).into(), v6.into()]
}

/// A Service and its slices.
fn objects(backend: &Backend, policy: Policy, place: &Place) -> Value {
    let number = backend.service(policy);
    let name = format!("{}-{policy:?}", backend.name).to_lowercase();
    let ports = |render: fn(&str, &Backend, u16) -> Value| -> Vec<Value> {
        let ports = PROTOCOLS.iter();
        ports
            .map(|protocol| render(protocol, backend, number))
            .collect()
    };
    let ingress = virtual_addrs(Frontend::LoadBalancer, number);
    let ingress = ingress.map(|addr| json!({ "ip": addr, "ipMode": "VIP" }));
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": "default", "name": name },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": format!("10.96.1.{number}"),
            "clusterIPs": [format!("10.96.1.{number}"), format!("fd00:96::1:{number:x}")],
            "ipFamilies": ["IPv4", "IPv6"],
            "externalIPs": virtual_addrs(Frontend::ExternalIp, number),
            "externalTrafficPolicy": format!("{policy:?}"),
            "ports": ports(|protocol, _, number| json!({
                "name": protocol,
                "protocol": protocol.to_uppercase(),
                "port": PORT,
                "nodePort": FIRST_NODE_PORT + number,
            })),
        },
        "status": { "loadBalancer": { "ingress": ingress } },
    });
    let slice = |family: &str, addr: IpAddr| {
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": "default",
                "name": format!("{name}-{}", family.to_lowercase()),
                "labels": { "kubernetes.io/service-name": name },
            },
            "addressType": family,
            "ports": ports(|protocol, backend, _| json!({
                "name": protocol,
                "protocol": protocol.to_uppercase(),
                "port": backend.port(),
            })),
            "endpoints": [{ "addresses": [addr], "nodeName": format!("n{}", backend.node) }],
        })
    };
    let slices = [slice("IPv4", place.addr4()), slice("IPv6", place.addr6())];
    let [first, second] = slices;
    json!({ "apiVersion": "v1", "kind": "List", "items": [service, first, second] })
}
