//! The socket hooks' contexts: who dials what, and what the socket is told.
#![expect(unsafe_code, reason = "the context is reached through a pointer")]

use core::mem::offset_of;

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_addr,
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval},
    programs::SockAddrContext,
};
use proxy_datapath::{
    family::{Addr4, Addr6, Family, Ipv4, Ipv6, Port, proto},
    frontend::Choice,
    socket::{self, Dial},
    verdict::{Direction, code},
};

use crate::{
    HOST_NETNS_COOKIE,
    maps::{KernelTables, Store, count},
};

const ALLOW: i32 = 1;
/// The call fails with the value set, or EPERM.
const DENY: i32 = 0;
const ECONNREFUSED: i32 = 111;

/// Socket types, as the context has them.
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;

/// What is about to happen at the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Connect,
    Send,
}

#[inline(always)]
pub(crate) fn connect4(ctx: &SockAddrContext) -> i32 {
    dial4(ctx, Call::Connect)
}

#[inline(always)]
pub(crate) fn connect6(ctx: &SockAddrContext) -> i32 {
    dial6(ctx, Call::Connect)
}

#[inline(always)]
pub(crate) fn sendmsg4(ctx: &SockAddrContext) -> i32 {
    dial4(ctx, Call::Send)
}

#[inline(always)]
pub(crate) fn sendmsg6(ctx: &SockAddrContext) -> i32 {
    dial6(ctx, Call::Send)
}

/// A peer's name, IPv4: the backend's becomes the frontend's again.
#[inline(always)]
pub(crate) fn name4(ctx: &SockAddrContext) -> i32 {
    if let Some(peer) = dialled::<Ipv4>(ctx, addr4(ctx)) {
        set_addr4(ctx, peer.0);
        set_port(ctx, peer.1);
    }
    ALLOW
}

/// A peer's name, IPv6, or IPv4 in an IPv6 socket's terms.
#[inline(always)]
pub(crate) fn name6(ctx: &SockAddrContext) -> i32 {
    let addr = addr6(ctx);
    if let Some(mapped) = addr.v4_mapped() {
        if let Some(peer) = dialled::<Ipv4>(ctx, mapped) {
            store(ctx, word6(3), peer.0.0);
            set_port(ctx, peer.1);
        }
    } else if let Some(peer) = dialled::<Ipv6>(ctx, addr) {
        set_addr6(ctx, peer.0);
        set_port(ctx, peer.1);
    }
    ALLOW
}

#[inline(always)]
fn dial4(ctx: &SockAddrContext, call: Call) -> i32 {
    let mut choice = Choice::<Ipv4>::default();
    let verdict = decide(ctx, addr4(ctx), call, &mut choice);
    if verdict == code::TRANSLATE {
        set_addr4(ctx, choice.addr);
        set_port(ctx, choice.port);
    }
    finish(ctx, verdict)
}

#[inline(always)]
fn dial6(ctx: &SockAddrContext, call: Call) -> i32 {
    let addr = addr6(ctx);
    if let Some(mapped) = addr.v4_mapped() {
        let mut choice = Choice::<Ipv4>::default();
        let verdict = decide(ctx, mapped, call, &mut choice);
        if verdict == code::TRANSLATE {
            store(ctx, word6(3), choice.addr.0);
            set_port(ctx, choice.port);
        }
        return finish(ctx, verdict);
    }
    let mut choice = Choice::<Ipv6>::default();
    let verdict = decide(ctx, addr, call, &mut choice);
    if verdict == code::TRANSLATE {
        set_addr6(ctx, choice.addr);
        set_port(ctx, choice.port);
    }
    finish(ctx, verdict)
}

#[inline(always)]
fn decide<F: Store>(
    ctx: &SockAddrContext,
    addr: F::Addr,
    call: Call,
    choice: &mut Choice<F>,
) -> u32 {
    let dial = dial(ctx, addr);
    match call {
        Call::Connect => socket::connect(&dial, &mut KernelTables::without_routes(), choice),
        Call::Send => socket::sendmsg(&dial, &mut KernelTables::without_routes(), choice),
    }
}

#[inline(always)]
fn dialled<F: Store>(ctx: &SockAddrContext, addr: F::Addr) -> Option<(F::Addr, Port)> {
    let peer = socket::dialled::<F, _>(&dial(ctx, addr), &KernelTables::without_routes())?;
    Some((peer.addr, proxy_datapath::tables::port_of(peer.port_proto)))
}

/// The only place where a socket's verdict becomes a return code, and is counted.
#[inline(always)]
fn finish(ctx: &SockAddrContext, verdict: u32) -> i32 {
    count(Direction::Socket, verdict);
    match verdict {
        code::PASS | code::TRANSLATE => ALLOW,
        code::REJECT => {
            // SAFETY: takes a number only.
            unsafe { bpf_set_retval(-ECONNREFUSED) };
            DENY
        }
        // A pod's packets are dropped in silence on their path, as netfilter would; the host has no
        // such path, and learns what netfilter would tell a local sender.
        _ if is_host(ctx) == 0 => ALLOW,
        _ => DENY,
    }
}

#[inline(always)]
fn dial<F: Family>(ctx: &SockAddrContext, addr: F::Addr) -> Dial<F> {
    let cookie = {
        // SAFETY: the program's context.
        unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
    };
    let kind = load(ctx, offset_of!(bpf_sock_addr, type_));
    let number = load(ctx, offset_of!(bpf_sock_addr, protocol));
    // A raw socket's protocol has no ports.
    let proto = match (kind, number) {
        (SOCK_STREAM, proto::TCP) => proto::TCP,
        (SOCK_DGRAM, proto::UDP) => proto::UDP,
        _ => 0,
    };
    Dial {
        cookie: [cookie as u32, (cookie >> 32) as u32],
        addr,
        port: port(ctx),
        proto,
        host: is_host(ctx),
    }
}

#[inline(always)]
fn is_host(ctx: &SockAddrContext) -> u32 {
    // SAFETY: the program's context.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    u32::from(cookie == HOST_NETNS_COOKIE.load())
}

#[inline(always)]
fn addr4(ctx: &SockAddrContext) -> Addr4 {
    Addr4(load(ctx, offset_of!(bpf_sock_addr, user_ip4)))
}

#[inline(always)]
fn set_addr4(ctx: &SockAddrContext, addr: Addr4) {
    store(ctx, offset_of!(bpf_sock_addr, user_ip4), addr.0);
}

/// Where the word of an IPv6 address stands.
#[inline(always)]
const fn word6(index: usize) -> usize {
    offset_of!(bpf_sock_addr, user_ip6) + index * size_of::<u32>()
}

#[inline(always)]
fn addr6(ctx: &SockAddrContext) -> Addr6 {
    let word = |index| load(ctx, word6(index));
    Addr6([word(0), word(1), word(2), word(3)])
}

#[inline(always)]
fn set_addr6(ctx: &SockAddrContext, addr: Addr6) {
    let [first, second, third, fourth] = addr.0;
    store(ctx, word6(0), first);
    store(ctx, word6(1), second);
    store(ctx, word6(2), third);
    store(ctx, word6(3), fourth);
}

/// The port, which the context has as a wide field in wire order.
#[inline(always)]
fn port(ctx: &SockAddrContext) -> Port {
    Port::from_wire(load(ctx, offset_of!(bpf_sock_addr, user_port)) as u16)
}

#[inline(always)]
fn set_port(ctx: &SockAddrContext, port: Port) {
    store(
        ctx,
        offset_of!(bpf_sock_addr, user_port),
        port.wire().into(),
    );
}

// VERIFIER: volatile words, or LLVM joins them into accesses that the context does not have
// ("invalid bpf_context access").

#[inline(always)]
fn load(ctx: &SockAddrContext, offset: usize) -> u32 {
    // SAFETY: a field of the program's context.
    unsafe { field(ctx, offset).read_volatile() }
}

#[inline(always)]
fn store(ctx: &SockAddrContext, offset: usize, word: u32) {
    // SAFETY: a field of the program's context; the verifier knows which may be written.
    unsafe { field(ctx, offset).write_volatile(word) };
}

#[inline(always)]
const fn field(ctx: &SockAddrContext, offset: usize) -> *mut u32 {
    ctx.sock_addr.cast::<u8>().wrapping_add(offset).cast()
}
