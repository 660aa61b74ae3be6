//! What a directory says when it changes, and when it comes and goes.

use std::{fs, os::unix::fs::symlink, time::Duration};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    super::{mpsc, run},
    directory, service,
};
use crate::{
    model::{Event, Kind},
    watch::text,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The live source on a directory, and what it has sent.
struct Source {
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Source {
    async fn start(directory: &std::path::Path) -> Self {
        let (sender, events) = mpsc::channel(1);
        let task = tokio::spawn(run(directory.to_owned(), "a", sender));
        let mut source = Self { events, task };
        while source.next().await != format!("synced {}", Kind::ALL[4].name()) {}
        source
    }

    async fn next(&mut self) -> String {
        let event = timeout(PATIENCE, self.events.recv()).await;
        text::render(&event.expect("an event").expect("a source that runs"))
    }
}

#[tokio::test]
async fn live_source_fails_at_once_without_its_directory() {
    let directory = TempDir::new().unwrap();
    let (sender, _events) = mpsc::channel(1);
    let error = run(directory.path().join("missing"), "a", sender)
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("cannot read directory"),
        "{error}"
    );
}

#[tokio::test]
async fn live_source_sends_only_what_changed() {
    let directory = directory(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    let mut source = Source::start(directory.path()).await;
    fs::write(directory.path().join("c.yaml"), service("c", 3)).unwrap();
    assert!(source.next().await.starts_with("apply Service default/c "));

    // An atomic replacement under a name that is not read.
    fs::write(directory.path().join(".tmp"), service("a", 9)).unwrap();
    fs::rename(
        directory.path().join(".tmp"),
        directory.path().join("a.yaml"),
    )
    .unwrap();
    assert!(
        source
            .next()
            .await
            .starts_with("apply Service default/a ClusterIp ips=[10.96.0.9]")
    );

    fs::remove_file(directory.path().join("b.yaml")).unwrap();
    assert_eq!(source.next().await, "delete Service default/b");

    // Broken and repaired: the report comes and goes with the object.
    fs::write(directory.path().join("c.yaml"), "kind: [").unwrap();
    assert!(source.next().await.starts_with("invalid c.yaml:1"));
    assert_eq!(source.next().await, "delete Service default/c");
    fs::write(directory.path().join("c.yaml"), service("c", 3)).unwrap();
    assert!(source.next().await.starts_with("apply Service default/c "));
    assert_eq!(source.next().await, "delete c.yaml:1");
}

#[tokio::test]
async fn config_map_mount_is_followed_when_its_data_link_swaps() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    for (version, last) in [("..1", 1), ("..2", 2)] {
        fs::create_dir(path.join(version)).unwrap();
        fs::write(path.join(version).join("a.yaml"), service("a", last)).unwrap();
    }
    symlink("..1", path.join("..data")).unwrap();
    symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
    let mut source = Source::start(path).await;
    symlink("..2", path.join("..data_tmp")).unwrap();
    fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    assert!(
        source
            .next()
            .await
            .starts_with("apply Service default/a ClusterIp ips=[10.96.0.2]")
    );
}

#[tokio::test]
async fn file_behind_a_link_to_elsewhere_is_followed() {
    let elsewhere = directory(&[("a", &service("a", 1))]);
    let directory = TempDir::new().unwrap();
    symlink(elsewhere.path().join("a"), directory.path().join("a.yaml")).unwrap();
    let mut source = Source::start(directory.path()).await;
    fs::write(elsewhere.path().join("a"), service("a", 2)).unwrap();
    assert!(
        source
            .next()
            .await
            .starts_with("apply Service default/a ClusterIp ips=[10.96.0.2]")
    );
}

#[tokio::test]
async fn directory_that_vanishes_leaves_its_state_and_may_return() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("a", 1)).unwrap();
    let mut source = Source::start(&path).await;
    for last in [2, 3] {
        fs::rename(&path, parent.path().join(format!("old-{last}"))).unwrap();
        let report = source.next().await;
        assert!(
            report.starts_with(&format!("invalid {}", path.display())),
            "{report}"
        );
        assert!(
            report.contains("what it said before stays in force"),
            "{report}"
        );
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.yaml"), service("a", last)).unwrap();
        let expect = format!("apply Service default/a ClusterIp ips=[10.96.0.{last}]");
        // An empty directory may be seen before the file is there.
        let mut event = source.next().await;
        while !event.starts_with(&expect) {
            assert!(event.starts_with("delete "), "{event}");
            event = source.next().await;
        }
        if last == 2 {
            fs::write(path.join("b.yaml"), service("b", 8)).unwrap();
            while !event.starts_with("apply Service default/b") {
                event = source.next().await;
            }
        }
    }
}

#[tokio::test]
async fn directory_removed_and_made_again_is_watched_again() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("manifests");
    fs::create_dir(&path).unwrap();
    let mut source = Source::start(&path).await;
    fs::remove_dir(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), service("a", 1)).unwrap();
    let mut event = source.next().await;
    while !event.starts_with("apply Service default/a") {
        event = source.next().await;
    }
}

#[tokio::test]
async fn source_ends_when_nobody_listens() {
    let directory = TempDir::new().unwrap();
    let Source { events, task } = Source::start(directory.path()).await;
    drop(events);
    timeout(PATIENCE, task)
        .await
        .expect("the source ends")
        .unwrap()
        .unwrap();
}
