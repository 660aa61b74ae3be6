//! What is wrong with a configuration: everything at once, each with its field.

use std::fmt::{self, Display};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting's name as a file writes it.
    pub field: &'static str,
    /// What follows the field's name: `[1]`, if the field is a list.
    pub place: String,
    pub reason: String,
}

/// A configuration that no agent starts with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    pub problems: Vec<Problem>,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(field: &'static str, reason: impl Display) -> Self {
        Self {
            field,
            place: String::new(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn at(field: &'static str, index: usize, reason: impl Display) -> Self {
        Self {
            place: format!("[{index}]"),
            ..Self::new(field, reason)
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", self.field, self.place, self.reason)
    }
}

// === impl Invalid ===

impl Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}
