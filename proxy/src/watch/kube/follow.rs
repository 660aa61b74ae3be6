//! One kind, listed and watched through whichever server is current.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, InitialListStrategy},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tracing::{debug, info, warn};

use super::{describe, fold::Fold};
use crate::{
    model::{Event, Kind},
    watch::convert::Scope,
};

/// A server that does not have a kind may be upgraded to one that has.
const ABSENT_KIND_INTERVAL: Duration = Duration::from_secs(600);
/// Before a list that has to be made again; the pace of all other errors is kube's.
const RELIST_DELAY: Duration = Duration::from_secs(1);

/// What all watches have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) clients: watch::Receiver<Client>,
    /// Told about every error, so that somebody looks after the server.
    pub(super) failed: Arc<Notify>,
}

pub(super) struct Follower<K> {
    config: watcher::Config,
    convert: fn(&K, &Scope) -> Event,
    scope: Scope,
    fold: Fold,
    kind: Kind,
    /// The error that the log knows of.
    reported: Option<String>,
}

/// Why a stream of events is given up.
enum End {
    /// Nobody receives any more.
    Closed,
    /// Another server, or a list that has to be made again.
    Restart,
}

/// What an error asks for.
enum Remedy {
    /// kube tries again, later each time.
    Wait,
    /// kube would ask for what no longer exists for ever.
    Relist,
    /// The server does not stream lists.
    Page,
    /// The server does not have the kind.
    AbsentKind,
}

// === impl Follower ===

impl<K> Follower<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    pub(super) fn new(
        kind: Kind,
        config: watcher::Config,
        convert: fn(&K, &Scope) -> Event,
        scope: Scope,
    ) -> Self {
        Self {
            config,
            convert,
            scope,
            fold: Fold::new(kind),
            kind,
            reported: None,
        }
    }

    /// Ends when nobody receives the events.
    pub(super) async fn run(mut self, mut shared: Shared) {
        while matches!(self.follow(&mut shared).await, End::Restart) {}
    }

    async fn follow(&mut self, shared: &mut Shared) -> End {
        let client = shared.clients.borrow_and_update().clone();
        let stream = watcher::watcher(Api::<K>::all(client), self.config.clone()).default_backoff();
        let mut stream = pin!(stream);
        loop {
            let item = tokio::select! {
                changed = shared.clients.changed() => {
                    return if changed.is_ok() { End::Restart } else { End::Closed };
                }
                item = stream.next() => item,
            };
            let (events, remedy) = match item {
                None => return End::Restart,
                Some(Ok(event)) => (self.handle(event), Remedy::Wait),
                Some(Err(error)) => self.fail(&error, shared),
            };
            for event in events {
                if shared.events.send(event).await.is_err() {
                    return End::Closed;
                }
            }
            let pause = match remedy {
                Remedy::Wait => continue,
                Remedy::Page => return End::Restart,
                Remedy::Relist => RELIST_DELAY,
                Remedy::AbsentKind => ABSENT_KIND_INTERVAL,
            };
            // Another server may know better at once.
            let _ = timeout(pause, shared.clients.changed()).await;
            return End::Restart;
        }
    }

    fn handle(&mut self, event: watcher::Event<K>) -> Vec<Event> {
        // `Init` comes before the server has been asked.
        if !matches!(event, watcher::Event::Init) && self.reported.take().is_some() {
            info!("the watch of {} works again", self.kind.name());
        }
        self.fold
            .handle(event, |object| (self.convert)(object, &self.scope))
    }

    fn fail(&mut self, error: &watcher::Error, shared: &Shared) -> (Vec<Event>, Remedy) {
        let remedy = remedy(self.kind, &self.config, error);
        match remedy {
            Remedy::Page => {
                debug!(
                    "the API server does not stream the list of {}",
                    self.kind.name()
                );
                self.config.initial_list_strategy = InitialListStrategy::ListWatch;
                return (Vec::new(), remedy);
            }
            Remedy::AbsentKind => {
                if self.reported.replace(String::new()).is_none() {
                    info!(
                        "the API server has no {}: going on without",
                        self.kind.name()
                    );
                }
                return (self.fold.nothing_exists(), remedy);
            }
            Remedy::Wait | Remedy::Relist => {}
        }
        let reason = describe(error);
        if self.reported.as_ref() == Some(&reason) {
            debug!("the watch of {} still fails: {reason}", self.kind.name());
        } else {
            warn!("the watch of {} fails: {reason}", self.kind.name());
            self.reported = Some(reason);
        }
        shared.failed.notify_one();
        (Vec::new(), remedy)
    }
}

fn remedy(kind: Kind, config: &watcher::Config, error: &watcher::Error) -> Remedy {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return Remedy::Wait;
    };
    let streaming = config.initial_list_strategy == InitialListStrategy::StreamingList;
    match status.code {
        400 | 422 if streaming => Remedy::Page,
        404 if kind == Kind::ServiceCidr => Remedy::AbsentKind,
        410 => Remedy::Relist,
        _ => Remedy::Wait,
    }
}
