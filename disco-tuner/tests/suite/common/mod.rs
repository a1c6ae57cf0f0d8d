//! Enumerable problems, and exact answers for them.

pub(crate) mod child;
pub(crate) mod counting;
pub(crate) mod scripted;
pub(crate) mod small;
pub(crate) mod threads;
pub(crate) mod variance;

use disco_core::{Contexts, Scorer, Space, scorer};
use disco_tuner::SoftmaxTable;

/// The kind of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A hard constraint: two thirds of the outcomes are allowed.
    Pointwise,
    /// Exponential weights of two features.
    Distributional,
    /// A hard constraint and exponential weights.
    Mixed,
}

/// A number in [0, 1) that looks random.
pub(crate) fn hash(context: usize, outcome: usize) -> f64 {
    let mut z = (context as u64 * 1_000_003 + outcome as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// The original model: log-scores spread over 3 nats.
pub(crate) fn base() -> impl Scorer<usize, usize> + Clone {
    scorer(|context: &usize, outcome: &usize| 3.0 * hash(*context, *outcome))
}

pub(crate) fn features(outcome: usize) -> (f64, f64) {
    (f64::from(u8::from(outcome.is_multiple_of(2))), (outcome % 7) as f64 / 7.0)
}

/// `base * condition * exp(lambda . phi)`, unnormalised: Z is far from 1.
pub(crate) fn target(kind: Kind) -> impl Scorer<usize, usize> {
    scorer(move |context: &usize, outcome: &usize| {
        let (even, seventh) = features(*outcome);
        let soft = if kind == Kind::Pointwise { 0.0 } else { 0.8 * even - 1.1 * seventh };
        let forbidden = kind != Kind::Distributional && (outcome + context).is_multiple_of(3);
        if forbidden { f64::NEG_INFINITY } else { 3.0 * hash(*context, *outcome) + soft + 1.7 }
    })
}

pub(crate) struct World {
    pub(crate) contexts: Contexts<usize>,
    pub(crate) context_space: Space<usize>,
    pub(crate) space: Space<usize>,
}

impl World {
    pub(crate) fn new(contexts: usize, outcomes: usize) -> Self {
        Self {
            contexts: Contexts::new((0..contexts).collect()).unwrap(),
            context_space: Space::new(0..contexts).unwrap(),
            space: Space::new(0..outcomes).unwrap(),
        }
    }

    pub(crate) fn policy(&self) -> SoftmaxTable<usize, usize> {
        SoftmaxTable::from_scorer(self.context_space.clone(), self.space.clone(), &base()).unwrap()
    }

    /// The total variation between policy and exact target, the worst over contexts.
    pub(crate) fn distance(
        &self,
        policy: &SoftmaxTable<usize, usize>,
        target: &impl Scorer<usize, usize>,
    ) -> f64 {
        let distance = |context: &usize| {
            let exact = self.space.normalise(target, context).unwrap();
            let pairs = exact.probabilities().iter().zip(policy.rows()[*context].probabilities());
            pairs.map(|(p, pi)| (p - pi).abs()).sum::<f64>() / 2.0
        };
        self.contexts.items().iter().map(distance).fold(0.0, f64::max)
    }
}
