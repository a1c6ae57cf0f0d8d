//! A policy whose every gradient can be written out: one logit per context and outcome.

use std::{fs, hash::Hash, path::Path};

use disco_core::{
    Distribution, Error, Result, Sampled, Score, Scorer, Space, Streams, Table, numerics::check_log_scores,
};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{BatchItem, Checkpointed, PendingGradient, Policy, Tensors, UpdateStats, WeightFn};
use crate::{
    optimizer::{OptimizerState, Update, WeightDecay},
    storage::{version, write_durably},
};

/// The name of the one tensor.
const LOGITS: &str = "logits";
/// The file of [`Checkpointed::save`].
const FILE: &str = "softmax_table.json";
const VERSION: u32 = 2;

/// `pi(x | c) = exp(theta[c, x]) / sum_y exp(theta[c, y])`, over an enumerated space of outcomes and one of
/// contexts (`Space::new([()])` where there is no context).
///
/// It serves to test the tuner against exact answers: its score function is
/// `grad_theta[c, y] log pi(x | c) = [x = y] - pi(y | c)`, and all numbers are `f64`.
///
/// # Shapes
/// - logits, gradient: `[contexts, outcomes]`, in the order of the spaces.
///
/// # Performance
/// A sample or log-probability costs a hash look-up; [`accumulate`](Policy::accumulate) costs the batch plus
/// one pass over the rows it touches, [`step`](Policy::step) a pass over the table.
///
/// ```
/// use disco_core::{Distribution, Space};
/// use disco_tuner::{BatchItem, PendingGradient, Policy, SoftmaxTable};
/// let mut policy = SoftmaxTable::uniform(Space::new([()])?, Space::new(["a", "b"])?);
/// policy.accumulate(&[BatchItem { context: &(), sample: &"a" }], &mut |_| Ok(vec![1.0]))?;
/// assert_eq!(policy.pending()?["logits"], [0.5, -0.5]);
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SoftmaxTable<C, X> {
    contexts: Space<C>,
    outcomes: Space<X>,
    // Invariant: all finite.
    logits: Array2<f64>,
    // Invariant: rows[c] is the softmax of logits[c, ..].
    rows: Vec<Table<X>>,
    pending: Array2<f64>,
    optimizer: OptimizerState,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    contexts: usize,
    outcomes: usize,
    logits: Vec<f64>,
    optimizer: OptimizerState,
}

impl<C, X> SoftmaxTable<C, X> {
    /// A table with these logits.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a shape other than `[contexts, outcomes]`; [`Error::NotANumber`] for a logit
    /// that is not finite: a softmax cannot exclude an outcome.
    pub fn new(contexts: Space<C>, outcomes: Space<X>, logits: Array2<f64>) -> Result<Self> {
        if logits.dim() != (contexts.len(), outcomes.len()) {
            let allowed = format!("[{}, {}]", contexts.len(), outcomes.len());
            return Err(Error::invalid("shape of a softmax table", format!("{:?}", logits.shape()), allowed));
        }
        let rows = softmax(&outcomes, logits.view())?;
        let (pending, optimizer) = (Array2::zeros(logits.dim()), OptimizerState::new(logits.len()));
        Ok(Self { contexts, outcomes, logits, rows, pending, optimizer })
    }

    /// The uniform distribution in every context.
    pub fn uniform(contexts: Space<C>, outcomes: Space<X>) -> Self {
        let shape = (contexts.len(), outcomes.len());
        Self {
            rows: (0..contexts.len()).map(|_| outcomes.uniform()).collect(),
            contexts,
            outcomes,
            logits: Array2::zeros(shape),
            pending: Array2::zeros(shape),
            optimizer: OptimizerState::new(shape.0 * shape.1),
        }
    }

    /// The normalised form of a scorer, which must give every outcome a finite log-score.
    ///
    /// # Errors
    /// Errors of the scorer and of [`new`](Self::new).
    pub fn from_scorer(contexts: Space<C>, outcomes: Space<X>, scorer: &impl Scorer<C, X>) -> Result<Self> {
        let mut logits = Array2::zeros((contexts.len(), outcomes.len()));
        for (context, mut row) in contexts.outcomes().iter().zip(logits.rows_mut()) {
            row.iter_mut().zip(outcomes.log_scores(scorer, context)?).for_each(|(to, from)| *to = from);
        }
        Self::new(contexts, outcomes, logits)
    }

    /// The contexts, in the order of the rows.
    pub fn contexts(&self) -> &Space<C> {
        &self.contexts
    }

    /// The outcomes, in the order of the columns.
    pub fn outcomes(&self) -> &Space<X> {
        &self.outcomes
    }

    /// The parameters.
    pub fn logits(&self) -> ArrayView2<'_, f64> {
        self.logits.view()
    }

    /// The distribution of each context, in the order of the contexts.
    pub fn rows(&self) -> &[Table<X>] {
        &self.rows
    }
}

fn softmax<X>(outcomes: &Space<X>, logits: ArrayView2<'_, f64>) -> Result<Vec<Table<X>>> {
    if let Some((index, &value)) = logits.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(Error::NotANumber { by: "logit of a softmax table".into(), index, value });
    }
    logits.rows().into_iter().map(|row| Table::from_log_scores(outcomes.clone(), row.to_vec())).collect()
}

impl<C: Eq + Hash, X> SoftmaxTable<C, X> {
    fn row(&self, context: &C) -> Result<usize> {
        let missing = || Error::invalid("context of a softmax table", "another one", "one of its contexts");
        self.contexts.position(context).ok_or_else(missing)
    }
}

impl<C: Eq + Hash + Send + Sync, X: Eq + Hash + Send + Sync> Scorer<C, X> for SoftmaxTable<C, X> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let row = &self.rows[self.row(context)?];
        Ok(samples.iter().map(|sample| Ok(row.log_prob(sample))).collect())
    }
}

impl<C, X> Distribution<C, X> for SoftmaxTable<C, X>
where
    C: Eq + Hash + Send + Sync,
    X: Clone + Eq + Hash + Send + Sync,
{
    fn sample(&self, context: &C, streams: &Streams) -> Result<Vec<Sampled<X>>> {
        self.rows[self.row(context)?].sample(context, streams)
    }
}

impl<C, X> Policy<C, X> for SoftmaxTable<C, X>
where
    C: Clone + Eq + Hash + Send + Sync,
    X: Clone + Eq + Hash + Send + Sync,
{
    type Frozen = Self;
    fn freeze(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, C, X>], weigh: &mut WeightFn<'_>) -> Result<()> {
        let mut cells = Vec::with_capacity(batch.len());
        for item in batch {
            let outside =
                || Error::invalid("sample for a softmax table", "another one", "one of its outcomes");
            cells.push((self.row(item.context)?, self.outcomes.position(item.sample).ok_or_else(outside)?));
        }
        let log_probs: Vec<f64> = cells.iter().map(|&(row, at)| self.rows[row].as_log_probs()[at]).collect();
        let weights = weigh(&log_probs)?;
        Error::check_length("weights of a batch", batch.len(), weights.len())?;
        let mut totals = vec![0.0; self.rows.len()];
        for (&(row, at), weight) in cells.iter().zip(weights) {
            self.pending[[row, at]] += weight;
            totals[row] += weight;
        }
        for (row, total) in totals.into_iter().enumerate().filter(|(_, total)| *total != 0.0) {
            let probabilities = self.rows[row].probabilities();
            let cells = self.pending.row_mut(row).into_iter().zip(probabilities);
            cells.for_each(|(cell, probability)| *cell -= total * probability);
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.pending.fill(0.0);
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        let gradient: Vec<f64> = self.pending.iter().copied().collect();
        let norm = gradient.iter().map(|value| value * value).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(Error::NotANumber {
                by: "gradient of a softmax table".into(),
                index: 0,
                value: norm,
            });
        }
        // Computed on copies: if a new logit is not finite, parameters and optimizer state stay as they were.
        let (mut logits, mut optimizer) = (self.logits.clone(), self.optimizer.clone());
        let parameters = logits.as_slice_mut().ok_or(Error::Empty { what: "contiguous logits".into() })?;
        optimizer.descend(update, update.clip_scale(norm), WeightDecay::Apply, parameters, &gradient)?;
        self.rows = softmax(&self.outcomes, logits.view())?;
        (self.logits, self.optimizer) = (logits, optimizer);
        self.clear();
        Ok(UpdateStats { gradient_norm: norm })
    }

    fn snapshot(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<C, X> PendingGradient for SoftmaxTable<C, X> {
    type Scalar = f64;

    fn pending(&self) -> Result<Tensors<f64>> {
        Ok(Tensors::from([(LOGITS.to_owned(), self.pending.iter().copied().collect())]))
    }

    fn replace_pending(&mut self, mut gradient: Tensors<f64>) -> Result<()> {
        let found = gradient.keys().cloned().collect::<Vec<_>>().join(", ");
        match (gradient.remove(LOGITS), gradient.is_empty()) {
            (Some(values), true) => {
                Error::check_length("gradient of a softmax table", self.pending.len(), values.len())?;
                self.pending.iter_mut().zip(values).for_each(|(to, from)| *to = from);
                Ok(())
            }
            _ => Err(Error::invalid("tensors of a softmax table", found, LOGITS)),
        }
    }
}

impl<C, X> Checkpointed for SoftmaxTable<C, X> {
    fn save(&self, directory: &Path) -> Result<()> {
        let saved = Saved {
            version: VERSION,
            contexts: self.contexts.len(),
            outcomes: self.outcomes.len(),
            logits: self.logits.iter().copied().collect(),
            optimizer: self.optimizer.clone(),
        };
        let bytes = serde_json::to_vec(&saved).map_err(|cause| Error::failed(FILE, cause))?;
        fs::create_dir_all(directory)
            .map_err(|cause| Error::failed(directory.display().to_string(), cause))?;
        let path = directory.join(FILE);
        write_durably(&path, &bytes).map_err(|cause| Error::failed(path.display().to_string(), cause))
    }

    fn load(&mut self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let name = path.display().to_string();
        let bytes = fs::read(&path).map_err(|cause| Error::failed(&name, cause))?;
        let found = version(&bytes).map_err(|cause| Error::failed(&name, cause))?;
        if found != VERSION {
            return Err(Error::invalid(format!("version of {name}"), found, VERSION.to_string()));
        }
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|cause| Error::failed(&name, cause))?;
        let (shape, found) = (self.logits.dim(), (saved.contexts, saved.outcomes));
        if found != shape {
            return Err(Error::invalid(
                format!("shape of {name}"),
                format!("{found:?}"),
                format!("{shape:?}"),
            ));
        }
        Error::check_length("saved logits", self.logits.len(), saved.logits.len())?;
        Error::check_length("saved optimizer state", self.logits.len(), saved.optimizer.len())?;
        if !saved.optimizer.is_sound() {
            return Err(Error::invalid(format!("optimizer state of {name}"), "not finite", "finite numbers"));
        }
        check_log_scores(&name, &saved.logits)?;
        let logits =
            Array2::from_shape_vec(shape, saved.logits).map_err(|cause| Error::failed(&name, cause))?;
        self.rows = softmax(&self.outcomes, logits.view())?;
        (self.logits, self.optimizer) = (logits, saved.optimizer);
        self.pending.fill(0.0);
        Ok(())
    }
}
