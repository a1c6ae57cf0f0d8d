//! Numbers that are only shown never end a run: NaN is shown as NaN, with one warning.

use std::sync::atomic::{AtomicUsize, Ordering};

use disco_core::{
    Distribution, Error as CoreError, Feature, Result, Sampled, Score, Scorer, Streams, feature, scorer,
};
use disco_divergence::FDivergence;
use disco_tuner::{Error, InMemory, Partition, Problem, Sampling, Tuner, TunerConfig};

use crate::common::{Kind, World, base, scripted::Table, target};

fn config() -> TunerConfig {
    TunerConfig { steps: 4, learning_rate: 0.1, metrics_every: 1, ..TunerConfig::default() }
}

/// Two contexts with twelve outcomes.
fn world() -> World {
    World::new(2, 12)
}

/// The run of a problem that shows nothing.
fn plain(config: &TunerConfig) -> Table {
    let (world, target) = (world(), target(Kind::Distributional));
    let mut policy = world.policy();
    Tuner::new(config.clone())
        .unwrap()
        .run(&mut policy, &Problem::new(&world.contexts, &target), &mut ())
        .unwrap();
    policy
}

/// A feature that gives numbers which are none, one sample at a time.
struct Raw;

impl Feature<usize, usize> for Raw {
    fn name(&self) -> &str {
        "raw"
    }

    fn values(&self, _: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        let value = |outcome: &&usize| match **outcome {
            3 => f64::NAN,
            4 => f64::NEG_INFINITY,
            other => other as f64,
        };
        Ok(samples.iter().map(|outcome| Ok(value(outcome))).collect())
    }
}

#[test]
fn features_and_statistics_that_give_nan_are_shown_as_nan_and_told_once() {
    let (world, target) = (world(), target(Kind::Distributional));
    // A closure's NaN refuses the whole batch.
    let closure = feature("closure", |_: &usize, x: &usize| if *x == 3 { f64::NAN } else { 1.0 });
    let sound = feature("sound", |_: &usize, x: &usize| *x as f64);
    let measured = AtomicUsize::new(0);
    let problem = Problem::new(&world.contexts, &target)
        .with_features([&closure as &dyn Feature<usize, usize>, &Raw, &sound])
        .unwrap()
        .with_statistic(
            "late",
            |_: &[&usize]| {
                if measured.fetch_add(1, Ordering::Relaxed) < 2 { 1.5 } else { f64::NAN }
            },
        )
        .unwrap()
        .with_statistic("endless", |_: &[&usize]| f64::INFINITY)
        .unwrap();
    let (mut policy, mut observed) = (world.policy(), InMemory::default());
    Tuner::new(config()).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
    assert_eq!(policy.logits(), plain(&config()).logits());
    for report in observed.reports() {
        let value = |name: &str| report.metrics[name].value;
        for name in ["closure", "raw"] {
            assert!(value(&format!("moment/{name}/policy")).is_nan());
            assert!(value(&format!("moment/{name}/target")).is_nan());
        }
        assert!(value("moment/sound/policy").is_finite());
        assert_eq!(value("statistic/late").is_nan(), report.step > 1);
        assert_eq!(value("statistic/endless"), f64::INFINITY);
    }
    let warnings = |step: usize| &observed.reports()[step].warnings;
    assert_eq!(warnings(0).len(), 2, "{:?}", warnings(0));
    assert!(warnings(0)[0].starts_with("step 1, metrics, context "), "{:?}", warnings(0));
    for name in ["closure", "raw"] {
        let said = format!("feature `{name}` gave ");
        let told: Vec<&String> = warnings(0).iter().filter(|warning| warning.contains(&said)).collect();
        assert!(told.len() == 1 && told[0].contains(" for sample "), "{:?}", warnings(0));
    }
    assert!(warnings(1).len() == 1 && warnings(1)[0].contains("statistic/late is NaN"), "{:?}", warnings(1));
    assert!(warnings(2).is_empty() && warnings(3).is_empty());
    let json = serde_json::to_value(&observed.reports()[0]).unwrap();
    assert!(json["metrics"]["moment/closure/policy"]["value"].is_null());
}

/// The mean under the target does not depend on a sample that the target forbids.
#[test]
fn a_nan_outside_the_support_leaves_the_mean_under_the_target() {
    let world = world();
    let target = scorer(|_: &usize, x: &usize| if *x == 3 { f64::NEG_INFINITY } else { 0.0 });
    for whole_batch in [true, false] {
        let closure = feature("f", |_: &usize, x: &usize| if *x == 3 { f64::NAN } else { 2.0 });
        struct Each;
        impl Feature<usize, usize> for Each {
            fn name(&self) -> &str {
                "f"
            }
            fn values(&self, _: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
                Ok(samples.iter().map(|x| Ok(if **x == 3 { f64::NAN } else { 2.0 })).collect())
            }
        }
        let feature: &dyn Feature<usize, usize> = if whole_batch { &closure } else { &Each };
        let problem = Problem::new(&world.contexts, &target).with_features([feature]).unwrap();
        let mut observed = InMemory::default();
        Tuner::new(config()).unwrap().run(&mut world.policy(), &problem, &mut observed).unwrap();
        let metrics = &observed.reports()[0].metrics;
        assert!(metrics["moment/f/policy"].value.is_nan());
        assert!((metrics["moment/f/target"].value - 2.0).abs() < 1e-12);
    }
}

/// A base whose log-probability of one outcome is NaN, or that fails.
struct Sick(Table, bool);

impl Scorer<usize, usize> for Sick {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        if self.1 {
            return Err(CoreError::failed("base", std::io::Error::other("out of memory")));
        }
        let scores = self.0.log_scores(context, samples)?;
        Ok(scores
            .into_iter()
            .zip(samples)
            .map(|(score, x)| if **x == 3 { Ok(f64::NAN) } else { score })
            .collect())
    }
}

impl Distribution<usize, usize> for Sick {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.0.sample(context, streams)
    }
}

#[test]
fn a_base_that_gives_nan_costs_its_divergences_and_one_that_fails_ends_the_run() {
    let (world, target) = (world(), target(Kind::Distributional));
    let table = Table::from_scorer(world.context_space.clone(), world.space.clone(), &base()).unwrap();
    let sick = Sick(table.clone(), false);
    let problem = Problem::new(&world.contexts, &target).with_base(&sick);
    let (mut policy, mut observed) = (world.policy(), InMemory::default());
    Tuner::new(config()).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
    assert_eq!(policy.logits(), plain(&config()).logits());
    let report = &observed.reports()[0];
    assert!(report.metrics["kl_policy_base"].value.is_nan());
    assert!(report.metrics["kl_target_policy"].value.is_finite());
    assert!(report.warnings[0].contains("the base gave NaN for sample"), "{:?}", report.warnings);

    let failing = Sick(table, true);
    let problem = Problem::new(&world.contexts, &target).with_base(&failing);
    let error = Tuner::new(config()).unwrap().run(&mut world.policy(), &problem, &mut ()).unwrap_err();
    assert!(matches!(error, Error::Context { step: 0, .. }), "{error}");
    assert!(error.to_string().contains("base failed: out of memory"), "{error}");
}

/// Z is far too small for this target: its divergences are beyond `f64` and are not shown, and the gradient, whose weights
/// are bounded, goes on.
#[test]
fn divergences_that_cannot_be_estimated_are_nan() {
    let world = world();
    let huge = scorer(|_: &usize, x: &usize| 900.0 + *x as f64);
    let problem = Problem::new(&world.contexts, &huge);
    let config = TunerConfig { partition: Partition::Normalised, ..config() };
    let mut observed = InMemory::default();
    Tuner::new(config).unwrap().run(&mut world.policy(), &problem, &mut observed).unwrap();
    let report = &observed.reports()[0];
    assert!(report.metrics["tv_target_policy"].value.is_nan() && report.metrics["log_z"].value > 900.0);
    assert_eq!(observed.reports().iter().map(|report| report.warnings.len()).sum::<usize>(), 1);
    assert!(report.warnings[0].contains("709, where exp overflows"), "{:?}", report.warnings);
}

#[test]
fn a_nan_in_what_decides_still_ends_the_run() {
    let world = world();
    let sick = scorer(|_: &usize, x: &usize| if *x == 3 { f64::NAN } else { 0.0 });
    let mut policy = world.policy();
    let error =
        Tuner::new(config()).unwrap().run(&mut policy, &Problem::new(&world.contexts, &sick), &mut ());
    assert!(error.unwrap_err().to_string().contains("target gave NaN for sample"));
    assert_eq!(policy.logits(), world.policy().logits());
}

/// All workers say the same, also where only one of them saw it.
#[test]
fn workers_that_share_a_run_have_the_same_warnings() {
    use crate::common::threads::Thread;
    let config = TunerConfig {
        samples_per_step: 41,
        sampling: Sampling::offline(),
        ..TunerConfig { divergence: FDivergence::JensenShannon, ..config() }
    };
    let told = |workers: &dyn disco_tuner::Workers| {
        let (world, target) = (world(), target(Kind::Distributional));
        let picky = disco_core::try_scorer("parser", move |context: &usize, x: &usize| match *x {
            5 => Err(disco_core::Failure::Skip("no code".into())),
            _ => Ok(target.log_scores(context, &[x]).unwrap().remove(0).unwrap()),
        });
        let problem =
            Problem::new(&world.contexts, &picky).with_features([&Raw as &dyn Feature<usize, usize>]);
        let (problem, mut policy, mut observed) = (problem.unwrap(), world.policy(), InMemory::default());
        let tuner = Tuner::new(config.clone()).unwrap();
        tuner.start_shared(&mut policy, &problem, workers).unwrap().drive(&mut observed).unwrap();
        observed.reports().iter().map(|report| report.warnings.clone()).collect::<Vec<_>>()
    };
    let alone = told(&disco_tuner::Single);
    assert!(alone.concat().iter().any(|warning| warning.contains("parser skipped sample")), "{alone:?}");
    for count in [2, 3] {
        for found in Thread::run(Thread::all(count), |worker| told(worker)) {
            assert_eq!(found, alone, "{count} workers");
        }
    }
}
