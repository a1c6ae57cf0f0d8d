//! The KV budget: how many tokens of prefilled contexts a worker may hold.

/// The KV budget: the most tokens of contexts that all workers together hold, each context counted as long as the longest.
/// A single context may have more.
pub(crate) const KV_BUDGET_TOKENS: usize = 32 << 10;

/// Counts the context tokens of some rows against a limit. Neighbouring rows of one context share its tokens.
pub(crate) struct KvBudget {
    limit: usize,
    contexts: usize,
    longest: usize,
    /// The index of the last row's context.
    last_context: Option<usize>,
}

impl KvBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, contexts: 0, longest: 0, last_context: None }
    }

    /// Adds a row if its context, of this index and length, fits or is the only one; returns whether it has.
    pub(crate) fn add(&mut self, context: usize, length: usize) -> bool {
        let contexts = self.contexts + usize::from(self.last_context != Some(context));
        let longest = self.longest.max(length);
        let fits = contexts <= 1 || contexts * longest <= self.limit;
        if fits {
            (self.contexts, self.longest, self.last_context) = (contexts, longest, Some(context));
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_counts_once_and_as_long_as_the_longest() {
        // Any number of rows may share a single context, and it may have any length.
        assert!(KvBudget::new(100).add(0, 5000));
        let mut budget = KvBudget::new(100);
        assert!((0..50).all(|_| budget.add(0, 30)));
        assert!(budget.add(1, 20) && budget.add(2, 33));
        assert!(!budget.add(3, 1), "the fourth counts 33");
        assert!(budget.add(2, 33), "a row that does not fit is not counted");
        assert!(!budget.add(2, 34));
    }
}
