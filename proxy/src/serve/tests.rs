//! The servers as the agent starts them.

use std::net::TcpListener;

use tokio::time::timeout;

use super::{
    testing::{TestClock, eligible, free_port, get, monitor},
    *,
};

const SOON: Duration = Duration::from_millis(10);
const DEADLINE: Duration = Duration::from_secs(10);

fn options(healthz: Option<SocketAddr>, metrics: Option<SocketAddr>) -> Options {
    Options {
        node: "here".into(),
        healthz,
        metrics,
        bind_hard_fail: false,
        mode: "nftables".to_owned(),
        configz: Value::Null,
    }
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn taken() -> (TcpListener, SocketAddr) {
    let addr = free();
    (TcpListener::bind(addr).unwrap(), addr)
}

/// Waits until somebody listens.
async fn reached(addr: SocketAddr) {
    let connect = async {
        while tokio::net::TcpStream::connect(addr).await.is_err() {
            sleep(SOON).await;
        }
    };
    timeout(DEADLINE, connect).await.unwrap();
}

#[tokio::test]
async fn both_servers_answer_on_a_thread_of_their_own() {
    let (healthz, metrics) = (free(), free());
    let monitor = monitor(&TestClock::default());
    monitor.health.node(&eligible());
    let (samples, asked) = Samples::channel();
    drop(asked);
    let options = options(Some(healthz), Some(metrics));
    let serving = run(options, monitor, samples, Notices::default());
    let serving = runtime().unwrap().spawn(serving);
    for (addr, path) in [
        (healthz, "/healthz"),
        (healthz, "/livez"),
        (metrics, "/metrics"),
    ] {
        reached(addr).await;
        assert_eq!(get(addr, path).await.status, 200, "{path}");
    }
    serving.abort();
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_and_tried_again_132() {
    let (other, addr) = taken();
    let notices = Notices::default();
    let place = Place {
        server: "health",
        reason: "FailedToStartProxierHealthcheck",
        addr,
        hard_fail: false,
        retry: SOON,
        node: "here",
        notices: &notices,
    };
    let monitor = monitor(&TestClock::default());
    let story = async {
        let notice = notices.fetch().await;
        assert_eq!(notice.reason, "FailedToStartProxierHealthcheck");
        assert_eq!(notice.object, node_ref("here"));
        drop(other);
        reached(addr).await;
        assert_eq!(get(addr, "/livez").await.status, 200);
    };
    tokio::select! {
        ended = place.serve(Healthz(monitor)) => panic!("it ended: {ended:?}"),
        () = story => {}
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_the_end_if_it_shall_be_132() {
    let (_other, addr) = taken();
    let notices = Notices::default();
    let (samples, _asked) = Samples::channel();
    let options = Options {
        bind_hard_fail: true,
        ..options(None, Some(addr))
    };
    let monitor = monitor(&TestClock::default());
    let error = run(options, monitor, samples, notices.clone())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot serve metrics on {addr}"));
    assert_eq!(notices.fetch().await.reason, "FailedToStartMetricServer");
}

#[tokio::test]
async fn without_addresses_nothing_is_served_and_nothing_ends() {
    let (samples, _asked) = Samples::channel();
    let monitor = monitor(&TestClock::default());
    let serving = run(options(None, None), monitor, samples, Notices::default());
    assert!(timeout(SOON, serving).await.is_err());
}
