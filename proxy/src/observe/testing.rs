//! Small tables for tests: one Service with two backends and one without any, in both families.

use std::{collections::BTreeMap, net::SocketAddr};

use proxy_datapath::{
    family::{Family, Port, proto},
    frontend::{NO_LOCAL_BACKEND, backend},
    tables::{Backend, Frontend, FrontendKey, port_proto},
};

use crate::plan::{FamilyState, MapState};

/// Service 1 has backends 1 and 2 of IPv4 and 1 of IPv6, service 2 none, service 3 none here.
pub(crate) fn maps() -> MapState {
    let mut maps = MapState::default();
    frontend(
        &mut maps.v4,
        "10.96.0.10:80",
        Frontend {
            base: 4,
            count: 2,
            flags: 0,
            service: 1,
        },
    );
    frontend(
        &mut maps.v4,
        "10.96.0.9:80",
        Frontend {
            service: 2,
            ..Frontend::default()
        },
    );
    let nowhere = Frontend {
        flags: NO_LOCAL_BACKEND,
        service: 3,
        ..Frontend::default()
    };
    frontend(&mut maps.v4, "10.96.0.10:443", nowhere);
    frontend(
        &mut maps.v6,
        "[fd00:96::a]:80",
        Frontend {
            base: 6,
            count: 1,
            flags: 0,
            service: 1,
        },
    );
    backend(&mut maps.v4, 1, "10.1.0.9:8080", backend::ACTIVE);
    backend(&mut maps.v4, 2, "10.1.1.9:8080", backend::ACTIVE);
    backend(&mut maps.v4, 3, "10.1.1.7:8080", backend::TERMINATING);
    backend(&mut maps.v6, 1, "[fd00:10:1::9]:8080", backend::ACTIVE);
    maps.slots = BTreeMap::from([(4, 2), (5, 1), (6, 1)]);
    maps
}

fn frontend<F: Family>(family: &mut FamilyState<F>, addr: &str, value: Frontend) {
    let (ip, port) = split::<F>(addr);
    family
        .frontends
        .insert(FrontendKey::new(ip, port, proto::TCP), value);
    family.vips.insert(ip, 1);
}

fn backend<F: Family>(family: &mut FamilyState<F>, id: u32, addr: &str, state: u32) {
    let (addr, port) = split::<F>(addr);
    let port_proto = port_proto(port, proto::TCP);
    family.backends.insert(
        id,
        Backend {
            addr,
            port_proto,
            state,
            service: 1,
        },
    );
}

fn split<F: Family>(addr: &str) -> (F::Addr, Port) {
    let addr: SocketAddr = addr.parse().unwrap();
    (F::from_ip(addr.ip()).unwrap(), Port::new(addr.port()))
}
