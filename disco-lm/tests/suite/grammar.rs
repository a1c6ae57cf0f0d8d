//! Models under a grammar, against enumeration of all sequences of tokens that spell its texts.

use std::collections::{BTreeMap, BTreeSet};

use disco_core::{Distribution, Scorer, Streams};
use disco_lm::{BeamSearch, Decoding, Generation, Grammar, TokenModel};

use crate::{
    common::{assert_close, device, folder, golden, ids},
    decoding::every_choice,
    spelled::{VOCABULARY, byte_level_tokenizer, sentencepiece_tokenizer, spellings, texts},
};

/// Allowed difference in the log-probability of a sequence, between two ways to compute the same f32 matmuls.
const SEQUENCE_TOLERANCE: f64 = 1e-4;

const MODEL: &str = "llama-gqa-tied";

fn context() -> Vec<u32> {
    ids(&golden(MODEL)["context_ids"])
}

fn model(max_new_tokens: usize, decoding: Decoding) -> TokenModel {
    let generation = Generation { max_new_tokens, decoding, ..Generation::default() };
    TokenModel::load(folder(MODEL), &device(), generation).expect("a golden model loads")
}

fn under(model: &TokenModel, grammar: &Grammar) -> TokenModel {
    model.under_grammar(grammar, &byte_level_tokenizer()).expect("the grammar fits")
}

/// 200 texts over three letters: all of one to four letters, and some of five. Many begin others.
fn words() -> Vec<String> {
    let mut all = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..5 {
        last = last.iter().flat_map(|text| ["a", "b", "c"].map(|letter| format!("{text}{letter}"))).collect();
        all.extend(last.clone());
    }
    all.truncate(200);
    all
}

/// Two grammars of 200 texts each.
fn grammars() -> [(Grammar, Vec<String>); 2] {
    let codes = ('a'..='j').flat_map(|letter| {
        (0..10).flat_map(move |digit| ["", "ab"].map(|end| format!("{letter}{digit}{end}")))
    });
    [
        (Grammar::choices(words()).expect("a grammar"), words()),
        (Grammar::regex("[a-j][0-9](ab)?").expect("a grammar"), codes.collect()),
    ]
}

#[test]
fn the_probabilities_of_all_spellings_sum_to_one() {
    for (grammar, texts) in grammars() {
        assert_eq!(texts.len(), 200);
        let all: Vec<Vec<u32>> = texts.iter().flat_map(|text| spellings(text)).collect();
        let refs: Vec<&Vec<u32>> = all.iter().collect();
        let longest = all.iter().map(Vec::len).max().expect("spellings");
        let masked = under(&model(longest, Decoding::default()), &grammar);
        let log_probs = masked.log_probs(&context(), &refs).expect("scores");
        let total: f64 = log_probs.iter().map(|log_prob| log_prob.exp()).sum();
        assert_close(&format!("{grammar:?}"), &[total], &[1.0], 1e-5);
        assert!(log_probs.iter().all(|log_prob| log_prob.is_finite()), "every tokenisation is allowed");
        // Nothing else has any.
        let others = ["abab", "", "aab", "z", "a5abc"].into_iter().flat_map(spellings);
        let others: Vec<Vec<u32>> = others.filter(|tokens| !all.contains(tokens)).collect();
        let refs: Vec<&Vec<u32>> = others.iter().collect();
        let log_probs = masked.log_probs(&context(), &refs).expect("scores");
        assert!(log_probs.iter().all(|log_prob| *log_prob == f64::NEG_INFINITY), "{log_probs:?}");
    }
}

/// The score by definition: of every token, the base's log-probability less that of all allowed tokens, from the raw logits. The allowed
/// tokens are those after which some spelling goes on.
#[test]
fn scores_are_those_of_the_definition() {
    let (grammar, texts) = &grammars()[1];
    let all: Vec<Vec<u32>> = texts.iter().flat_map(|text| spellings(text)).collect();
    let base = model(8, Decoding::default());
    let masked = under(&base, grammar);
    let samples: Vec<&Vec<u32>> = all.iter().step_by(7).collect();
    let scores = masked.log_probs(&context(), &samples).expect("scores");
    let mut expected = Vec::new();
    for sample in &samples {
        let logits = base.next_logits(&context(), sample).expect("logits");
        let log_prob = |step: usize| {
            let may_follow: BTreeSet<u32> = all
                .iter()
                .filter(|other| other.starts_with(&sample[..step]))
                .map(|other| other[step])
                .collect();
            let weight = |id: u32| f64::from(logits[step][id as usize]).exp();
            (weight(sample[step]) / may_follow.into_iter().map(weight).sum::<f64>()).ln()
        };
        expected.push((0..sample.len()).map(log_prob).sum());
    }
    assert_close("by definition", &scores, &expected, SEQUENCE_TOLERANCE);
}

/// Samples of the masked model, accepted with probability `a(x) / q(x) = prod_t M_t`, are those of the base given the grammar.
/// Chi-squared test over all spellings, n = 100,000 proposals, alpha = 0.001, seed 16; cells with fewer than 5 expected samples are joined.
#[test]
fn rejection_from_the_masked_model_gives_the_base_given_the_grammar() {
    let (grammar, texts) = &grammars()[0];
    let base = model(6, Decoding { temperature: 1.3, ..Decoding::default() });
    let masked = under(&base, grammar);
    let target = base.clone() * masked.grammar_condition().expect("a condition");
    let n = 100_000;
    let drawn = masked.sample(&context(), &Streams::new(16, n)).expect("samples");
    let distinct: Vec<&Vec<u32>> =
        drawn.iter().map(|sample| &sample.value).collect::<BTreeSet<_>>().into_iter().collect();
    let score = |scores: Vec<disco_core::Score>| scores.into_iter().map(|score| score.expect("a score"));
    let ln_p: BTreeMap<_, f64> = distinct
        .iter()
        .copied()
        .zip(score(target.log_scores(&context(), &distinct).expect("scores")))
        .collect();

    let all: Vec<Vec<u32>> =
        texts.iter().flat_map(|text| spellings(text)).filter(|tokens| tokens.len() <= 6).collect();
    let refs: Vec<&Vec<u32>> = all.iter().collect();
    let mass: Vec<f64> =
        base.log_probs(&context(), &refs).expect("scores").iter().map(|ln| ln.exp()).collect();
    let total: f64 = mass.iter().sum();
    let mut uniform = Uniforms(5);
    let mut seen: BTreeMap<&Vec<u32>, f64> = BTreeMap::new();
    let mut accepted = 0.0;
    for sample in &drawn {
        let ratio = (ln_p[&sample.value] - sample.log_prob).exp();
        assert!(ratio <= 1.0 + 1e-4, "the product of allowed masses is {ratio}");
        if uniform.next() < ratio {
            *seen.entry(&sample.value).or_default() += 1.0;
            accepted += 1.0;
        }
    }
    // The acceptance rate is the base's probability of the grammar.
    let deviation = (total * (1.0 - total) / n as f64).sqrt();
    assert_close("acceptance", &[accepted / n as f64], &[total], 3.29 * deviation);
    let (mut rest, mut cells) = ((0.0, 0.0), Vec::new());
    for (tokens, mass) in all.iter().zip(mass) {
        let (seen, expected) = (seen.remove(tokens).unwrap_or(0.0), mass / total * accepted);
        if expected >= 5.0 {
            cells.push((seen, expected));
        } else {
            rest = (rest.0 + seen, rest.1 + expected);
        }
    }
    assert!(seen.is_empty(), "accepted, and no spelling of a text: {seen:?}");
    cells.push(rest);
    let statistic: f64 = cells.iter().map(|(seen, expected)| (seen - expected).powi(2) / expected).sum();
    let freedom = (cells.len() - 1) as f64;
    // Wilson and Hilferty's normal approximation of chi-squared; 3.09 is the normal quantile of 0.999.
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 3.09 * spread.sqrt()).powi(3);
    assert!(statistic < limit, "chi-squared {statistic} of {freedom} degrees exceeds {limit}");
}

/// Uniform numbers in [0, 1), by Knuth's linear congruential generator of 64 bits.
struct Uniforms(u64);

impl Uniforms {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// With truncation many sequences come to a dead end at their first token, with few tokens many are cut, and no token spells the sign after
/// `z`.
#[test]
fn a_sample_scores_what_it_was_drawn_with_also_if_it_is_no_text() {
    let grammar = Grammar::lark(
        "start: item (\",\" item)*\nitem: /[a-f]+/ | \"[\" item \"]\" | NUMBER | \"zß\"\nNUMBER: /[0-9]+/",
    )
    .expect("a grammar");
    let mut seen = BTreeSet::new();
    // Of two letters one at least is not the most probable first token, which alone is left.
    let greedy = Decoding { top_k: 1, ..Decoding::default() };
    let letters = ["a", "b"].map(|letter| (Grammar::regex(letter).expect("a grammar"), greedy.clone()));
    let others = [vec![Decoding::default()], every_choice()].concat();
    let others = others.into_iter().map(|decoding| (grammar.clone(), decoding));
    for (grammar, decoding) in letters.into_iter().chain(others) {
        for most in [2, 5, 12] {
            let decoding = Decoding { min_new_tokens: decoding.min_new_tokens.min(most), ..decoding.clone() };
            let masked = under(&model(most, decoding.clone()), &grammar);
            let feature = masked.grammar_feature().expect("a feature");
            let drawn = masked.sample(&context(), &Streams::new(5, 60)).expect("samples");
            let samples: Vec<&Vec<u32>> = drawn.iter().map(|sample| &sample.value).collect();
            let returned: Vec<f64> = drawn.iter().map(|sample| sample.log_prob).collect();
            let what = format!("{decoding:?}, {most} tokens");
            let scored = masked.log_probs(&context(), &samples).expect("scores");
            assert_close(&what, &scored, &returned, SEQUENCE_TOLERANCE);
            assert_close(
                &what,
                &[masked.log_probs(&context(), &samples[..1]).expect("a score")[0]],
                &returned[..1],
                SEQUENCE_TOLERANCE,
            );
            for sample in samples {
                let is_finished = sample.last() == Some(&2);
                assert_eq!(feature.accepts(sample).expect("an answer"), is_finished, "{what}: {sample:?}");
                seen.insert(match sample.len() {
                    0 => "a dead end at the first token",
                    _ if is_finished => "finished",
                    length if length == most => "cut",
                    _ => "a dead end",
                });
            }
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

/// The events of a truncated model are all that it can draw: texts, dead ends and cuts. Their probabilities sum to one.
#[test]
fn texts_dead_ends_and_cuts_have_probability_one() {
    let grammar = Grammar::regex("(a|b|ab)(c|1)(x|2)").expect("a grammar");
    for top_k in [0, 20, 60] {
        let masked = under(&model(3, Decoding { top_k, ..Decoding::default() }), &grammar);
        let allowed: Vec<u32> = (0..VOCABULARY as u32).collect();
        let mut lists: Vec<Vec<u32>> = vec![vec![]];
        let mut last = lists.clone();
        let letters: Vec<u32> = allowed
            .into_iter()
            .filter(|id| {
                let text = id.checked_sub(3).and_then(|index| texts().get(index as usize).cloned());
                *id == 2 || text.is_some_and(|text| text.chars().all(|letter| "abcx12".contains(letter)))
            })
            .collect();
        for _ in 0..3 {
            last = last
                .iter()
                .flat_map(|list| letters.iter().map(move |id| [list.clone(), vec![*id]].concat()))
                .collect();
            lists.extend(last.clone());
        }
        let refs: Vec<&Vec<u32>> = lists.iter().collect();
        let log_probs = masked.log_probs(&context(), &refs).expect("scores");
        assert_close(&format!("top-k {top_k}"), &[log_probs.iter().map(|ln| ln.exp()).sum()], &[1.0], 1e-5);
    }
}

#[test]
fn the_batch_and_the_threads_change_no_token() {
    let grammar = Grammar::regex("([a-f]{1,3}[0-9]?,){1,3}").expect("a grammar");
    let draw = |batch, threads| {
        let base = model(12, Decoding::default());
        let base = base.with_generation(Generation { batch, ..base.generation().clone() }).expect("settings");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let drawn = pool.install(|| under(&base, &grammar).sample(&context(), &Streams::new(11, 160)));
        drawn.expect("samples").into_iter().map(|sample| sample.value).collect::<Vec<_>>()
    };
    let whole = draw(160, 2);
    assert!(whole.iter().any(|sample| sample.len() < 10), "some sequences end early");
    for (batch, threads) in [(1, 1), (7, 2), (64, 1), (1000, 3)] {
        assert_eq!(draw(batch, threads), whole, "batch {batch}, {threads} threads");
    }
}

/// Greedy decoding takes the most probable allowed token of each step, and a wide beam finds the most probable sequence, by enumeration.
#[test]
fn greedy_decoding_and_beam_search_follow_the_grammar() {
    let (grammar, texts) = &grammars()[1];
    let masked = under(&model(8, Decoding::default()), grammar);
    let all: Vec<Vec<u32>> = texts.iter().flat_map(|text| spellings(text)).collect();
    let refs: Vec<&Vec<u32>> = all.iter().collect();
    let log_probs = masked.log_probs(&context(), &refs).expect("scores");
    let best = (0..all.len()).max_by(|a, b| log_probs[*a].total_cmp(&log_probs[*b])).expect("spellings");
    let search = BeamSearch { width: 100, length_penalty: 0.0, ..BeamSearch::default() };
    let found = &masked.beam_search(&[&context()], &search).expect("sequences")[0][0];
    assert_eq!(found.value, all[best]);
    assert_close("beam search", &[found.log_prob], &[log_probs[best]], SEQUENCE_TOLERANCE);

    let greedy = &masked.greedy(&[&context()]).expect("a sequence")[0];
    for step in 0..greedy.value.len() {
        let here = |id: u32| {
            let of_prefix = |(tokens, ln): (&Vec<u32>, &f64)| {
                (tokens.starts_with(&greedy.value[..step]) && tokens[step] == id).then(|| ln.exp())
            };
            all.iter().zip(&log_probs).filter_map(of_prefix).sum::<f64>()
        };
        let likeliest = (0..VOCABULARY as u32).max_by(|a, b| here(*a).total_cmp(&here(*b))).expect("ids");
        assert_eq!(greedy.value[step], likeliest, "step {step}");
    }
}

/// The mask of the next token and the feature agree: a text goes on with exactly the tokens that have a probability.
#[test]
fn the_feature_accepts_what_the_model_can_draw() {
    for tokenizer in [byte_level_tokenizer(), sentencepiece_tokenizer()] {
        let base = model(6, Decoding::default());
        for source in ["a(b|c)*1?", "( ?[a-c]+)+", "日é*|A\\n?"] {
            let masked =
                base.under_grammar(&Grammar::regex(source).expect("a grammar"), &tokenizer).expect("fits");
            let feature = masked.grammar_feature().expect("a feature");
            let drawn = masked.sample(&context(), &Streams::new(3, 30)).expect("samples");
            for sample in drawn {
                let Some((_, text)) = sample.value.split_last().filter(|(last, _)| **last == 2) else {
                    continue;
                };
                for step in 0..=text.len() {
                    let ended: Vec<Vec<u32>> =
                        (0..VOCABULARY as u32).map(|id| [&text[..step], &[id, 2]].concat()).collect();
                    let refs: Vec<&Vec<u32>> = ended.iter().collect();
                    let log_probs = masked.log_probs(&context(), &refs).expect("scores");
                    // The feature has no maximal length.
                    let fitting = ended.iter().zip(log_probs).filter(|(tokens, _)| tokens.len() <= 6);
                    for (tokens, log_prob) in fitting {
                        let accepts = feature.accepts(tokens).expect("an answer");
                        assert_eq!(accepts, log_prob.is_finite(), "{source}: {tokens:?}");
                    }
                }
            }
        }
    }
}
