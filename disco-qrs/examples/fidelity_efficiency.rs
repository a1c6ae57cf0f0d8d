//! Fidelity against efficiency on a small exact space: quasi-rejection sampling and the samplers that it is
//! compared with (the comparison of Eikema et al. 2022, on a space where the truth can be written out).
//!
//! The proposal is a Markov chain over words of six letters `a` to `d`. The target wants exactly two letters
//! `d` and prefers words in which letters repeat. Each sampler draws independent samples; its efficiency is
//! samples per proposal scored, its fidelity the total variation between its samples and the target.
//! For quasi-rejection sampling the total variation is also predicted: exactly, and from the proposals alone.
//!
//! `cargo run --release -p disco-qrs --example fidelity_efficiency`

use std::error::Error;

use disco_core::{Condition, Product, Space, StreamRng, Table, feature, predicate};
use disco_qrs::{
    Budget, ChainConfig, Goal, ImportanceResampling, IndependentMh, LocalMove, ProposalPool, Qrs, RandomWalk,
    RandomWalkConfig, Ratios, Rejection, ResamplingConfig, RunConfig, Sampler,
};
use rand::RngExt;

type Word = Vec<u8>;

const LETTERS: [u8; 4] = *b"abcd";
const LENGTH: usize = 6;
const DRAWS: u64 = 40_000;

/// The log-probability of a word under the proposal: letters that follow the alphabet are likely.
fn log_proposal(word: &Word) -> f64 {
    let steps = word.windows(2).map(|pair| if pair[1] >= pair[0] { 0.6f64.ln() } else { 0.4f64.ln() });
    steps.sum()
}

/// The log-score of a word for its repetitions.
fn repetitions(word: &Word) -> f64 {
    word.windows(2).map(|pair| f64::from(u8::from(pair[0] == pair[1]))).sum()
}

/// Replaces one letter by any letter, or swaps two: a symmetric local proposal. Without the swap, no walk
/// could move the letters `d`, of which there must always be two.
fn edit(_: &(), from: &Word, rng: &mut StreamRng) -> Result<LocalMove<Word>, disco_core::Error> {
    let mut to = from.clone();
    let position = rng.random_range(0..LENGTH);
    if rng.random::<bool>() {
        to[position] = LETTERS[rng.random_range(0..LETTERS.len())];
    } else {
        to.swap(position, rng.random_range(0..LENGTH));
    }
    Ok(LocalMove::symmetric(to))
}

/// The total variation between a histogram of the samples and the target. Sampling noise alone makes it
/// about the second number.
fn distance(samples: &[Word], target: &Table<Word>) -> (f64, f64) {
    let mut counts = vec![0.0; target.space().len()];
    for sample in samples {
        if let Some(position) = target.space().position(sample) {
            counts[position] += 1.0;
        }
    }
    let total = samples.len() as f64;
    let pairs = counts.iter().zip(target.probabilities());
    let distance = pairs.map(|(count, probability)| (count / total - probability).abs()).sum::<f64>() / 2.0;
    // E|N(0, p (1 - p) / n)| / 2, summed.
    let noise =
        target.probabilities().iter().map(|p| (2.0 * p * (1.0 - p) / (std::f64::consts::PI * total)).sqrt());
    (distance, noise.sum::<f64>() / 2.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let space = Space::sequences(&LETTERS, LENGTH)?;
    let proposal =
        Table::from_log_scores(space.clone(), space.outcomes().iter().map(log_proposal).collect())?;
    let two_d =
        predicate("two d", |_: &(), word: &Word| word.iter().filter(|letter| **letter == b'd').count() == 2);
    let likes = disco_core::Exponential {
        feature: feature("repetitions", |_: &(), word: &Word| repetitions(word)),
        coefficient: 1.2,
    };
    let target = Product(Condition::always(two_d), Product(&proposal, likes));
    let truth = space.normalise(&target, &())?;
    let exact = Ratios::exact(&space.log_scores(&target, &())?, proposal.as_log_probs())?;

    println!(
        "{:<28}{:>12}{:>14}{:>10}{:>22}{:>12}",
        "sampler", "efficiency", "TV (samples)", "(noise)", "TV estimated", "TV exact"
    );
    let report = |name: &str, sampler: &mut dyn Sampler<Word>| -> Result<(f64, f64, f64), Box<dyn Error>> {
        let mut samples = Vec::new();
        for draw in &mut *sampler {
            samples.push(draw?.value);
        }
        let efficiency = sampler.statistics().efficiency().unwrap_or(0.0);
        let (distance, noise) = distance(&samples, &truth);
        print!("{name:<28}{efficiency:>12.4}{distance:>14.4}{noise:>10.4}");
        Ok((efficiency, distance, noise))
    };
    let config = |seed: u64| RunConfig::new(seed, Budget::draws(DRAWS));

    // QRS: the more it accepts, the farther it is; and it knows how far.
    let most = exact.acceptance_rate(exact.smallest_log_ratio())?.value;
    let pool = ProposalPool::draw(&proposal, &target, (), RunConfig::new(99, Budget::proposals(50_000)))?
        .ratios()?;
    let mut curve = Vec::new();
    for (seed, share) in [0.95, 0.6, 0.3, 0.15].into_iter().enumerate() {
        let log_beta = exact.choose(Goal::AcceptanceRate(share * most))?.log_beta;
        let mut qrs = Qrs::new(&proposal, &target, (), log_beta, config(seed as u64))?;
        let (efficiency, distance, noise) = report(&format!("QRS, ln beta = {log_beta:.2}"), &mut qrs)?;
        let (estimated, known) =
            (pool.point(log_beta)?.total_variation, exact.point(log_beta)?.total_variation.value);
        println!("{:>14.4} +- {:.4}{known:>12.4}", estimated.value, estimated.std_error);
        assert!((efficiency - share * most).abs() < 0.01);
        assert!((estimated.value - known).abs() < 4.0 * estimated.std_error);
        // The histogram's distance is the true one, blurred by noise.
        assert!(distance > known - 2.0 * noise && distance < known + 2.0 * noise);
        curve.push((efficiency, known));
    }
    assert!(curve.is_sorted_by(|one, two| one.0 > two.0 && one.1 > two.1));

    let mut rejection = Rejection::new(&proposal, &target, (), exact.largest_log_ratio(), config(10))?;
    let (rejected, _, noise) = report("rejection", &mut rejection)?;
    println!("{:>22}{:>12.4}", "-", 0.0);
    for pool in [2, 8, 32] {
        let resampling = ResamplingConfig { pool_size: pool, draws_per_pool: 1 };
        let mut sir =
            ImportanceResampling::new(&proposal, &target, (), resampling, config(20 + pool as u64))?;
        report(&format!("SIR, pools of {pool}"), &mut sir)?;
        println!("{:>22}{:>12}", "-", "-");
    }
    let mut last = 0.0;
    for steps in [2, 8, 32] {
        let chain = ChainConfig { burn_in: 0, thin: steps, restart: true };
        let mut independent = IndependentMh::new(&proposal, &target, (), chain, config(30 + steps))?;
        (_, last, _) = report(&format!("independent MH, {steps} steps"), &mut independent)?;
        println!("{:>22}{:>12}", "-", "-");
    }
    assert!(last < 0.05 + noise);
    for steps in [8, 32, 128] {
        let chain = ChainConfig { burn_in: 0, thin: steps, restart: true };
        let chains = RandomWalkConfig { chains: 64, chain };
        let mut walk = RandomWalk::new(&proposal, edit, &target, (), chains, config(50 + steps))?;
        report(&format!("random walk, {steps} steps"), &mut walk)?;
        println!("{:>22}{:>12}", "-", "-");
    }
    // At the efficiency of exact rejection, QRS is exact too, and says so.
    let point = exact.point(exact.largest_log_ratio())?;
    assert!((point.acceptance_rate.value - rejected).abs() < 0.01 && point.total_variation.value < 1e-12);
    println!("\nOnly QRS estimates its distance, from its proposals alone.");
    Ok(())
}
