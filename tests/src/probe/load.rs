//! `probe load`: requests at a fixed pace until standard input ends, with a tally on every tenth
//! of a second.
//!
//! Without `--keep` each request has a socket of its own: a new connection, or a new UDP flow.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    client::{Socket, ask},
    print_line,
    report::{Exchange, Tally, error_name},
    socket::Options,
};

const REPORT_EVERY: Duration = Duration::from_millis(100);
const REQUEST_BYTES: usize = 64;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// Microseconds between the starts of two requests.
    #[arg(long, default_value_t = 2000)]
    interval_us: u64,
    /// All requests over one socket, which is opened again only after a failure.
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let ended = watch_stdin();
    let mut tally = Tally::default();
    let mut latencies = Vec::new();
    let mut socket = None;
    let mut next_report = Instant::now();
    let interval = Duration::from_micros(args.interval_us);
    let mut next_request = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let exchange = request(&args.options, &mut socket);
        if !args.keep || exchange.error.is_some() {
            socket = None;
        }
        count(&mut tally, &mut latencies, &exchange);
        if Instant::now() >= next_report {
            summarise(&mut tally, &mut latencies);
            print_line(&tally)?;
            next_report = Instant::now() + REPORT_EVERY;
        }
        next_request += interval;
        // After a stall the pace starts anew, instead of a burst that makes up for it.
        next_request = next_request.max(Instant::now());
        thread::sleep(next_request.saturating_duration_since(Instant::now()));
    }
    summarise(&mut tally, &mut latencies);
    print_line(&tally)
}

/// Becomes true when standard input ends.
fn watch_stdin() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    thread::spawn(move || {
        // Whatever ends the input, an error included, ends the load.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
    ended
}

fn request(options: &Options, slot: &mut Option<Socket>) -> Exchange {
    let started = Instant::now();
    if slot.is_none() {
        match Socket::open(options) {
            Ok(socket) => *slot = Some(socket),
            Err(error) => {
                return Exchange {
                    error: Some(error_name(&error)),
                    ..Exchange::default()
                };
            }
        }
    }
    let mut exchange = slot
        .as_mut()
        .map_or_else(Exchange::default, |socket| ask(socket, REQUEST_BYTES));
    exchange.micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    exchange
}

fn count(tally: &mut Tally, latencies: &mut Vec<u64>, exchange: &Exchange) {
    tally.sent += 1;
    if let Some(answer) = &exchange.answer {
        tally.answered += 1;
        *tally.by_name.entry(answer.name.clone()).or_default() += 1;
        tally.max_micros = tally.max_micros.max(exchange.micros);
        latencies.push(exchange.micros);
    }
    if let Some(error) = &exchange.error {
        *tally.errors.entry(error.clone()).or_default() += 1;
    }
}

fn summarise(tally: &mut Tally, latencies: &mut [u64]) {
    latencies.sort_unstable();
    tally.median_micros = latencies.get(latencies.len() / 2).copied().unwrap_or(0);
}
