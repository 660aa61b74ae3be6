//! The Kubernetes API as a source: one list and watch for each kind, all through the same server.
//!
//! Selection happens in the server where it can (services.md 1–3) and in `convert` again. The list
//! is streamed out of the server's cache, or read in pages from a server that does not stream, so
//! that the memory for it stays flat. A watch that breaks is resumed where it broke, and listed
//! again where that is not possible (410 Gone, or another server). An outage, however long, changes
//! nothing in the model (services.md 25).

mod events;
mod fold;
mod follow;
mod servers;

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::ServiceCIDR,
};
use kube::{Client, runtime::watcher};
pub(crate) use servers::MEMORY_FILE;
use servers::{Health, Servers};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use self::follow::{Follower, Shared};
use super::{
    Notices,
    convert::{self, Origin, Scope},
};
use crate::model::{Event, Kind};

/// The server ends a watch after this time; a connection that died in silence is noticed then.
const WATCH_TIMEOUT: Duration = Duration::from_secs(90);
const PAGE_SIZE: u32 = 500;
/// How often the server is asked for its health if nothing is wrong.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// A server is left if it fails twice, this far apart.
const CONFIRM_DELAY: Duration = Duration::from_secs(1);
const CONNECT_RETRY_MIN: Duration = Duration::from_millis(500);
const CONNECT_RETRY_MAX: Duration = Duration::from_secs(10);

/// How to reach the API.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Without one, and without addresses, the service account of the pod we run in.
    pub kubeconfig: Option<PathBuf>,
    /// URLs of API servers, in the order in which they are tried; they take the place of the one
    /// that the configuration names.
    pub api_servers: Vec<String>,
    /// Where the last good address is kept.
    pub run_dir: PathBuf,
    /// Is told the URL of the server in use, whenever that changes.
    pub in_use: watch::Sender<String>,
}

/// Sends what the API says about the node `node` (trimmed, lower case) until nobody receives any
/// more. Fails only if the options cannot be used; a server that does not answer is waited for.
pub async fn run(
    options: Options,
    node: impl Into<Arc<str>>,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    run_with_notices(options, node, events, Notices::default()).await
}

/// The same, and what `notices` is told becomes Events of the API.
pub async fn run_with_notices(
    options: Options,
    node: impl Into<Arc<str>>,
    events: mpsc::Sender<Event>,
    notices: Notices,
) -> anyhow::Result<()> {
    let servers = Servers::new(&options).await?;
    let scope = Scope {
        node: node.into(),
        origin: Origin::Api,
    };
    tokio::select! {
        () = events.closed() => {}
        () = follow_all(&servers, &scope, &events, notices) => {}
    }
    Ok(())
}

async fn follow_all(
    servers: &Servers,
    scope: &Scope,
    events: &mpsc::Sender<Event>,
    notices: Notices,
) {
    let (current, client) = first(servers).await;
    let (sender, clients) = watch::channel(client);
    let failed = Arc::new(Notify::new());
    let shared = Shared {
        events: events.clone(),
        clients,
        failed: failed.clone(),
    };
    // Ends with this function, and the watches with it.
    let mut followers = JoinSet::new();
    spawn(&mut followers, &shared, scope);
    tokio::select! {
        // A follower ends only when nobody receives.
        _ = followers.join_next() => {}
        () = supervise(servers, current, &sender, &failed) => {}
        () = events::publish(notices, sender.subscribe(), scope.node.clone()) => {}
    }
}

/// What is watched: these rights, no others, are in the manifests.
fn spawn(followers: &mut JoinSet<()>, shared: &Shared, scope: &Scope) {
    let config = || {
        let seconds = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(u32::MAX);
        watcher::Config::default()
            .streaming_lists()
            .page_size(PAGE_SIZE)
            .timeout(seconds)
    };
    let services = config()
        .labels("!service.kubernetes.io/service-proxy-name")
        .fields("spec.clusterIP!=None");
    let slices = config().labels("!service.kubernetes.io/headless");
    let node = config().fields(&format!("metadata.name={}", scope.node));
    let pods = config().fields(&format!("spec.nodeName={}", scope.node));
    let (shared, scope) = (|| shared.clone(), || scope.clone());
    followers.spawn(
        Follower::<Service>::new(Kind::Service, services, convert::service, scope()).run(shared()),
    );
    followers.spawn(
        Follower::<EndpointSlice>::new(
            Kind::EndpointSlice,
            slices,
            convert::endpoint_slice,
            scope(),
        )
        .run(shared()),
    );
    followers.spawn(Follower::<Pod>::new(Kind::Pod, pods, convert::pod, scope()).run(shared()));
    followers.spawn(Follower::<Node>::new(Kind::Node, node, convert::node, scope()).run(shared()));
    followers.spawn(
        Follower::<ServiceCIDR>::new(Kind::ServiceCidr, config(), convert::service_cidr, scope())
            .run(shared()),
    );
}

/// The server to begin with, as soon as there is one.
async fn first(servers: &Servers) -> (usize, Client) {
    let mut delay = CONNECT_RETRY_MIN;
    let mut reported = String::new();
    loop {
        match servers.select(None).await {
            Ok((index, client)) => {
                info!(url = servers.url(index), "the API server answers");
                servers.remember(index);
                return (index, client);
            }
            Err(error) => {
                let reason = format!("{error:#}");
                if reason != reported {
                    warn!("{reason}; trying again");
                    reported = reason;
                }
            }
        }
        sleep(delay).await;
        delay = (delay * 2).min(CONNECT_RETRY_MAX);
    }
}

/// Moves to another server when the current one fails and another does not.
async fn supervise(
    servers: &Servers,
    mut current: usize,
    clients: &watch::Sender<Client>,
    failed: &Notify,
) {
    if servers.count() < 2 {
        // There is nowhere to go: the watches try again by themselves.
        return std::future::pending().await;
    }
    loop {
        let _ = timeout(CHECK_INTERVAL, failed.notified()).await;
        let client = clients.borrow().clone();
        if is_well(&client).await {
            continue;
        }
        let Ok((next, client)) = servers.select(Some(current)).await else {
            continue;
        };
        if next != current {
            warn!(
                from = servers.url(current),
                to = servers.url(next),
                "the API server fails"
            );
            servers.remember(next);
            current = next;
            clients.send_replace(client);
        }
    }
}

/// Also keeps the pace: two questions about a server that fails are `CONFIRM_DELAY` apart, and a
/// server that is well is not asked again sooner.
async fn is_well(client: &Client) -> bool {
    let first = servers::probe(client).await;
    sleep(CONFIRM_DELAY).await;
    matches!(first, Ok(Health::Ready)) || matches!(servers::probe(client).await, Ok(Health::Ready))
}

/// An error with its cause at the end, which the layers between do not all show.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
