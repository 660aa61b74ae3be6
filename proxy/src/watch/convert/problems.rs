//! What could not be used of one object, bounded: a slice of a thousand bad addresses is one fault.

const PROBLEMS_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Problems {
    first: Vec<String>,
    more: usize,
}

// === impl Problems ===

impl Problems {
    /// `reason` is in lower case, without a final period.
    pub(super) fn push(&mut self, reason: String) {
        if self.first.len() < PROBLEMS_MAX {
            self.first.push(reason);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        let mut reasons = self.first;
        if self.more > 0 {
            reasons.push(format!("and {} more", self.more));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_beyond_the_limit_are_only_counted() {
        let mut problems = Problems::default();
        for number in 0..PROBLEMS_MAX + 3 {
            problems.push(format!("problem {number}"));
        }
        let reasons = problems.into_vec();
        assert_eq!(reasons.len(), PROBLEMS_MAX + 1);
        assert_eq!(reasons[PROBLEMS_MAX], "and 3 more");
    }

    #[test]
    fn no_problem_is_an_empty_list() {
        assert_eq!(Problems::default().into_vec(), Vec::<String>::new());
    }
}
