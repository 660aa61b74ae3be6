//! The watch of one kind as events of the model: what a complete list lacks is gone.
//!
//! It outlives its connection. A list that breaks off says nothing about what is absent, and a list
//! by another API server, which may be older, is complete too.

use std::collections::HashSet;

use kube::runtime::watcher;

use crate::{
    model::{Event, Kind, ObjectRef},
    watch::convert,
};

#[derive(Debug)]
pub(super) struct Fold {
    kind: Kind,
    /// What the model has been told exists.
    known: HashSet<ObjectRef>,
    /// What the list that is being read holds.
    listed: HashSet<ObjectRef>,
    synced: bool,
}

// === impl Fold ===

impl Fold {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            known: HashSet::new(),
            listed: HashSet::new(),
            synced: false,
        }
    }

    pub(super) fn handle<K>(
        &mut self,
        event: watcher::Event<K>,
        convert: impl FnOnce(&K) -> Event,
    ) -> Vec<Event> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                let event = convert(&object);
                self.listed.extend(convert::reference(&event));
                self.tell(event)
            }
            watcher::Event::InitDone => self.complete(),
            watcher::Event::Apply(object) => self.tell(convert(&object)),
            watcher::Event::Delete(object) => {
                let gone = convert::reference(&convert(&object));
                gone.map_or_else(Vec::new, |gone| self.tell(Event::Delete(gone)))
            }
        }
    }

    /// The list is complete with nothing in it: the server does not have the kind.
    pub(super) fn nothing_exists(&mut self) -> Vec<Event> {
        self.listed.clear();
        self.complete()
    }

    fn complete(&mut self) -> Vec<Event> {
        let listed = std::mem::take(&mut self.listed);
        let mut events: Vec<Event> = self
            .known
            .extract_if(|object| !listed.contains(object))
            .map(Event::Delete)
            .collect();
        if !self.synced {
            self.synced = true;
            events.push(Event::Synced(self.kind));
        }
        events
    }

    fn tell(&mut self, event: Event) -> Vec<Event> {
        match &event {
            // Objects of other proxies come and go without the model hearing of them.
            Event::Delete(object) if !self.known.remove(object) => return Vec::new(),
            Event::Delete(_) | Event::Synced(_) | Event::LocalAddrs(_) | Event::Uplinks(_) => {}
            Event::Apply { .. } | Event::Invalid { .. } => {
                self.known.extend(convert::reference(&event));
            }
        }
        vec![event]
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::watch::{
        convert::{Origin, Scope},
        text,
    };

    fn service(name: &str, cluster_ip: &str) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": name},
            "spec": {"clusterIP": cluster_ip, "ports": [{"port": 80}]}}))
        .unwrap()
    }

    fn handle(fold: &mut Fold, events: Vec<watcher::Event<Service>>) -> String {
        let scope = Scope {
            node: "a".into(),
            origin: Origin::Api,
        };
        let events: Vec<Event> = events
            .into_iter()
            .flat_map(|event| fold.handle(event, |object| convert::service(object, &scope)))
            .collect();
        text::render_all(&events)
    }

    #[test]
    fn what_a_complete_list_lacks_is_gone() {
        use watcher::Event::{Init, InitApply, InitDone};
        let mut fold = Fold::new(Kind::Service);
        let both = vec![
            Init,
            InitApply(service("a", "10.96.0.1")),
            InitApply(service("b", "10.96.0.2")),
            InitApply(service("headless", "None")),
            InitDone,
        ];
        expect![[r#"
            apply Service n/a ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
            apply Service n/b ClusterIp ips=[10.96.0.2] ports=[:80/tcp]
            synced Service"#]]
        .assert_eq(&handle(&mut fold, both));
        let one = vec![Init, InitApply(service("b", "10.96.0.3")), InitDone];
        expect![[r#"
            apply Service n/b ClusterIp ips=[10.96.0.3] ports=[:80/tcp]
            delete Service n/a"#]]
        .assert_eq(&handle(&mut fold, one));
    }

    #[test]
    fn list_that_breaks_off_deletes_nothing() {
        use watcher::Event::{Init, InitApply, InitDone};
        let mut fold = Fold::new(Kind::Service);
        let first = vec![
            Init,
            InitApply(service("a", "10.96.0.1")),
            InitApply(service("b", "10.96.0.2")),
            InitDone,
        ];
        handle(&mut fold, first);
        let broken = vec![Init, InitApply(service("a", "10.96.0.1")), Init];
        expect!["apply Service n/a ClusterIp ips=[10.96.0.1] ports=[:80/tcp]"]
            .assert_eq(&handle(&mut fold, broken));
        let complete = vec![InitApply(service("b", "10.96.0.2")), InitDone];
        expect![[r#"
            apply Service n/b ClusterIp ips=[10.96.0.2] ports=[:80/tcp]
            delete Service n/a"#]]
        .assert_eq(&handle(&mut fold, complete));
    }

    #[test]
    fn object_that_stops_being_ours_is_deleted_once() {
        use watcher::Event::{Apply, Delete};
        let mut fold = Fold::new(Kind::Service);
        let events = vec![
            Apply(service("a", "10.96.0.1")),
            Apply(service("a", "None")),
            Apply(service("a", "None")),
            Delete(service("a", "None")),
            Delete(service("never-seen", "10.96.0.2")),
        ];
        expect![[r#"
            apply Service n/a ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
            delete Service n/a"#]]
        .assert_eq(&handle(&mut fold, events));
    }

    #[test]
    fn kind_that_the_server_lacks_is_complete_and_empty() {
        use watcher::Event::Apply;
        let mut fold = Fold::new(Kind::Service);
        handle(&mut fold, vec![Apply(service("a", "10.96.0.1"))]);
        let events = fold.nothing_exists();
        expect![[r#"
            delete Service n/a
            synced Service"#]]
        .assert_eq(&text::render_all(&events));
        assert_eq!(fold.nothing_exists(), Vec::new());
    }
}
