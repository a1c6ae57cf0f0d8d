//! The effect of baselines on the variance of the gradient: exactly, by enumeration, and as sampled.

use disco_core::Scorer;
use disco_divergence::{Divergence, FDivergence};
use disco_tuner::{Baseline, MicroBatch, Problem, Tuner, TunerConfig};
use ndarray::Array2;

use crate::common::{
    self, Kind, World, base,
    scripted::{Scripted, Table},
    small::{self, CONTEXTS, OUTCOMES, divergences, first, is_soft, log_target},
    variance::Exact,
};

/// Rounding, where two ways of summing the same terms are compared.
const ROUNDING: f64 = 1e-12;

/// Policy and target of each context, as log-probabilities.
struct Scene {
    name: &'static str,
    hard: bool,
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
}

/// Near the small target, where a run spends most of its time.
fn near() -> Table {
    let logits = Array2::from_shape_fn((CONTEXTS, OUTCOMES), |(context, outcome)| {
        log_target(context, false)[outcome] + 0.3 * common::hash(outcome, 7 + context)
    });
    Table::new(first().contexts().clone(), first().outcomes().clone(), logits).unwrap()
}

/// Two contexts of six outcomes.
fn small_scene(name: &'static str, policy: &Table, hard: bool) -> Scene {
    let pair = |context: usize| (policy.rows()[context].as_log_probs().to_vec(), log_target(context, hard));
    Scene { name, hard, pairs: (0..CONTEXTS).map(pair).collect() }
}

/// One context of 512 outcomes: near its target, or as far as the base.
fn large_scene(name: &'static str, kind: Kind, far: bool) -> Scene {
    let world = World::new(1, 512);
    let target = common::target(kind);
    let log_policy = |outcome: &usize| {
        let of =
            |scorer: &dyn Scorer<usize, usize>| scorer.log_scores(&0, &[outcome]).unwrap().remove(0).unwrap();
        if far { of(&base()) } else { of(&target) + 0.3 * common::hash(*outcome, 7) }
    };
    let logits = world.space.outcomes().iter().map(log_policy).collect();
    let policy = disco_core::Table::from_log_scores(world.space.clone(), logits).unwrap();
    let target = world.space.normalise(&target, &0).unwrap();
    let pair = (policy.as_log_probs().to_vec(), target.as_log_probs().to_vec());
    Scene { name, hard: kind == Kind::Pointwise, pairs: vec![pair] }
}

fn small_scenes() -> [Scene; 3] {
    [
        small_scene("6, near", &near(), false),
        small_scene("6, far", &first(), false),
        small_scene("6, far, hard", &first(), true),
    ]
}

fn scenes() -> Vec<Scene> {
    let large = [
        large_scene("512, near", Kind::Distributional, false),
        large_scene("512, far", Kind::Distributional, true),
        large_scene("512, far, hard", Kind::Pointwise, true),
    ];
    small_scenes().into_iter().chain(large).collect()
}

fn exact(divergence: &FDivergence, scene: &Scene) -> Vec<Exact> {
    scene.pairs.iter().map(|(policy, target)| Exact::of(divergence, policy, target)).collect()
}

/// Where subtracting the mean raises the variance, of all that is tried below: where `f'(1)` is zero, and one of six
/// outcomes has so much of the probability that its score is much shorter than the others'.
const RAISED: [(&str, &str); 5] = [
    ("6, near", "tv"),
    ("6, near", "js"),
    ("6, near", "hellinger"),
    ("6, near", "alpha:0.5"),
    ("6, far", "jeffreys"),
];

/// It prints the table of BENCHMARKS.md.
#[test]
fn leave_one_out_baselines_lower_the_variance_but_where_it_is_listed() {
    println!(
        "without a baseline over with E[f'], with b*, and leave-one-out of 32; E[f'] / b* of each context"
    );
    let mut raised = Vec::new();
    for scene in &scenes() {
        for divergence in divergences().into_iter().filter(|other| !scene.hard || is_soft(other)) {
            let contexts = exact(&divergence, scene);
            let sum = |of: &dyn Fn(&Exact) -> f64| contexts.iter().map(of).sum::<f64>();
            let none = sum(&|at| at.variance(0.0));
            let [mean, best, few] = [
                none / sum(&|at| at.variance(at.mean)),
                none / sum(&|at| at.variance(at.best())),
                none / sum(&|at| at.leave_one_out(32)),
            ];
            let ratios: Vec<f64> = contexts.iter().map(|at| at.mean / at.best()).collect();
            println!("{:>14} {divergence:>14} {mean:10.4} {best:10.4} {few:10.4} {ratios:6.2?}", scene.name);
            if mean < 1.0 {
                raised.push((scene.name, divergence.to_string()));
            }
            let what = format!("{}, {divergence}: {mean}", scene.name);
            // Near the target most of the derivative is a constant, which the baseline removes.
            assert!(
                divergence.derivative(0.0) == 0.0 || !scene.name.contains("near") || mean > 30.0,
                "{what}"
            );
            // Where no outcome has much of the probability, all |s|^2 are about the same, and the mean is the best.
            assert!(!scene.name.starts_with("512") || (mean >= 1.0 && best / mean < 1.001), "{what}");
            assert!(mean > 0.9 && few > 0.85, "{what}");
        }
    }
    assert_eq!(raised, RAISED.map(|(scene, divergence)| (scene, divergence.to_owned())));
}

/// `V(b) - V(0) = b (b - 2 b*) E[|s|^2]`: lower between zero and `2 b*`, least at `b*`, higher everywhere else.
#[test]
fn the_variance_with_a_baseline_is_a_parabola_around_the_best_constant() {
    for scene in &small_scenes() {
        for divergence in divergences().into_iter().filter(|other| !scene.hard || is_soft(other)) {
            for context in exact(&divergence, scene) {
                let [none, best] = [context.variance_by_parameter(0.0), context.best()];
                for share in [-1.0, -0.1, 0.1, 0.9, 1.0, 1.1, 1.9, 2.1, 5.0] {
                    let (found, summed) =
                        (context.variance(share * best), context.variance_by_parameter(share * best));
                    let scale = none + (share * best).powi(2);
                    assert!((found - summed).abs() < ROUNDING * scale, "{divergence}: {found}, not {summed}");
                    let between = share > 0.0 && share < 2.0;
                    assert_eq!(summed < none, between, "{divergence}, {share} of the best");
                    assert!(context.variance_by_parameter(best) <= summed + ROUNDING * scale, "{divergence}");
                }
            }
        }
    }
}

/// Samples of a step in each context: a multiple of sixteen.
const EACH: usize = 64;
const STEPS: u64 = 1500;

/// The squared distance of each step's gradient from its mean, which is known: their mean is the variance.
fn squared_errors(divergence: FDivergence, baseline: Baseline, policy: &Table, scene: &Scene) -> Vec<f64> {
    let config = TunerConfig {
        steps: STEPS,
        samples_per_step: CONTEXTS * EACH,
        baseline,
        metrics_every: 0,
        micro_batch: MicroBatch { samples: CONTEXTS * EACH, tokens: None },
        ..small::config(divergence)
    };
    let (contexts, target) = (small::contexts(), small::target(scene.hard));
    let mut scripted = Scripted::new(vec![policy.clone()], policy.clone(), false);
    Tuner::new(config).unwrap().run(&mut scripted, &Problem::new(&contexts, &target), &mut ()).unwrap();
    let mean: Vec<f64> =
        exact(&divergence, scene).iter().flat_map(|context| context.gradient.clone()).collect();
    let error = |gradient: &Vec<f64>| {
        let gap = |(found, mean): (&f64, &f64)| (found - mean / CONTEXTS as f64).powi(2);
        gradient.iter().zip(&mean).map(gap).sum()
    };
    scripted.gradients.iter().map(error).collect()
}

/// n = 1,500 steps of 64 samples in each of two contexts, seed 0; within four standard errors, alpha = 7e-5 for each
/// of the 68 variances. A standard error is 1 to 4% of the variance.
#[test]
fn sampled_variances_are_those_of_enumeration() {
    for (scene, policy) in small_scenes().iter().zip([near(), first(), first()]) {
        for divergence in divergences().into_iter().filter(|other| !scene.hard || is_soft(other)) {
            let contexts = exact(&divergence, scene);
            let variance = |of: &dyn Fn(&Exact) -> f64| {
                contexts.iter().map(of).sum::<f64>() / (CONTEXTS * CONTEXTS * EACH) as f64
            };
            for (baseline, expected) in [
                (Baseline::None, variance(&|context| context.variance(0.0))),
                (Baseline::LeaveOneOut, variance(&|context| context.leave_one_out(EACH))),
            ] {
                let errors = squared_errors(divergence, baseline, &policy, scene);
                let found = disco_core::Estimate::mean(&errors);
                let (gap, what) =
                    (found.value - expected, format!("{}, {divergence}, {baseline:?}", scene.name));
                assert!(gap.abs() < 4.0 * found.std_error, "{what}: {found:?}, not {expected}");
                assert!(found.std_error < 0.05 * expected, "{what}: {found:?} says nothing of {expected}");
            }
        }
    }
}
