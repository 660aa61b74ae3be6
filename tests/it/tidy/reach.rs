//! Every source file says what it is, and some crate compiles it.

use std::{collections::BTreeSet, path::Path};

use super::{
    check,
    source::{Source, files},
};

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let offences: Vec<String> = files("rs")
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    check(
        "a source file begins with `//! ` and one sentence that says what it is",
        &offences,
    );
}

#[test]
fn every_source_file_is_compiled_by_some_crate() {
    let sources = files("rs");
    assert!(
        sources.iter().any(|source| is_root(&source.path)),
        "no crate was found"
    );
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut pending: Vec<&Source> = sources
        .iter()
        .filter(|source| is_root(&source.path))
        .collect();
    while let Some(source) = pending.pop() {
        if !reached.insert(source.path.clone()) {
            continue;
        }
        for candidate in modules(source) {
            pending.extend(sources.iter().find(|source| source.path == candidate));
        }
    }
    let offences: Vec<String> = sources
        .iter()
        .filter(|source| !reached.contains(&source.path))
        .map(|source| source.path.clone())
        .collect();
    check(
        "a source file that no `mod` line names is never compiled: name it or delete it",
        &offences,
    );
}

/// Whether cargo itself finds this file, by its default places or by `tests/Cargo.toml`.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        [_, "build.rs"]
            | [_, "src", "main.rs" | "lib.rs"]
            | [_, "src", "bin", _]
            | [_, "src", "bin", _, "main.rs"]
            | ["tests", "it", "main.rs"]
            | ["tests", "benches", _, "main.rs"]
    )
}

/// The paths at which the modules that a file declares may lie.
fn modules(source: &Source) -> Vec<String> {
    let path = Path::new(&source.path);
    let folder = path.parent().unwrap();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let owns_folder = stem == "mod" || is_root(&source.path);
    let children = if owns_folder {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    let mut paths = Vec::new();
    let mut explicit = None;
    for line in source.text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"") {
            explicit = path.strip_suffix("\"]");
        } else if let Some(name) = declared_module(line) {
            match explicit.take() {
                Some(path) => paths.push(normal(&folder.join(path))),
                None => {
                    paths.push(normal(&children.join(format!("{name}.rs"))));
                    paths.push(normal(&children.join(name).join("mod.rs")));
                }
            }
        }
    }
    paths
}

/// `name` of `pub(crate) mod name;`.
fn declared_module(line: &str) -> Option<&str> {
    let (visibility, name) = line.strip_suffix(';')?.split_once("mod ")?;
    let is_declaration = visibility.is_empty() || visibility.starts_with("pub");
    (is_declaration && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}

/// The path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn module_declarations_are_recognised() {
    for (line, name) in [
        ("mod a;", Some("a")),
        ("pub mod a_b;", Some("a_b")),
        ("pub(super) mod a;", Some("a")),
        ("mod tests {", None),
        ("// the mod line;", None),
        ("use a::mod b;", None),
    ] {
        assert_eq!(declared_module(line), name, "{line}");
    }
}
