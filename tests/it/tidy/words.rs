//! Words that do not belong in the sources, and where `unsafe` may stand.

use super::{
    check,
    source::{Source, files},
};

/// Who may print to standard output: what a person typed, and what cargo reads.
const PRINTING: [&str; 5] = [
    "proxy/src/cli/",
    "proxy/src/main.rs",
    "proxy/build.rs",
    "xtask/",
    "tests/src/bin/",
];

/// Who may write `unsafe`: the types that cross into the kernel, the programs, raw bpf(2).
const UNSAFE: [&str; 4] = [
    "proxy-datapath/src/tables",
    "proxy-ebpf/src/",
    "proxy/src/tables/",
    "proxy/src/attach/",
];

#[test]
fn nothing_unfinished_is_left_behind() {
    // Put together, or this file would be the first offence.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["X", "XX"],
        ["dbg", "!("],
        ["todo", "!("],
    ];
    let words = words.map(|parts| parts.concat());
    let mut offences = Vec::new();
    for source in files("rs") {
        for (index, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                offences.push(source.place(index + 1, word));
            }
        }
    }
    check(
        "open an issue, or assert what happens today in a test",
        &offences,
    );
}

#[test]
fn only_commands_print() {
    let mut offences = Vec::new();
    for source in files("rs")
        .iter()
        .filter(|source| !source.is_below(&PRINTING))
    {
        for (line, text) in source.code() {
            let bare = Source::without_literals(text);
            // Not `eprint`: an error of last resort may go to standard error.
            let prints = |word| {
                bare.match_indices(word)
                    .any(|(at, _)| !bare[..at].ends_with('e'))
            };
            if prints("println!(") || prints("print!(") {
                offences.push(source.place(line, text.trim()));
            }
        }
    }
    check(
        "the agent logs with `tracing`; only commands print",
        &offences,
    );
}

#[test]
fn unsafe_stands_only_where_the_kernel_is_near() {
    let mut offences = Vec::new();
    for source in files("rs")
        .iter()
        .filter(|source| !source.is_below(&UNSAFE))
    {
        for (line, text) in source.code() {
            let bare = Source::without_literals(text);
            let mut words = bare.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == "unsafe") {
                offences.push(source.place(line, text.trim()));
            }
        }
    }
    check(
        &format!("`unsafe` stands only in {}", UNSAFE.join(", ")),
        &offences,
    );
}
