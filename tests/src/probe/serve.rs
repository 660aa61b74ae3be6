//! `probe serve`: answers every request with its name and the client's address, in an answer at
//! least as long as the request, so that large requests test both directions.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use anyhow::Context;

use super::{print_line, report::Answer, socket::canonical};

#[derive(clap::Args)]
pub(super) struct Args {
    /// What it answers with.
    name: String,
    /// `tcp/ADDR:PORT` or `udp/ADDR:PORT`.
    #[arg(required = true)]
    listen: Vec<String>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let mut threads = Vec::new();
    for listen in args.listen {
        let (protocol, addr) = listen
            .split_once('/')
            .context("listen on PROTOCOL/ADDR:PORT")?;
        let addr: SocketAddr = addr.parse().with_context(|| format!("parse {addr}"))?;
        let name = args.name.clone();
        let bind = || format!("listen on {listen}");
        threads.push(match protocol {
            "tcp" => {
                let listener = TcpListener::bind(addr).with_context(bind)?;
                thread::spawn(move || serve_tcp(&listener, &name))
            }
            "udp" => {
                let socket = UdpSocket::bind(addr).with_context(bind)?;
                thread::spawn(move || serve_udp(&socket, &name))
            }
            other => anyhow::bail!("unknown protocol {other}"),
        });
    }
    print_line(&"ready")?;
    for thread in threads {
        thread
            .join()
            .map_err(|_panic| anyhow::anyhow!("a server thread panicked"))??;
    }
    Ok(())
}

fn serve_tcp(listener: &TcpListener, name: &str) -> anyhow::Result<()> {
    loop {
        let (stream, client) = listener.accept()?;
        let name = name.to_owned();
        // A connection that breaks off is the client's to report.
        thread::spawn(move || serve_connection(stream, client, &name).ok());
    }
}

fn serve_connection(stream: TcpStream, client: SocketAddr, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let mut answer = render(name, client, &line);
        answer.push(b'\n');
        writer.write_all(&answer)?;
        line.clear();
    }
    Ok(())
}

fn serve_udp(socket: &UdpSocket, name: &str) -> anyhow::Result<()> {
    let mut request = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut request) {
            Ok((length, client)) => {
                // An answer that cannot be sent is a lost answer, which the client reports.
                let _ = socket.send_to(&render(name, client, &request[..length]), client);
            }
            // What an earlier answer's ICMP error left behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
}

fn render(name: &str, client: SocketAddr, request: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = request
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    let answer = Answer {
        name: name.to_owned(),
        client: canonical(client),
        bytes: request.len(),
        sequence: String::from_utf8_lossy(&digits).parse().unwrap_or(0),
    };
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    text.resize(text.len().max(request.len()), b' ');
    text
}
