//! The maps, and the tables that decisions see in them.
#![expect(unsafe_code, reason = "map values are reached through pointers")]

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    helpers::{
        bpf_get_prandom_u32,
        generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_loop},
    },
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
};
use proxy_datapath::{
    family::{Addr4, Addr6, Family, Ipv4, Ipv6},
    packet::{Packet, Rewrite},
    parse::Layout,
    snat::{STOP, Walk},
    socket::Sockets,
    tables::{
        ADDRESSES_MAX, AFFINITIES_MAX, Affinity, AffinityKey, BACKENDS_MAX, Backend, COUNTERS_MAX,
        FLOWS_MAX, FRAGMENTS_MAX, FRONTENDS_MAX, Flow, FlowKey, Flows, Fragment, FragmentKey,
        Frontend, FrontendKey, Kind, Node, Prefix, RANGES_MAX, SLOTS_MAX, SOCKETS_MAX, SOURCES_MAX,
        Services, SocketKey, SocketPeer, UPLINKS_MAX, Uplink,
    },
    verdict::{DIRECTIONS, Direction},
};

use crate::{route, stage::converge};

/// A family's maps.
pub(crate) trait Store: Family {
    fn frontends() -> &'static HashMap<FrontendKey<Self>, Frontend>;
    fn addresses() -> &'static HashMap<Self::Addr, u32>;
    fn sources() -> &'static LpmTrie<Source<Self>, u32>;
    fn affinities() -> &'static LruHashMap<AffinityKey<Self>, Affinity>;
    fn nodes() -> &'static Array<Node<Self>>;
    fn ranges() -> &'static Array<Prefix<Self>>;
    fn uplinks() -> &'static HashMap<u32, Uplink<Self>>;
    fn backends() -> &'static Array<Backend<Self>>;
    fn flows() -> &'static LruHashMap<FlowKey<Self>, Flow<Self>>;
    fn fragments() -> &'static LruHashMap<FragmentKey<Self>, Fragment>;
    fn sockets() -> &'static LruHashMap<SocketKey<Self>, SocketPeer<Self>>;
    /// This CPU's place for the packet in hand.
    fn scratch(direction: Direction) -> Option<&'static mut Scratch<Self>>;
    /// This CPU's place for a search for a port.
    fn walk() -> Option<&'static mut Walk<Self>>;
    /// One step of a walk, as `bpf_loop` calls it.
    fn step() -> extern "C" fn(u32, *mut c_void) -> i64;
}

/// What the stages of the packet path hand on: too much for the stack of 512 bytes, beside theirs.
/// One for each direction and CPU; no program is interrupted by another of its direction.
pub(crate) struct Scratch<F: Family> {
    pub(crate) packet: Packet<F>,
    pub(crate) layout: Layout,
    pub(crate) new: Rewrite<F>,
}

/// `SourceKey` without its length, which the trie's key type has.
#[repr(C)]
pub(crate) struct Source<F: Family> {
    service: u32,
    addr: F::Addr,
}

/// The kernel's maps, as decisions see them.
pub(crate) struct KernelTables {
    /// The program's context, and the device that it runs for; null and 0 where no decision asks
    /// for routes.
    ctx: *mut c_void,
    ifindex: u32,
}

#[map(name = "SLOTS")]
static SLOTS: Array<u32> = Array::with_max_entries(SLOTS_MAX, 0);

/// The tick that the clock was last asked at, and what it said. It stands still between two ticks,
/// and a tick is a load where a clock is a call.
struct Clock {
    tick: u64,
    now_s: u64,
}

#[map(name = "CLOCK")]
static CLOCK: PerCpuArray<Clock> = PerCpuArray::with_max_entries(1, 0);

#[map(name = "COUNTERS")]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_MAX, 0);

/// A family's maps by name, and how `Store` finds them.
macro_rules! store {
    ($family:ident, $step:ident, $scratch:ident $scratch_name:literal,
     $walk:ident $walk_name:literal: $(
        $method:ident $map:ident $name:literal $kind:ident<$($param:ty),*> $capacity:expr,
            $flags:expr;
    )*) => {
        $(
            #[map(name = $name)]
            static $map: $kind<$($param),*> = $kind::with_max_entries($capacity, $flags);
        )*

        #[map(name = $scratch_name)]
        static $scratch: PerCpuArray<Scratch<$family>> =
            PerCpuArray::with_max_entries(DIRECTIONS, 0);

        #[map(name = $walk_name)]
        static $walk: PerCpuArray<Walk<$family>> = PerCpuArray::with_max_entries(1, 0);

        extern "C" fn $step(_turn: u32, _unused: *mut c_void) -> i64 {
            let Some(walk) = <$family>::walk() else {
                return STOP.into();
            };
            walk.step(&mut KernelTables::without_routes()).into()
        }

        impl Store for $family {
            $(
                #[inline(always)]
                fn $method() -> &'static $kind<$($param),*> {
                    &$map
                }
            )*

            #[inline(always)]
            fn scratch(direction: Direction) -> Option<&'static mut Scratch<Self>> {
                let scratch = $scratch.get_ptr_mut(direction as u32)?;
                // SAFETY: this CPU's own, and used by one program at a time.
                Some(unsafe { &mut *scratch })
            }

            #[inline(always)]
            fn walk() -> Option<&'static mut Walk<Self>> {
                let walk = $walk.get_ptr_mut(0)?;
                // SAFETY: as above.
                Some(unsafe { &mut *walk })
            }

            #[inline(always)]
            fn step() -> extern "C" fn(u32, *mut c_void) -> i64 {
                $step
            }
        }
    };
}

const GROWS: u32 = Kind::Hash.flags();
const TRIE: u32 = Kind::LpmTrie.flags();

store!(Ipv4, step4, SCRATCH4 "SCRATCH4", WALK4 "WALK4":
    frontends FRONTENDS4 "FRONTENDS4" HashMap<FrontendKey<Ipv4>, Frontend> FRONTENDS_MAX, GROWS;
    addresses ADDRESSES4 "ADDRESSES4" HashMap<Addr4, u32> ADDRESSES_MAX, GROWS;
    sources SOURCES4 "SOURCES4" LpmTrie<Source<Ipv4>, u32> SOURCES_MAX, TRIE;
    affinities AFFINITIES4 "AFFINITIES4"
        LruHashMap<AffinityKey<Ipv4>, Affinity> AFFINITIES_MAX, 0;
    nodes NODE4 "NODE4" Array<Node<Ipv4>> 1, 0;
    ranges RANGES4 "RANGES4" Array<Prefix<Ipv4>> RANGES_MAX, 0;
    uplinks UPLINKS4 "UPLINKS4" HashMap<u32, Uplink<Ipv4>> UPLINKS_MAX, GROWS;
    backends BACKENDS4 "BACKENDS4" Array<Backend<Ipv4>> BACKENDS_MAX, 0;
    flows FLOWS4 "FLOWS4" LruHashMap<FlowKey<Ipv4>, Flow<Ipv4>> FLOWS_MAX, 0;
    fragments FRAGMENTS4 "FRAGMENTS4"
        LruHashMap<FragmentKey<Ipv4>, Fragment> FRAGMENTS_MAX, 0;
    sockets SOCKETS4 "SOCKETS4" LruHashMap<SocketKey<Ipv4>, SocketPeer<Ipv4>> SOCKETS_MAX, 0;);
store!(Ipv6, step6, SCRATCH6 "SCRATCH6", WALK6 "WALK6":
    frontends FRONTENDS6 "FRONTENDS6" HashMap<FrontendKey<Ipv6>, Frontend> FRONTENDS_MAX, GROWS;
    addresses ADDRESSES6 "ADDRESSES6" HashMap<Addr6, u32> ADDRESSES_MAX, GROWS;
    sources SOURCES6 "SOURCES6" LpmTrie<Source<Ipv6>, u32> SOURCES_MAX, TRIE;
    affinities AFFINITIES6 "AFFINITIES6"
        LruHashMap<AffinityKey<Ipv6>, Affinity> AFFINITIES_MAX, 0;
    nodes NODE6 "NODE6" Array<Node<Ipv6>> 1, 0;
    ranges RANGES6 "RANGES6" Array<Prefix<Ipv6>> RANGES_MAX, 0;
    uplinks UPLINKS6 "UPLINKS6" HashMap<u32, Uplink<Ipv6>> UPLINKS_MAX, GROWS;
    backends BACKENDS6 "BACKENDS6" Array<Backend<Ipv6>> BACKENDS_MAX, 0;
    flows FLOWS6 "FLOWS6" LruHashMap<FlowKey<Ipv6>, Flow<Ipv6>> FLOWS_MAX, 0;
    fragments FRAGMENTS6 "FRAGMENTS6"
        LruHashMap<FragmentKey<Ipv6>, Fragment> FRAGMENTS_MAX, 0;
    sockets SOCKETS6 "SOCKETS6" LruHashMap<SocketKey<Ipv6>, SocketPeer<Ipv6>> SOCKETS_MAX, 0;);

/// Counts a verdict.
#[inline(always)]
pub(crate) fn count(direction: Direction, code: u32) {
    if let Some(counter) = COUNTERS.get_ptr_mut(direction.counter(code)) {
        // SAFETY: this CPU's own copy of an array element, and programs are not preempted here.
        unsafe { *counter += 1 };
    }
}

// === impl KernelTables ===

impl KernelTables {
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut c_void, ifindex: u32) -> Self {
        Self { ctx, ifindex }
    }

    /// For decisions that ask for no routes.
    #[inline(always)]
    pub(crate) const fn without_routes() -> Self {
        Self::new(ptr::null_mut(), 0)
    }
}

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
    fn address(&self, addr: &F::Addr) -> u32 {
        // SAFETY: copied out at once.
        unsafe { F::addresses().get(addr) }.copied().unwrap_or(0)
    }

    #[inline(always)]
    fn node(&self) -> Option<&Node<F>> {
        F::nodes().get(0)
    }

    #[inline(always)]
    fn range(&self, index: u32) -> Option<&Prefix<F>> {
        F::ranges().get(index)
    }

    #[inline(always)]
    fn admits(&self, service: u32, source: F::Addr) -> bool {
        let bits = 32 + 8 * size_of::<F::Addr>() as u32;
        let key = Key::new(
            bits,
            Source {
                service,
                addr: source,
            },
        );
        F::sources().get(&key).is_some()
    }

    #[inline(always)]
    fn affinity(&self, key: &AffinityKey<F>) -> Option<Affinity> {
        // SAFETY: copied out at once.
        unsafe { F::affinities().get(key) }.copied()
    }

    #[inline(always)]
    fn insert_affinity(&mut self, key: &AffinityKey<F>, affinity: &Affinity) {
        let _ = F::affinities().insert(key, affinity, 0);
    }

    #[inline(always)]
    fn random(&mut self) -> u32 {
        // SAFETY: takes nothing and cannot fail.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn now_s(&self) -> u32 {
        let Some(clock) = CLOCK.get_ptr_mut(0) else {
            return 0;
        };
        // SAFETY: this CPU's own copy of an array element; what comes in between writes the same.
        let clock = unsafe { &mut *clock };
        // SAFETY: takes nothing and cannot fail.
        let tick = unsafe { bpf_jiffies64() };
        if clock.tick != tick {
            // SAFETY: takes nothing and cannot fail.
            clock.now_s = unsafe { bpf_ktime_get_coarse_ns() } >> 30;
            clock.tick = tick;
        }
        clock.now_s as u32
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
    fn claim_flow(&mut self, key: &FlowKey<F>, flow: &Flow<F>) -> bool {
        /// `BPF_NOEXIST` of the kernel's UAPI.
        const NO_EXIST: u64 = 1;
        F::flows().insert(key, flow, NO_EXIST).is_ok()
    }

    #[inline(always)]
    fn masquerade_address(&self, destination: F::Addr) -> Option<F::Addr> {
        route::source::<F>(self.ctx, self.ifindex, destination)
    }

    #[inline(always)]
    fn is_own_socket(&self, key: &FlowKey<F>) -> bool {
        route::is_own_socket::<F>(self.ctx, key)
    }

    #[inline(always)]
    fn walk(&mut self, turns: u32, begin: impl FnOnce(&mut Walk<F>)) -> u32 {
        let Some(walk) = F::walk() else {
            return 0;
        };
        begin(walk);
        // VERIFIER: only a place on the stack may be handed on ("R3 type=map_value expected=fp"),
        // so the step finds the walk by itself.
        let mut unused = 0u64;
        // SAFETY: the step takes no notice of what it is handed.
        unsafe {
            bpf_loop(
                turns,
                F::step() as *mut c_void,
                ptr::from_mut(&mut unused).cast(),
                0,
            )
        };
        converge(walk).found
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
