//! Ends UDP sockets of this namespace that are connected to a backend that went away.
//!
//! The kernel translated such a socket when it connected, and its packets would go to the dead
//! backend for ever. Ended, its next call fails with ECONNABORTED and the client connects anew.
//! Sockets in pods' namespaces are not seen here and need not be: pods' UDP is translated packet by
//! packet.

use std::{collections::BTreeSet, net::SocketAddr};

use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{Error, Requests};

/// The kernel's look at this namespace's UDP sockets.
pub struct UdpSockets(Requests);

// === impl UdpSockets ===

impl UdpSockets {
    /// Sees the sockets of the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Requests::open(NETLINK_SOCK_DIAG).map(Self)
    }

    /// Ends the sockets that are connected to one of these backends and whose cookie is
    /// `translated`: who has dialled a backend's own address is left alone. Returns how many; one
    /// that cannot be ended does not keep the others back, and is the error.
    pub fn destroy(
        &mut self,
        backends: &BTreeSet<SocketAddr>,
        translated: impl Fn(u64) -> bool,
    ) -> Result<usize, Error> {
        let (mut destroyed, mut refused) = (0, Ok(()));
        for family in [AF_INET, AF_INET6] {
            let doomed = |socket: &SocketId| {
                let addr = socket.destination_address.to_canonical();
                backends.contains(&SocketAddr::new(addr, socket.destination_port))
                    && translated(cookie(socket))
            };
            for socket_id in self.connected(family, doomed)? {
                let request = SockDiagDestroy::new(request(family, socket_id));
                match self.0.execute("destroy a udp socket", request) {
                    Ok(()) => destroyed += 1,
                    // It was closed meanwhile.
                    Err(error) if error.errno() == Some(libc::ENOENT) => {}
                    Err(error) => refused = Err(error),
                }
            }
        }
        refused.map(|()| destroyed)
    }

    fn connected(
        &mut self,
        family: u8,
        wanted: impl Fn(&SocketId) -> bool,
    ) -> Result<Vec<SocketId>, Error> {
        let any = if family == AF_INET {
            SocketId::new_v4()
        } else {
            SocketId::new_v6()
        };
        self.0.dump(
            "list udp sockets",
            request(family, any),
            |answer| match answer {
                SockDiagMessage::InetResponse(response) => {
                    let InetResponse { header, .. } = *response;
                    Some(header.socket_id).filter(&wanted)
                }
                _ => None,
            },
        )
    }
}

const fn request(family: u8, socket_id: SocketId) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_UDP,
        extensions: ExtensionFlags::empty(),
        // A connected UDP socket.
        states: StateFlags::ESTABLISHED,
        socket_id,
    })
}

/// As `bpf_get_socket_cookie` and `SO_COOKIE` give it: the kernel sends the low word first.
fn cookie(socket: &SocketId) -> u64 {
    let [a, b, c, d, e, f, g, h] = socket.cookie;
    let (low, high) = (
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    );
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::{IpAddr, UdpSocket},
        time::Duration,
    };

    use rstest::rstest;
    use rustix::net::sockopt::socket_cookie;

    use super::*;
    use crate::attach::testing::Namespace;

    const BACKEND_PORT: u16 = 53;

    /// A client that is connected to a backend; in the namespace's loopback all addresses are.
    fn client(bind: &str, backend: &str) -> UdpSocket {
        let socket = UdpSocket::bind((bind, 0)).unwrap();
        socket.connect((backend, BACKEND_PORT)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
    }

    fn backends(addrs: &[&str]) -> BTreeSet<SocketAddr> {
        let backend = |addr: &&str| SocketAddr::new(addr.parse::<IpAddr>().unwrap(), BACKEND_PORT);
        addrs.iter().map(backend).collect()
    }

    fn destroy(addrs: &[&str], translated: impl Fn(u64) -> bool) -> usize {
        UdpSockets::open()
            .unwrap()
            .destroy(&backends(addrs), translated)
            .unwrap()
    }

    fn is_destroyed(socket: &UdpSocket) -> bool {
        let aborted = match socket.take_error().unwrap() {
            Some(error) => error.kind() == io::ErrorKind::ConnectionAborted,
            None => false,
        };
        assert_eq!(
            aborted,
            socket.peer_addr().is_err(),
            "it is disconnected if it was aborted"
        );
        aborted
    }

    #[rstest]
    #[case::v4("127.0.0.1", "127.0.0.9", "127.0.0.9")]
    #[case::v6("::1", "::1", "::1")]
    #[case::v4_on_an_ipv6_socket("::", "::ffff:127.0.0.9", "127.0.0.9")]
    fn socket_of_a_gone_backend_is_destroyed(
        #[case] bind: &str,
        #[case] dialled: &str,
        #[case] backend: &str,
    ) {
        let Some(namespace) = Namespace::new() else {
            return;
        };
        namespace.enter(|| {
            let (first, second) = (client(bind, dialled), client(bind, dialled));
            assert_eq!(destroy(&[backend, "10.1.0.1", "fd00::1"], |_| true), 2);
            assert!(is_destroyed(&first));
            assert!(is_destroyed(&second));
            assert_eq!(
                destroy(&[backend], |_| true),
                0,
                "there is nothing left to destroy"
            );
        });
    }

    #[test]
    fn sockets_of_other_backends_and_untranslated_ones_stay() {
        let Some(namespace) = Namespace::new() else {
            return;
        };
        namespace.enter(|| {
            let translated = client("127.0.0.1", "127.0.0.9");
            let direct = client("127.0.0.1", "127.0.0.9");
            let other = client("127.0.0.1", "127.0.0.10");
            let unconnected = UdpSocket::bind(("127.0.0.9", BACKEND_PORT)).unwrap();
            let cookie = socket_cookie(&translated).unwrap();

            assert_eq!(destroy(&["127.0.0.9"], |of| of == cookie), 1);
            assert!(is_destroyed(&translated));
            assert!(!is_destroyed(&direct));
            assert!(!is_destroyed(&other));
            other.send(b"x").unwrap();
            assert!(unconnected.local_addr().is_ok());
        });
    }

    #[test]
    fn client_that_waits_for_an_answer_is_woken() {
        let Some(namespace) = Namespace::new() else {
            return;
        };
        namespace.enter(|| {
            let socket = client("127.0.0.1", "127.0.0.9");
            let cookie = socket_cookie(&socket).unwrap();
            let answer = std::thread::scope(|scope| {
                let waiting = scope.spawn(|| socket.recv(&mut [0; 16]));
                assert_eq!(destroy(&["127.0.0.9"], |of| of == cookie), 1);
                waiting.join().unwrap()
            });
            assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        });
    }

    #[test]
    fn sockets_of_other_namespaces_are_not_seen() {
        let (Some(node), Some(pod)) = (Namespace::new(), Namespace::new()) else {
            return;
        };
        let socket = pod.enter(|| client("127.0.0.1", "127.0.0.9"));
        assert_eq!(node.enter(|| destroy(&["127.0.0.9"], |_| true)), 0);
        assert!(!is_destroyed(&socket));
    }
}
