//! The split of each context's samples into those a fit is made to and those held out from it.

/// The samples of each context that a fit or an assessment uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Split {
    /// All samples, in the contexts where some satisfy the pointwise constraints.
    All,
    /// All samples; a context where none satisfies the pointwise constraints is an error.
    AllContexts,
    /// The samples that remain when this share is held out; contexts as in `All`.
    Train(f64),
    /// The share of the samples that is held out; contexts as in `All`.
    HeldOut(f64),
}

impl Split {
    /// Whether the split contains the sample at this position of a context. Samples are independent, so that every
    /// k-th is as good as a random choice.
    pub(crate) fn contains(self, index: usize) -> bool {
        let held_out = |share: f64| ((index + 1) as f64 * share).floor() > (index as f64 * share).floor();
        match self {
            Self::All | Self::AllContexts => true,
            Self::Train(share) => !held_out(share),
            Self::HeldOut(share) => held_out(share),
        }
    }

    /// The number of a context's samples that could not be evaluated and belong to the split. Only `Z` depends on it,
    /// which is reported for all samples.
    pub(crate) fn left_out(self, count: usize) -> usize {
        match self {
            Self::All | Self::AllContexts => count,
            Self::Train(_) | Self::HeldOut(_) => 0,
        }
    }
}
