//! Tells that devices, addresses or routes may have changed, here or inside a pod's namespace.
//!
//! What an event says is not read: it only makes its hearer look at the whole again. So a lost
//! event (`ENOBUFS`) is as good as any other.

use std::{
    future::{pending, poll_fn},
    io,
    task::{Context, Poll},
};

use netlink_sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};

use super::Error;

const OWN_GROUPS: [u32; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];
/// Pods' routes and the state of their devices are no concern of ours.
const FOREIGN_GROUPS: [u32; 3] = [
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_NSID,
];

pub struct Monitor {
    own: TokioSocket,
    /// Hears every namespace that has a number in ours.
    foreign: Option<TokioSocket>,
}

// === impl Monitor ===

impl Monitor {
    /// Starts to listen in the calling thread's network namespace. Wants a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        let own = listen(&OWN_GROUPS, false).map_err(Error::Open)?;
        let foreign = match listen(&FOREIGN_GROUPS, true) {
            Ok(socket) => Some(socket),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            Err(error) => return Err(Error::Open(error)),
        };
        Ok(Self { own, foreign })
    }

    /// Whether addresses inside pods' namespaces are heard of; this takes CAP_NET_BROADCAST.
    pub const fn hears_pods(&self) -> bool {
        self.foreign.is_some()
    }

    /// Waits for something to change. Everything that has been reported by then counts as heard.
    pub async fn changed(&self) -> Result<(), Error> {
        let foreign = async {
            match &self.foreign {
                Some(socket) => poll_fn(|cx| poll_drained(socket, cx)).await,
                None => pending().await,
            }
        };
        let heard = tokio::select! {
            heard = poll_fn(|cx| poll_drained(&self.own, cx)) => heard,
            heard = foreign => heard,
        };
        heard.map_err(|source| Error::Request {
            operation: "listen",
            source,
        })
    }
}

fn listen(groups: &[u32], all_namespaces: bool) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    if all_namespaces {
        socket.socket_ref().set_listen_all_namespaces(true)?;
    }
    for group in groups {
        socket.socket_ref().add_membership(*group)?;
    }
    Ok(socket)
}

/// Takes all messages that are there; pending if there is none.
fn poll_drained(socket: &TokioSocket, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut heard = false;
    loop {
        // Nobody reads the messages, so they are cut short.
        let mut buffer = [0; 16];
        match socket.poll_recv(cx, &mut &mut buffer[..]) {
            Poll::Ready(Ok(())) => heard = true,
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => heard = true,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending if heard => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
        }
    }
}
