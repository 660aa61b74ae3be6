//! A manifest file as documents: where each begins, what it says, and which line an error is on.
//!
//! The text is cut before it is parsed, so that a syntax error loses one document and not the rest
//! of the file. `---` and `...` in the first column end a document wherever they stand
//! (YAML 1.2.2, rule c-forbidden). JSON is read as YAML; as for kubectl, one value may follow
//! another without anything between them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use serde_saphyr::Spanned;

/// A slice of a hundred thousand endpoints has two million nodes.
const NODES_MAX: usize = 8_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// The line of the file that `text` begins on, from 1.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// Why a document or a part of it cannot be read, and the line of the file that says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// One step from a node to one of its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Where the nodes of a document are.
pub(super) struct Places {
    /// The line of the file that the document's first line is on.
    line: usize,
    root: Option<Spanned<Node>>,
}

/// A document without its values: every node with its place.
enum Node {
    Map(Vec<(String, Spanned<Self>)>),
    Sequence(Vec<Spanned<Self>>),
    Scalar,
}

struct NodeVisitor;

/// The documents of a file that hold more than comments and directives.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut line, mut start, mut offset) = (1, 0, 0);
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        if is_marker(whole) {
            documents.push(Document {
                line,
                text: &text[start..offset],
            });
            // What follows the marker on its line is the document's first line.
            (line, start) = (index + 1, offset + 3);
        }
        offset += whole.len();
    }
    documents.push(Document {
        line,
        text: &text[start..],
    });
    let mut documents: Vec<_> = documents.iter().flat_map(Document::values).collect();
    documents.retain(|document| !document.is_blank());
    documents
}

fn is_blank(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#') || line.starts_with('%')
}

fn is_marker(line: &str) -> bool {
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        with_snippet: false,
        // A port may be called `y`, and YAML 1.2 knows no `on`.
        strict_booleans: true,
        budget: serde_saphyr::budget! { max_events: 2 * NODES_MAX, max_nodes: NODES_MAX },
    }
}

// === impl Document ===

impl<'a> Document<'a> {
    /// Each JSON value that it begins with as a document, then what is left. What is no JSON is
    /// left whole.
    fn values(&self) -> Vec<Self> {
        let mut documents = Vec::new();
        let (mut line, mut start) = (self.line, 0);
        let mut cut = |end: usize| {
            let text: &'a str = &self.text[start..end];
            documents.push(Self { line, text });
            line += text.matches('\n').count();
            start = end;
        };
        if self.text.trim_start().starts_with('{') {
            let mut values = serde_json::Deserializer::from_str(self.text).into_iter();
            while let Some(Ok(IgnoredAny)) = values.next() {
                cut(values.byte_offset());
            }
        }
        cut(self.text.len());
        documents
    }

    pub(super) fn parse(&self) -> Result<Value, Fault> {
        if self.text.trim_start().starts_with(',') {
            let reason = "a comma between objects: they stand without, or in the items of a List";
            return Err(Fault {
                line: self.first_line(),
                reason: reason.to_owned(),
            });
        }
        serde_saphyr::from_str_with_options(self.text, options()).map_err(|error| {
            let Some(place) = error.location() else {
                return Fault {
                    line: self.line,
                    reason: error.to_string(),
                };
            };
            // The message counts lines from the document's beginning.
            let suffix = format!(" at line {}, column {}", place.line(), place.column());
            let formatter = serde_saphyr::UserMessageFormatter;
            let reason = error.render_with_formatter(&formatter).replace(&suffix, "");
            Fault {
                line: self.file_line(place.line()),
                reason,
            }
        })
    }

    pub(super) fn places(&self) -> Places {
        let root = serde_saphyr::from_str_with_options(self.text, options()).ok();
        Places {
            line: self.line,
            root,
        }
    }

    /// The line of the file that the first word of the document is on.
    pub(super) fn first_line(&self) -> usize {
        let blank = self.text.lines().take_while(|line| is_blank(line)).count();
        self.line + blank
    }

    fn file_line(&self, line: u64) -> usize {
        // A place past the end belongs to the last line.
        let last = self.text.lines().count().max(1);
        let line = usize::try_from(line).unwrap_or(last).clamp(1, last);
        self.line + line - 1
    }

    fn is_blank(&self) -> bool {
        self.text.lines().all(is_blank)
    }
}

// === impl Step ===

impl Step {
    pub(super) fn from_path(path: &Path) -> Vec<Self> {
        path.iter()
            .map_while(|segment| match segment {
                Segment::Map { key } => Some(Self::Key(key.clone())),
                Segment::Seq { index } => Some(Self::Index(*index)),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect()
    }
}

// === impl Places ===

impl Places {
    /// The line of the file that a node is on, or the nearest node above it that exists.
    pub(super) fn line_of(&self, steps: &[Step]) -> usize {
        let Some(mut node) = self.root.as_ref() else {
            return self.line;
        };
        for step in steps {
            let child = match (&node.value, step) {
                (Node::Map(entries), Step::Key(key)) => entries
                    .iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, child)| child),
                (Node::Sequence(items), Step::Index(index)) => items.get(*index),
                _ => None,
            };
            let Some(child) = child else { break };
            node = child;
        }
        let line = usize::try_from(node.referenced.line()).unwrap_or(1);
        self.line + line.max(1) - 1
    }
}

// === impl Node ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

// === impl NodeVisitor ===

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any node")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Node::Sequence(items))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Node::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one("a: 1\n", &[(1, "a: 1\n")])]
    #[case::no_final_newline("a: 1\n---\nb: 2", &[(1, "a: 1\n"), (2, "\nb: 2")])]
    #[case::leading_marker("---\na: 1\n", &[(1, "\na: 1\n")])]
    #[case::content_after_the_marker("--- {a: 1}\n---\tb\n", &[(1, " {a: 1}\n"), (2, "\tb\n")])]
    #[case::windows_lines("a: 1\r\n---\r\nb: 2\r\n", &[(1, "a: 1\r\n"), (2, "\r\nb: 2\r\n")])]
    #[case::end_marker("a: 1\n...\n# end\n---\nb: 2\n", &[(1, "a: 1\n"), (4, "\nb: 2\n")])]
    #[case::empty_documents("---\n---\n# nothing\n---\n  \n", &[])]
    #[case::directive("%YAML 1.2\n---\na: 1\n", &[(2, "\na: 1\n")])]
    #[case::marker_stands_alone("a: |\n  ---\n----\n---x\n", &[(1, "a: |\n  ---\n----\n---x\n")])]
    #[case::byte_order_mark("\u{feff}a: 1\n", &[(1, "a: 1\n")])]
    #[case::nothing("", &[])]
    #[case::json_values("{\"a\": {}}\n{\"b\": 2}{}\n\n",
        &[(1, "{\"a\": {}}"), (1, "\n{\"b\": 2}"), (2, "{}")])]
    #[case::json_and_yaml("---\n{}\n{\n}\n# end\n---\nb: 2\n",
        &[(1, "\n{}"), (2, "\n{\n}"), (6, "\nb: 2\n")])]
    #[case::json_that_breaks_off("{}\n{\"a\": \n\n", &[(1, "{}"), (1, "\n{\"a\": \n\n")])]
    #[case::flow_style_is_no_json("{a: 1}\n", &[(1, "{a: 1}\n")])]
    fn file_splits_into_documents(#[case] text: &str, #[case] expect: &[(usize, &str)]) {
        let documents: Vec<_> = split(text)
            .iter()
            .map(|document| (document.line, document.text))
            .collect();
        assert_eq!(documents, expect);
    }

    #[rstest]
    #[case::key_twice("a: 1\nb: 2\na: 3\n", 12, "duplicate mapping key: a not allowed here")]
    #[case::open_list("a: [1\nb: 2\n", 11, "illegal placement of ':' indicator")]
    #[case::open_quote_at_the_end("a: \"x\n", 10, "invalid indentation in multiline quoted scalar")]
    #[case::unknown_anchor("a: 1\nb: *x\n", 11, "reference to unknown value")]
    fn syntax_error_has_the_line_of_the_file(
        #[case] text: &str,
        #[case] line: usize,
        #[case] reason: &str,
    ) {
        let fault = Document { line: 10, text }.parse().unwrap_err();
        assert_eq!(
            fault,
            Fault {
                line,
                reason: reason.to_owned()
            }
        );
    }

    #[test]
    fn document_of_many_nodes_is_read() {
        // The parser's own bound is 250 000.
        let text = format!("[{}]", "1, ".repeat(300_000));
        let value = Document {
            line: 1,
            text: &text,
        }
        .parse()
        .unwrap();
        assert_eq!(value.as_array().map(Vec::len), Some(300_000));
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        let text = "[true, False, y, n, on, off, Yes, NO]";
        let value = Document { line: 1, text }.parse().unwrap();
        let words = serde_json::json!([true, false, "y", "n", "on", "off", "Yes", "NO"]);
        assert_eq!(value, words);
    }

    #[test]
    fn json_indented_by_tabs_is_read() {
        let text = "{\n\t\"a\": [\n\t\t\"x\"\n\t]\n}\n";
        let value = Document { line: 1, text }.parse().unwrap();
        assert_eq!(value, serde_json::json!({"a": ["x"]}));
    }

    #[rstest]
    #[case::in_a_list("a: 1\nb:\n  - c: 2\n  - {x: 1,\n     c: no-number}\n", 14)]
    #[case::absent_is_the_parent("a: 1\nb:\n  - c: 2\n  - {x: 1}\n", 13)]
    fn path_has_a_line(#[case] text: &str, #[case] expect: usize) {
        #[derive(Debug, Deserialize)]
        struct Outer {
            #[expect(dead_code, reason = "only its error matters")]
            b: Vec<Inner>,
        }
        #[derive(Debug, Deserialize)]
        struct Inner {
            #[expect(dead_code, reason = "only its error matters")]
            c: u8,
        }
        let document = Document { line: 10, text };
        let value = document.parse().unwrap();
        let error = serde_path_to_error::deserialize::<_, Outer>(value).unwrap_err();
        assert_eq!(
            document.places().line_of(&Step::from_path(error.path())),
            expect
        );
    }
}
