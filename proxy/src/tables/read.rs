//! What the maps tell besides the services: how full they are, what the programs counted, and which
//! sockets speak to which backend.

use std::net::SocketAddr;

use proxy_datapath::{
    family::{Ipv4, Ipv6, proto},
    socket::TO_BACKEND,
    tables::{Flow, FlowKey, Table, port_of, proto_of},
    verdict::{CODES, Direction, Verdict},
};

use super::{BpfTables, Error, FamilyMaps, FamilyTables, Map, map::Entry};
use crate::plan::{FamilyState, MapState};

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub table: &'static str,
    pub used: u32,
    pub capacity: u32,
}

/// Packets, or calls of a socket, that left with one verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    pub direction: Direction,
    pub verdict: Verdict,
    pub packets: u64,
}

/// A UDP socket that was led to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSocket {
    pub cookie: u64,
    pub backend: SocketAddr,
}

impl BpfTables {
    /// Every table's use. What the agent writes is counted in `state`, which is what the maps hold;
    /// the rest by walking through it, which takes a millisecond where an array takes a hundred.
    pub fn usage(&self, state: &MapState) -> Result<Vec<Usage>, Error> {
        let mut usage = self.usage_of(&state.v4)?;
        usage.extend(self.usage_of(&state.v6)?);
        usage.push(used(&self.slots, state.slots.len()));
        usage.sort_by_key(|usage| usage.table);
        Ok(usage)
    }

    fn usage_of<F: FamilyTables>(&self, state: &FamilyState<F>) -> Result<Vec<Usage>, Error> {
        let maps = F::maps(self);
        Ok(vec![
            used(&maps.frontends, state.frontends.len()),
            used(&maps.addresses, state.addresses.len()),
            used(&maps.sources, state.sources.len()),
            used(&maps.ranges, state.ranges.len()),
            used(&maps.nodes, state.nodes.len()),
            used(&maps.uplinks, state.uplinks.len()),
            used(&maps.affinities, count(&maps.affinities)?),
            used(&maps.backends, state.backends.len()),
            used(&maps.flows, count(&maps.flows)?),
            used(&maps.fragments, count(&maps.fragments)?),
            used(&maps.sockets, count(&maps.sockets)?),
        ])
    }

    /// What the programs counted since their maps were made, in a fixed order.
    pub fn counters(&self) -> Result<Vec<Counter>, Error> {
        let mut packets = vec![0; self.counters.capacity() as usize];
        self.counters.for_each_per_cpu(|index, values| {
            if let Some(packets) = packets.get_mut(index as usize) {
                *packets = values.iter().sum();
            }
        })?;
        let mut counters = Vec::new();
        for direction in Direction::ALL {
            for code in 0..CODES {
                let packets = packets.get(direction.counter(code) as usize).copied();
                if let (Some(verdict), Some(packets)) = (Verdict::from_code(code), packets) {
                    counters.push(Counter {
                        direction,
                        verdict,
                        packets,
                    });
                }
            }
        }
        Ok(counters)
    }

    /// The UDP sockets that were led to a backend of which `gone` is true, by address and id.
    pub fn udp_sockets(
        &self,
        mut gone: impl FnMut(SocketAddr, u32) -> bool,
    ) -> Result<Vec<HostSocket>, Error> {
        let mut sockets = Vec::new();
        self.udp_sockets_of::<Ipv4>(&mut gone, &mut sockets)?;
        self.udp_sockets_of::<Ipv6>(&mut gone, &mut sockets)?;
        Ok(sockets)
    }

    fn udp_sockets_of<F: FamilyTables>(
        &self,
        gone: &mut dyn FnMut(SocketAddr, u32) -> bool,
        sockets: &mut Vec<HostSocket>,
    ) -> Result<(), Error> {
        F::maps(self).sockets.for_each(|key, peer| {
            let way_back = key.port_proto & TO_BACKEND == 0;
            if !way_back || proto_of(key.port_proto) != proto::UDP {
                return;
            }
            let backend = SocketAddr::new(key.addr.into(), port_of(key.port_proto).host());
            if gone(backend, peer.backend) {
                let [low, high] = key.cookie.map(u64::from);
                sockets.push(HostSocket {
                    cookie: high << 32 | low,
                    backend,
                });
            }
        })
    }
}

// === impl FamilyMaps ===

impl<F: FamilyTables> FamilyMaps<F> {
    /// Calls `visit` for every entry of the flows; each flow has two.
    pub fn for_each_flow(&self, visit: impl FnMut(&FlowKey<F>, &Flow<F>)) -> Result<(), Error> {
        self.flows.for_each(visit)
    }

    /// Forgets flows, whatever they have become since they were read.
    pub fn remove_flows(&self, keys: &[FlowKey<F>]) -> Result<(), Error> {
        match self.flows.remove(keys).into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}

const fn used<T: Table<Key: Entry, Value: Entry>>(map: &Map<T>, entries: usize) -> Usage {
    // No map has more entries than its capacity, which is a `u32`.
    Usage {
        table: T::NAME,
        used: entries as u32,
        capacity: map.capacity(),
    }
}

fn count<T: Table<Key: Entry, Value: Entry>>(map: &Map<T>) -> Result<usize, Error> {
    let mut entries = 0;
    map.for_each(|_, _| entries += 1)?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        os::fd::AsFd as _,
    };

    use proxy_datapath::{
        family::Port,
        frontend::backend,
        tables::{
            Affinity, AffinityKey, Backend, Counters, Frontend, FrontendKey, SocketKey, SocketPeer,
            Uplink, port_proto,
        },
        verdict::code,
    };

    use super::*;
    use crate::tables::{
        Access, Tables as _,
        bpf_sys::{self, scratch},
        testing::{ScratchPins, privileged},
    };

    fn open() -> Option<(ScratchPins, BpfTables)> {
        privileged().then(|| {
            let pins = ScratchPins::with_maps(16, 64);
            let tables = BpfTables::open_pinned(&pins.pins, Access::Write).unwrap();
            (pins, tables)
        })
    }

    #[test]
    fn use_is_counted_by_table_and_in_both_families() {
        let Some((_pins, tables)) = open() else {
            return;
        };
        let of = |service| Backend {
            service,
            state: backend::ACTIVE,
            ..Backend::default()
        };
        assert!(
            tables
                .v4
                .backends
                .update(&[3, 60], &[of(1), of(1)])
                .is_empty()
        );
        let key = |port| FrontendKey::new(Ipv4Addr::LOCALHOST.into(), Port::new(port), proto::TCP);
        let set = Frontend {
            base: 0,
            count: 2,
            ..Frontend::default()
        };
        let none = Frontend::default();
        assert!(
            tables
                .v4
                .frontends
                .update(&[key(1), key(2), key(3)], &[set, set, none])
                .is_empty()
        );
        let set = Frontend {
            base: 8,
            count: 5,
            ..Frontend::default()
        };
        assert!(
            tables
                .v6
                .frontends
                .update(&[FrontendKey::default()], &[set])
                .is_empty()
        );

        let affinity = Affinity::default();
        let client = AffinityKey::default();
        let failed = tables.v4.affinities.update(&[client], &[affinity]);
        assert!(failed.is_empty(), "{failed:?}");
        let uplinks = [Uplink::default(); 2];
        let failed = tables.v6.uplinks.update(&[2, 9], &uplinks);
        assert!(failed.is_empty(), "{failed:?}");

        let usage = tables.usage(&tables.dump().unwrap()).unwrap();
        let names: Vec<_> = usage.iter().map(|usage| usage.table).collect();
        assert!(names.is_sorted() && names.len() == 23, "{names:?}");
        let used: Vec<_> = usage
            .iter()
            .filter(|usage| usage.used > 0)
            .map(|usage| (usage.table, usage.used, usage.capacity))
            .collect();
        let expected = [
            ("AFFINITIES4", 1, 1024),
            ("BACKENDS4", 2, 64),
            ("FRONTENDS4", 3, 16),
            ("FRONTENDS6", 1, 16),
            ("SLOTS", 7, 128),
            ("UPLINKS6", 2, 256),
        ];
        assert_eq!(used, expected);
    }

    #[test]
    fn counters_are_summed_over_the_cpus() {
        let Some((pins, tables)) = open() else { return };
        let cpus = aya::util::nr_cpus().unwrap();
        let map = bpf_sys::object_get(&pins.pins.map::<Counters>(), Access::Write).unwrap();
        let index = Direction::ToPod.counter(code::TRANSLATE);
        // SAFETY: there are as many values as possible CPUs, and `Counters` has keys of four bytes.
        unsafe { scratch::update_per_cpu(map.as_fd(), index, &vec![7; cpus]) }.unwrap();
        let counters = tables.counters().unwrap();
        let counted: Vec<_> = counters
            .iter()
            .filter(|counter| counter.packets > 0)
            .collect();
        let packets = 7 * cpus as u64;
        let (direction, verdict) = (Direction::ToPod, Verdict::Translate);
        assert_eq!(
            counted,
            [&Counter {
                direction,
                verdict,
                packets
            }]
        );
    }

    #[test]
    fn flows_are_read_and_forgotten_by_their_keys() {
        let Some((_pins, tables)) = open() else {
            return;
        };
        let key = |endpoint| FlowKey::<Ipv4> {
            endpoint,
            ..FlowKey::default()
        };
        let keys: Vec<_> = (0..100).map(key).collect();
        let flows = vec![Flow::default(); keys.len()];
        assert!(tables.v4.flows.update(&keys, &flows).is_empty());
        let mut even = Vec::new();
        tables
            .v4
            .for_each_flow(|key, _| even.extend((key.endpoint % 2 == 0).then_some(*key)))
            .unwrap();
        assert_eq!(even.len(), 50);
        // One of them has been forgotten meanwhile.
        tables.v4.remove_flows(&even[20..21]).unwrap();
        tables.v4.remove_flows(&even).unwrap();
        let mut left = 0;
        tables
            .v4
            .for_each_flow(|key, _| {
                assert_eq!(key.endpoint % 2, 1);
                left += 1;
            })
            .unwrap();
        assert_eq!(left, 50);
    }

    #[test]
    fn udp_sockets_are_found_by_the_backend_they_were_led_to() {
        let Some((_pins, tables)) = open() else {
            return;
        };
        let addr: Ipv6Addr = "fd00:10:1::5".parse().unwrap();
        let key = |cookie, port, proto, way| SocketKey::<Ipv6> {
            cookie,
            addr: addr.into(),
            port_proto: port_proto(Port::new(port), proto) | way,
        };
        let keys = [
            key([5, 1], 53, proto::UDP, 0),
            key([5, 1], 53, proto::UDP, TO_BACKEND),
            key([6, 0], 53, proto::TCP, 0),
            key([7, 0], 54, proto::UDP, 0),
        ];
        assert!(
            tables
                .v6
                .sockets
                .update(&keys, &[SocketPeer::default(); 4])
                .is_empty()
        );
        let backend = SocketAddr::new(addr.into(), 53);
        let found = tables.udp_sockets(|addr, _| addr == backend).unwrap();
        assert_eq!(
            found,
            [HostSocket {
                cookie: 1 << 32 | 5,
                backend
            }]
        );
    }
}
