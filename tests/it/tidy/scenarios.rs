//! Scenario files: each says what must hold, and together they show every way to be dropped.

use std::collections::BTreeSet;

use super::{
    check,
    source::{Source, files},
};

fn scenarios() -> Vec<Source> {
    let mut sources = files("txt");
    sources.retain(|source| source.is_below(&["tests/scenarios/"]));
    assert!(!sources.is_empty(), "no scenario below tests/scenarios");
    sources
}

#[test]
fn every_scenario_opens_with_a_sentence() {
    let offences: Vec<String> = scenarios()
        .into_iter()
        .filter(|source| !source.text.starts_with("# "))
        .map(|source| source.path)
        .collect();
    check(
        "a scenario's first line is `# ` and the sentence that must hold",
        &offences,
    );
}

/// Where decisions are tested that no scenario can lead to.
const DECISION_TESTS: [&str; 2] = [
    "proxy-datapath/src/tests.rs",
    "tests/it/differential/host.rs",
];

#[test]
fn every_drop_reason_has_a_scenario() {
    let sources = files("rs");
    let verdict = sources
        .iter()
        .find(|source| source.path == "proxy-datapath/src/verdict.rs");
    let reasons = variants(&verdict.expect("the reasons are in verdict.rs").text);
    assert!(
        !reasons.is_empty(),
        "no reason found in the enum DropReason"
    );
    let words: BTreeSet<String> = scenarios()
        .iter()
        .flat_map(|source| source.text.split_whitespace())
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned())
        .collect();
    // What no cluster leads to has a test with tables of its own.
    let tested: String = sources
        .iter()
        .filter(|source| DECISION_TESTS.contains(&source.path.as_str()))
        .map(|source| source.text.as_str())
        .collect();
    let offences: Vec<String> = reasons
        .into_iter()
        .filter(|name| !tested.contains(&format!("DropReason::{name}")))
        .map(|name| kebab(&name))
        .filter(|name| !words.contains(name))
        .collect();
    check(
        "every drop reason appears in a scenario or in a test of the decisions",
        &offences,
    );
}

fn variants(text: &str) -> Vec<String> {
    let body = text
        .split_once("enum DropReason {")
        .map_or("", |(_, rest)| rest);
    body.lines()
        .take_while(|line| *line != "}")
        .filter_map(|line| line.trim().split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(character.to_lowercase());
    }
    text
}
