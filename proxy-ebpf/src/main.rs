//! Switchboard's programs in the kernel: one entry a hook.
//!
//! | program | hook | who passes here | what we may do |
//! |---|---|---|---|
//! | `connect4`, `connect6` | cgroup | TCP of pods and host, connected UDP of the host | change the address dialled |
//! | `sendmsg4`, `sendmsg6` | cgroup | datagrams of the host's unconnected UDP sockets | change where it goes |
//! | `recvmsg4`, `recvmsg6`, `getpeername4`, `getpeername6` | cgroup | whoever asks for a peer's name | name the frontend again |
//! | `from_pod` | tc ingress of a pod's device | everything the pod sends | translate, refuse, drop |
//! | `to_pod` | tc egress of a pod's device | everything the pod will receive | translate back, drop |
//! | `from_wire` | XDP of an uplink | everything that arrives, before the kernel makes a packet of it | translate what goes on to another node |
//! | `from_net` | tc ingress of an uplink | what `from_wire` let pass, or everything | translate, send on, refuse, drop |
//! | `to_net` | tc egress of an uplink | everything that leaves the node | translate back, drop |
//!
//! Nothing is decided here: `proxy-datapath` decides.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod forward;
mod icmp;
mod maps;
mod net;
mod packet;
mod route;
mod socket;
mod stage;
mod xdp;

use aya_ebpf::{
    Global,
    macros::{cgroup_sock_addr, classifier, xdp},
    programs::{SockAddrContext, TcContext, XdpContext},
};

/// SO_NETNS_COOKIE of the host's network namespace, set when the programs are loaded: a socket with
/// another one is a pod's.
#[unsafe(no_mangle)]
static HOST_NETNS_COOKIE: Global<u64> = Global::new(0);

#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    socket::connect4(&ctx)
}

#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    socket::connect6(&ctx)
}

#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    socket::sendmsg4(&ctx)
}

#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    socket::sendmsg6(&ctx)
}

#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    socket::name4(&ctx)
}

#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    socket::name6(&ctx)
}

#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    socket::name4(&ctx)
}

#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    socket::name6(&ctx)
}

#[classifier]
fn from_pod(ctx: TcContext) -> i32 {
    forward::from_pod(&ctx)
}

#[classifier]
fn to_pod(ctx: TcContext) -> i32 {
    forward::to_pod(&ctx)
}

#[xdp]
fn from_wire(ctx: XdpContext) -> u32 {
    xdp::from_wire(&ctx)
}

#[classifier]
fn from_net(ctx: TcContext) -> i32 {
    net::from_net(&ctx)
}

#[classifier]
fn to_net(ctx: TcContext) -> i32 {
    net::to_net(&ctx)
}

/// Never reached: a panic would be an endless loop, which the verifier refuses to load with
/// "infinite loop detected" or "last insn is not an exit or jmp".
#[cfg(not(test))]
#[panic_handler]
const fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
