//! The policy over listed choices.

use std::{collections::BTreeMap, fmt, path::Path, ptr, sync::Arc};

use disco_core::{Distribution, Error as CoreError, Sampled, Score, Scorer, Space, Streams};
use disco_tuner::{BatchItem, Checkpointed, PendingGradient, Policy, Tensors, Update, UpdateStats, WeightFn};

use super::{
    cache::Key,
    list::Choices,
    listed::Listing,
    model::{ChoiceModel, Scores},
    scored::Scored,
};
use crate::{Completion, LanguageModel, LmPolicy, Result, model::forward::SequenceInContext};

/// A [`ChoiceModel`] that can be tuned: an [`LmPolicy`], with an adapter or without, that may give only the texts of a list.
///
/// ```text
/// grad ln q(x|c) = grad ln a(x|c) - sum_y q(y|c) grad ln a(y|c)
/// ```
///
/// so that weights `w_x` on samples are the weights `w_x - q(x) sum_y w_y` on the choices. These are summed up in `f64`, for all samples
/// of a step, before any tensor sees them.
///
/// With [`disco_tuner::Sampling::Enumerated`] a step takes every choice of its contexts once, and its gradient is exact.
///
/// # Cost
/// [`accumulate`](Policy::accumulate) scores the choices of each context once per update, and remembers the weights.
/// [`step`](Policy::step) passes each choice with a weight other than zero forward and backward once, however many samples there
/// were, with as many sequences at a time as the largest batch of `accumulate` had samples.
///
/// ```
/// use disco_core::{Contexts, Distribution, scorer};
/// use disco_lm::{Backend, ChoicePolicy, Choices, Completion, Generation, LanguageModel, LmPolicy};
/// use disco_tuner::{Problem, Sampling, Tuner, TunerConfig};
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
/// # let device = Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).unwrap();
/// // A survey in which 40, 30, 20 and 10 percent gave the answers A, B, C and D.
/// let model = LanguageModel::load(folder, &device, Generation::default())?;
/// let question = "Which house is yours?\nA, B, C or D: ".to_string();
/// let choices = Choices::new(["A", "B", "C", "D"])?.without_end_token();
/// let mut policy = ChoicePolicy::new(LmPolicy::new(model), choices)?;
///
/// let shares = scorer(|_: &String, answer: &Completion| match answer.text.as_str() {
///     "A" => 0.4f64.ln(),
///     "B" => 0.3f64.ln(),
///     "C" => 0.2f64.ln(),
///     _ => 0.1f64.ln(),
/// });
/// let contexts = Contexts::single(question.clone());
/// let answers = policy.choice_model();
/// let problem = Problem::new(&contexts, &shares).with_space(|question| Ok(answers.space(question)?));
/// let config = TunerConfig { steps: 40, sampling: Sampling::Enumerated, ..TunerConfig::default() };
/// Tuner::new(config)?.run(&mut policy, &problem, &mut ())?;
///
/// let space = answers.space(&question)?;
/// let tuned = policy.log_probs(&question, &space.outcomes().iter().collect::<Vec<_>>())?;
/// for (log_prob, share) in tuned.iter().zip([0.4, 0.3, 0.2, 0.1]) {
///     assert!((log_prob.exp() - share).abs() < 0.05, "{tuned:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ChoicePolicy<C: ?Sized> {
    policy: LmPolicy,
    listing: Arc<Listing<C>>,
    /// The scores under the current parameters.
    scores: Scores,
    /// The weights of the choices that are not in the policy's pending gradient yet, in a fixed order of contexts.
    weights: BTreeMap<Key, Weights>,
    /// The number of samples of the largest batch.
    batch: usize,
}

/// The weights of the choices of a context, with their scores under the current parameters.
#[derive(Clone, Debug)]
struct Weights {
    scored: Arc<Scored>,
    of_choices: Vec<f64>,
}

impl<C: ?Sized> ChoicePolicy<C> {
    /// The policy over `choices` that starts as `policy`.
    ///
    /// # Errors
    /// As [`ChoiceModel::new`].
    pub fn new(policy: LmPolicy, choices: Choices<C>) -> Result<Self> {
        let listing = Listing::new(&policy.model(), choices)?.into();
        Ok(Self { policy, listing, scores: Scores::default(), weights: BTreeMap::new(), batch: 0 })
    }

    /// A language model with the policy's current parameters, which can be saved.
    pub fn model(&self) -> LanguageModel {
        self.policy.model()
    }

    /// The distribution with the policy's current parameters.
    pub fn choice_model(&self) -> ChoiceModel<C> {
        let (listing, scores) = (Arc::clone(&self.listing), Arc::clone(&self.scores));
        ChoiceModel { model: self.policy.model(), listing, scores }
    }

    /// Moves the weights of the choices into the policy's pending gradient.
    fn pass_weights(&mut self) -> Result<()> {
        let weights = std::mem::take(&mut self.weights);
        let mut by_maximum: BTreeMap<usize, Vec<(SequenceInContext<'_>, f64)>> = BTreeMap::new();
        for Weights { scored, of_choices } in weights.values() {
            let listed = &scored.listed;
            let of_sequences = scored.sequence_weights(of_choices);
            for (&most, positions) in &listed.by_maximum {
                let sequences = positions.iter().map(|&position| {
                    let tokens = &listed.sequences[position];
                    (SequenceInContext { context: &listed.context, tokens }, of_sequences[position])
                });
                by_maximum.entry(most).or_default().extend(sequences.filter(|(_, weight)| *weight != 0.0));
            }
        }
        for (most, sequences) in by_maximum {
            for part in sequences.chunks(self.batch.max(1)) {
                let (sequences, weights): (Vec<SequenceInContext<'_>>, Vec<f64>) =
                    part.iter().copied().unzip();
                let mut rest = weights.as_slice();
                let mut weigh = |log_probs: &[f64]| {
                    let (next, others) = rest.split_at_checked(log_probs.len()).ok_or_else(|| {
                        let allowed = format!("{}, one per sequence", weights.len());
                        CoreError::invalid("log-probabilities of a batch", "more", allowed)
                    })?;
                    rest = others;
                    Ok(next.to_vec())
                };
                self.policy.accumulate_up_to(most, &sequences, &mut weigh)?;
            }
        }
        Ok(())
    }

    /// Forgets everything that depends on the parameters.
    fn parameters_changed(&mut self) {
        self.scores = Scores::default();
        self.weights.clear();
    }
}

impl<C: AsRef<str> + ?Sized> ChoicePolicy<C> {
    /// The choices of a context as samples: see [`ChoiceModel::space`].
    ///
    /// # Errors
    /// As [`ChoiceModel::space`].
    pub fn space(&self, context: &C) -> Result<Space<Completion>> {
        self.choice_model().space(context)
    }
}

impl<C: AsRef<str> + ?Sized> Scorer<C, Completion> for ChoicePolicy<C> {
    fn log_scores(&self, context: &C, samples: &[&Completion]) -> disco_core::Result<Vec<Score>> {
        self.choice_model().log_scores(context, samples)
    }
}

impl<C: AsRef<str> + ?Sized> Distribution<C, Completion> for ChoicePolicy<C> {
    fn sample(&self, context: &C, streams: &Streams) -> disco_core::Result<Vec<Sampled<Completion>>> {
        self.choice_model().sample(context, streams)
    }
}

impl<C: AsRef<str>> Policy<C, Completion> for ChoicePolicy<C> {
    type Frozen = ChoiceModel<C>;

    fn freeze(&self) -> disco_core::Result<ChoiceModel<C>> {
        Ok(self.choice_model())
    }

    /// The log-probabilities are those of scoring, which the backward pass computes again, on the same code path.
    fn accumulate(
        &mut self,
        batch: &[BatchItem<'_, C, Completion>],
        weigh: &mut WeightFn<'_>,
    ) -> disco_core::Result<()> {
        let model = self.choice_model();
        let (mut places, mut log_probs) = (Vec::new(), Vec::with_capacity(batch.len()));
        // One key for all items of a context that follow each other: it costs as much as the list is long.
        for items in batch.chunk_by(|item, next| ptr::eq(item.context, next.context)) {
            let key = self.listing.key(items[0].context)?;
            let scored = model.scored_of(&key)?;
            let mut positions = Vec::with_capacity(items.len());
            for item in items {
                let Some(position) = scored.listed.space.position(item.sample) else {
                    let by = "log-probability under the policy (not one of its choices)".into();
                    let index = log_probs.len();
                    return Err(CoreError::NotANumber { by, index, value: f64::NEG_INFINITY });
                };
                log_probs.push(scored.table.as_log_probs()[position]);
                positions.push(position);
            }
            places.push((key, scored, positions));
        }
        let weights = weigh(&log_probs)?;
        CoreError::check_length("weights of a batch", batch.len(), weights.len())?;
        self.batch = self.batch.max(batch.len());
        let mut weights = weights.into_iter();
        for (key, scored, positions) in places {
            let entry = self.weights.entry(key).or_insert_with(|| {
                let of_choices = vec![0.0; scored.listed.space.len()];
                Weights { scored, of_choices }
            });
            for (position, weight) in positions.into_iter().zip(&mut weights) {
                entry.of_choices[position] += weight;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.weights.clear();
        Policy::<String, Completion>::clear(&mut self.policy);
    }

    fn step(&mut self, update: &Update) -> disco_core::Result<UpdateStats> {
        self.pass_weights()?;
        let stats = Policy::<String, Completion>::step(&mut self.policy, update)?;
        self.parameters_changed();
        Ok(stats)
    }

    /// As [`LmPolicy`]'s.
    fn snapshot(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<C: ?Sized> PendingGradient for ChoicePolicy<C> {
    type Scalar = f32;

    fn pending(&self) -> disco_core::Result<Tensors> {
        let mut policy = self.clone();
        policy.pass_weights()?;
        policy.policy.pending()
    }

    fn replace_pending(&mut self, gradient: Tensors) -> disco_core::Result<()> {
        self.policy.replace_pending(gradient)?;
        self.weights.clear();
        Ok(())
    }
}

impl<C: ?Sized> Checkpointed for ChoicePolicy<C> {
    fn save(&self, folder: &Path) -> disco_core::Result<()> {
        self.policy.save(folder)
    }

    fn load(&mut self, folder: &Path) -> disco_core::Result<()> {
        self.policy.load(folder)?;
        self.parameters_changed();
        Ok(())
    }
}

impl<C: ?Sized> Clone for ChoicePolicy<C> {
    fn clone(&self) -> Self {
        Self {
            policy: self.policy.clone(),
            listing: Arc::clone(&self.listing),
            scores: Arc::clone(&self.scores),
            weights: self.weights.clone(),
            batch: self.batch,
        }
    }
}

impl<C: ?Sized> fmt::Debug for ChoicePolicy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChoicePolicy").field("policy", &self.policy).finish_non_exhaustive()
    }
}
