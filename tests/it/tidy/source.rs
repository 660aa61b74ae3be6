//! The workspace's files as text, without comments or tests where a rule does not mean those.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file and its text; the path is relative to the workspace's root.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 2] = ["target", ".git"];

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies inside the workspace")
}

/// Every file with this extension, by path; none is an answer.
pub(super) fn files(extension: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|one| one == extension));
    paths.sort();
    assert!(
        !paths.is_empty(),
        "no .{extension} file below {}",
        root().display()
    );
    let read = |path: &PathBuf| Source {
        path: path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
        text: fs::read_to_string(path).unwrap(),
    };
    paths.iter().map(read).collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
            walk(&entry.path(), paths);
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
}

// === impl Source ===

impl Source {
    pub(super) fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// The lines of code with their numbers, from 1: no comments, and nothing from the file's own
    /// `mod tests` on.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        lines
            .take_while(|(_, line)| *line != "mod tests {")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// A line of code without what its string literals say.
    pub(super) fn without_literals(line: &str) -> String {
        line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
    }

    pub(super) fn place(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}
