//! Samples that the target cannot score count as forbidden: in Z, divergences, weights, baselines and the gradient. The
//! expectations are sums over all outcomes.

use disco_core::{
    Contexts, Distribution, Feature, Result, Sampled, Score, Scorer, Skipped, Space, Streams, feature,
};
use disco_divergence::{Divergence, FDivergence, exact};
use disco_tuner::{
    Baseline, BatchItem, Error, InMemory, Partition, Policy, Problem, Sampling, StepReport, Tuner,
    TunerConfig, Update, UpdateStats, Validation, WeightFn,
};
use ndarray::Array2;

use crate::common::{
    World,
    scripted::{Scripted, Table},
    small::{self, divergences, is_soft},
};

/// Rounding of sums in another order.
const ROUNDING: f64 = 1e-12;

/// Scores by context and outcome; `None` is a sample that the target skips, or forbids if `forbids`.
#[derive(Clone)]
struct Scores {
    scores: Vec<Vec<Option<f64>>>,
    forbids: bool,
}

impl Scorer<usize, usize> for Scores {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        let score = |outcome: &&usize| match self.scores[*context][**outcome] {
            Some(score) => Ok(score),
            None if self.forbids => Ok(f64::NEG_INFINITY),
            None => Err(Skipped::new("parser", format!("outcome {outcome} is no code"))),
        };
        Ok(samples.iter().map(score).collect())
    }
}

/// The reported case: log-scores .3, 1.2, skip, 2.
fn reported() -> Scores {
    Scores { scores: vec![vec![Some(0.3), Some(1.2), None, Some(2.0)]], forbids: false }
}

fn table(contexts: usize, counts: &[f64]) -> Table {
    let logits = Array2::from_shape_fn((contexts, counts.len()), |(_, at)| counts[at].ln());
    Table::new(Space::new(0..contexts).unwrap(), Space::new(0..counts.len()).unwrap(), logits).unwrap()
}

/// The report of one step, in which each outcome is drawn as often as its probability says.
fn measured(target: &Scores, policy: &Table, proposal: Option<&Table>, samples: usize) -> StepReport {
    let contexts = Contexts::new((0..target.scores.len()).collect()).unwrap();
    let outcome = feature("outcome", |_: &usize, outcome: &usize| *outcome as f64);
    let features = [&outcome as &dyn Feature<usize, usize>];
    let problem = Problem::new(&contexts, target).with_features(features).unwrap();
    let sampling = if proposal.is_some() { small::offline() } else { Sampling::Online };
    let config = TunerConfig {
        steps: 1,
        samples_per_step: samples * target.scores.len(),
        metrics_every: 1,
        partition: Partition::Step,
        sampling,
        ..TunerConfig::default()
    };
    let mut scripted = Scripted::new(vec![policy.clone()], proposal.unwrap_or(policy).clone(), true);
    let mut observed = InMemory::default();
    Tuner::new(config).unwrap().run(&mut scripted, &problem, &mut observed).unwrap();
    observed.reports()[0].clone()
}

#[track_caller]
fn check(report: &StepReport, name: &str, expected: f64) {
    let found = report.metrics.get(name).unwrap_or_else(|| panic!("no {name}")).value;
    assert!(found == expected || (found - expected).abs() <= ROUNDING, "{name}: {found}, not {expected}");
}

#[test]
fn metrics_of_a_target_that_skips_are_those_of_enumeration() {
    let policies = [table(1, &[10.0, 10.0, 10.0, 10.0]), table(1, &[4.0, 12.0, 6.0, 18.0])];
    for (policy, proposal) in [(&policies[0], None), (&policies[1], None), (&policies[0], Some(&policies[1]))]
    {
        let report = measured(&reported(), policy, proposal, 40);
        let drawn = 40.0 * proposal.unwrap_or(policy).rows()[0].probabilities()[2];
        assert_eq!((report.samples, report.skipped), (40, drawn.round() as usize));
        let z = 0.3f64.exp() + 1.2f64.exp() + 2f64.exp();
        assert!((z.ln() - 2.4898).abs() < 5e-5);
        check(&report, "log_z", z.ln());
        check(&report, "log_z_running", z.ln());
        let log_p = [0.3, 1.2, f64::NEG_INFINITY, 2.0].map(|score| score - z.ln());
        let log_pi = policy.rows()[0].as_log_probs();
        for (name, divergence) in [
            ("kl_target_policy", FDivergence::KlForward),
            ("kl_policy_target", FDivergence::KlReverse),
            ("tv_target_policy", FDivergence::TotalVariation),
            ("js_target_policy", FDivergence::JensenShannon),
        ] {
            check(&report, name, exact(&divergence, &log_p, log_pi).unwrap());
        }
        let pi = policy.rows()[0].probabilities();
        check(&report, "outside_mass", pi[2]);
        check(&report, "entropy", -(0..4).map(|at| pi[at] * log_pi[at]).sum::<f64>());
        // The means are over the others.
        check(&report, "moment/outcome/policy", (pi[1] + 3.0 * pi[3]) / (1.0 - pi[2]));
        check(&report, "moment/outcome/target", log_p[1].exp() + 3.0 * log_p[3].exp());
        assert_eq!(report.warnings.len(), 1);
        let warning = &report.warnings[0];
        assert!(warning.starts_with("step 1, score, context 0: parser skipped sample "), "{warning}");
        assert!(warning.contains("outcome 2 is no code") && warning.contains("forbidden"), "{warning}");
    }
}

/// Settings of every part of a step that sees weights.
fn settings() -> Vec<TunerConfig> {
    let plain = TunerConfig {
        steps: 8,
        samples_per_step: 60,
        learning_rate: 0.1,
        metrics_every: 1,
        ..TunerConfig::default()
    };
    let mut all = vec![
        TunerConfig { sampling: Sampling::offline(), replay: 2, ..plain.clone() },
        TunerConfig { epochs: 3, max_importance_ratio: Some(1.1), ..plain.clone() },
        TunerConfig { partition: Partition::Step, replay: 1, ..plain.clone() },
        TunerConfig { max_pseudo_reward: Some(0.1), partition: Partition::Normalised, ..plain.clone() },
        TunerConfig {
            divergence: FDivergence::KlForward,
            baseline: Baseline::ForwardKl,
            sampling: Sampling::offline(),
            ..plain.clone()
        },
    ];
    for divergence in divergences().into_iter().filter(is_soft) {
        for baseline in [Baseline::None, Baseline::LeaveOneOut] {
            all.push(TunerConfig { divergence, baseline, steps: 3, ..plain.clone() });
        }
    }
    all
}

/// A target that skips gives, to the bit, the run of one that forbids the same outcomes; that one is tested against exact
/// gradients elsewhere. In context 2 nothing is scored.
#[test]
fn a_run_with_skips_is_the_run_with_forbidden_samples() {
    let world = World::new(3, 12);
    let score = |context: usize, outcome: usize| {
        let skipped = context == 2 || outcome % 4 == context;
        (!skipped).then_some(0.3 * (outcome % 5) as f64 - 1.0)
    };
    let scores = (0..3).map(|context| (0..12).map(|outcome| score(context, outcome)).collect()).collect();
    let skips = Scores { scores, forbids: false };
    let forbids = Scores { forbids: true, ..skips.clone() };
    let held_out = Contexts::new(vec![0usize, 2]).unwrap();
    for config in settings() {
        let config = TunerConfig { validation: Some(Validation { every: 2, samples: 20 }), ..config };
        let run = |target: &Scores| {
            let problem = Problem::new(&world.contexts, target).with_held_out(&held_out);
            let (mut policy, mut observed) = (world.policy(), InMemory::default());
            Tuner::new(config.clone()).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
            let logits: Vec<u64> = policy.logits().iter().map(|logit| logit.to_bits()).collect();
            let report = |report: &StepReport| {
                let mut report = report.clone();
                (report.skipped, report.warnings) = (0, Vec::new());
                report.seconds.clear();
                report
            };
            (logits, observed.reports().iter().map(report).collect::<Vec<_>>(), observed)
        };
        let (skipped, forbidden) = (run(&skips), run(&forbids));
        assert_eq!((&skipped.0, &skipped.1), (&forbidden.0, &forbidden.1), "{config:?}");
        assert!(skipped.2.reports().iter().all(|report| report.skipped > 0), "{config:?}");
        // Said once.
        let warnings = skipped.2.reports().iter().map(|report| report.warnings.len());
        assert_eq!(warnings.sum::<usize>(), 1);
    }
}

#[test]
fn the_policy_learns_to_leave_what_the_target_skips() {
    let contexts = Contexts::new(vec![0usize]).unwrap();
    let target = reported();
    let config = TunerConfig { steps: 400, learning_rate: 0.05, ..TunerConfig::default() };
    let mut policy = table(1, &[1.0; 4]);
    Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut ()).unwrap();
    // Without the gradient of the skipped outcome it keeps 8 to 18 percent.
    assert!(policy.rows()[0].probabilities()[2] < 0.005, "{:?}", policy.rows()[0].probabilities());
}

#[test]
fn a_divergence_that_cannot_have_hard_constraints_refuses_a_skip_with_its_reason() {
    let contexts = Contexts::new(vec![0usize]).unwrap();
    for name in ["reverse-kl", "chi2-reverse", "jeffreys"] {
        let tuner = Tuner::new(TunerConfig::f_cdpg(name.parse().unwrap())).unwrap();
        let mut policy = table(1, &[1.0; 4]);
        let before = policy.logits().to_owned();
        let error = tuner.run(&mut policy, &Problem::new(&contexts, &reported()), &mut ()).unwrap_err();
        assert!(matches!(&error, Error::HardConstraints { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("step 0, context 0: parser skipped sample "), "{text}");
        assert!(text.contains("outcome 2 is no code") && text.contains("js"), "{text}");
        assert_eq!(policy.logits(), before);
    }
    let metric = FDivergence::KlReverse;
    assert_eq!(metric.derivative_at_infinity(), f64::INFINITY);
    let offline =
        TunerConfig { sampling: Sampling::Offline { metric, z: 1.0, every: 1 }, ..TunerConfig::default() };
    let target = reported();
    let problem = Problem::new(&contexts, &target);
    let text = Tuner::new(offline).unwrap().run(&mut table(1, &[1.0; 4]), &problem, &mut ());
    let text = text.unwrap_err().to_string();
    assert!(text.contains("sampling.metric") && text.contains("the target skipped sample"), "{text}");
}

/// A table that does not know outcome 1.
struct Forgetful(Table);

impl Scorer<usize, usize> for Forgetful {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        let scores = self.0.log_scores(context, samples)?;
        let of = |(score, outcome): (Score, &&usize)| match **outcome {
            1 => Err(Skipped::new("records", "unknown")),
            _ => score,
        };
        Ok(scores.into_iter().zip(samples).map(of).collect())
    }
}

impl Distribution<usize, usize> for Forgetful {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.0.sample(context, streams)
    }
}

impl Policy<usize, usize> for Forgetful {
    type Frozen = Table;

    fn freeze(&self) -> Result<Table> {
        self.0.freeze()
    }

    fn accumulate(&mut self, batch: &[BatchItem<'_, usize, usize>], weigh: &mut WeightFn<'_>) -> Result<()> {
        self.0.accumulate(batch, weigh)
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        self.0.step(update)
    }
}

/// A policy that skips a sample of its frozen copy's has no log-probability for it.
#[test]
fn a_policy_that_skips_a_sample_ends_the_run_with_the_reason() {
    let contexts = Contexts::new(vec![0usize]).unwrap();
    let target = Scores { scores: vec![vec![Some(0.0); 4]], forbids: true };
    let config = TunerConfig { sampling: Sampling::offline(), ..TunerConfig::default() };
    let mut policy = Forgetful(table(1, &[1.0; 4]));
    let error = Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut ());
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("step 0, log_prob, context 0: "), "{text}");
    assert!(text.contains("records skipped the sample: unknown"), "{text}");
}

#[test]
fn a_base_that_skips_a_sample_gives_it_no_probability_and_says_so() {
    let contexts = Contexts::new(vec![0usize]).unwrap();
    let policy = table(1, &[10.0; 4]);
    let base = Forgetful(table(1, &[4.0, 12.0, 6.0, 18.0]));
    let target = Scores { scores: vec![vec![Some(0.0); 4]], forbids: true };
    let problem = Problem::new(&contexts, &target).with_base(&base);
    let config = TunerConfig { steps: 1, samples_per_step: 40, metrics_every: 1, ..TunerConfig::default() };
    let mut observed = InMemory::default();
    let mut scripted = Scripted::new(vec![policy.clone()], policy.clone(), true);
    Tuner::new(config).unwrap().run(&mut scripted, &problem, &mut observed).unwrap();
    let report = &observed.reports()[0];
    let log_base = [0.1f64.ln(), f64::NEG_INFINITY, 0.15f64.ln(), 0.45f64.ln()];
    let log_pi = policy.rows()[0].as_log_probs();
    check(report, "kl_policy_base", f64::INFINITY);
    let tv: f64 = (0..4).map(|at| (log_base[at].exp() - log_pi[at].exp()).abs()).sum::<f64>() / 2.0;
    check(report, "tv_policy_base", tv);
    let warning = report.warnings.iter().find(|warning| warning.contains("records skipped"));
    assert!(warning.is_some_and(|warning| warning.contains("unknown")), "{:?}", report.warnings);
}
