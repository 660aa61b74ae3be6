//! `probe client`: one socket under the lab's control, one JSON line for each line it reads.
//!
//! `open` opens the socket (again), `ask BYTES` sends a request of that length and waits for its
//! answer. The socket outlives a failed request, as a real client's would.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Instant,
};

use anyhow::Context;

use super::{
    print_line,
    report::{Answer, Exchange, error_name},
    socket::{Options, Protocol, canonical},
};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

/// An open socket, and how to send a request over it.
pub(super) struct Socket {
    transport: Transport,
    /// Of the last request: an answer that comes too late must not pass for the next one's.
    sequence: u64,
}

enum Transport {
    Tcp(BufReader<TcpStream>),
    Udp { socket: UdpSocket, options: Options },
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut socket = None;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let exchange = match words.next() {
            Some("open") => {
                // The old socket first: it may hold the port that is asked for.
                socket = None;
                open(&args.options, &mut socket)
            }
            Some("ask") => {
                let bytes = words.next().context("ask needs a length")?.parse()?;
                socket
                    .as_mut()
                    .map_or_else(Exchange::default, |socket| ask(socket, bytes))
            }
            _ => anyhow::bail!("unknown request {line:?}"),
        };
        print_line(&exchange)?;
    }
    Ok(())
}

fn open(options: &Options, slot: &mut Option<Socket>) -> Exchange {
    let started = Instant::now();
    let mut exchange = Exchange::default();
    match Socket::open(options) {
        Ok(socket) => {
            (exchange.local, exchange.peer) = socket.names();
            *slot = Some(socket);
        }
        Err(error) => exchange.error = Some(error_name(&error)),
    }
    exchange.micros = micros_since(started);
    exchange
}

/// Sends one request and waits for its answer.
pub(super) fn ask(socket: &mut Socket, bytes: usize) -> Exchange {
    let started = Instant::now();
    let mut exchange = Exchange::default();
    match socket.ask(bytes) {
        Ok((answer, from)) => (exchange.answer, exchange.from) = (Some(answer), from),
        Err(error) => exchange.error = Some(error_name(&error)),
    }
    (exchange.local, exchange.peer) = socket.names();
    exchange.micros = micros_since(started);
    exchange
}

fn micros_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

// === impl Socket ===

impl Socket {
    pub(super) fn open(options: &Options) -> io::Result<Self> {
        let transport = match options.protocol {
            Protocol::Tcp => Transport::Tcp(BufReader::new(options.open_tcp()?)),
            Protocol::Udp => Transport::Udp {
                socket: options.open_udp()?,
                options: options.clone(),
            },
        };
        Ok(Self {
            transport,
            sequence: 0,
        })
    }

    /// What getsockname and getpeername say.
    fn names(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match &self.transport {
            Transport::Tcp(stream) => {
                let stream = stream.get_ref();
                (stream.local_addr().ok(), stream.peer_addr().ok())
            }
            Transport::Udp { socket, .. } => (socket.local_addr().ok(), socket.peer_addr().ok()),
        }
    }

    fn ask(&mut self, bytes: usize) -> io::Result<(Answer, Option<SocketAddr>)> {
        self.sequence += 1;
        let mut request = format!("{} ", self.sequence).into_bytes();
        request.resize(bytes.max(request.len() + 1) - 1, b'x');
        request.push(b'\n');
        self.transport.send(&request)?;
        loop {
            let (answer, from) = self.transport.receive()?;
            if answer.sequence == self.sequence {
                return Ok((answer, from));
            }
        }
    }
}

// === impl Transport ===

impl Transport {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.get_mut().write_all(request),
            Self::Udp { socket, options } if options.unconnected => {
                socket.send_to(request, options.to).map(drop)
            }
            Self::Udp { socket, .. } => socket.send(request).map(drop),
        }
    }

    fn receive(&mut self) -> io::Result<(Answer, Option<SocketAddr>)> {
        match self {
            Self::Tcp(stream) => {
                let mut line = String::new();
                if stream.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok((serde_json::from_str(&line)?, None))
            }
            Self::Udp { socket, options } => {
                let mut reply = vec![0; 65_536];
                let (length, from) = socket.recv_from(&mut reply)?;
                let from = options.unconnected.then(|| canonical(from));
                Ok((serde_json::from_slice(&reply[..length])?, from))
            }
        }
    }
}
