//! Which way dependencies point.

use super::{
    check,
    source::{Source, files},
};

/// What one part of the workspace is for, and what it therefore must not know.
struct Rule {
    part: &'static str,
    sentence: &'static str,
    crates: &'static [&'static str],
    modules: &'static [&'static str],
}

const KUBERNETES: [&str; 2] = ["kube", "k8s_openapi"];
const EFFECTS: [&str; 6] = ["kube", "k8s_openapi", "aya", "aya_obj", "tokio", "axum"];

const RULES: [Rule; 13] = [
    Rule {
        part: "proxy-datapath/src/",
        sentence: "the contract and the decisions",
        crates: &["alloc", "aya_ebpf", "kube", "k8s_openapi", "libc"],
        modules: &[],
    },
    Rule {
        part: "proxy-ebpf/src/packet",
        sentence: "bytes ↔ header values, checksums",
        crates: &[],
        modules: &["maps", "forward", "socket"],
    },
    Rule {
        part: "proxy-ebpf/src/maps",
        sentence: "typed map access",
        crates: &[],
        modules: &["packet", "forward", "socket"],
    },
    Rule {
        part: "proxy/src/model",
        sentence: "validated cluster state",
        crates: &EFFECTS,
        modules: &[
            "agent", "attach", "cli", "compile", "observe", "plan", "serve", "tables", "watch",
        ],
    },
    Rule {
        part: "proxy/src/compile",
        sentence: "model → desired tables",
        crates: &EFFECTS,
        modules: &[
            "agent", "attach", "cli", "observe", "serve", "tables", "watch",
        ],
    },
    Rule {
        part: "proxy/src/plan",
        sentence: "ordered difference",
        crates: &EFFECTS,
        modules: &[
            "agent", "attach", "cli", "compile", "model", "observe", "serve", "tables", "watch",
        ],
    },
    Rule {
        part: "proxy/src/watch",
        sentence: "Kubernetes or YAML → events",
        crates: &["aya", "aya_obj"],
        modules: &[
            "agent", "attach", "cli", "compile", "observe", "plan", "serve", "tables",
        ],
    },
    Rule {
        part: "proxy/src/tables",
        sentence: "the only place that touches bpf maps",
        crates: &KUBERNETES,
        modules: &[
            "agent", "attach", "cli", "compile", "model", "observe", "serve", "watch",
        ],
    },
    Rule {
        part: "proxy/src/attach",
        sentence: "links and devices",
        crates: &KUBERNETES,
        modules: &["agent", "cli", "compile", "observe", "serve", "watch"],
    },
    Rule {
        part: "proxy/src/observe",
        sentence: "text and numbers about state",
        crates: &["kube", "k8s_openapi", "aya", "aya_obj"],
        modules: &["agent", "cli", "serve"],
    },
    Rule {
        part: "proxy/src/serve",
        sentence: "health and numbers over HTTP",
        crates: &["kube", "k8s_openapi", "aya", "aya_obj"],
        modules: &["agent", "attach", "cli", "compile", "plan"],
    },
    Rule {
        part: "proxy/src/agent",
        sentence: "order of the stages, timers, retries",
        crates: &["aya", "aya_obj", "k8s_openapi"],
        modules: &["cli"],
    },
    Rule {
        part: "proxy/src/cli",
        sentence: "arguments → calls → text",
        crates: &["kube", "k8s_openapi", "aya", "aya_obj"],
        modules: &[],
    },
];

#[test]
fn dependencies_point_one_way() {
    let mut offences = Vec::new();
    for source in files("rs") {
        for rule in RULES
            .iter()
            .filter(|rule| source.path.starts_with(rule.part))
        {
            for (line, name) in names(&source) {
                let forbidden = match name.strip_prefix("crate::") {
                    Some(module) => rule.modules.contains(&module),
                    None => rule.crates.contains(&name.as_str()),
                };
                if forbidden {
                    let what = format!("`{name}`, but `{}` is: {}", rule.part, rule.sentence);
                    offences.push(source.place(line, &what));
                }
            }
        }
    }
    check(
        "dependencies point one way (ARCHITECTURE.md); move the code, not the rule",
        &offences,
    );
}

/// The crates and the crate's own modules (as `crate::name`) that the code of a file names.
fn names(source: &Source) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    // A group after `crate::` may go over several lines.
    let mut group: Option<Group> = None;
    for (number, line) in source.code() {
        if let Some(open) = &mut group {
            names.extend(open.read(line).into_iter().map(|name| (number, name)));
            if open.depth == 0 {
                group = None;
            }
            continue;
        }
        for (at, _) in line.match_indices("::") {
            let before = identifier_before(&line[..at]);
            let after = &line[at + 2..];
            if before == "crate" && after.starts_with('{') {
                let mut open = Group {
                    depth: 0,
                    at_name: false,
                };
                names.extend(open.read(after).into_iter().map(|name| (number, name)));
                group = (open.depth > 0).then_some(open);
            } else if before == "crate" {
                names.push((number, format!("crate::{}", identifier(after))));
            } else if !line[..at - before.len()].ends_with("::") {
                names.push((number, before.to_owned()));
            }
        }
    }
    names
}

/// Inside the braces of `crate::{…}`; a module's name stands at depth 1.
struct Group {
    depth: usize,
    at_name: bool,
}

impl Group {
    fn read(&mut self, text: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (at, character) in text.char_indices() {
            match character {
                '{' => self.depth += 1,
                '}' => self.depth -= 1,
                ',' | ' ' => {}
                _ if self.depth == 1 && self.at_name => {
                    names.push(format!("crate::{}", identifier(&text[at..])));
                }
                _ => {}
            }
            if self.depth == 0 {
                break;
            }
            let opens = character == ',' || (character == '{' && self.depth == 1);
            self.at_name = self.depth == 1 && (opens || (self.at_name && character == ' '));
        }
        names
    }
}

fn identifier(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

fn identifier_before(text: &str) -> &str {
    let start = text
        .rfind(|c: char| !c.is_alphanumeric() && c != '_')
        .map_or(0, |at| {
            at + text[at..].chars().next().map_or(0, char::len_utf8)
        });
    &text[start..]
}

#[test]
fn names_are_found_in_every_form_of_a_path() {
    let text = [
        "use aya::Pod;",
        "use crate::plan::Op;",
        "use crate::{",
        "    model::{self, Event},",
        "    tables,",
        "};",
        "use crate::{a, b::c};",
        "// use kube::Client;",
        "let x = std::fs::read(y);",
        "mod tests {",
        "use tokio::test;",
    ]
    .join("\n");
    let source = Source {
        path: "a.rs".to_owned(),
        text,
    };
    let found: Vec<String> = names(&source).into_iter().map(|(_, name)| name).collect();
    for name in [
        "aya",
        "crate::plan",
        "crate::model",
        "crate::tables",
        "crate::a",
        "crate::b",
        "std",
    ] {
        assert!(
            found.iter().any(|one| one == name),
            "{name} is missing from {found:?}"
        );
    }
    for name in [
        "kube",
        "tokio",
        "crate::self",
        "crate::Event",
        "crate::c",
        "fs",
    ] {
        assert!(
            !found.iter().any(|one| one == name),
            "{name} is in {found:?}"
        );
    }
}
