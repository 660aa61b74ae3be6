//! What an address is: some frontend's, a ClusterIP, one of this node's. Three sources, one row.

use std::collections::{BTreeMap, BTreeSet};

use proxy_datapath::{family::Family, frontend::address};

use super::{node::NodeRows, part::NoRoom, pass::Pass, store::Half};

/// What addresses are but for frontends.
#[derive(Debug)]
pub(super) struct Addresses<F: Family> {
    cluster_ips: BTreeSet<F::Addr>,
    /// This node's, with their flags.
    local: BTreeMap<F::Addr, u32>,
}

impl<F: Family> Default for Addresses<F> {
    fn default() -> Self {
        Self {
            cluster_ips: BTreeSet::new(),
            local: BTreeMap::new(),
        }
    }
}

// === impl Half: addresses ===

impl<F: Family> Half<F> {
    fn flags_of(&self, addr: &F::Addr) -> u32 {
        let local = self.addresses.local.get(addr).copied();
        let cluster_ip = self.addresses.cluster_ips.contains(addr);
        local.unwrap_or_default() | if cluster_ip { address::CLUSTER_IP } else { 0 }
    }
}

// === impl Pass: addresses, and the rows about the node ===

impl<F: Family> Pass<'_, F> {
    pub(super) fn set_cluster_ip(&mut self, addr: F::Addr, is_one: bool) {
        if is_one {
            self.half.addresses.cluster_ips.insert(addr);
        } else {
            self.half.addresses.cluster_ips.remove(&addr);
        }
        self.refresh_address(addr);
    }

    /// Whether an address that is something has its row, if not for want of room.
    pub(super) fn admit_address(&mut self, addr: F::Addr) -> Result<(), NoRoom> {
        self.refresh_address(addr);
        if self.half.flags_of(&addr) == 0 || self.rows.addresses.contains_key(&addr) {
            return Ok(());
        }
        Err(NoRoom {
            what: "addresses",
            needed: 1,
            free: 0,
            family: F::NUMBER,
        })
    }

    /// Whether an address is known to be some frontend's.
    pub(super) fn is_frontends(&self, addr: &F::Addr) -> bool {
        let flags = self.rows.addresses.get(addr);
        flags.is_some_and(|flags| flags & address::FRONTEND != 0)
    }

    /// Brings an address's row to what is known of it.
    pub(super) fn refresh_address(&mut self, addr: F::Addr) {
        // Node ports have no address of their own.
        if addr == F::Addr::default() {
            return;
        }
        let mut flags = self.half.flags_of(&addr);
        if self.rows.has_frontend_at(addr) {
            flags |= address::FRONTEND;
        }
        let known = self.rows.addresses.get(&addr).copied();
        if known.unwrap_or_default() == flags {
            return;
        }
        if flags == 0 {
            self.rows.addresses.remove(&addr);
            self.half.freed = true;
        } else if known.is_some() || self.rows.addresses.len() < self.half.addresses_max {
            self.rows.addresses.insert(addr, flags);
        } else {
            return;
        }
        self.changes.addresses.push(addr);
    }

    /// Brings every row that is there to what is known.
    pub(super) fn refresh_addresses(&mut self) {
        for addr in self.rows.addresses.keys().copied().collect::<Vec<_>>() {
            self.refresh_address(addr);
        }
    }

    /// Brings the rows about the node to these.
    pub(super) fn set_node(&mut self, wanted: NodeRows<F>) {
        let NodeRows {
            local,
            ranges,
            node,
            uplinks,
        } = wanted;
        let before = std::mem::replace(&mut self.half.addresses.local, local);
        let after = self.half.addresses.local.keys();
        let all: BTreeSet<F::Addr> = before.into_keys().chain(after.copied()).collect();
        for addr in all {
            self.refresh_address(addr);
        }
        replace(&mut self.rows.ranges, ranges, &mut self.changes.ranges);
        let nodes = BTreeMap::from([(0, node)]);
        replace(&mut self.rows.nodes, nodes, &mut self.changes.nodes);
        replace(&mut self.rows.uplinks, uplinks, &mut self.changes.uplinks);
    }
}

/// Replaces rows, and names the keys of those that differ.
fn replace<V: PartialEq>(
    rows: &mut BTreeMap<u32, V>,
    wanted: BTreeMap<u32, V>,
    changed: &mut Vec<u32>,
) {
    let before = std::mem::replace(rows, wanted);
    let keys: BTreeSet<&u32> = before.keys().chain(rows.keys()).collect();
    let differs = |key: &&u32| before.get(key) != rows.get(key);
    changed.extend(keys.into_iter().filter(differs));
}
