//! What a person would otherwise have to watch for in review: heads, reach, sizes, imports, words.
//!
//! Each test collects every offence before it fails, with the rule and what to do about it. The
//! scanners read text that rustfmt has laid out, and are no parsers.

mod documents;
mod imports;
mod limits;
mod reach;
mod scenarios;
mod source;
mod words;

/// Fails with the rule and every place that breaks it.
#[track_caller]
fn check(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}\n  {}\n", offences.join("\n  "));
}
