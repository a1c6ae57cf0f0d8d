//! Steps with all outcomes of their contexts, each once, in the place of samples.
//!
//! The outcomes go through the step as samples of the uniform distribution `q = 1/n` would: a mean over them is then the sum
//! over the space.

use disco_core::{Error as CoreError, Streams, numerics::log_sum_exp};

use super::{Run, timer::Timer};
use crate::{
    config::Sampling,
    error::{Error, Result, Stage},
    gradient::ContextSamples,
    metrics::MASS_TOLERANCE,
    policy::Policy,
    problem::Problem,
};

/// Refuses a problem without a space where it is needed, or with one where it is not, and statistics of samples where there
/// are none.
pub(crate) fn check_space<C, X>(enumerated: bool, problem: &Problem<'_, C, X>) -> Result<()> {
    if enumerated != problem.outcomes.is_some() {
        let (value, allowed) = match enumerated {
            true => ("enumerated", "online or offline, for a problem without `Problem::with_space`"),
            false => ("online or offline", "enumerated, for a problem with `Problem::with_space`"),
        };
        return Err(CoreError::invalid("sampling", value, allowed).into());
    }
    match problem.statistics.first() {
        Some((name, _)) if enumerated => {
            let allowed = "none, where all outcomes are enumerated: they are no samples";
            Err(CoreError::invalid("statistic of samples", name, allowed).into())
        }
        _ => Ok(()),
    }
}

impl<P, C, X> Run<'_, P, C, X>
where
    P: Policy<C, X>,
{
    /// Whether steps take all outcomes.
    pub(crate) fn is_enumerated(&self) -> bool {
        self.tuner.config().sampling == Sampling::Enumerated
    }

    /// All outcomes of some contexts, scored: each worker scores its part.
    pub(crate) fn enumerate(
        &self,
        stage: Stage,
        contexts: &[C],
        positions: &[usize],
        timer: &mut Timer,
    ) -> Result<Vec<ContextSamples<X>>> {
        let own = positions.iter().enumerate().map(|(slot, &context)| {
            let mut outcomes = self.outcomes(&contexts[context]).map_err(self.in_context(stage, context))?;
            let log_proposal = -(outcomes.len() as f64).ln();
            let part = self.part(slot, context, Streams::new(0, outcomes.len()));
            outcomes.truncate(part.start + part.streams.len());
            let outcomes = outcomes.split_off(part.start);
            let log_probs = vec![log_proposal; outcomes.len()];
            self.score(stage, contexts, &part, outcomes, log_probs, timer)
        });
        let groups = self.complete(own.collect())?;
        match groups.iter().find(|group| group.successes() == 0) {
            Some(group) => Err(self.without_support(stage, group)),
            None => Ok(groups),
        }
    }

    fn outcomes(&self, context: &C) -> disco_core::Result<Vec<X>> {
        match &self.problem.outcomes {
            Some(outcomes) => outcomes(context),
            None => Err(CoreError::Empty { what: "space of outcomes".into() }),
        }
    }

    /// The error for a context in which the target allows no outcome: there is no distribution to follow.
    fn without_support(&self, stage: Stage, group: &ContextSamples<X>) -> Error {
        let skipped = match (group.skipped(), &group.first_skip) {
            (0, _) => String::new(),
            (count, None) => format!(", {count} of them skipped"),
            (count, Some((number, skip))) => {
                format!(", {count} of them skipped ({}, outcome {number}: {})", skip.by(), skip.reason())
            }
        };
        let value = format!("0 for all {} outcomes{skipped}", group.len());
        let cause = CoreError::invalid("target", value, "above 0 for at least one outcome");
        self.in_context(stage, group.context)(cause)
    }

    /// Refuses a space that lacks outcomes of the policy, given all outcomes of some contexts with their log-probabilities.
    pub(crate) fn check_mass<'g>(
        &self,
        stage: Stage,
        groups: impl IntoIterator<Item = (&'g ContextSamples<X>, &'g [f64])>,
    ) -> Result<()>
    where
        X: 'g,
    {
        for (group, log_policy) in groups {
            let mass = log_sum_exp(log_policy).exp();
            if !((mass - 1.0).abs() <= MASS_TOLERANCE) {
                let allowed = "1, within 1e-4: the space has to hold every outcome of the policy";
                let cause =
                    CoreError::invalid("sum of the policy's probabilities over the space", mass, allowed);
                return Err(self.in_context(stage, group.context)(cause));
            }
        }
        Ok(())
    }
}
