//! The maps, and the tables that decisions see in them.
#![expect(unsafe_code, reason = "map values are reached through pointers")]

use aya_ebpf::{
    helpers::{bpf_get_prandom_u32, generated::bpf_ktime_get_coarse_ns},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray},
};
use proxy_datapath::{
    family::{Addr4, Addr6, Family, Ipv4, Ipv6},
    packet::{Packet, Rewrite},
    parse::Layout,
    socket::Sockets,
    tables::{
        Backend, Backends4, Backends6, COUNTERS_MAX, Flow, FlowKey, Flows, Flows4, Flows6,
        Fragment, FragmentKey, Fragments4, Fragments6, Frontend, FrontendKey, Frontends4,
        Frontends6, SLOTS_MAX, Services, SocketKey, SocketPeer, Sockets4, Sockets6, Table, Vips4,
        Vips6,
    },
    verdict::{DIRECTIONS, Direction},
};

/// A family's maps.
pub(crate) trait Store: Family {
    fn frontends() -> &'static HashMap<FrontendKey<Self>, Frontend>;
    fn vips() -> &'static HashMap<Self::Addr, u32>;
    fn backends() -> &'static Array<Backend<Self>>;
    fn flows() -> &'static LruHashMap<FlowKey<Self>, Flow<Self>>;
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragment>;
    fn sockets() -> &'static LruHashMap<SocketKey<Self>, SocketPeer<Self>>;
    /// This CPU's place for the packet in hand.
    fn scratch(direction: Direction) -> Option<&'static mut Scratch<Self>>;
}

/// What the stages of the packet path hand on: too much for the stack of 512 bytes, beside theirs.
/// One for each direction and CPU; no program is interrupted by another of its direction.
pub(crate) struct Scratch<F: Family> {
    pub(crate) packet: Packet<F>,
    pub(crate) layout: Layout,
    pub(crate) new: Rewrite<F>,
}

/// The kernel's maps, as decisions see them.
pub(crate) struct KernelTables;

#[map(name = "SLOTS")]
static SLOTS: Array<u32> = Array::with_max_entries(SLOTS_MAX, 0);

#[map(name = "COUNTERS")]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_MAX, 0);

macro_rules! store {
    ($family:ident, $addr:ident: $frontends:ident $frontends_name:literal $frontends_table:ident,
     $vips:ident $vips_name:literal $vips_table:ident,
     $backends:ident $backends_name:literal $backends_table:ident,
     $flows:ident $flows_name:literal $flows_table:ident,
     $fragments:ident $fragments_name:literal $fragments_table:ident,
     $sockets:ident $sockets_name:literal $sockets_table:ident,
     $scratch:ident $scratch_name:literal) => {
        #[map(name = $frontends_name)]
        static $frontends: HashMap<FrontendKey<$family>, Frontend> =
            HashMap::with_max_entries($frontends_table::CAPACITY, $frontends_table::KIND.flags());

        #[map(name = $vips_name)]
        static $vips: HashMap<$addr, u32> =
            HashMap::with_max_entries($vips_table::CAPACITY, $vips_table::KIND.flags());

        #[map(name = $backends_name)]
        static $backends: Array<Backend<$family>> =
            Array::with_max_entries($backends_table::CAPACITY, 0);

        #[map(name = $flows_name)]
        static $flows: LruHashMap<FlowKey<$family>, Flow<$family>> =
            LruHashMap::with_max_entries($flows_table::CAPACITY, 0);

        #[map(name = $fragments_name)]
        static $fragments: LruHashMap<FragmentKey<$family>, Fragment> =
            LruHashMap::with_max_entries($fragments_table::CAPACITY, 0);

        #[map(name = $sockets_name)]
        static $sockets: LruHashMap<SocketKey<$family>, SocketPeer<$family>> =
            LruHashMap::with_max_entries($sockets_table::CAPACITY, 0);

        #[map(name = $scratch_name)]
        static $scratch: PerCpuArray<Scratch<$family>> =
            PerCpuArray::with_max_entries(DIRECTIONS, 0);

        impl Store for $family {
            #[inline(always)]
            fn scratch(direction: Direction) -> Option<&'static mut Scratch<Self>> {
                let scratch = $scratch.get_ptr_mut(direction as u32)?;
                // SAFETY: this CPU's own, and used by one program at a time.
                Some(unsafe { &mut *scratch })
            }

            #[inline(always)]
            fn frontends() -> &'static HashMap<FrontendKey<Self>, Frontend> {
                &$frontends
            }

            #[inline(always)]
            fn vips() -> &'static HashMap<$addr, u32> {
                &$vips
            }

            #[inline(always)]
            fn backends() -> &'static Array<Backend<Self>> {
                &$backends
            }

            #[inline(always)]
            fn flows() -> &'static LruHashMap<FlowKey<Self>, Flow<Self>> {
                &$flows
            }

            #[inline(always)]
            fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragment> {
                &$fragments
            }

            #[inline(always)]
            fn sockets() -> &'static LruHashMap<SocketKey<Self>, SocketPeer<Self>> {
                &$sockets
            }
        }
    };
}

store!(Ipv4, Addr4: FRONTENDS4 "FRONTENDS4" Frontends4, VIPS4 "VIPS4" Vips4,
    BACKENDS4 "BACKENDS4" Backends4, FLOWS4 "FLOWS4" Flows4, FRAGMENTS4 "FRAGMENTS4" Fragments4,
    SOCKETS4 "SOCKETS4" Sockets4, SCRATCH4 "SCRATCH4");
store!(Ipv6, Addr6: FRONTENDS6 "FRONTENDS6" Frontends6, VIPS6 "VIPS6" Vips6,
    BACKENDS6 "BACKENDS6" Backends6, FLOWS6 "FLOWS6" Flows6, FRAGMENTS6 "FRAGMENTS6" Fragments6,
    SOCKETS6 "SOCKETS6" Sockets6, SCRATCH6 "SCRATCH6");

/// Counts a verdict.
#[inline(always)]
pub(crate) fn count(direction: Direction, code: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(direction.counter(code)) {
        // SAFETY: this CPU's own copy of an array element, and programs are not preempted here.
        unsafe { *counter += 1 };
    }
}

// === impl KernelTables ===

impl<F: Store> Services<F> for KernelTables {
    #[inline(always)]
    fn frontend(&self, key: &FrontendKey<F>) -> Option<Frontend> {
        // SAFETY: copied out at once; memory of an entry stays an entry's until this program ends.
        unsafe { F::frontends().get(key) }.copied()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        SLOTS.get(index).copied()
    }

    #[inline(always)]
    fn backend(&self, id: u32) -> Option<Backend<F>> {
        F::backends().get(id).copied()
    }

    #[inline(always)]
    fn is_vip(&self, addr: &F::Addr) -> bool {
        F::vips().get_ptr(addr).is_some()
    }

    #[inline(always)]
    fn random(&mut self) -> u32 {
        // SAFETY: takes nothing and cannot fail.
        unsafe { bpf_get_prandom_u32() }
    }
}

impl<F: Store> Flows<F> for KernelTables {
    #[inline(always)]
    fn flow(&mut self, key: &FlowKey<F>) -> Option<&mut Flow<F>> {
        let flow = F::flows().get_ptr_mut(key)?;
        // SAFETY: the memory stays an entry's until this program ends. It may become another flow's
        // if this one is evicted in between; what is written then is a time and a flag.
        Some(unsafe { &mut *flow })
    }

    #[inline(always)]
    fn insert_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        F::flows().insert(key, flow, 0).is_ok()
    }

    #[inline(always)]
    fn remove_flow(&mut self, key: &FlowKey<F>) {
        // Absent is as good as removed.
        let _ = F::flows().remove(key);
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey<F>) -> Option<Fragment> {
        // SAFETY: copied out at once.
        unsafe { F::fragments().get(key) }.copied()
    }

    #[inline(always)]
    fn insert_fragment(&mut self, key: &FragmentKey<F>, fragment: &Fragment) -> bool {
        F::fragments().insert(key, fragment, 0).is_ok()
    }

    #[inline(always)]
    fn now_s(&self) -> u32 {
        // SAFETY: takes nothing and cannot fail.
        let now_ns = unsafe { bpf_ktime_get_coarse_ns() };
        (now_ns >> 30) as u32
    }
}

impl<F: Store> Sockets<F> for KernelTables {
    #[inline(always)]
    fn socket(&self, key: &SocketKey<F>) -> Option<SocketPeer<F>> {
        // SAFETY: copied out at once.
        unsafe { F::sockets().get(key) }.copied()
    }

    #[inline(always)]
    fn insert_socket(&mut self, key: &SocketKey<F>, peer: &SocketPeer<F>) {
        // Without room the socket works all the same; only its peer's name is the backend's.
        let _ = F::sockets().insert(key, peer, 0);
    }
}
