//! A policy of your own, tuned with checkpoints, held-out contexts, an observer of your own, and Ctrl-C.
//!
//! ```console
//! cargo run -p disco-tuner --example own_policy -- DIRECTORY
//! ```
//!
//! The policy is a log-linear model of words over five letters, given how formal they should be. It is tuned towards
//! words without double letters and with more vowels, but otherwise as it began. Ctrl-C ends the run after the current
//! step, with a checkpoint; the same command resumes from there, with the same results to the bit.
//!
//! A run needs the traits `Scorer`, `Distribution` and `Policy`. Checkpoints need `Checkpointed` as well: without them,
//! its implementation, `Saved` and the lines with `checkpoints` can be left out.

use std::{
    env, fs,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use disco_core::{
    Condition, Contexts, Distribution, Error, Exponential, Feature, Product, Result, Sampled, Score, Scorer,
    Streams, feature, numerics::log_sum_exp, predicate,
};
use disco_tuner::{
    BatchItem, Checkpointed, Checkpoints, Control, EarlyStopping, JsonLines, Observer, ObserverError,
    OptimizerState, Policy, Problem, Schedule, StepReport, StopFlag, StopReason, Tuner, TunerConfig, Update,
    UpdateStats, Validation, WeightDecay, WeightFn, distinct_n,
};
use ndarray::Array3;
use rand::RngExt;
use serde::{Deserialize, Serialize};

const LETTERS: &[u8] = b"aelrs";
/// The symbol before the first letter and after the last.
const EDGE: usize = LETTERS.len();
const LONGEST: usize = 6;

/// How formal a word should be, from 0 to 9.
type Formality = u32;

/// `p(next | previous, c) ~ exp(theta[0] + c/9 theta[1])`, each indexed by previous and next letter.
#[derive(Clone, Debug)]
struct Words {
    theta: Array3<f64>,
    pending: Array3<f64>,
    optimizer: OptimizerState,
}

impl Words {
    fn new() -> Self {
        let theta = Array3::from_shape_fn((2, EDGE + 1, EDGE + 1), |(part, previous, next)| {
            ((7 * part + 3 * previous + 5 * next) % 4) as f64 / 4.0 - 0.3
        });
        let (pending, optimizer) = (Array3::zeros(theta.dim()), OptimizerState::new(theta.len()));
        Self { theta, pending, optimizer }
    }

    fn features(formality: Formality) -> [f64; 2] {
        [1.0, f64::from(formality) / 9.0]
    }

    fn log_next(&self, formality: Formality, previous: usize) -> Vec<f64> {
        let of = |next| {
            let parts = Self::features(formality).into_iter().enumerate();
            parts.map(|(part, value)| value * self.theta[[part, previous, next]]).sum()
        };
        let logits: Vec<f64> = (0..=EDGE).map(of).collect();
        let log_z = log_sum_exp(&logits);
        logits.into_iter().map(|logit| logit - log_z).collect()
    }

    /// The pairs of neighbours in a word, including its end; `None` for a text that this model cannot draw.
    fn pairs(word: &str) -> Option<Vec<(usize, usize)>> {
        let letter = |byte: u8| LETTERS.iter().position(|letter| *letter == byte);
        let mut letters = word.bytes().map(letter).collect::<Option<Vec<usize>>>()?;
        match letters.len() {
            // The longest words end without a symbol for it.
            LONGEST => {}
            len if len < LONGEST => letters.push(EDGE),
            _ => return None,
        }
        let previous = std::iter::once(EDGE).chain(letters.iter().copied());
        Some(previous.zip(letters.iter().copied()).collect())
    }

    fn log_prob(&self, formality: Formality, word: &str) -> f64 {
        let log_prob = |pairs: Vec<(usize, usize)>| {
            pairs.into_iter().map(|(previous, next)| self.log_next(formality, previous)[next]).sum()
        };
        Self::pairs(word).map_or(f64::NEG_INFINITY, log_prob)
    }
}

impl Scorer<Formality, String> for Words {
    fn log_scores(&self, formality: &Formality, words: &[&String]) -> Result<Vec<Score>> {
        Ok(words.iter().map(|word| Ok(self.log_prob(*formality, word))).collect())
    }
}

impl Distribution<Formality, String> for Words {
    fn sample(&self, formality: &Formality, streams: &Streams) -> Result<Vec<Sampled<String>>> {
        // Each sample has its own stream: then a request can be cut in any way.
        let draw = |mut rng: disco_core::StreamRng| {
            let (mut value, mut log_prob, mut previous) = (String::new(), 0.0, EDGE);
            while value.len() < LONGEST {
                let log_next = self.log_next(*formality, previous);
                let mut left: f64 = rng.random();
                // Rounding may leave a rest above the last symbol, which then has it.
                let next = log_next.iter().position(|log_prob| {
                    left -= log_prob.exp();
                    left < 0.0
                });
                previous = next.unwrap_or(EDGE);
                log_prob += log_next[previous];
                let Some(letter) = LETTERS.get(previous) else { break };
                value.push(char::from(*letter));
            }
            Sampled { value, log_prob }
        };
        Ok(streams.iter().map(draw).collect())
    }
}

impl Policy<Formality, String> for Words {
    type Frozen = Self;

    fn freeze(&self) -> Result<Self> {
        Ok(self.clone())
    }

    fn accumulate(
        &mut self,
        batch: &[BatchItem<'_, Formality, String>],
        weigh: &mut WeightFn<'_>,
    ) -> Result<()> {
        let log_probs: Vec<f64> =
            batch.iter().map(|item| self.log_prob(*item.context, item.sample)).collect();
        for (item, weight) in batch.iter().zip(weigh(&log_probs)?) {
            // A text that the policy cannot draw has no pairs, and the weight zero.
            for (previous, next) in Self::pairs(item.sample).unwrap_or_default() {
                for (other, log_prob) in self.log_next(*item.context, previous).into_iter().enumerate() {
                    let score = f64::from(u8::from(other == next)) - log_prob.exp();
                    for (part, value) in Self::features(*item.context).into_iter().enumerate() {
                        self.pending[[part, previous, other]] += weight * value * score;
                    }
                }
            }
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
            return Err(Error::NotANumber { by: "gradient of theta".into(), index: 0, value: norm });
        }
        let mut theta: Vec<f64> = self.theta.iter().copied().collect();
        self.optimizer.descend(update, update.clip_scale(norm), WeightDecay::Apply, &mut theta, &gradient)?;
        self.theta.iter_mut().zip(theta).for_each(|(old, new)| *old = new);
        self.clear();
        Ok(UpdateStats { gradient_norm: norm })
    }

    fn snapshot(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// The file of a checkpoint's policy.
#[derive(Serialize, Deserialize)]
struct Saved {
    theta: Vec<f64>,
    optimizer: OptimizerState,
}

impl Checkpointed for Words {
    fn save(&self, directory: &Path) -> Result<()> {
        let saved = Saved { theta: self.theta.iter().copied().collect(), optimizer: self.optimizer.clone() };
        let bytes = serde_json::to_vec(&saved).map_err(|cause| Error::failed("theta", cause))?;
        fs::write(directory.join("words.json"), bytes).map_err(|cause| Error::failed("words.json", cause))
    }

    fn load(&mut self, directory: &Path) -> Result<()> {
        let failed = |cause| Error::failed("words.json", cause);
        let bytes = fs::read(directory.join("words.json")).map_err(failed)?;
        let saved: Saved =
            serde_json::from_slice(&bytes).map_err(|cause| Error::failed("words.json", cause))?;
        self.theta = Array3::from_shape_vec(self.theta.dim(), saved.theta)
            .map_err(|cause| Error::failed("theta", cause))?;
        self.optimizer = saved.optimizer;
        self.pending.fill(0.0);
        Ok(())
    }
}

/// Prints how near the policy is to the target on the held-out contexts.
struct Watch;

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> std::result::Result<Control, ObserverError> {
        if let Some(metric) = report.metrics.get("validation/kl_target_policy") {
            let (step, error) = (report.step, metric.std_error.unwrap_or(f64::NAN));
            println!("step {step}: KL(target || policy) {:.4} +- {error:.4}, held out", metric.value);
        }
        Ok(Control::Continue)
    }
}

type Done<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Done<()> {
    let directory = env::args_os().nth(1).ok_or("usage: own_policy DIRECTORY")?;
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone())?;
    let Some(policy) = tuned(Path::new(&directory), interrupted)? else { return Ok(()) };
    for sample in policy.sample(&3, &Streams::new(1, 10))? {
        println!("{} ({:.2} nats)", sample.value, sample.log_prob);
    }
    Ok(())
}

/// The best policy of a run that begins or resumes in `directory`; `None` if it was interrupted.
fn tuned(directory: &Path, interrupted: Arc<AtomicBool>) -> Done<Option<Words>> {
    let base = Words::new();
    let double = predicate("double", |_: &Formality, word: &String| {
        word.as_bytes().windows(2).any(|pair| pair[0] == pair[1])
    });
    let vowels = feature("vowels", |_: &Formality, word: &String| {
        word.bytes().filter(|letter| b"ae".contains(letter)).count() as f64
    });
    // The hard constraint comes first: the base does not score words with double letters.
    let wanted = Product(Condition::never(&double), Exponential { feature: &vowels, coefficient: 0.5 });
    let target = Product(wanted, &base);

    let contexts = Contexts::new(vec![0, 1, 2, 4, 5, 7, 8, 9])?;
    let held_out = Contexts::new(vec![3, 6])?;
    let features: [&dyn Feature<Formality, String>; 2] = [&double, &vowels];
    let problem = Problem::new(&contexts, &target)
        .with_base(&base)
        .with_features(features)?
        .with_held_out(&held_out)
        .with_length(|word: &String| word.len())
        .with_statistic("distinct_2", |words: &[&String]| {
            distinct_n(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>(), 2)
        })?
        .with_samples_shown(3, |formality, word| format!("{formality}: {word}"))
        // The tuner cannot see the coefficient, and a run that resumes must have the same.
        .with_fact("coefficient of vowels", &0.5)?;
    let tuner = Tuner::new(TunerConfig {
        steps: 400,
        samples_per_step: 512,
        learning_rate: 0.03,
        schedule: Schedule { warmup_steps: 10, ..Schedule::default() },
        validation: Some(Validation { every: 20, samples: 500 }),
        early_stopping: Some(EarlyStopping {
            metric: "validation/kl_target_policy".into(),
            patience: 5,
            ..EarlyStopping::default()
        }),
        ..TunerConfig::default()
    })?;

    let checkpoints = Checkpoints::new(directory.join("checkpoints"), 50, 2)?;
    let mut observers: Vec<Box<dyn Observer>> = vec![
        Box::new(Watch),
        Box::new(JsonLines::new(directory.join("steps.jsonl"))?),
        Box::new(StopFlag::new(interrupted)),
    ];

    let mut policy = Words::new();
    let run = if checkpoints.steps()?.is_empty() {
        tuner.start(&mut policy, &problem)?.with_checkpoints(&checkpoints)?
    } else {
        tuner.resume(&mut policy, &problem, &checkpoints)?
    };
    let outcome = run.drive(&mut observers)?;
    if outcome.reason == StopReason::Observer {
        println!("interrupted after step {}; the same command resumes", outcome.step);
        return Ok(None);
    }
    let (best, step) = outcome.best.ok_or("nothing was measured")?;
    checkpoints.load_policy(step, &mut policy)?;
    println!("best after step {step}: {best:.4}");
    Ok(Some(policy))
}

#[cfg(test)]
mod tests {
    use super::{Arc, AtomicBool, Words, tuned};

    #[test]
    fn an_interrupted_run_goes_on_to_the_bit() {
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let never = || Arc::new(AtomicBool::new(false));
        let expected = tuned(whole.path(), never()).unwrap().unwrap();
        assert_ne!(expected.theta, Words::new().theta);
        // Each of these ends after one more step.
        for _ in 0..3 {
            assert!(tuned(parts.path(), Arc::new(AtomicBool::new(true))).unwrap().is_none());
        }
        let found = tuned(parts.path(), never()).unwrap().unwrap();
        assert_eq!(found.theta, expected.theta);
    }
}
