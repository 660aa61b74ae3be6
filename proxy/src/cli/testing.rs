//! Runs a command as a person would, and an agent that answers what a test says.

use std::{path::Path, thread};

use clap::Parser;
use tempfile::TempDir;
use tokio::{runtime::Builder, sync::mpsc};

use super::{Cli, Ending, Streams};
use crate::observe::{Query, Server};

/// What a command wrote, and how it ended.
pub(super) struct Ran {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) ending: anyhow::Result<Ending>,
}

/// `words` as they would be typed after `switchboard`.
#[track_caller]
pub(super) fn run(words: &[&str]) -> Ran {
    let cli = Cli::try_parse_from(["switchboard"].iter().chain(words)).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ending = super::run(
        cli,
        &mut Streams {
            out: &mut out,
            err: &mut err,
        },
    );
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        out: text(out),
        err: text(err),
        ending,
    }
}

/// An agent in a directory of its own; it ends with the process.
pub(super) struct FakeAgent {
    run_dir: TempDir,
}

// === impl FakeAgent ===

impl FakeAgent {
    /// Answers every query with `answer`.
    pub(super) fn start(answer: impl Fn(Query) + Send + 'static) -> Self {
        let run_dir = TempDir::new().unwrap();
        let dir = run_dir.path().to_owned();
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async {
                    let (queries, mut asked) = mpsc::channel(4);
                    let server = Server::bind(&dir).unwrap();
                    ready.send(()).unwrap();
                    let answering = async {
                        while let Some(query) = asked.recv().await {
                            answer(query);
                        }
                    };
                    tokio::join!(server.run(queries), answering)
                })
        });
        is_ready.recv().unwrap();
        Self { run_dir }
    }

    pub(super) fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// `run`, with the directory where the agent listens.
    #[track_caller]
    pub(super) fn run(&self, words: &[&str]) -> Ran {
        let dir = self.run_dir().to_str().unwrap();
        let words: Vec<&str> = words.iter().copied().chain(["--run-dir", dir]).collect();
        run(&words)
    }
}
