//! One copy of each name: those of namespaces, nodes, zones and ports repeat in every slice.

use std::{collections::HashSet, sync::Arc};

/// Names in use, and some that were.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashSet<Arc<str>>,
    /// Beyond so many, those that nobody uses are forgotten.
    forget_at: usize,
}

/// Fewer are not worth the search.
const FORGET_AT_LEAST: usize = 1024;

// === impl Names ===

impl Names {
    /// Replaces the name by the copy that is known.
    pub(super) fn share(&mut self, name: &mut Arc<str>) {
        if let Some(known) = self.known.get(name) {
            *name = known.clone();
            return;
        }
        if self.known.len() >= self.forget_at {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.forget_at = FORGET_AT_LEAST.max(2 * self.known.len());
        }
        self.known.insert(name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_become_one() {
        let mut names = Names::default();
        let (mut first, mut second): (Arc<str>, Arc<str>) = ("a".into(), "a".into());
        names.share(&mut first);
        names.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let mut names = Names::default();
        let mut kept: Arc<str> = "kept".into();
        names.share(&mut kept);
        for at in 0..10 * FORGET_AT_LEAST {
            names.share(&mut at.to_string().into());
        }
        assert!(
            names.known.len() <= FORGET_AT_LEAST + 1,
            "{}",
            names.known.len()
        );
        assert!(names.known.contains("kept"));
    }
}
