//! Statistical: nominal 95% intervals of the diagnostics cover the truth in 92-98% of 1,000 seeded repetitions.
//!
//! n = 1,000 repetitions; alpha = 2.5e-5 per test: with a true coverage of 95%, the share that covers leaves that
//! range for one test in 40,000 (binomial). Seeds are fixed.

use disco_core::{Distribution, Estimate, Space, Streams, Table};
use disco_qrs::{Goal, Point, Ratios, Statistics};

const REPETITIONS: u64 = 1_000;
const SAMPLES: usize = 2_000;
const Z95: f64 = 1.959964;

/// A target over 40 outcomes, of which some are impossible, and a proposal; log-ratios spread over four nats.
fn problem() -> (Vec<f64>, Table<usize>, Vec<f64>) {
    let target =
        (0..40).map(|x| if x % 7 == 3 { f64::NEG_INFINITY } else { 3.0 + (1.7 * f64::from(x)).sin() });
    let proposal = (0..40).map(|x| (2.9 * f64::from(x)).cos()).collect();
    let table = Table::from_log_scores(Space::new(0..40).unwrap(), proposal).unwrap();
    (target.collect(), table, (0..40).map(|x| (f64::from(x) / 10.0).exp()).collect())
}

fn sampled(repetition: u64) -> Ratios {
    let (target, proposal, feature) = problem();
    let samples = proposal.sample(&(), &Streams::new(repetition, SAMPLES)).unwrap();
    let take = |values: &[f64]| -> Vec<f64> { samples.iter().map(|sample| values[sample.value]).collect() };
    let ratios = Ratios::new(&take(&target), &take(proposal.as_log_probs())).unwrap();
    ratios.with_feature("feature", &take(&feature)).unwrap()
}

fn exact() -> Ratios {
    let (target, proposal, feature) = problem();
    Ratios::exact(&target, proposal.as_log_probs()).unwrap().with_feature("feature", &feature).unwrap()
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

/// A number of a point, by name.
type Number = (&'static str, fn(&Point) -> Estimate);

const NUMBERS: [Number; 7] = [
    ("acceptance rate", |point| point.acceptance_rate),
    ("ln Z_beta", |point| point.log_z_beta),
    ("total variation", |point| point.total_variation),
    ("forward KL", |point| point.forward_kl),
    ("reverse KL", |point| point.reverse_kl),
    ("Jensen-Shannon", |point| point.jensen_shannon),
    ("feature", |point| point.features[0]),
];

#[test]
fn intervals_of_the_curve_cover() {
    let exact = exact();
    // From a tenth of the weights clipped to nearly all.
    let grid: Vec<f64> = [0.25, 0.4, 0.6, 0.8]
        .map(|wanted| exact.choose(Goal::AcceptanceRate(wanted)).unwrap().log_beta)
        .to_vec();
    let truth = exact.curve(&grid).unwrap();
    let (mut covered, mut log_z) = ([[0; NUMBERS.len()]; 4], 0);
    for repetition in 0..REPETITIONS {
        let curve = sampled(repetition).curve(&grid).unwrap();
        log_z += covers(curve.log_z, truth.log_z.value);
        for ((covered, point), truth) in covered.iter_mut().zip(&curve.points).zip(&truth.points) {
            for (covered, (_, number)) in covered.iter_mut().zip(NUMBERS) {
                *covered += covers(number(point), number(truth).value);
            }
        }
    }
    in_range(log_z, "ln Z");
    for (covered, log_beta) in covered.iter().zip(&grid) {
        for (covered, (name, _)) in covered.iter().zip(NUMBERS) {
            in_range(*covered, &format!("{name} at {log_beta}"));
        }
    }
}

#[test]
fn intervals_of_a_chosen_beta_cover() {
    let of = |rates: &[f64], goal: fn(f64) -> Goal| rates.iter().copied().map(goal).collect::<Vec<_>>();
    let rates = of(&[0.3, 0.5], Goal::AcceptanceRate);
    // At 0.05 the slope of the total variation changes by half within the error.
    for goal in [rates, of(&[0.05, 0.1, 0.2], Goal::TotalVariation)].concat() {
        let truth = exact().choose(goal).unwrap().log_beta;
        let mut covered = 0;
        for repetition in 0..REPETITIONS {
            let interval = sampled(repetition).choose(goal).unwrap().interval.unwrap();
            covered += u64::from(interval.low <= truth && truth <= interval.high);
        }
        in_range(covered, &format!("{goal:?}"));
    }
}

#[test]
fn what_an_acceptance_rate_of_one_lacks_is_bounded() {
    // One outcome is below beta, with these probabilities: often none of 100 proposals is it. Where the normal interval
    // is [1, 1], the bound covers; without it, intervals fail as often as nothing is seen.
    for (share, seed) in [(0.001f64, 0), (0.01, 1_000), (0.025, 2_000), (0.05, 3_000)] {
        let proposal = Table::from_probabilities(Space::new(0..2).unwrap(), &[share, 1.0 - share]).unwrap();
        let truth = 1.0 - share;
        let (mut covered, mut normal, mut counted) = (0, 0, 0);
        for repetition in 0..REPETITIONS {
            let samples = proposal.sample(&(), &Streams::new(seed + repetition, 100)).unwrap();
            // The one below is never accepted, to which the bound comes nearest.
            let target: Vec<f64> = samples
                .iter()
                .map(|sample| if sample.value == 0 { -60.0 } else { 0.0 } + sample.log_prob)
                .collect();
            let log_proposal: Vec<f64> = samples.iter().map(|sample| sample.log_prob).collect();
            let ratios = Ratios::new(&target, &log_proposal).unwrap();
            let point = ratios.point(0.0).unwrap();
            covered += u64::from(1.0 - truth <= point.below_at_most);
            normal += covers(point.acceptance_rate, truth);
            let accepted = samples.iter().filter(|sample| sample.value == 1).count() as u64;
            let mut statistics = Statistics::default();
            (statistics.proposals, statistics.accepted) = (100, accepted);
            let (low, high) = statistics.acceptance_interval().unwrap();
            counted += u64::from(low <= truth && truth <= high);
        }
        let share_of = |count: u64| count as f64 / REPETITIONS as f64;
        println!(
            "{share}: bound {}, normal {}, counted {}",
            share_of(covered),
            share_of(normal),
            share_of(counted)
        );
        // Clopper and Pearson's are conservative: never less than 95%, but for chance.
        assert!(share_of(covered) >= 0.92 && share_of(counted) >= 0.92, "{share}");
    }
}

#[test]
fn the_share_above_the_largest_ratio_is_bounded() {
    // A one-sided bound at 95%: with a large discrete step at the largest outcome it can only cover more.
    let (target, proposal, _) = problem();
    let exact = exact();
    let mut covered = 0;
    for repetition in 0..REPETITIONS {
        // Few proposals, so that the largest ratio is not always among them.
        let samples = proposal.sample(&(), &Streams::new(repetition, 60)).unwrap();
        let take =
            |values: &[f64]| -> Vec<f64> { samples.iter().map(|sample| values[sample.value]).collect() };
        let ratios = Ratios::new(&take(&target), &take(proposal.as_log_probs())).unwrap();
        let choice = ratios.choose(Goal::LargestRatio).unwrap();
        covered +=
            u64::from(exact.point(choice.log_beta).unwrap().above_at_most <= choice.point.above_at_most);
    }
    assert!(covered as f64 / REPETITIONS as f64 >= 0.92, "{covered}");
}
