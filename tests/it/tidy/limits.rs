//! Sizes: files, functions, lines, parameters.

use super::{
    check,
    source::{Source, files},
};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;
const PARAMETERS_MAX: usize = 5;

/// A function as rustfmt lays it out.
struct Function<'a> {
    line: usize,
    length: usize,
    parameters: usize,
    name: &'a str,
}

#[test]
fn no_file_is_longer_than_one_room() {
    let offences: Vec<String> = files("rs")
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines", source.path))
        .collect();
    check(
        &format!("a source file has at most {FILE_LINES_MAX} lines: split it by noun"),
        &offences,
    );
}

#[test]
fn no_line_is_too_wide() {
    let mut offences = Vec::new();
    for source in files("rs") {
        for (index, line) in source.text.lines().enumerate() {
            // A row of a table cannot be broken, nor a literal without changing what it says.
            let is_whole = line.trim_start().starts_with("//! |") || line.matches('"').count() >= 2;
            if line.chars().count() > LINE_COLUMNS_MAX && !is_whole {
                offences
                    .push(source.place(index + 1, &format!("{} columns", line.chars().count())));
            }
        }
    }
    check(
        &format!("a line has at most {LINE_COLUMNS_MAX} columns"),
        &offences,
    );
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut offences = Vec::new();
    for source in files("rs") {
        for one in functions(&source)
            .iter()
            .filter(|one| one.length > FUNCTION_LINES_MAX)
        {
            offences.push(source.place(one.line, &format!("{}: {} lines", one.name, one.length)));
        }
    }
    check(
        &format!("a function has at most {FUNCTION_LINES_MAX} lines"),
        &offences,
    );
}

#[test]
fn no_function_takes_too_many_parameters() {
    let mut offences = Vec::new();
    for source in files("rs") {
        for one in functions(&source)
            .iter()
            .filter(|one| one.parameters > PARAMETERS_MAX)
        {
            offences.push(source.place(one.line, &format!("{}: {}", one.name, one.parameters)));
        }
    }
    check(
        &format!("a function takes at most {PARAMETERS_MAX} parameters besides self"),
        &offences,
    );
}

fn functions(source: &Source) -> Vec<Function<'_>> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut functions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_end = |one: &&&str| {
            let rest = one.strip_prefix(indent);
            rest == Some("}")
                || (rest.is_some_and(|rest| !rest.starts_with([' ', ')', '}', 'w']))
                    && one.ends_with([';', '}']))
        };
        let length = 1 + lines[index..].iter().take_while(|one| !is_end(one)).count();
        let signature = lines[index..]
            .iter()
            .take(length)
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        functions.push(Function {
            line: index + 1,
            length,
            parameters: parameters(&signature),
            name,
        });
    }
    functions
}

/// The name, if a function begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| {
        word.starts_with("pub")
            || word == "\"C\""
            || [
                "const", "async", "unsafe", "extern", "in", "crate)", "super)",
            ]
            .contains(&word)
    };
    if !before.split_whitespace().all(is_qualifier) {
        return None;
    }
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then_some(&after[..end])
}

/// How many parameters a signature has besides `self`.
fn parameters(signature: &str) -> usize {
    let mut open: usize = 0;
    let mut angles: usize = 0;
    let mut list = String::new();
    let mut previous = ' ';
    let after_name = signature.split_once("fn ").map_or("", |(_, rest)| rest);
    for character in after_name.chars() {
        match character {
            '<' if open <= 1 => angles += 1,
            '>' if open <= 1 && previous != '-' => angles = angles.saturating_sub(1),
            // Generics before the list may have parentheses of their own.
            '(' | '[' | '{' if angles == 0 || open > 0 => open += 1,
            ')' | ']' | '}' if open > 0 => open -= 1,
            _ => {}
        }
        if open == 0 && !list.is_empty() {
            break;
        }
        if open == 1 && angles == 0 {
            list.push(character);
        }
        previous = character;
    }
    let parts = list.trim_start_matches('(').split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty() && !part.ends_with("self"))
        .count()
}

#[test]
fn functions_are_measured() {
    let text = [
        "impl A {",
        "    pub(crate) const fn one(self) -> u32 {",
        "        1",
        "    }",
        "",
        "    fn two(",
        "        &self,",
        "        a: (u8, u8),",
        "        b: HashMap<u8, u8>,",
        "    ) {",
        "    }",
        "}",
        "fn three(a: impl Fn(u8, u8) -> u8, b: [u8; 2]) {}",
        "fn four<F: Fn(u8) -> u8>(a: F)",
        "where",
        "    F: Clone,",
        "{",
        "    a(1);",
        "}",
        "",
    ]
    .join("\n");
    let source = Source {
        path: "a.rs".to_owned(),
        text,
    };
    let found: Vec<(&str, usize, usize)> = functions(&source)
        .into_iter()
        .map(|one| (one.name, one.length, one.parameters))
        .collect();
    assert_eq!(
        found,
        [
            ("one", 3, 0),
            ("two", 6, 2),
            ("three", 1, 2),
            ("four", 6, 1)
        ]
    );
}
