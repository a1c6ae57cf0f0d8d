//! Which samples a fit is made to, and which are held out from it.

/// Which samples, of each context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    /// All of them, in the contexts where some satisfy the pointwise constraints.
    All,
    /// All of them; a context where none satisfies the pointwise constraints is an error.
    AllContexts,
    /// Those not in the part of this share that is held out; contexts as in `All`.
    Kept(f64),
    /// The part of this share that is held out; contexts as in `All`.
    HeldOut(f64),
}

impl Part {
    /// Whether a context's sample is in the part. Samples are independent, so that every k-th is as good as
    /// a random choice.
    pub(crate) fn contains(self, index: usize) -> bool {
        let held_out = |share: f64| ((index + 1) as f64 * share).floor() > (index as f64 * share).floor();
        match self {
            Self::All | Self::AllContexts => true,
            Self::Kept(share) => !held_out(share),
            Self::HeldOut(share) => held_out(share),
        }
    }

    /// How many of a context's samples that could not be evaluated belong to the part. Only `Z` depends on it,
    /// which is reported of all samples.
    pub(crate) fn left_out(self, count: usize) -> usize {
        match self {
            Self::All | Self::AllContexts => count,
            Self::Kept(_) | Self::HeldOut(_) => 0,
        }
    }
}
