//! The numbered behaviours of `docs/behaviours.md`, and which of them no test cites.
//!
//! A test cites numbers at the end of its name or of a case's name (`…_97`, `…_98_99`), or in a
//! comment (`services.md 31–36, 65`); a scenario cites them in its comments. What code says of the
//! numbers that it implements proves nothing and does not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::shell::root;

const TABLE: &str = "docs/behaviours.md";
const CITATION: &str = "services.md ";
const DOES_NOT_APPLY: &str = "does not apply: ";
/// Where tests are.
const FOLDERS: [&str; 4] = ["proxy", "proxy-datapath", "tests", "xtask"];

#[derive(Debug, PartialEq, Eq)]
struct Behaviour<'a> {
    number: u32,
    words: &'a str,
    applies: bool,
}

/// Prints one line for each behaviour that applies and that no test cites.
pub(crate) fn print_uncited() -> Result<()> {
    let text = fs::read_to_string(root().join(TABLE)).with_context(|| format!("read {TABLE}"))?;
    let mut cited = BTreeSet::new();
    for folder in FOLDERS {
        scan(&root().join(folder), &mut cited)?;
    }
    let behaviours = parse_table(&text)?;
    let uncited: Vec<_> = behaviours
        .iter()
        .filter(|behaviour| behaviour.applies && !cited.contains(&behaviour.number))
        .collect();
    println!(
        "== behaviours that no test cites: {} of {}",
        uncited.len(),
        behaviours.len()
    );
    for Behaviour { number, words, .. } in uncited {
        println!("{number:>3}  {words}");
    }
    Ok(())
}

/// The rows, which are numbered from 1 without a gap.
fn parse_table(text: &str) -> Result<Vec<Behaviour<'_>>> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &["", number, words, why_not, ""] = &cells[..] else {
            continue;
        };
        let Ok(number) = number.parse() else {
            continue;
        };
        let expected = rows.len() as u32 + 1;
        ensure!(
            number == expected,
            "{TABLE}: {number} stands where {expected} should"
        );
        ensure!(!words.is_empty(), "{TABLE}: {number} says nothing");
        let reason = why_not.strip_prefix(DOES_NOT_APPLY);
        ensure!(
            why_not.is_empty() || reason.is_some_and(|reason| !reason.is_empty()),
            "{TABLE}: {number} says neither nothing nor `{DOES_NOT_APPLY}` and why"
        );
        rows.push(Behaviour {
            number,
            words,
            applies: why_not.is_empty(),
        });
    }
    Ok(rows)
}

/// Adds what the files below a folder cite.
fn scan(folder: &Path, cited: &mut BTreeSet<u32>) -> Result<()> {
    let name = |path: &Path| {
        path.strip_prefix(root())
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", name(folder)))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", name(folder)))?
            .path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            scan(&path, cited)?;
        } else if let Some(extension @ ("rs" | "txt")) = extension {
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", name(&path)))?;
            match extension {
                "rs" => cite_tests(&name(&path), &text, cited),
                _ => cite_comments(text.lines().filter(|line| line.starts_with('#')), cited),
            }
        }
    }
    Ok(())
}

/// What the tests of a source file cite, by their names and in comments.
fn cite_tests(path: &str, text: &str, cited: &mut BTreeSet<u32>) {
    let is_test_file =
        path.starts_with("tests/it/") || path.contains("/tests/") || path.ends_with("/tests.rs");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let first = match is_test_file {
        true => Some(0),
        // By convention the tests are the last that a file has.
        false => lines
            .windows(2)
            .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{')),
    };
    let lines = first.and_then(|first| lines.get(first..)).unwrap_or(&[]);
    cite_comments(
        lines.iter().copied().filter(|line| line.starts_with("//")),
        cited,
    );
    let mut is_test = false;
    for line in lines {
        is_test |= ["#[test]", "#[rstest", "#[tokio::test"]
            .iter()
            .any(|attribute| line.starts_with(attribute));
        if let Some(case) = line.strip_prefix("#[case::") {
            cited.extend(numbers_of_name(case));
        } else if let Some(name) = after_fn(line)
            && std::mem::take(&mut is_test)
        {
            cited.extend(numbers_of_name(name));
        }
    }
}

fn after_fn(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    line.strip_prefix("async ")
        .unwrap_or(line)
        .strip_prefix("fn ")
}

/// The numbers at the end of the name that a text begins with: 98 and 99 of `status_98_99(…`.
fn numbers_of_name(text: &str) -> impl Iterator<Item = u32> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &text[..end.unwrap_or(text.len())];
    name.rsplit('_').map_while(|word| word.parse().ok())
}

/// What comment lines cite; a list may go on in the next line.
fn cite_comments<'a>(lines: impl Iterator<Item = &'a str>, cited: &mut BTreeSet<u32>) {
    let text: Vec<&str> = lines
        .map(|line| line.trim_start_matches(['/', '!', '#', ' ']))
        .collect();
    let text = text.join(" ");
    for (start, _) in text.match_indices(CITATION) {
        cite_list(&text[start + CITATION.len()..], cited);
    }
}

/// Numbers and ranges with commas or `and` between them: `31–36, 45 and 65`, `90 to 95`, `58 a`.
fn cite_list(mut text: &str, cited: &mut BTreeSet<u32>) {
    while let Some((first, rest)) = number(text) {
        let end = ["–", "-", " to "]
            .iter()
            .find_map(|dash| number(rest.strip_prefix(dash)?));
        let (last, rest) = end.unwrap_or((first, rest));
        cited.extend(first..=last);
        let next = [", ", " and "]
            .iter()
            .find_map(|word| rest.strip_prefix(word));
        text = next.unwrap_or_default();
    }
}

/// The number that a text begins with, and what follows it. Not `1` of `1.12`.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let is_section = rest
        .strip_prefix('.')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let number = digits.parse().ok().filter(|_| !is_section)?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(path: &str, text: &str) -> Vec<u32> {
        let mut cited = BTreeSet::new();
        cite_tests(path, text, &mut cited);
        cited.into_iter().collect()
    }

    #[test]
    fn names_of_tests_and_cases_cite() {
        // Put together, or this file would cite them.
        let mark = |name: &str, attribute: &str| format!("    #[{attribute}]\n    {name}");
        let text = [
            mark("fn one_97() {", "test"),
            mark("async fn several_98_99(", "tokio::test"),
            mark(
                &mark("fn many(#[case] port_9: u16) {", "case::one_42(5)"),
                "rstest",
            ),
            "fn helper_3() {\n".to_owned(),
        ];
        assert_eq!(cited("tests/it/a.rs", &text.join("\n")), [42, 97, 98, 99]);
    }

    #[test]
    fn comments_of_tests_cite_numbers_and_ranges() {
        let list = |list: &str| format!("//! What holds (services\u{2e}md {list}).");
        for (text, numbers) in [
            ("31–33, 45", vec![31, 32, 33, 45]),
            ("38-40 and section 3", vec![38, 39, 40]),
            ("90 to 92 and 95", vec![90, 91, 92, 95]),
            ("58 a", vec![58]),
            ("1.12", vec![]),
            ("7,\n//! 8", vec![7, 8]),
        ] {
            assert_eq!(cited("tests/it/a.rs", &list(text)), numbers, "{text}");
        }
    }

    #[test]
    fn code_outside_of_tests_cites_nothing() {
        let citation = |number| format!("// services\u{2e}md {number}\n");
        let (code, test) = (citation(4), citation(5));
        let text = format!("{code}#[cfg(test)]\nmod testing;\n{code}");
        assert_eq!(cited("proxy/src/a.rs", &text), Vec::<u32>::new());
        let text = format!("{code}#[cfg(test)]\nmod tests {{\n{test}");
        assert_eq!(cited("proxy/src/a.rs", &text), [5]);
        assert_eq!(cited("proxy/src/a/tests.rs", &code), [4]);
        assert_eq!(cited("proxy/src/a/tests/b.rs", &code), [4]);
    }

    #[test]
    fn a_row_applies_or_says_why_not() {
        let rows = "| | behaviour | why not |\n|---|---|---|\n| 1 | One | |\n\
                    | 2 | Two | does not apply: no such thing |\n";
        let rows = parse_table(rows).unwrap();
        let applies: Vec<_> = rows.iter().map(|row| (row.words, row.applies)).collect();
        assert_eq!(applies, [("One", true), ("Two", false)]);
        for bad in [
            "| 2 | Two | |",
            "| 1 | | |",
            "| 1 | One | no |",
            "| 1 | One | does not apply: |",
        ] {
            parse_table(bad).unwrap_err();
        }
    }

    #[test]
    fn every_behaviour_has_its_row() {
        let text = fs::read_to_string(root().join(TABLE)).unwrap();
        assert_eq!(parse_table(&text).unwrap().len(), 132);
    }
}
