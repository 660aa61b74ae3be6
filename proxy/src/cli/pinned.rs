//! The maps as an agent has pinned them, for when it does not run.

use std::fmt::Display;

use anyhow::{Context, anyhow};

use super::{Location, Streams};
use crate::{
    observe::{Names, read_names},
    tables::{Access, BpfTables, PinDir},
};

/// What an agent left when it ended.
pub(super) struct Pinned {
    pub(super) kernel: BpfTables,
    pub(super) names: Names,
}

/// Opens the maps for reading and says on standard error that no agent speaks here.
pub(super) fn open(location: &Location, streams: &mut Streams<'_>) -> anyhow::Result<Pinned> {
    let (run_dir, pin_dir) = (location.run_dir.display(), location.pin_dir.display());
    let kernel = read(location).with_context(|| format!("no agent answers in {run_dir}"))?;
    note(
        streams,
        format_args!("no agent answers in {run_dir}: this is from the maps under {pin_dir}"),
    )?;
    let names = read_names(&location.run_dir).unwrap_or_else(|error| {
        // Names are a help, and tables are worth showing without.
        let _ = writeln!(
            streams.err,
            "switchboard: read the names in {run_dir}: {error}"
        );
        Names::new()
    });
    Ok(Pinned { kernel, names })
}

pub(super) fn read(location: &Location) -> anyhow::Result<BpfTables> {
    let opened = BpfTables::open_pinned(&PinDir::new(&location.pin_dir), Access::Read);
    opened.map_err(|error| {
        anyhow!(
            "{:#}; has an agent run here, and are you root?",
            anyhow::Error::from(error)
        )
    })
}

/// One line on standard error.
pub(super) fn note(streams: &mut Streams<'_>, line: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(streams.err, "switchboard: {line}")?)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        cli::{
            Ending,
            testing::{Ran, run},
        },
        model::ObjectKey,
        observe::{NameFile, PortName, testing},
        plan::{Changes, MapState, plan},
        tables::{
            Tables,
            testing::{ScratchPins, privileged},
        },
    };

    /// Maps that an agent left, and the file in which it named two of their three services.
    struct Node {
        pins: ScratchPins,
        run_dir: TempDir,
    }

    impl Node {
        /// `None` without the rights that maps take.
        fn new() -> Option<Self> {
            if !privileged() {
                return None;
            }
            let node = Self {
                pins: ScratchPins::with_maps(16, 64),
                run_dir: TempDir::new().unwrap(),
            };
            let (empty, maps) = (MapState::default(), testing::maps());
            let ops = plan(&empty, &maps, &Changes::everything(&empty, &maps));
            let mut tables = BpfTables::open_pinned(&node.pins.pins, Access::Write).unwrap();
            assert!(tables.apply(&ops).is_empty());
            let name = |name, port: &str| PortName {
                service: ObjectKey::new("default", name),
                port: port.into(),
            };
            let names = [(1, name("echo", "http")), (2, name("empty", ""))].into();
            NameFile::new(node.run_dir.path()).update(&names).unwrap();
            Some(node)
        }

        fn run(&self, words: &[&str]) -> Ran {
            let run_dir = self.run_dir.path().to_str().unwrap();
            let pin_dir = self.pins.pins.path().to_str().unwrap();
            let place = ["--run-dir", run_dir, "--pin-dir", pin_dir];
            run(&words.iter().copied().chain(place).collect::<Vec<_>>())
        }

        /// What a command prints, after the note on where it comes from.
        #[track_caller]
        fn read(&self, words: &[&str]) -> String {
            let ran = self.run(words);
            assert_eq!(ran.ending.unwrap(), Ending::Done);
            assert!(
                ran.err.starts_with("switchboard: no agent answers in "),
                "{}",
                ran.err
            );
            ran.out
        }
    }

    #[test]
    fn services_are_listed_by_the_names_that_were_left() {
        let Some(node) = Node::new() else { return };
        expect![[r#"
            NAMESPACE   NAME    PORT     PROTOCOL   KIND        FRONTEND          BACKENDS
            default     echo    http     tcp        ClusterIP   10.96.0.10:80     2
            default     echo    http     tcp        ClusterIP   [fd00:96::a]:80   1
            default     empty   <none>   tcp        ClusterIP   10.96.0.9:80      0 (reject)
        "#]]
        .assert_eq(&node.read(&["service", "list"]));
        expect![[r#"
            Namespace:  default
            Name:       empty
            Type:       <none>
            Port:       <none> tcp
            Id:         2
            Frontend:   10.96.0.9:80 ClusterIP (reject)
        "#]]
        .assert_eq(&node.read(&["service", "get", "empty"]));
    }

    #[test]
    fn without_names_services_are_listed_by_their_ids() {
        let Some(node) = Node::new() else { return };
        std::fs::remove_file(node.run_dir.path().join("names.json")).unwrap();
        expect![[r#"
            NAMESPACE   NAME     PORT     PROTOCOL   KIND        FRONTEND          BACKENDS
            <none>      <id 1>   <none>   tcp        ClusterIP   10.96.0.10:80     2
            <none>      <id 1>   <none>   tcp        ClusterIP   [fd00:96::a]:80   1
            <none>      <id 2>   <none>   tcp        ClusterIP   10.96.0.9:80      0 (reject)
            <none>      <id 3>   <none>   tcp        ClusterIP   10.96.0.10:443    0 (drop)
        "#]]
        .assert_eq(&node.read(&["service", "list"]));
        assert!(node.run(&["service", "get", "echo"]).ending.is_err());
    }

    #[test]
    fn packets_are_traced_without_an_agent_if_it_is_said_where() {
        let Some(node) = Node::new() else { return };
        let question = [
            "trace",
            "--from",
            "10.1.0.5",
            "--to",
            "10.96.0.10:80/tcp",
            "--at",
        ];
        let ask = |at| question.into_iter().chain([at]).collect::<Vec<_>>();
        expect![[r#"
            1. the packet is taken to meet the node at pod
            2. a pod's TCP is decided over when its socket connects, or else by from_pod
            3. 10.96.0.10:80/tcp is frontend default/echo:http (ClusterIP)
            4. one of 2 is drawn, the source is kept

            Outcome:   translate
            Frontend:  default/echo:http (ClusterIP)
            Source:    kept
            Backend:   10.1.0.9:8080
            Backend:   10.1.1.9:8080
        "#]]
        .assert_eq(&node.read(&ask("pod")));
        let wire = node.read(&ask("wire"));
        assert!(wire.contains("\nSource:    mixed\n"), "{wire}");
    }

    #[test]
    fn the_status_of_a_node_without_an_agent_has_an_exit_status_of_its_own() {
        let Some(node) = Node::new() else { return };
        let ran = node.run(&["status"]);
        assert_eq!(ran.ending.unwrap(), Ending::NoAgent);
        assert!(
            ran.out.contains("\nFRONTENDS4    3      16\n"),
            "{}",
            ran.out
        );
    }

    #[test]
    fn the_dump_is_of_the_maps_themselves() {
        let Some(node) = Node::new() else { return };
        expect![[r#"
            frontend 10.96.0.9:80/tcp service=2 reject name=default/empty
            frontend 10.96.0.10:80/tcp service=1 backends=1-2 name=default/echo:http
            frontend 10.96.0.10:443/tcp service=3 drop
            frontend [fd00:96::a]:80/tcp service=1 backends=1 name=default/echo:http
            address 10.96.0.9 frontend,cluster-ip
            address 10.96.0.10 frontend,cluster-ip
            address fd00:96::a frontend,cluster-ip
            slot 4 backend=2
            slot 5 backend=1
            slot 6 backend=1
            backend 1 10.1.0.9:8080/tcp active service=1 here name=default/echo:http
            backend 1 [fd00:10:1::9]:8080/tcp active service=1 here name=default/echo:http
            backend 2 10.1.1.9:8080/tcp active service=1 name=default/echo:http
            backend 3 10.1.1.7:8080/tcp terminating service=1 name=default/echo:http
        "#]]
        .assert_eq(&node.run(&["dump"]).out);
        let one = node.run(&["dump", "backends", "-o", "json"]).out;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&one).unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0]["name"], "default/echo:http");
    }
}
