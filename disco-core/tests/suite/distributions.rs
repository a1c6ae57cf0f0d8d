//! The ready distributions: exact enumeration, agreement of sampling and scoring, bad input.

use std::collections::HashMap;

use disco_core::{
    Continuous, Discrete, Distribution, Error, MarkovChain, MarkovChainConfig, Mixture, PerContext, Result,
    ScorerExt, Space, StreamRng, Streams, Table, distribution,
    statrs::distribution::{DiscreteUniform, Geometric, Hypergeometric, Normal, Poisson, Uniform},
};
use rand::RngExt;

/// Samples carry the log-probability that scoring gives them, to the bit.
#[track_caller]
fn sampled_as_scored<C, X>(distribution: &impl Distribution<C, X>, context: &C) {
    let samples = distribution.sample(context, &Streams::new(17, 500)).unwrap();
    assert_eq!(samples.len(), 500);
    let values: Vec<&X> = samples.iter().map(|sample| &sample.value).collect();
    let scored = distribution.log_probs(context, &values).unwrap();
    for (sample, log_prob) in samples.iter().zip(scored) {
        assert_eq!(sample.log_prob, log_prob);
    }
}

/// Pearson's chi-squared of samples against a table, outcomes below five expected pooled, compared with
/// mean + 5 standard deviations of its distribution (alpha below 1e-5 for the degrees of freedom here).
#[track_caller]
fn fits<C, X: Clone + Eq + std::hash::Hash>(
    sampler: &impl Distribution<C, X>,
    context: &C,
    exact: &Table<X>,
) {
    let n = 50_000;
    let mut counts = HashMap::new();
    for sample in sampler.sample(context, &Streams::new(23, n)).unwrap() {
        *counts.entry(sample.value).or_insert(0.0f64) += 1.0;
    }
    let (mut chi2, mut cells, mut rest) = (0.0, 0.0, (0.0, 0.0));
    for (outcome, probability) in exact.space().outcomes().iter().zip(exact.probabilities()) {
        let (count, expected) = (counts.remove(outcome).unwrap_or(0.0), probability * n as f64);
        if expected < 5.0 {
            rest = (rest.0 + count, rest.1 + expected);
        } else {
            chi2 += (count - expected).powi(2) / expected;
            cells += 1.0;
        }
    }
    assert!(counts.is_empty(), "samples outside the table");
    if rest.1 >= 5.0 {
        chi2 += (rest.0 - rest.1).powi(2) / rest.1;
        cells += 1.0;
    }
    let freedom = cells - 1.0;
    assert!(chi2 < freedom + 5.0 * (2.0f64 * freedom).sqrt() + 5.0, "chi-squared {chi2} of {freedom}");
}

fn weather(max_length: usize, end: Option<char>) -> MarkovChainConfig<char> {
    MarkovChainConfig {
        symbols: vec!['s', 'r', '.'],
        initial: vec![0.5, 0.3, 0.2],
        transitions: vec![vec![0.6, 0.3, 0.1], vec![0.4, 0.4, 0.2], vec![0.0, 0.0, 1.0]],
        end,
        max_length,
    }
}

#[test]
fn a_markov_chain_is_a_distribution_over_complete_sequences() {
    for (max_length, end) in [(1, Some('.')), (5, Some('.')), (4, None)] {
        let chain = MarkovChain::new(weather(max_length, end)).unwrap();
        let table = chain.to_table(1000).unwrap();
        let total: f64 = table.probabilities().iter().sum();
        assert!((total - 1.0).abs() < 1e-12);
        for (sequence, log_prob) in table.space().outcomes().iter().zip(table.as_log_probs()) {
            assert!((chain.log_prob(sequence) - log_prob).abs() < 1e-12);
        }
        fits(&chain, &(), &table);
        sampled_as_scored(&chain, &());
    }
}

#[test]
fn what_is_no_complete_sequence_is_impossible() {
    let chain = MarkovChain::new(weather(3, Some('.'))).unwrap();
    let log_prob = |text: &str| chain.log_prob(&text.chars().collect::<Vec<_>>());
    assert!((log_prob("sr.") - (0.5f64 * 0.3 * 0.2).ln()).abs() < 1e-14);
    assert!((log_prob("srr") - (0.5f64 * 0.3 * 0.4).ln()).abs() < 1e-14);
    assert!((log_prob(".") - 0.2f64.ln()).abs() < 1e-14);
    for impossible in ["", "sr", "s.r", "..", "srrr", "srr.", "sx."] {
        assert_eq!(log_prob(impossible), f64::NEG_INFINITY, "{impossible}");
    }
}

#[test]
fn bad_markov_chains_are_refused_by_field() {
    #[track_caller]
    fn refused(change: impl FnOnce(&mut MarkovChainConfig<char>), field: &str) {
        let mut config = weather(3, Some('.'));
        change(&mut config);
        let error = MarkovChain::new(config).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    refused(|config| config.symbols.clear(), "empty");
    refused(|config| config.symbols[1] = 's', "outcome 1");
    refused(|config| config.initial[0] = 0.6, "sum of initial");
    refused(|config| config.initial.truncate(2), "initial: expected 3 values, got 2");
    refused(|config| config.transitions[1][2] = -0.2, "transitions[1], number 2");
    refused(|config| config.transitions[2][2] = f64::NAN, "transitions[2]");
    refused(|config| drop(config.transitions.pop()), "transitions, one row per symbol");
    refused(|config| config.end = Some('!'), "end");
    refused(|config| config.max_length = 0, "max_length is 0; allowed: at least 1");
    assert!(MarkovChain::new(weather(8, None)).unwrap().to_table(100).is_err());
}

#[test]
fn statrs_distributions_are_sampled_as_they_are_scored() {
    let poisson = Discrete(Poisson::new(10.0).unwrap());
    fits(&poisson, &(), &Space::new(0..100u64).unwrap().normalise(&poisson, &()).unwrap());
    sampled_as_scored(&poisson, &());
    let uniform = Discrete(DiscreteUniform::new(-2, 2).unwrap());
    fits(&uniform, &(), &Space::new(-2..=2).unwrap().uniform());
    let geometric = Discrete(Geometric::new(0.3).unwrap());
    fits(&geometric, &(), &Space::new(1..200u64).unwrap().normalise(&geometric, &()).unwrap());
    let drawn = Discrete(Hypergeometric::new(20, 7, 12).unwrap());
    let table = Space::new(0..=7u64).unwrap().normalise(&drawn, &()).unwrap();
    fits(&drawn, &(), &table);
    assert!(table.space().log_z(&drawn, &()).unwrap().abs() < 1e-12);
    // Its own formula would subtract below zero here.
    assert_eq!(drawn.log_probs(&(), &[&13]).unwrap(), [f64::NEG_INFINITY]);
}

#[test]
fn normal_samples_pass_a_kolmogorov_smirnov_test() {
    // n = 20,000, alpha = 1e-4: critical distance sqrt(-ln(alpha / 2) / 2 / n) = 2.225 / sqrt(n).
    use disco_core::statrs::distribution::ContinuousCDF;
    let normal = Continuous(Normal::new(3.0, 2.0).unwrap());
    sampled_as_scored(&normal, &());
    let n = 20_000;
    let samples = normal.sample(&(), &Streams::new(29, n)).unwrap();
    let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let steps = values.iter().enumerate().map(|(i, value)| {
        let cdf = normal.0.cdf(*value);
        (cdf - i as f64 / n as f64).abs().max((cdf - (i + 1) as f64 / n as f64).abs())
    });
    let distance = steps.fold(0.0, f64::max);
    assert!(distance < 2.225 / (n as f64).sqrt(), "distance {distance}");
}

#[test]
fn a_density_at_nan_is_an_error_and_never_a_number() {
    let uniform = Continuous(Uniform::new(0.0, 1.0).unwrap());
    assert!(matches!(uniform.log_probs(&(), &[&f64::NAN]), Err(Error::NotANumber { index: 0, .. })));
    assert_eq!(uniform.log_probs(&(), &[&2.0]).unwrap(), [f64::NEG_INFINITY]);
}

#[test]
fn a_mixture_is_the_weighted_sum_of_its_components() {
    let space = Space::new(0..4).unwrap();
    let table = |probabilities: [f64; 4]| Table::from_probabilities(space.clone(), &probabilities).unwrap();
    let components = [table([0.5, 0.5, 0.0, 0.0]), table([0.0, 0.1, 0.2, 0.7]), table([0.25; 4])];
    let weights = [0.2, 0.5, 0.3];
    let exact: Vec<f64> = (0..4)
        .map(|x| weights.iter().zip(&components).map(|(w, component)| w * component.probabilities()[x]).sum())
        .collect();
    let mixture = Mixture::new(weights.into_iter().zip(components)).unwrap();
    for (score, expected) in space.log_scores(&mixture, &()).unwrap().iter().zip(&exact) {
        assert!((score.exp() - expected).abs() < 1e-15);
    }
    fits(&mixture, &(), &Table::from_probabilities(space.clone(), &exact).unwrap());
    sampled_as_scored(&mixture, &());

    // Mixtures of mixtures and of different types are distributions like any other.
    let boxed: Vec<(f64, Box<dyn Distribution<(), i32>>)> =
        vec![(0.5, Box::new(mixture)), (0.5, Box::new(space.uniform()))];
    let nested = Mixture::new(boxed).unwrap();
    sampled_as_scored(&nested, &());
    let halves: Vec<f64> = exact.iter().map(|p| 0.5 * p + 0.125).collect();
    fits(&nested, &(), &Table::from_probabilities(space, &halves).unwrap());
}

#[test]
fn bad_mixtures_are_refused() {
    let die = || Space::new(1..=6).unwrap().uniform();
    assert!(matches!(Mixture::<Table<i32>>::new([]), Err(Error::Empty { .. })));
    for weights in [[0.5, 0.6], [1.0, 0.0], [1.5, -0.5], [f64::NAN, 1.0]] {
        let mixture = Mixture::new(weights.map(|weight| (weight, die())));
        assert!(matches!(mixture, Err(Error::Invalid { .. })), "{weights:?}");
    }
}

#[test]
fn each_context_has_its_own_distribution() {
    let space = Space::new([0u8, 1]).unwrap();
    let part = |p: f64| Table::from_probabilities(space.clone(), &[1.0 - p, p]).unwrap();
    let parts = PerContext::new([("a", part(0.1)), ("b", part(0.9))]).unwrap();
    for (context, p) in [("a", 0.1), ("b", 0.9)] {
        fits(&parts, &context, &part(p));
        sampled_as_scored(&parts, &context);
    }
    // A fixed context makes it a distribution without one.
    fits(&parts.clone().given("b"), &(), &part(0.9));
    assert!(matches!(parts.log_probs(&"c", &[&0]), Err(Error::Invalid { .. })));
    assert!(matches!(PerContext::new([("a", part(0.1)), ("a", part(0.2))]), Err(Error::Invalid { .. })));
    assert!(matches!(PerContext::<u8, Table<u8>>::new([]), Err(Error::Empty { .. })));
}

#[test]
fn a_closure_that_gives_nan_is_named() {
    let broken = distribution(|_: &(), rng: &mut StreamRng| rng.random::<u8>(), |_: &(), _: &u8| f64::NAN);
    let drawn: Result<Vec<_>> = broken.sample(&(), &Streams::new(1, 3));
    assert!(matches!(drawn, Err(Error::NotANumber { index: 0, .. })));
}

#[test]
fn shared_and_boxed_distributions_are_distributions() {
    let die = Space::new(1..=6).unwrap().uniform();
    let streams = Streams::new(5, 20);
    let direct = die.sample(&(), &streams).unwrap();
    let shared: std::sync::Arc<dyn Distribution<(), i32>> = std::sync::Arc::new(die.clone());
    assert_eq!(shared.sample(&(), &streams).unwrap(), direct);
    let boxed: Box<dyn Distribution<(), i32>> = Box::new(std::sync::Arc::clone(&shared));
    assert_eq!(boxed.sample_each(&[&()], &[streams]).unwrap(), [direct]);
    assert_eq!(boxed.log_probs(&(), &[&7]).unwrap(), [f64::NEG_INFINITY]);
}
