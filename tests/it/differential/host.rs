//! The decision crate on the host, over tables in memory.

use std::collections::BTreeMap;

use proxy_datapath::{
    family::{Family, Ipv4, Ipv6},
    flow,
    packet::{Packet, Rewrite},
    parse::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, parse},
    rewrite::rewrite,
    tables::{
        Backend, Flow, FlowKey, Flows, Fragment, FragmentKey, Frontend, FrontendKey, Services,
    },
    verdict::{Direction, DropReason, Verdict},
    wire::{Buffer, Bytes as _},
};
use switchboard::plan::{FamilyState, MapState};

pub(crate) struct Host {
    v4: Memory<Ipv4>,
    v6: Memory<Ipv6>,
}

/// How a packet left.
pub(crate) struct Left {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
}

struct Memory<F: Family> {
    services: FamilyState<F>,
    slots: BTreeMap<u32, u32>,
    flows: BTreeMap<FlowKey<F>, Flow<F>>,
    fragments: BTreeMap<FragmentKey<F>, Fragment>,
}

// === impl Host ===

impl Host {
    pub(crate) fn new(maps: &MapState) -> Self {
        Self {
            v4: Memory::new(&maps.v4, &maps.slots),
            v6: Memory::new(&maps.v6, &maps.slots),
        }
    }

    pub(crate) fn run(&mut self, direction: Direction, frame: &[u8]) -> Left {
        let mut frame = frame.to_vec();
        let ethertype = Buffer(&mut frame).load::<u16>(12);
        let verdict = match ethertype {
            Some(ETHERTYPE_IPV4) => run(&mut self.v4, direction, &mut frame),
            Some(ETHERTYPE_IPV6) => run(&mut self.v6, direction, &mut frame),
            _ => Verdict::Pass,
        };
        if verdict == Verdict::Hairpin {
            let (ends, _) = frame.split_at_mut(12);
            ends.rotate_left(6);
        }
        Left { verdict, frame }
    }
}

fn run<F: Header>(tables: &mut Memory<F>, direction: Direction, frame: &mut [u8]) -> Verdict {
    let mut packet = Packet::<F>::default();
    let mut layout = Layout::default();
    let mut bytes = Buffer(frame);
    parse(&bytes, &mut packet, &mut layout);
    let mut new = Rewrite::of(&packet.key);
    let code = match direction {
        Direction::FromPod => flow::from_pod(&packet, tables, &mut new),
        _ => flow::to_pod(&packet, tables, &mut new),
    };
    let verdict = Verdict::from_code(code).expect("a decision is a code");
    let translates = matches!(verdict, Verdict::Translate | Verdict::Hairpin);
    if translates && rewrite(&mut bytes, &packet, &layout, &new).is_none() {
        return Verdict::Drop(DropReason::RewriteFailed);
    }
    verdict
}

// === impl Memory ===

impl<F: Family> Memory<F> {
    fn new(services: &FamilyState<F>, slots: &BTreeMap<u32, u32>) -> Self {
        Self {
            services: services.clone(),
            slots: slots.clone(),
            flows: BTreeMap::new(),
            fragments: BTreeMap::new(),
        }
    }
}

impl<F: Family> Services<F> for Memory<F> {
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend> {
        self.services.frontends.get(key).copied()
    }

    fn slot(&self, index: u32) -> Option<u32> {
        Some(self.slots.get(&index).copied().unwrap_or(0))
    }

    fn backend(&self, id: u32) -> Option<Backend<F>> {
        Some(self.services.backends.get(&id).copied().unwrap_or_default())
    }

    fn is_vip(&self, addr: &F::Addr) -> bool {
        self.services.vips.contains_key(addr)
    }

    fn random(&mut self) -> u32 {
        0
    }
}

impl<F: Family> Flows<F> for Memory<F> {
    fn flow(&mut self, key: &FlowKey<F>) -> Option<&mut Flow<F>> {
        self.flows.get_mut(key)
    }

    fn insert_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        self.flows.insert(*key, *flow);
        true
    }

    fn remove_flow(&mut self, key: &FlowKey<F>) {
        self.flows.remove(key);
    }

    fn fragment(&self, key: &FragmentKey<F>) -> Option<Fragment> {
        self.fragments.get(key).copied()
    }

    fn insert_fragment(&mut self, key: &FragmentKey<F>, fragment: &Fragment) -> bool {
        self.fragments.insert(*key, *fragment);
        true
    }

    fn now_s(&self) -> u32 {
        0
    }
}
