//! Statistical: nominal 95% intervals cover the truth in 92-98% of 1,000 seeded repetitions.
//!
//! n = 1,000 repetitions; alpha = 2.5e-5 per test: with a true coverage of 95%, the share that covers leaves that
//! range for one test in 40,000 (binomial). Seeds are fixed.

use disco_core::{Distribution, Estimate, Space, Streams, Table};
use disco_divergence::{Divergence, Estimator, FDivergence, LogZ, Renyi, Scored, TwoSamples, exact};

const REPETITIONS: u64 = 1_000;
const SAMPLES: usize = 2_000;
const Z95: f64 = 1.959964;

/// Three distributions over 12 outcomes: log-ratios up to 1.6, so that 2,000 samples are in the range of the
/// central limit theorem for chi-squared too.
fn tables(hard: bool) -> [Table<usize>; 3] {
    let space = Space::new(0..12).unwrap();
    let mut tables = [(0.7, 1.3), (0.6, 2.1), (0.3, 3.3)].map(|(size, pace)| {
        let log_scores = (0..12).map(|x| size * (f64::from(x) * pace).sin()).collect();
        Table::from_log_scores(space.clone(), log_scores).unwrap()
    });
    if hard {
        // The target forbids three outcomes.
        let log_scores = tables[0].as_log_probs().iter().enumerate();
        let allowed = log_scores.map(|(x, log)| if x % 5 == 1 { f64::NEG_INFINITY } else { *log }).collect();
        tables[0] = Table::from_log_scores(space, allowed).unwrap();
    }
    tables
}

fn divergences() -> Vec<FDivergence> {
    let parameters = ["alpha:-0.5", "alpha:0.5", "alpha:1.5", "skewed-kl:0.3", "skewed-js:0.2"];
    let mut all = FDivergence::NAMED.to_vec();
    all.extend(parameters.map(|name| name.parse::<FDivergence>().unwrap()));
    all
}

fn scores(table: &Table<usize>, positions: &[usize], shift: f64) -> Vec<f64> {
    positions.iter().map(|&position| table.as_log_probs()[position] + shift).collect()
}

fn draw(table: &Table<usize>, key: u64, count: usize) -> Vec<usize> {
    let samples = table.sample(&(), &Streams::new(key, count)).unwrap();
    samples.into_iter().map(|sample| sample.value).collect()
}

fn covers(estimate: Estimate, truth: f64) -> u64 {
    let (low, high) = estimate.interval(Z95);
    u64::from(low <= truth && truth <= high)
}

#[track_caller]
fn in_range(covered: u64, what: &str) {
    let share = covered as f64 / REPETITIONS as f64;
    println!("{what}: {share}");
    assert!((0.92..=0.98).contains(&share), "{what}: {share}");
}

/// Counts how often the truth is covered from samples of `proposal`.
#[track_caller]
fn check(tables: [Table<usize>; 3], proposal: usize, target_z: LogZ, policy_z: LogZ) {
    let mut divergences = divergences();
    let hard = tables[0].probabilities().contains(&0.0);
    divergences.retain(|divergence| !hard || divergence.derivative_at_infinity().is_finite());
    let truths: Vec<f64> = divergences
        .iter()
        .map(|divergence| exact(divergence, tables[0].as_log_probs(), tables[1].as_log_probs()).unwrap())
        .collect();
    let (mut covered, mut log_z_covered, mut renyi_covered) = (vec![0; divergences.len()], 0, 0);
    let renyi = Renyi::new(0.5).unwrap();
    let at_alpha = divergences.iter().position(|divergence| *divergence == renyi.alpha()).unwrap();
    let renyi_truth = renyi.from_alpha(truths[at_alpha]).unwrap();
    for repetition in 0..REPETITIONS {
        let positions = draw(&tables[proposal], repetition, SAMPLES);
        let [target, policy] =
            [(0, 2.0), (1, 0.0)].map(|(i, shift): (usize, f64)| scores(&tables[i], &positions, shift));
        let log_proposal = scores(&tables[proposal], &positions, 0.0);
        let found = Estimator::new(&target, &policy, &log_proposal)
            .and_then(|estimator| {
                estimator.target_log_z(target_z)?.policy_log_z(policy_z)?.estimate(&divergences)
            })
            .unwrap();
        for ((covered, found), truth) in covered.iter_mut().zip(&found.divergences).zip(&truths) {
            *covered += covers(found.estimate, *truth);
        }
        log_z_covered += covers(found.target_log_z, 2.0);
        let estimate = renyi.from_estimate(found.divergences[at_alpha].estimate).unwrap();
        renyi_covered += covers(estimate, renyi_truth);
    }
    for (covered, divergence) in covered.into_iter().zip(&divergences) {
        in_range(covered, &divergence.to_string());
    }
    in_range(renyi_covered, "Renyi");
    if target_z == LogZ::Estimated {
        in_range(log_z_covered, "ln Z");
    }
}

#[test]
fn intervals_cover_from_the_policy_with_z_known() {
    check(tables(false), 1, LogZ::Known(2.0), LogZ::Known(0.0));
}

#[test]
fn intervals_cover_from_the_policy_with_z_estimated() {
    check(tables(false), 1, LogZ::Estimated, LogZ::Known(0.0));
}

#[test]
fn intervals_cover_from_another_proposal_with_both_z_estimated() {
    check(tables(false), 2, LogZ::Estimated, LogZ::Estimated);
}

#[test]
fn intervals_cover_where_the_target_forbids_outcomes() {
    check(tables(true), 1, LogZ::Estimated, LogZ::Known(0.0));
}

#[test]
fn intervals_cover_between_two_sampled_distributions() {
    let tables = tables(false);
    let divergences = divergences();
    let truths: Vec<f64> = divergences
        .iter()
        .map(|divergence| exact(divergence, tables[0].as_log_probs(), tables[1].as_log_probs()).unwrap())
        .collect();
    let (mut covered, mut zeta_covered) = (vec![0; divergences.len()], 0);
    for repetition in 0..REPETITIONS {
        let drawn =
            [draw(&tables[0], repetition, SAMPLES / 2), draw(&tables[1], REPETITIONS + repetition, SAMPLES)];
        let columns =
            drawn.map(|positions| (scores(&tables[0], &positions, 2.0), scores(&tables[1], &positions, 0.0)));
        let [target, policy] =
            [0, 1].map(|i: usize| Scored { log_target: &columns[i].0, log_policy: &columns[i].1 });
        let samples = TwoSamples::new(target, policy).unwrap().log_ratio_z(LogZ::Estimated).unwrap();
        let found = samples.estimate(&divergences).unwrap();
        for ((covered, found), truth) in covered.iter_mut().zip(&found.divergences).zip(&truths) {
            *covered += covers(found.estimate, *truth);
        }
        zeta_covered += covers(found.log_ratio_z, 2.0);
    }
    for (covered, divergence) in covered.into_iter().zip(&divergences) {
        in_range(covered, &divergence.to_string());
    }
    in_range(zeta_covered, "ln Z ratio");
}
