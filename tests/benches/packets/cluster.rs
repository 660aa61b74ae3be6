//! The cluster that packets are measured in: its addresses, and the tables of a node of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use aya::{
    Pod,
    maps::{Array, HashMap, MapData},
};
use proxy_datapath::{
    family::{Family, Ipv4, Ipv6, Port},
    frontend::{address, backend, range},
    tables::{Backend, Flow, FlowKey, Frontend, FrontendKey, Node, Prefix, Uplink, port_proto},
};

use crate::{kernel::Kernel, namespace::UPLINK};

const SERVICES: u32 = 10_000;
const BACKENDS_PER_SERVICE: u32 = 10;
const FRONTEND_PORT: u16 = 80;
const BACKEND_PORT: u16 = 8080;

/// The Service with one backend, on this node; the one with one backend, on another; the one with
/// all its backends on others. Those after it have theirs on this node.
pub(crate) const HERE: u32 = 0;
pub(crate) const AWAY: u32 = 1;
pub(crate) const SPREAD: u32 = 2;

/// Ports for masquerading: two runs, the first of each and how many.
#[derive(Clone, Copy)]
pub(crate) struct SnatPorts {
    first: [u32; 2],
    count: [u32; 2],
}

/// Those of a node without settings.
pub(crate) const USUAL_PORTS: SnatPorts = SnatPorts {
    first: [1024, 61_000],
    count: [28_976, 4_536],
};
/// As many as there are flows, so that the replies to all ports are of some flow.
pub(crate) const ALL_PORTS: SnatPorts = SnatPorts {
    first: [0, 0xffff],
    count: [0xffff, 1],
};

/// Addresses of a family's cluster.
pub(crate) trait Cluster: Family<Addr: Pod> {
    fn vip(service: u32) -> IpAddr;
    fn backend_addr(service: u32, index: u32) -> IpAddr;
    /// A pod of this node.
    fn pod() -> IpAddr;
    /// A client outside the cluster.
    fn outsider() -> IpAddr;
    fn node() -> IpAddr;
    /// The neighbour that everything is behind.
    fn gateway() -> IpAddr;
    /// A mask, and the pods' and the ClusterIPs' ranges that have it.
    fn ranges() -> [IpAddr; 3];

    fn frontend(service: u32) -> SocketAddr {
        SocketAddr::new(Self::vip(service), FRONTEND_PORT)
    }

    /// A service's first.
    fn backend(service: u32) -> SocketAddr {
        SocketAddr::new(Self::backend_addr(service, 0), BACKEND_PORT)
    }
}

/// Writes the tables of a node: who it is, and the cluster's services.
pub(crate) fn fill<F: Cluster>(kernel: &mut Kernel, proto: u32) -> Result<()> {
    fill_node::<F>(kernel)?;
    for service in 0..SERVICES {
        let base = service * BACKENDS_PER_SERVICE;
        let count = if matches!(service, HERE | AWAY) {
            1
        } else {
            BACKENDS_PER_SERVICE
        };
        for index in 0..count {
            let at = base + index;
            let value = backend_of::<F>(service, index, proto)?;
            let mut backends: Array<_, Backend<F>> = kernel.of_family::<F, _>("BACKENDS")?;
            backends.set(at, value, 0)?;
            let mut slots: Array<_, u32> = kernel.table("SLOTS")?;
            slots.set(at, at, 0)?;
        }
        let addr = own::<F>(F::vip(service))?;
        let key = FrontendKey::<F>::new(addr, Port::new(FRONTEND_PORT), proto);
        let value = Frontend {
            base,
            count,
            wire_base: base,
            wire_count: count,
            service,
            ..Frontend::default()
        };
        let mut frontends: HashMap<_, FrontendKey<F>, Frontend> =
            kernel.of_family::<F, _>("FRONTENDS")?;
        frontends.insert(key, value, 0)?;
        let mut addresses: HashMap<_, F::Addr, u32> = kernel.of_family::<F, _>("ADDRESSES")?;
        addresses.insert(addr, address::FRONTEND | address::CLUSTER_IP, 0)?;
    }
    Ok(())
}

fn backend_of<F: Cluster>(service: u32, index: u32, proto: u32) -> Result<Backend<F>> {
    let here = if matches!(service, AWAY | SPREAD) {
        0
    } else {
        backend::HERE
    };
    Ok(Backend {
        addr: own::<F>(F::backend_addr(service, index))?,
        port_proto: port_proto(Port::new(BACKEND_PORT), proto),
        state: backend::ACTIVE,
        flags: here | backend::IN_CLUSTER_SET,
        service,
    })
}

fn fill_node<F: Cluster>(kernel: &mut Kernel) -> Result<()> {
    let addr = own::<F>(F::node())?;
    let mut addresses: HashMap<_, F::Addr, u32> = kernel.of_family::<F, _>("ADDRESSES")?;
    addresses.insert(addr, address::NODE | address::NODE_PORT, 0)?;
    let mut uplinks: HashMap<_, u32, Uplink<F>> = kernel.of_family::<F, _>("UPLINKS")?;
    uplinks.insert(UPLINK, Uplink { addr }, 0)?;
    let [mask, pods, services] = F::ranges();
    let mask = own::<F>(mask)?;
    let mut ranges: Array<_, Prefix<F>> = kernel.of_family::<F, _>("RANGES")?;
    for (place, first) in [(range::PODS, pods), (range::SERVICES, services)] {
        let addr = own::<F>(first)?;
        ranges.set(place, Prefix { addr, mask }, 0)?;
    }
    Ok(())
}

pub(crate) fn masquerade_from<F: Cluster>(kernel: &mut Kernel, ports: SnatPorts) -> Result<()> {
    let value = Node {
        addr: own::<F>(F::node())?,
        snat_first: ports.first,
        snat_count: ports.count,
    };
    let mut nodes: Array<_, Node<F>> = kernel.of_family::<F, _>("NODE")?;
    Ok(nodes.set(0, value, 0)?)
}

pub(crate) fn forget_flows<F: Cluster>(kernel: &mut Kernel) -> Result<()> {
    let mut flows: HashMap<&mut MapData, FlowKey<F>, Flow<F>> =
        kernel.of_family::<F, _>("FLOWS")?;
    let keys: Vec<FlowKey<F>> = flows.keys().collect::<Result<_, _>>()?;
    for key in keys {
        flows.remove(&key)?;
    }
    Ok(())
}

fn own<F: Family>(ip: IpAddr) -> Result<F::Addr> {
    F::from_ip(ip).with_context(|| format!("{ip} is of another family"))
}

// === impl Ipv4 ===

impl Cluster for Ipv4 {
    fn vip(service: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a60_0000 + service).into()
    }

    fn backend_addr(service: u32, index: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a01_0000 + service * 16 + index).into()
    }

    fn pod() -> IpAddr {
        Ipv4Addr::new(10, 8, 0, 5).into()
    }

    fn outsider() -> IpAddr {
        Ipv4Addr::new(192, 0, 2, 7).into()
    }

    fn node() -> IpAddr {
        Ipv4Addr::new(172, 16, 0, 1).into()
    }

    fn gateway() -> IpAddr {
        Ipv4Addr::new(172, 16, 0, 254).into()
    }

    fn ranges() -> [IpAddr; 3] {
        [[255, 240, 0, 0], [10, 0, 0, 0], [10, 96, 0, 0]].map(IpAddr::from)
    }
}

// === impl Ipv6 ===

impl Cluster for Ipv6 {
    fn vip(service: u32) -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0096 << 96) + u128::from(service)).into()
    }

    fn backend_addr(service: u32, index: u32) -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0001 << 96) + u128::from(service * 16 + index)).into()
    }

    fn pod() -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0001 << 96) + (8 << 32) + 5).into()
    }

    fn outsider() -> IpAddr {
        Ipv6Addr::from_bits((0x2001_0db8 << 96) + 7).into()
    }

    fn node() -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0016 << 96) + 1).into()
    }

    fn gateway() -> IpAddr {
        Ipv6Addr::from_bits((0xfd00_0016 << 96) + 254).into()
    }

    fn ranges() -> [IpAddr; 3] {
        let bits = [u128::MAX << 96, 0xfd00_0001 << 96, 0xfd00_0096 << 96];
        bits.map(|bits| Ipv6Addr::from_bits(bits).into())
    }
}
