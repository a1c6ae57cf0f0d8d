//! Samples from several proposals, joined in one set of weights.

use crate::{
    Error, ImportanceWeights, Result,
    numerics::{check_log_scores, log_sum_exp},
};

impl ImportanceWeights {
    /// Multiple importance sampling with the balance heuristic[^veach]: `w = P / sum_j (n_j / n) q_j`, with
    /// `n_j` the number of samples that came from proposal `j`.
    ///
    /// A sample is weighed against the mixture of all proposals, whichever it came from, so that a sample that
    /// is rare for its own proposal but common for another gets no giant weight: the
    /// variance is at most a small amount above the variance of any other unbiased combination. Needs the
    /// log-probability of *every* sample under *every* proposal: where those are not known use
    /// [`pooled`](Self::pooled).
    ///
    /// - `log_target`: `[n]`, unnormalised (nats), the samples of all proposals in any order;
    /// - `log_proposals`: `[proposals][n]` (nats), of the same samples;
    /// - `counts`: `[proposals]`, with sum `n`.
    ///
    /// Errors of estimates assume independent draws from the mixture. The true errors are not larger: fixed counts only
    /// remove variance.
    ///
    /// [^veach]: Veach and Guibas (1995), *Optimally combining sampling techniques for Monte Carlo
    ///   rendering*, SIGGRAPH, <https://doi.org/10.1145/218380.218498>
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`]; [`Error::Invalid`] where the counts do not sum to `n`;
    /// [`Error::NotANumber`], also for a sample that no proposal with samples can have drawn.
    pub fn balanced(log_target: &[f64], log_proposals: &[&[f64]], counts: &[usize]) -> Result<Self> {
        if log_proposals.is_empty() {
            return Err(Error::Empty { what: "list of proposals".into() });
        }
        Error::check_length("counts, one per proposal", log_proposals.len(), counts.len())?;
        for log_probs in log_proposals {
            Error::check_length("proposal log-probabilities", log_target.len(), log_probs.len())?;
        }
        let total: usize = counts.iter().sum();
        if total != log_target.len() {
            let allowed = format!("{}, the number of samples", log_target.len());
            return Err(Error::invalid("sum of counts", total, allowed));
        }
        let used: Vec<(f64, &[f64])> = counts
            .iter()
            .zip(log_proposals)
            .filter(|(count, _)| **count > 0)
            .map(|(count, log_probs)| ((*count as f64 / total as f64).ln(), *log_probs))
            .collect();
        for (number, (log_probs, _)) in
            log_proposals.iter().zip(counts).enumerate().filter(|(_, (_, n))| **n > 0)
        {
            check_log_scores(&format!("proposal {number}"), log_probs)?;
        }
        let mut terms = vec![0.0; used.len()];
        let log_mixture = (0..total).map(|i| {
            for (term, (log_share, log_probs)) in terms.iter_mut().zip(&used) {
                *term = log_share + log_probs[i];
            }
            log_sum_exp(&terms)
        });
        let log_mixture: Vec<f64> = log_mixture.collect();
        Self::new(log_target, &log_mixture)
    }

    /// The weights of several batches in one set, each relative to its own proposal.
    ///
    /// The mean weight is the mean over the batches, each counted by its size; it is unbiased for `Z`
    /// whatever the proposals, and the errors hold. But one batch from a bad proposal brings its giant
    /// weights with it: if the samples can be scored by all proposals, [`balanced`](Self::balanced) is
    /// better.
    ///
    /// # Errors
    /// [`Error::Empty`] for no batch.
    pub fn pooled<'a>(batches: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        Self::from_log(batches.into_iter().flat_map(|batch| batch.log_weights()).copied().collect())
    }
}
