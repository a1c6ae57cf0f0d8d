//! Metrics are within their errors of exact sums, and a run gives the same numbers from version to version.

use disco_core::{Distribution, Feature, Result, Sampled, Score, Scorer, Streams, feature};
use disco_divergence::{FDivergence, exact};
use disco_tuner::{InMemory, Metric, MicroBatch, Partition, Problem, Sampling, Tuner, TunerConfig};
use ndarray::Array2;

use crate::common::{self, Kind, World, base, features, scripted::Scripted, target};

const CONTEXTS: usize = 2;

/// The base as a distribution.
struct Base(common::scripted::Table);

impl Scorer<usize, usize> for Base {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> Result<Vec<Score>> {
        self.0.log_scores(context, samples)
    }
}

impl Distribution<usize, usize> for Base {
    fn sample(&self, context: &usize, streams: &Streams) -> Result<Vec<Sampled<usize>>> {
        self.0.sample(context, streams)
    }
}

/// A policy between base and target.
fn between(world: &World, share: f64) -> common::scripted::Table {
    let soft = target(Kind::Distributional);
    let logits = Array2::from_shape_fn((CONTEXTS, world.space.len()), |(context, outcome)| {
        let to = soft.log_scores(&context, &[&outcome]).unwrap()[0].clone().unwrap();
        let from = base().log_scores(&context, &[&outcome]).unwrap()[0].clone().unwrap();
        share * to + (1.0 - share) * from + 0.4 * common::hash(outcome, context + 5)
    });
    common::scripted::Table::new(world.context_space.clone(), world.space.clone(), logits).unwrap()
}

/// n = 20,000 samples in each of two contexts, seed 0; four standard errors, alpha = 6e-5 per metric. Steps 1 and 2
/// differ in where the constants come from.
#[test]
fn metrics_are_within_their_errors_of_the_exact_values() {
    let world = World::new(CONTEXTS, 40);
    let (policy, proposal) = (between(&world, 0.5), between(&world, 0.2));
    let base = Base(world.policy());
    let even = feature("even", |_: &usize, outcome: &usize| features(*outcome).0);
    let seventh = feature("seventh", |_: &usize, outcome: &usize| features(*outcome).1);
    for (kind, sampling) in [
        (Kind::Distributional, Sampling::Online),
        (Kind::Mixed, Sampling::Online),
        (Kind::Mixed, Sampling::Offline { metric: FDivergence::TotalVariation, z: 1e12, every: 1 }),
    ] {
        let (target, offline) = (target(kind), sampling != Sampling::Online);
        let config = TunerConfig {
            steps: 2,
            samples_per_step: 40_000,
            metrics_every: 1,
            partition: Partition::Running,
            micro_batch: MicroBatch { samples: 40_000, tokens: None },
            sampling,
            ..TunerConfig::f_cdpg(FDivergence::JensenShannon)
        };
        let problem = Problem::new(&world.contexts, &target)
            .with_base(&base)
            .with_features([&even as &dyn Feature<usize, usize>, &seventh])
            .unwrap()
            .with_length(|outcome: &usize| outcome % 4)
            .with_statistic("distinct", |samples: &[&usize]| {
                samples.iter().collect::<std::collections::HashSet<_>>().len() as f64
            })
            .unwrap();
        let mut observed = InMemory::default();
        let mut scripted = Scripted::new(vec![policy.clone()], proposal.clone(), false);
        Tuner::new(config).unwrap().run(&mut scripted, &problem, &mut observed).unwrap();

        let exact_target: Vec<_> = world
            .contexts
            .items()
            .iter()
            .map(|context| world.space.normalise(&target, context).unwrap())
            .collect();
        let mean = |value: &dyn Fn(usize) -> f64| (0..CONTEXTS).map(value).sum::<f64>() / CONTEXTS as f64;
        let divergence = |name: &str, p: &dyn Fn(usize) -> Vec<f64>, pi: &dyn Fn(usize) -> Vec<f64>| {
            let divergence: FDivergence = name.parse().unwrap();
            mean(&|context| exact(&divergence, &p(context), &pi(context)).unwrap())
        };
        let p = |context: usize| exact_target[context].as_log_probs().to_vec();
        let pi = |context: usize| policy.rows()[context].as_log_probs().to_vec();
        let q = |context: usize| proposal.rows()[context].as_log_probs().to_vec();
        let a = |context: usize| base.0.rows()[context].as_log_probs().to_vec();
        for report in observed.reports() {
            let metric = |name: &str| -> Metric {
                *report
                    .metrics
                    .get(name)
                    .unwrap_or_else(|| panic!("no {name} in {:?}", report.metrics.keys()))
            };
            let check = |name: &str, expected: f64| {
                let Metric { value, std_error } = metric(name);
                let std_error = std_error.unwrap_or_else(|| panic!("{name} has no error"));
                if expected.is_infinite() {
                    assert_eq!(value, expected, "{name}");
                } else {
                    let gap = (value - expected).abs();
                    assert!(gap <= 4.0 * std_error + 1e-12, "{name}: {value} +- {std_error}, not {expected}");
                    assert!(std_error < 0.05, "{name}: the error {std_error} says nothing");
                }
            };
            check("kl_target_policy", divergence("forward-kl", &p, &pi));
            check("kl_policy_target", divergence("reverse-kl", &p, &pi));
            check("tv_target_policy", divergence("tv", &p, &pi));
            check("js_target_policy", divergence("js", &p, &pi));
            check("kl_base_policy", divergence("forward-kl", &a, &pi));
            check("kl_policy_base", divergence("reverse-kl", &a, &pi));
            check("tv_policy_base", divergence("tv", &a, &pi));
            check("js_policy_base", divergence("js", &a, &pi));
            if offline {
                check("kl_target_proposal", divergence("forward-kl", &p, &q));
                check("js_target_proposal", divergence("js", &p, &q));
                check(
                    "moment/even/proposal",
                    mean(&|context| proposal.rows()[context].moments(&[&even], &context).unwrap()[0]),
                );
            } else {
                assert!(!report.metrics.contains_key("kl_target_proposal"));
            }
            let moment =
                |table: &disco_core::Table<usize>, context: usize, feature: &dyn Feature<usize, usize>| {
                    table.moments(&[feature], &context).unwrap()[0]
                };
            check("moment/even/policy", mean(&|context| moment(&policy.rows()[context], context, &even)));
            check(
                "moment/seventh/policy",
                mean(&|context| moment(&policy.rows()[context], context, &seventh)),
            );
            check("moment/even/target", mean(&|context| moment(&exact_target[context], context, &even)));
            check(
                "moment/seventh/target",
                mean(&|context| moment(&exact_target[context], context, &seventh)),
            );
            check("log_z", mean(&|context| world.space.log_z(&target, &context).unwrap()));
            let sum = |context: usize, value: &dyn Fn(usize, f64) -> f64| {
                let probabilities = policy.rows()[context].probabilities().iter().enumerate();
                probabilities.map(|(outcome, pi)| pi * value(outcome, *pi)).sum::<f64>()
            };
            check("entropy", mean(&|context| sum(context, &|_, pi| -pi.ln())));
            check("length", mean(&|context| sum(context, &|outcome, _| (outcome % 4) as f64)));
            if kind == Kind::Mixed {
                let outside = |context: usize| {
                    sum(context, &|outcome, _| f64::from(u8::from(p(context)[outcome] == f64::NEG_INFINITY)))
                };
                check("outside_mass", mean(&outside));
            }
            assert!((metric("statistic/distinct").value - 40.0).abs() < 3.0);
            assert!(metric("ess_share").value > 0.1 && metric("ess_share").value <= 1.0);
            assert_eq!(report.metrics.contains_key("missing_mass"), report.step == 2);
            if report.step == 2 {
                // Its error knows of the second step's samples only; the constant's is as large.
                let lacking = metric("missing_mass");
                assert!(lacking.value.abs() < 4.0 * 2f64.sqrt() * lacking.std_error.unwrap());
            }
            // The policy's two ways of computing a log-probability agree: it has only one.
            assert!(offline || metric("log_prob_gap").value == 0.0);
        }
    }
}

/// These numbers may change with the algorithm; the changelog then calls it a value-breaking change.
#[test]
fn a_seed_gives_the_numbers_it_gave() {
    let (world, target) = (World::new(3, 20), target(Kind::Mixed));
    let config =
        TunerConfig { steps: 20, learning_rate: 0.1, metrics_every: 5, seed: 11, ..TunerConfig::default() };
    let problem = Problem::new(&world.contexts, &target);
    let (mut policy, mut observed) = (world.policy(), InMemory::default());
    Tuner::new(config).unwrap().run(&mut policy, &problem, &mut observed).unwrap();
    let steps: Vec<u64> = observed.series("tv_target_policy").map(|(step, _)| step).collect();
    assert_eq!(steps, [1, 6, 11, 16, 20]);
    let found = [
        policy.logits()[[0, 1]],
        policy.logits()[[2, 7]],
        observed.last("js_target_policy").unwrap().value,
        observed.last("pseudo_reward/mean").unwrap().value,
    ];
    let expected = [2.313210915914956, -0.4572651988960118, 0.01196084075250045, -0.0040589529247870805];
    // Room for another libm, which is one unit in the last place here and there.
    let same =
        found.iter().zip(expected).all(|(found, expected): (&f64, f64)| (found - expected).abs() < 1e-9);
    assert!(same, "{found:?}, not {expected:?}");
}
