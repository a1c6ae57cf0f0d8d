//! The distribution of a next token, against its definition written out in f64, rule by rule.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::{decoding::*, grammar::mask::Mask};

/// Logits are f32, weights have a relative error of 3e-7.
const LOG_PROB_TOLERANCE: f64 = 5e-6;

/// The entries of a gradient are f32, at most of the order of 10.
const GRADIENT_TOLERANCE: f64 = 1e-4;

/// The step of the central differences, in f64.
const STEP: f64 = 1e-5;

const END_TOKENS: [u32; 2] = [0, 7];

/// The log-probabilities of all tokens: each rule by itself, in transformers' order.
fn reference(decoding: &Decoding, logits: &[f64], history: History<'_>) -> Vec<f64> {
    let context: &[u32] = match decoding.repetition_scope {
        RepetitionScope::All => history.context,
        RepetitionScope::New => &[],
    };
    let ends = END_TOKENS.iter().filter(|_| history.generated.len() < decoding.min_new_tokens);
    let excluded: Vec<u32> = decoding.forbidden_tokens.iter().chain(ends).copied().collect();
    let mut scores: Vec<f64> = (0..)
        .zip(logits)
        .map(|(id, logit)| {
            let penalty = match context.iter().chain(history.generated).any(|seen| *seen == id) {
                true if *logit < 0.0 => decoding.repetition_penalty,
                true => 1.0 / decoding.repetition_penalty,
                false => 1.0,
            };
            if excluded.contains(&id) { f64::NEG_INFINITY } else { logit * penalty / decoding.temperature }
        })
        .collect();
    if decoding.top_k > 0 {
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let last = sorted[decoding.top_k.min(sorted.len()) - 1];
        keep(&mut scores, |score| score >= last);
    }
    if decoding.top_p < 1.0 {
        let last = reach(&scores, decoding.top_p, |log_prob| -log_prob);
        let log_sum = log_sum(&scores);
        keep(&mut scores, |score| log_sum - score <= last);
    }
    if decoding.min_p > 0.0 {
        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        keep(&mut scores, |score| (score - most).exp() >= decoding.min_p);
    }
    if decoding.typical_p < 1.0 {
        let log_sum = log_sum(&scores);
        let entropy: f64 = scores
            .iter()
            .filter(|score| score.is_finite())
            .map(|score| -(score - log_sum) * (score - log_sum).exp())
            .sum();
        let surprise = |log_prob: f64| (-log_prob - entropy).abs();
        let last = reach(&scores, decoding.typical_p, surprise);
        keep(&mut scores, |score| surprise(score - log_sum) <= last);
    }
    let log_sum = log_sum(&scores);
    scores.iter().map(|score| score - log_sum).collect()
}

fn log_sum(scores: &[f64]) -> f64 {
    scores.iter().map(|score| score.exp()).sum::<f64>().ln()
}

fn keep(scores: &mut [f64], holds: impl Fn(f64) -> bool) {
    for score in scores {
        if !holds(*score) {
            *score = f64::NEG_INFINITY;
        }
    }
}

/// The key of the last token needed for `mass`, the tokens taken by the key of their log-probabilities.
fn reach(scores: &[f64], mass: f64, key: impl Fn(f64) -> f64) -> f64 {
    let log_sum = log_sum(scores);
    let mut tokens: Vec<(f64, f64)> =
        scores.iter().map(|score| (key(score - log_sum), (score - log_sum).exp())).collect();
    tokens.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut reached = 0.0;
    for (key, probability) in tokens {
        reached += probability;
        if reached >= mass {
            return key;
        }
    }
    f64::INFINITY
}

/// The log-probabilities of the tokens that a mask allows, divided by their mass; all `-inf` if they have none.
fn masked(mut log_probs: Vec<f64>, mask: Option<&Mask>) -> Vec<f64> {
    let Some(mask) = mask else { return log_probs };
    for (token, log_prob) in (0..).zip(&mut log_probs) {
        *log_prob = if mask.allows(token) { *log_prob } else { f64::NEG_INFINITY };
    }
    let mass = log_sum(&log_probs);
    if mass > f64::NEG_INFINITY {
        log_probs.iter_mut().for_each(|log_prob| *log_prob -= mass);
    }
    log_probs
}

/// A mask that allows one token of two, of fifty or of two hundred.
fn random_mask(seed: u64, vocabulary: usize) -> Mask {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let share = [0.5, 0.02, 0.005][seed as usize % 9 / 3];
    let word = |_| (0..32).map(|bit| u32::from(rng.random_bool(share)) << bit).sum::<u32>();
    Mask::new((0..vocabulary.div_ceil(32)).map(word).collect::<Vec<_>>())
}

/// A vocabulary of more than one block, its logits, and a history.
fn random(rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<u32>, Vec<u32>) {
    let vocabulary = rng.random_range(8..1500);
    let spread = rng.random_range(0.5..12.0);
    let logits = (0..vocabulary).map(|_| (rng.random::<f32>() - 0.5) * spread).collect();
    let mut tokens = |count| (0..count).map(|_| rng.random_range(0..vocabulary as u32)).collect();
    (logits, tokens(6), tokens(3))
}

fn choices(rng: &mut ChaCha8Rng) -> Decoding {
    let mut chance = |x: f64, off: f64| if rng.random_bool(0.4) { x } else { off };
    let temperature = chance(0.7, 1.0) * chance(1.9, 1.0);
    let [top_p, min_p, typical_p] = [chance(0.8, 1.0), chance(0.07, 0.0), chance(0.6, 1.0)];
    let below = chance(0.6, 1.0);
    let repetition_penalty = chance(1.7, below);
    Decoding {
        repetition_penalty,
        repetition_scope: if rng.random() { RepetitionScope::All } else { RepetitionScope::New },
        min_new_tokens: rng.random_range(0..6),
        forbidden_tokens: if rng.random() { vec![3, 5, 3] } else { vec![] },
        temperature,
        top_k: if rng.random_bool(0.4) { rng.random_range(1..40) } else { 0 },
        top_p,
        min_p,
        typical_p,
    }
}

#[test]
fn log_probabilities_and_gradients_are_those_of_the_definition() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut truncated, mut dead_ends, mut at_edges) = (0, 0, 0);
    for case in 0..400 {
        let decoding = choices(&mut rng);
        let (logits, context, generated) = random(&mut rng);
        let history = History { context: &context, generated: &generated };
        let exact: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        let mask = (case % 3 == 0).then(|| random_mask(case, logits.len()));
        let reference = |logits: &[f64]| masked(reference(&decoding, logits, history), mask.as_ref());
        let expected = reference(&exact);

        let mut row = logits.clone();
        let next = decoding.next_token(&mut row, history, &END_TOKENS, mask.as_ref()).expect("finite logits");
        for (token, expected) in (0..).zip(&expected) {
            let actual = next.log_prob(token);
            let same = actual == *expected || (actual - expected).abs() < LOG_PROB_TOLERANCE;
            assert!(same, "case {case}, {decoding:?}, token {token}: {actual} for {expected}");
        }
        let most = expected.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if most == f64::NEG_INFINITY {
            dead_ends += 1;
            assert_eq!([next.mode(), next.at(0.0), next.at(0.9)], [DEAD_END; 3]);
            assert!(next.log_prob(DEAD_END) == 0.0 && next.top(3).is_empty());
            next.into_gradient([(DEAD_END, 0.7), (1, 0.5)].into_iter());
            assert!(row.iter().all(|entry| *entry == 0.0));
            continue;
        }
        assert_eq!(next.log_prob(DEAD_END), f64::NEG_INFINITY);
        assert_eq!(expected[next.mode() as usize], most);

        assert!(next.top(5).windows(2).all(|pair| expected[pair[0] as usize] >= expected[pair[1] as usize]));

        // Tokens that can be drawn have a gradient; the others contribute nothing.
        let weighted = [(next.at(0.1), 0.7), (next.at(0.9), -1.6), (3, 5.0)];
        next.into_gradient(weighted.into_iter());
        let value = |logits: &[f64]| -> f64 {
            let log_probs = reference(logits);
            let kept = weighted.iter().filter(|(token, _)| log_probs[*token as usize].is_finite());
            kept.map(|(token, weight)| weight * log_probs[*token as usize]).sum()
        };
        for token in weighted.iter().map(|(token, _)| *token).chain(context.clone()).chain(generated.clone())
        {
            let moved = |by: f64| {
                let mut logits = exact.clone();
                logits[token as usize] += by;
                logits
            };
            // A token at the edge of truncation has no derivative.
            let is_same = |by: f64| {
                let moved = reference(&moved(by));
                moved.iter().zip(&expected).all(|(moved, here)| moved.is_finite() == here.is_finite())
            };
            if !(is_same(STEP) && is_same(-STEP)) {
                at_edges += 1;
                continue;
            }
            let expected = (value(&moved(STEP)) - value(&moved(-STEP))) / (2.0 * STEP);
            let actual = f64::from(row[token as usize]);
            let error = (actual - expected).abs();
            assert!(
                error < GRADIENT_TOLERANCE,
                "case {case}, {decoding:?}, {token}: {actual} for {expected}"
            );
        }
        truncated += usize::from(mask.is_none() && expected.iter().any(|log_prob| log_prob.is_infinite()));
    }
    assert!((60..260).contains(&truncated), "both kinds occur: {truncated}");
    assert!((5..100).contains(&dead_ends), "some masks leave no token: {dead_ends}");
    assert!(at_edges < 10, "{at_edges} derivatives are not compared");
}

/// A uniform number selects the token whose part of [0, 1) it is in. The part of each token is as long as its probability.
#[test]
fn numbers_decide_on_tokens_by_their_probability() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..50 {
        let decoding = choices(&mut rng);
        let (mut row, context, generated) = random(&mut rng);
        let history = History { context: &context, generated: &generated };
        let vocabulary = row.len() as u32;
        let next = decoding.next_token(&mut row, history, &END_TOKENS, None).expect("finite logits");
        let mut start = 0.0;
        for token in 0..vocabulary {
            let probability = next.log_prob(token).exp();
            // Away from the edges, which are rounded.
            if probability > 1e-5 {
                assert_eq!(next.at(start + 0.01 * probability), token);
                assert_eq!(next.at(start + 0.99 * probability), token);
            }
            start += probability;
        }
        assert!((start - 1.0).abs() < 1e-6);
        assert!(next.log_prob(next.at(1.0 - f64::EPSILON)) > f64::NEG_INFINITY);
    }
}

/// Tokens tied with the last token that is kept are kept.
#[test]
fn ties_are_kept_together() {
    let log_probs = |decoding: Decoding| -> Vec<f64> {
        let mut row = [1.0, 3.0, 1.0, 0.0, 1.0];
        let next = decoding.next_token(&mut row, History::default(), &[], None).expect("finite logits");
        (0..5).map(|token| next.log_prob(token)).collect()
    };
    let off = Decoding::default();
    for decoding in [
        Decoding { top_k: 2, ..off.clone() },
        Decoding { top_p: 0.75, ..off.clone() },
        Decoding { min_p: 0.13, ..off },
    ] {
        let kept: Vec<bool> = log_probs(decoding).iter().map(|log_prob| log_prob.is_finite()).collect();
        assert_eq!(kept, [true, true, true, false, true]);
    }
}

/// An allowed token may be far less probable than the others, so that its weight beside them would be 0.
#[test]
fn allowed_tokens_far_below_the_others_keep_their_proportions() {
    let mut row = [300.0, 0.0, 1.0, -500.0];
    let mask = Mask::new([0b0110]);
    let next = Decoding::default()
        .next_token(&mut row, History::default(), &[], Some(&mask))
        .expect("finite logits");
    let odds = 1.0_f64.exp();
    assert!((next.log_prob(2) - (odds / (1.0 + odds)).ln()).abs() < LOG_PROB_TOLERANCE);
    assert_eq!([next.at(0.0), next.at(0.99), next.mode()], [1, 2, 2]);
}

#[test]
fn a_logit_that_is_no_number_is_an_error() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut row = [0.0, bad, 1.0];
        let next = Decoding::default().next_token(&mut row, History::default(), &[], None);
        assert!(matches!(next.err(), Some(Error::NotFinite { .. })));
    }
    // The most extreme penalty does not turn a finite logit into an infinite one.
    let mut row = [f32::MAX, f32::MIN, 0.0];
    let decoding = Decoding { repetition_penalty: 1e-300, ..Decoding::default() };
    let history = History { context: &[0, 1], generated: &[] };
    let next = decoding.next_token(&mut row, history, &[], None).expect("finite");
    assert_eq!((next.mode(), next.log_prob(0)), (0, 0.0));
}
