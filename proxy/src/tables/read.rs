//! What the maps tell besides the services: how full they are, what the programs counted, and which
//! sockets speak to which backend.

use std::net::SocketAddr;

use proxy_datapath::{
    family::{Ipv4, Ipv6, proto},
    socket::TO_BACKEND,
    tables::{Slots, Table, port_of, proto_of},
    verdict::{CODES, Direction, Verdict},
};

use super::{BpfTables, Error, FamilyTables, Map, map::Entry};

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
    /// Every table's use, counted by walking through it.
    pub fn usage(&self) -> Result<Vec<Usage>, Error> {
        let (mut usage, slots4) = self.usage_of::<Ipv4>()?;
        let (usage6, slots6) = self.usage_of::<Ipv6>()?;
        usage.extend(usage6);
        let capacity = self.slots.capacity();
        usage.push(Usage {
            table: Slots::NAME,
            used: slots4 + slots6,
            capacity,
        });
        usage.sort_by_key(|usage| usage.table);
        Ok(usage)
    }

    /// One family's tables, and how many slots its frontends use.
    fn usage_of<F: FamilyTables>(&self) -> Result<(Vec<Usage>, u32), Error> {
        let maps = F::maps(self);
        let (mut frontends, mut slots, mut backends) = (0, 0, 0);
        maps.frontends.for_each(|_, frontend| {
            frontends += 1;
            slots += frontend.count;
        })?;
        maps.for_each_backend(|_, _| backends += 1)?;
        let usage = vec![
            usage(&maps.frontends, frontends),
            usage(&maps.vips, count(&maps.vips)?),
            usage(&maps.backends, backends),
            usage(&maps.flows, count(&maps.flows)?),
            usage(&maps.fragments, count(&maps.fragments)?),
            usage(&maps.sockets, count(&maps.sockets)?),
        ];
        Ok((usage, slots))
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

    /// The UDP sockets that were led to a backend of which `gone` is true.
    pub fn udp_sockets(
        &self,
        mut gone: impl FnMut(SocketAddr) -> bool,
    ) -> Result<Vec<HostSocket>, Error> {
        let mut sockets = Vec::new();
        self.udp_sockets_of::<Ipv4>(&mut gone, &mut sockets)?;
        self.udp_sockets_of::<Ipv6>(&mut gone, &mut sockets)?;
        Ok(sockets)
    }

    fn udp_sockets_of<F: FamilyTables>(
        &self,
        gone: &mut dyn FnMut(SocketAddr) -> bool,
        sockets: &mut Vec<HostSocket>,
    ) -> Result<(), Error> {
        F::maps(self).sockets.for_each(|key, _| {
            let way_back = key.port_proto & TO_BACKEND == 0;
            if !way_back || proto_of(key.port_proto) != proto::UDP {
                return;
            }
            let backend = SocketAddr::new(key.addr.into(), port_of(key.port_proto).host());
            if gone(backend) {
                let [low, high] = key.cookie.map(u64::from);
                sockets.push(HostSocket {
                    cookie: high << 32 | low,
                    backend,
                });
            }
        })
    }
}

const fn usage<T: Table<Key: Entry, Value: Entry>>(map: &Map<T>, used: u32) -> Usage {
    Usage {
        table: T::NAME,
        used,
        capacity: map.capacity(),
    }
}

fn count<T: Table<Key: Entry, Value: Entry>>(map: &Map<T>) -> Result<u32, Error> {
    let mut entries = 0;
    map.for_each(|_, _| entries += 1)?;
    Ok(entries)
}
