//! The base, and the origin of its samples: the base itself, a proposal, or a list.

use std::{hash::Hash, ops::Range, sync::Arc};

use disco_core::{Distribution, Feature, Sampled, Scorer, Space};
use disco_ebm::Measured;

use super::{
    RunPlan,
    drawn::{Drawn, draw},
    scored::{log_scores, log_scores_in},
};
use crate::{Progress, ProgressTarget, Result, contexts::TextContext, features::TextSample};

/// The base, as the stages of a run see it.
#[derive(Clone, Debug)]
pub struct BaseModel<B, Q, X> {
    /// The base's scores.
    pub base: B,
    /// The distribution from which samples of the base are drawn: the base itself, unless the origin says otherwise.
    pub proposal: Q,
    /// How the samples of the proposal tell of the base.
    pub origin: Origin<X>,
}

impl<B: Clone, X> BaseModel<B, B, X> {
    /// A base that draws its own samples.
    pub fn new(base: B) -> Self {
        Self { proposal: base.clone(), base, origin: Origin::Base }
    }
}

/// The origin of the samples of the base.
#[derive(Clone, Debug, Default)]
pub enum Origin<X> {
    /// The base draws them: the proposal is the base.
    #[default]
    Base,
    /// The proposal draws them, and the base, which need not be normalised, scores them. The base is nowhere above the proposal, so that
    /// the supremum of their ratio is 1: the proposal is the base under a grammar.
    Proposal,
    /// They are listed: all texts of each context, each once, so that sums over them are exact. The base is normalised over them.
    Listed(Vec<Space<X>>),
}

impl<X: TextSample + Eq + Hash> Origin<X> {
    /// The samples of a distribution over the texts of the base: those with these numbers in each context, or all texts where they are
    /// listed.
    ///
    /// # Errors
    /// The errors of the distribution.
    pub(crate) fn samples<D: Distribution<TextContext, X>>(
        &self,
        distribution: &D,
        contexts: &[TextContext],
        numbers: Range<usize>,
        key: u64,
        progress: &mut Progress,
    ) -> Result<Vec<Drawn<X>>> {
        let Self::Listed(spaces) = self else {
            let drawn = draw(distribution, contexts, numbers, key, progress, |_| Ok(()))?;
            return Ok(drawn.into_iter().map(Drawn::new).collect());
        };
        let mut found = Vec::with_capacity(spaces.len());
        for (context, space) in contexts.iter().zip(spaces) {
            let samples = space.outcomes().to_vec();
            let log_policy = log_scores_in(distribution, context, &samples, progress)?;
            // Each outcome once is a sample of the uniform distribution without noise.
            let log_proposal = vec![-(samples.len() as f64).ln(); samples.len()];
            found.push(Drawn { samples, log_proposal, log_policy, exact: true });
        }
        Ok(found)
    }

    /// Makes samples of the proposal tell of the base.
    ///
    /// # Errors
    /// The errors of the base.
    pub(super) fn tell_of_base<B: Scorer<TextContext, X>>(
        &self,
        base: &B,
        contexts: &[TextContext],
        drawn: &mut [Drawn<X>],
    ) -> Result<()> {
        if let Self::Proposal = self {
            let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", 0);
            let log_base = log_scores(base, contexts, drawn, &mut hidden)?;
            drawn.iter_mut().zip(log_base).for_each(|(drawn, log_base)| drawn.log_policy = log_base);
        }
        Ok(())
    }

    /// The samples of the base with the values of features.
    ///
    /// # Errors
    /// As [`Measured`]'s constructors.
    pub(super) fn measured<B: Scorer<TextContext, X>>(
        &self,
        plan: &RunPlan<'_>,
        base: &B,
        drawn: &[Drawn<X>],
        features: &[Arc<dyn Feature<TextContext, X>>],
    ) -> Result<Measured<TextContext, X>> {
        let contexts = plan.spec.contexts.items.clone();
        let samples = || -> Vec<Vec<Sampled<X>>> { drawn.iter().map(Drawn::sampled).collect() };
        let measured = match self {
            Self::Base => Measured::from_base(contexts, samples(), features)?,
            Self::Proposal => Measured::from_proposal(base, contexts, samples(), features)?,
            Self::Listed(spaces) => {
                let spaces = contexts.into_iter().zip(spaces.iter().cloned()).collect();
                Measured::exact_each(base, spaces, features)?
            }
        };
        Ok(measured.with_context_weights(&plan.shares)?)
    }
}
