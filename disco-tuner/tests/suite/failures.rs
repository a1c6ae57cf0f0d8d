//! Failures in the middle of a run name their place and leave the parameters unchanged.

use disco_core::{Distribution, Error as CoreError, Result, Sampled, Score, Scorer, Streams};
use disco_divergence::FDivergence;
use disco_tuner::{
    Baseline, BatchItem, Control, Error, InMemory, Observer, ObserverError, Policy, Problem, Sampling,
    StepReport, Tuner, TunerConfig, Update, UpdateStats, WeightFn,
};

use crate::common::{Kind, World, scripted::Table, target};

/// Where a [`Sick`] policy gives NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Sampling,
    LogProbs,
    Gradient,
    /// In the update of this number, from 0.
    Update(usize),
}

/// A table that is sound for one step and then gives NaN for one outcome.
#[derive(Clone)]
struct Sick {
    table: Table,
    place: Where,
    updates: usize,
    copies: bool,
}

/// The outcome, and the update after which it is sick.
const SICK: usize = 5;

impl Sick {
    fn value(&self, place: Where, outcome: usize, log_prob: f64) -> f64 {
        if self.place == place && self.updates > 0 && outcome == SICK { f64::NAN } else { log_prob }
    }
}

impl Scorer<usize, usize> for Sick {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        let scores = self.table.log_scores(context, samples)?;
        let sick = |(score, outcome): (Score, &&usize)| {
            score.map(|score| self.value(Where::LogProbs, **outcome, score))
        };
        Ok(scores.into_iter().zip(samples).map(sick).collect())
    }
}

impl Distribution<usize, usize> for Sick {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        let mut samples = self.table.sample(context, streams)?;
        for sample in &mut samples {
            sample.log_prob = self.value(Where::Sampling, sample.value, sample.log_prob);
        }
        Ok(samples)
    }
}

impl Policy<usize, usize> for Sick {
    type Frozen = Table;

    fn freeze(&self) -> Result<Table> {
        self.table.freeze()
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, usize>], weigh: &mut WeightFn<'_>) -> Result<()> {
        let sick = self.clone();
        self.table.accumulate(batch, &mut |log_probs| {
            let pairs = batch.iter().zip(log_probs);
            let log_probs: Vec<f64> =
                pairs.map(|(item, value)| sick.value(Where::Gradient, *item.sample, *value)).collect();
            weigh(&log_probs)
        })
    }

    fn clear(&mut self) {
        self.table.clear();
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        if self.place == Where::Update(self.updates) {
            return Err(CoreError::NotANumber { by: "gradient".into(), index: 0, value: f64::NAN });
        }
        self.updates += 1;
        self.table.step(update)
    }

    fn snapshot(&self) -> Option<Self> {
        self.copies.then(|| self.clone())
    }
}

/// Keeps the parameters of a healthy run after each step.
fn healthy(config: &TunerConfig, steps: u64) -> Table {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let config = TunerConfig { steps, ..config.clone() };
    let mut policy = world.policy();
    Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&world.contexts, &target), &mut ()).unwrap();
    policy
}

fn config() -> TunerConfig {
    TunerConfig { steps: 4, learning_rate: 0.1, metrics_every: 0, ..TunerConfig::default() }
}

/// Runs a sick policy to its error; gives the error and the policy.
fn fail(config: &TunerConfig, place: Where, copies: bool) -> (Error, Sick) {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let mut policy = Sick { table: world.policy(), place, updates: 0, copies };
    let problem = Problem::new(&world.contexts, &target);
    let error = Tuner::new(config.clone()).unwrap().run(&mut policy, &problem, &mut ()).unwrap_err();
    (error, policy)
}

#[test]
fn nan_of_a_policy_names_step_context_and_sample_and_the_parameters_stay() {
    let offline = TunerConfig {
        sampling: Sampling::Offline { metric: FDivergence::KlForward, z: 1e12, every: 1 },
        ..config()
    };
    let local = TunerConfig { baseline: Baseline::None, ..config() };
    for (config, place, stage) in [
        (config(), Where::Sampling, "sample"),
        (offline, Where::LogProbs, "log_prob"),
        (local, Where::Gradient, "gradient"),
    ] {
        let (error, policy) = fail(&config, place, false);
        let text = error.to_string();
        let Error::Context { step, context, cause: CoreError::NotANumber { index, .. }, .. } = error else {
            panic!("{text}");
        };
        assert!(step == 1 && context < 2 && text.contains(stage), "{text}");
        assert!(text.contains(&format!("step 1, {stage}, context {context}")), "{text}");
        assert!(text.contains(&format!("NaN for sample {index}")), "{text}");
        // As the first step left them.
        assert_eq!(policy.table.logits(), healthy(&config, 1).logits(), "{place:?}");
    }
}

#[test]
fn a_failure_in_a_later_epoch_takes_the_earlier_ones_back() {
    let config = TunerConfig { epochs: 3, ..config() };
    // Updates 0 to 2 are the first step's, 4 is in the middle of the second.
    let (error, policy) = fail(&config, Where::Update(4), true);
    assert!(matches!(error, Error::Step { step: 1, .. }), "{error}");
    assert_eq!(policy.table.logits(), healthy(&config, 1).logits());
    let (error, policy) = fail(&config, Where::Update(4), false);
    assert!(matches!(error, Error::LaterEpoch { epoch: 1, .. }), "{error}");
    assert!(error.to_string().contains("step 1, update"), "{error}");
    assert_ne!(policy.table.logits(), healthy(&config, 1).logits());
    // In its first epoch nothing has happened yet.
    let (error, policy) = fail(&config, Where::Update(3), false);
    assert!(matches!(error, Error::Step { step: 1, .. }), "{error}");
    assert_eq!(policy.table.logits(), healthy(&config, 1).logits());
}

#[test]
fn a_measure_of_nearness_that_cannot_have_hard_constraints_is_refused_before_the_first_step() {
    let (world, target) = (World::new(2, 12), target(Kind::Pointwise));
    let sampling = Sampling::Offline { metric: FDivergence::KlReverse, z: 1.0, every: 1 };
    let tuner = Tuner::new(TunerConfig { sampling, ..TunerConfig::default() }).unwrap();
    let problem = Problem::new(&world.contexts, &target).with_hard_constraints();
    let mut policy = world.policy();
    let error = tuner.start(&mut policy, &problem).map(drop).unwrap_err();
    assert!(matches!(&error, Error::HardConstraints { .. }), "{error}");
    assert!(error.to_string().contains("sampling.metric: reverse-kl"), "{error}");
}

/// Remembers how the run ended.
#[derive(Default)]
struct Ending(Vec<String>);

impl Observer for Ending {
    fn step(&mut self, _: &StepReport) -> std::result::Result<Control, ObserverError> {
        Ok(Control::Continue)
    }

    fn finish(&mut self, _: &disco_tuner::Outcome) -> std::result::Result<(), ObserverError> {
        self.0.push("finished".into());
        Ok(())
    }

    fn fail(&mut self, step: u64, error: &str) -> std::result::Result<(), ObserverError> {
        self.0.push(format!("{step}: {error}"));
        Ok(())
    }
}

#[test]
fn observers_are_told_of_a_failure() {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let mut policy = Sick { table: world.policy(), place: Where::Update(2), updates: 0, copies: false };
    let problem = Problem::new(&world.contexts, &target);
    let mut ending = Ending::default();
    Tuner::new(config()).unwrap().run(&mut policy, &problem, &mut ending).unwrap_err();
    assert_eq!(ending.0.len(), 1);
    assert!(ending.0[0].starts_with("2: step 2, update: "), "{:?}", ending.0);
}

#[test]
fn tokens_are_counted_per_stage() {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let held_out = disco_core::Contexts::new(vec![0usize]).unwrap();
    let problem = Problem::new(&world.contexts, &target).with_length(|_: &usize| 3).with_held_out(&held_out);
    let config = TunerConfig {
        steps: 2,
        epochs: 2,
        validation: Some(disco_tuner::Validation { every: 2, samples: 10 }),
        ..config()
    };
    let mut observed = InMemory::default();
    Tuner::new(config).unwrap().run(&mut world.policy(), &problem, &mut observed).unwrap();
    let tokens = |at: usize, stage: &str| observed.reports()[at].tokens.get(stage).copied();
    for at in [0, 1] {
        assert_eq!(tokens(at, "sample"), Some(3 * 256));
        assert_eq!(tokens(at, "score"), Some(3 * 256));
        // The second epoch asks again.
        assert_eq!(tokens(at, "log_prob"), Some(3 * 256));
        assert_eq!(tokens(at, "gradient"), Some(2 * 3 * 256));
    }
    assert_eq!((tokens(0, "validation").unwrap_or(0), tokens(1, "validation")), (0, Some(30)));
}
