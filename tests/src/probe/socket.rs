//! Sockets with what the standard library cannot set before it connects: source port, time-outs,
//! path MTU discovery.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketType, bind, connect, socket,
    sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, Timeout, set_ip_mtu_discover,
        set_ipv6_mtu_discover, set_socket_reuseaddr, set_socket_timeout,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// How a client opens its socket.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Options {
    pub(super) protocol: Protocol,
    /// ADDR:PORT; a v4-mapped address makes an IPv6 socket.
    pub(super) to: SocketAddr,
    /// Binds to this port first.
    #[arg(long, default_value_t = 0)]
    source_port: u16,
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    /// UDP: names the destination with each datagram instead of connecting.
    #[arg(long)]
    pub(super) unconnected: bool,
    /// Never sends fragments: too long a datagram fails once the path's MTU is known.
    #[arg(long)]
    dont_fragment: bool,
}

// === impl Options ===

impl Options {
    pub(super) fn open_tcp(&self) -> io::Result<TcpStream> {
        let fd = self.open(SocketType::STREAM)?;
        connect(&fd, &self.to)?;
        let stream = TcpStream::from(fd);
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(super) fn open_udp(&self) -> io::Result<UdpSocket> {
        let fd = self.open(SocketType::DGRAM)?;
        if !self.unconnected {
            connect(&fd, &self.to)?;
        }
        Ok(UdpSocket::from(fd))
    }

    fn open(&self, kind: SocketType) -> io::Result<OwnedFd> {
        let v4 = self.to.is_ipv4();
        let family = if v4 {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let fd = socket(family, kind, None)?;
        let timeout = Some(Duration::from_millis(self.timeout_ms));
        // The send time-out also bounds connect.
        set_socket_timeout(&fd, Timeout::Send, timeout)?;
        set_socket_timeout(&fd, Timeout::Recv, timeout)?;
        if self.dont_fragment && v4 {
            set_ip_mtu_discover(&fd, Ipv4PathMtuDiscovery::DO)?;
        } else if self.dont_fragment {
            set_ipv6_mtu_discover(&fd, Ipv6PathMtuDiscovery::DO)?;
        }
        if self.source_port != 0 {
            set_socket_reuseaddr(&fd, true)?;
            let any: IpAddr = match v4 {
                true => Ipv4Addr::UNSPECIFIED.into(),
                false => Ipv6Addr::UNSPECIFIED.into(),
            };
            bind(&fd, &SocketAddr::new(any, self.source_port))?;
        }
        Ok(fd)
    }
}

/// The IPv4 form of a v4-mapped address.
pub(super) const fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
