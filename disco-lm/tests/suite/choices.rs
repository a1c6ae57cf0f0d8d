//! Listed choices: their probabilities against softmaxes of raw logits by hand, and against other programs.

use std::path::Path;

use disco_core::{Distribution, Streams, numerics::log_softmax};
use disco_lm::{ChoiceModel, Choices, ContextTemplate, Decoding, Generation, LanguageModel};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{assert_close, device, ids};

/// Allowed difference in the log-probability of a sequence, between two ways to compute the same f32 matmuls.
const SEQUENCE_TOLERANCE: f64 = 1e-4;

/// `<|endoftext|>` of the embedded model.
pub(crate) const END: u32 = 0;

pub(crate) const CONTEXT: &str = "First Citizen:\nWe are";
pub(crate) const TEXTS: [&str; 5] = [" the people", " not", " no", "", ", my lord,"];

pub(crate) fn embedded_folder() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare")
}

pub(crate) fn embedded(decoding: Decoding) -> LanguageModel {
    let generation = Generation { decoding, ..Generation::default() };
    LanguageModel::load(embedded_folder(), &device(), generation).expect("the embedded model loads")
}

pub(crate) fn plain() -> LanguageModel {
    embedded(Decoding::default())
}

pub(crate) fn of(model: LanguageModel, texts: &[&str], end_token: bool) -> ChoiceModel<str> {
    let choices = Choices::new(texts.iter().copied()).expect("choices");
    let choices = if end_token { choices } else { choices.without_end_token() };
    ChoiceModel::new(model, choices).expect("a model")
}

/// The log-probabilities of the choices of a context, in their order.
pub(crate) fn log_probs<C: AsRef<str> + ?Sized>(model: &ChoiceModel<C>, context: &C) -> Vec<f64> {
    let space = model.space(context).expect("a space");
    model.log_probs(context, &space.outcomes().iter().collect::<Vec<_>>()).expect("scores")
}

/// `ln a` of `tokens` after `context` from the model's raw logits, divided by a temperature.
fn by_hand(model: &LanguageModel, context: &[u32], tokens: &[u32], temperature: f64) -> f64 {
    let logits = model.tokens().logits(&[context, tokens].concat()).expect("logits");
    let rows = logits[context.len() - 1..].iter().zip(tokens);
    rows.map(|(row, token)| {
        let row: Vec<f64> = row.iter().map(|logit| f64::from(*logit) / temperature).collect();
        log_softmax(&row)[*token as usize]
    })
    .sum()
}

#[test]
fn choices_have_the_models_probabilities_divided_by_their_sum() {
    let model = plain();
    let context = model.encode(CONTEXT).expect("ids");
    for (end_token, temperature) in [(true, 1.0), (false, 1.0), (true, 2.5), (false, 0.4)] {
        let texts = if end_token { &TEXTS[..] } else { &TEXTS[..3] };
        let expected: Vec<f64> = texts
            .iter()
            .map(|text| {
                // The ids of the whole text begin with those of the context.
                let whole = model.encode(&format!("{CONTEXT}{text}")).expect("ids");
                let mut tokens = whole.strip_prefix(context.as_slice()).expect("no merge").to_vec();
                tokens.extend(end_token.then_some(END));
                by_hand(&model, &context, &tokens, temperature)
            })
            .collect();
        let choices = of(embedded(Decoding { temperature, ..Decoding::default() }), texts, end_token);
        let what = format!("end token: {end_token}, temperature {temperature}");
        assert_close(&what, &log_probs(&choices, CONTEXT), &log_softmax(&expected), SEQUENCE_TOLERANCE);
        let mass = expected.iter().map(|log_prob| log_prob.exp()).sum::<f64>().ln();
        assert_close(&what, &[choices.log_mass(CONTEXT).expect("a mass")], &[mass], SEQUENCE_TOLERANCE);
    }
}

/// Completions that end are the model's own; those without an end token are the model's own where it cuts them.
#[test]
fn a_choice_is_a_completion_of_the_model() {
    let model = plain();
    let context = model.encode(CONTEXT).expect("ids");
    for end_token in [true, false] {
        let space = of(model.clone(), &TEXTS[..3], end_token).space(CONTEXT).expect("a space");
        for (completion, text) in space.outcomes().iter().zip(TEXTS) {
            assert_eq!((completion.text.as_str(), completion.finished), (text, end_token));
            assert_eq!(completion.tokens.last() == Some(&END), end_token);
            let again = model.completion_after(&context, completion.tokens.clone()).expect("a completion");
            assert_eq!(&again, completion);
            let max_new_tokens = completion.tokens.len();
            let cut = Generation { max_new_tokens, ..Generation::default() };
            let cut = model.with_generation(cut).expect("a model");
            let log_prob = cut.log_probs(CONTEXT, &[completion]).expect("a score")[0];
            assert_close(text, &[log_prob], &[by_hand(&model, &context, &completion.tokens, 1.0)], 1e-4);
        }
    }
}

/// Texts without end tokens of which one begins with another, and a list of one.
#[test]
fn lists_of_prefixes_and_of_one_text_are_normalised() {
    let prefixes = of(plain(), &[" no", " not", " nothing"], false);
    let found = log_probs(&prefixes, CONTEXT);
    assert_close("sum", &[found.iter().map(|log_prob| log_prob.exp()).sum()], &[1.0], 1e-12);
    assert_eq!(log_probs(&of(plain(), &[" not"], true), CONTEXT), [0.0]);
    assert_eq!(log_probs(&of(plain(), &[""], true), CONTEXT), [0.0]);
}

/// The first token of the model's own samples, given that it is on the list: a chi-squared test, n = 20,000 draws of which 2,000 or more
/// are on the list, 3 degrees of freedom, alpha = 0.001 (16.27).
#[test]
fn choices_are_distributed_as_the_models_samples_that_are_on_the_list() {
    let generation = Generation { max_new_tokens: 1, ..Generation::default() };
    let model = plain().with_generation(generation).expect("a model");
    let texts = [" the", " not", " a", " to"];
    let drawn = model.sample(CONTEXT, &Streams::new(3, 20_000)).expect("samples");
    let count = |text: &str| drawn.iter().filter(|sample| sample.value.text == text).count() as f64;
    let counts = texts.map(count);
    let n: f64 = counts.iter().sum();
    assert!(n >= 2000.0, "{counts:?}");
    let statistic = |counts: &[f64], log_probs: &[f64]| -> f64 {
        let n: f64 = counts.iter().sum();
        counts.iter().zip(log_probs).map(|(count, q)| (count - n * q.exp()).powi(2) / (n * q.exp())).sum()
    };
    let choices = of(model, &texts, false);
    let expected = log_probs(&choices, CONTEXT);
    let found = statistic(&counts, &expected);
    assert!(found < 16.27, "{found}: {counts:?}");

    // And the samples of the choices themselves, with the same numbers.
    let drawn = choices.sample(CONTEXT, &Streams::new(4, 20_000)).expect("samples");
    let counts = texts.map(|text| drawn.iter().filter(|sample| sample.value.text == text).count() as f64);
    assert!(statistic(&counts, &expected) < 16.27, "{counts:?}");
    for sample in &drawn {
        let at = texts.iter().position(|text| *text == sample.value.text).expect("a choice");
        assert_eq!(sample.log_prob, expected[at]);
    }
    let part = choices.sample(CONTEXT, &Streams::new(4, 20_000).split_at(19_990).1).expect("samples");
    assert_eq!(part, drawn[19_990..]);
}

/// A folder like the embedded model's, with these end tokens.
pub(crate) fn with_ends(ends: &Value) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(Path::new(embedded_folder()).join(name), folder.path().join(name)).expect("copied");
    }
    let read = std::fs::read(folder.path().join("config.json")).expect("readable");
    let mut config: Value = serde_json::from_slice(&read).expect("JSON");
    config["eos_token_id"] = ends.clone();
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let generation = json!({"eos_token_id": ends});
    std::fs::write(folder.path().join("generation_config.json"), generation.to_string()).expect("written");
    folder
}

pub(crate) fn newline() -> u32 {
    plain().tokenizer().encode_as_is("\n").expect("ids")[0]
}

/// With several end tokens, the choice is an answer that any of them ends.
#[test]
fn the_probabilities_of_several_end_tokens_are_added() {
    let other = newline();
    let folder = with_ends(&json!([other, END, other]));
    let model = LanguageModel::load(folder.path(), &device(), Generation::default()).expect("loads");
    let context = model.encode(CONTEXT).expect("ids");
    let choices = of(model.clone(), &TEXTS[..3], true);
    let space = choices.space(CONTEXT).expect("a space");
    let expected: Vec<f64> = space
        .outcomes()
        .iter()
        .map(|completion| {
            let tokens = completion.tokens.split_last().expect("tokens").1;
            let ended = |end: u32| by_hand(&model, &context, &[tokens, &[end]].concat(), 1.0).exp();
            (ended(END) + ended(other)).ln()
        })
        .collect();
    assert_close("ends", &log_probs(&choices, CONTEXT), &log_softmax(&expected), SEQUENCE_TOLERANCE);
    assert!(space.outcomes().iter().all(|completion| completion.finished));
    // A model without an end token can have choices, but none that end.
    let folder = with_ends(&json!([]));
    let model = LanguageModel::load(folder.path(), &device(), Generation::default()).expect("loads");
    let choices = Choices::<str>::new([" a"]).expect("choices");
    let error = ChoiceModel::new(model.clone(), choices.clone()).expect_err("no end token");
    assert!(error.to_string().contains("without_end_token"), "{error}");
    let choices = ChoiceModel::new(model, choices.without_end_token()).expect("a model");
    assert_eq!(log_probs(&choices, CONTEXT), [0.0]);
}

/// A context with a column; the list is the column's.
#[derive(Debug)]
struct Row {
    text: String,
    column: Vec<String>,
}

impl AsRef<str> for Row {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

#[test]
fn lists_may_differ_by_context_also_of_the_same_text() {
    let row = |column: &[&str]| Row {
        text: CONTEXT.into(),
        column: column.iter().copied().map(String::from).collect(),
    };
    let model = plain();
    let by_row = Choices::by_context(|row: &Row| Ok(row.column.clone()));
    let choices = ChoiceModel::new(model.clone(), by_row).expect("a model");
    for column in [&TEXTS[..2], &TEXTS[1..], &TEXTS[..2]] {
        assert_eq!(log_probs(&choices, &row(column)), log_probs(&of(model.clone(), column, true), CONTEXT));
    }
    let drawn =
        choices.sample_each(&[&row(&[" a"]), &row(&[" b"])], &[Streams::new(0, 2), Streams::new(0, 1)]);
    let texts: Vec<String> = drawn.expect("samples").concat().into_iter().map(|x| x.value.text).collect();
    assert_eq!(texts, [" a", " a", " b"]);
    for (column, expected) in
        [(&[][..], "list is empty"), (&[" a", " b", " a"], "number 2 is the same text as number 0")]
    {
        let error = choices.space(&row(column)).expect_err("refused").to_string();
        assert!(error.contains(expected) && error.contains("We are"), "{error}");
    }
    let failing = Choices::by_context(|_: &Row| Err("there is no column `answers`".into()));
    let failing = ChoiceModel::new(model, failing).expect("a model");
    let error = failing.space(&row(&[])).expect_err("refused").to_string();
    assert!(error.contains("no column `answers`") && error.contains("We are"), "{error}");
}

#[test]
fn the_template_of_the_model_is_read_before_the_choices() {
    let choices = of(plain().with_template(ContextTemplate::prefix("First Citizen:\n")), &TEXTS, true);
    assert_eq!(log_probs(&choices, "We are"), log_probs(&of(plain(), &TEXTS, true), CONTEXT));
    let own = ContextTemplate::new(|text| Ok(format!("<|endoftext|>{text}"))).with_own_special_tokens();
    let model = plain().with_template(own);
    let context = model.encode(CONTEXT).expect("ids");
    assert_eq!(context[0], END);
    let space = of(model, &TEXTS, true).space(CONTEXT).expect("a space");
    assert_eq!(space, of(plain(), &TEXTS, true).space(CONTEXT).expect("a space"));
}

/// The values of `reference/choices.py`, where `DISCO_SMOLLM2` names the folder of the model.
#[test]
fn smollm2_has_the_ids_and_scores_of_lm_evaluation_harness() {
    let Some(folder) = std::env::var_os("DISCO_SMOLLM2") else {
        eprintln!("skipped: DISCO_SMOLLM2 does not name a folder of SmolLM2-135M (see reference/smollm2.py)");
        return;
    };
    let model = LanguageModel::load(folder, &device(), Generation::default()).expect("SmolLM2 loads");
    let reference: Value = serde_json::from_str(include_str!("reference/choices.json")).expect("JSON");
    for case in reference["cases"].as_array().expect("cases") {
        let (context, rows) =
            (case["context"].as_str().expect("text"), case["choices"].as_array().expect("rows"));
        let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().expect("text")).collect();
        for (end_token, field) in [(false, "log_prob"), (true, "with_end")] {
            let choices = of(model.clone(), &texts, end_token);
            let space = choices.space(context).expect("a space");
            for (completion, row) in space.outcomes().iter().zip(rows) {
                let tokens = &completion.tokens[..completion.tokens.len() - usize::from(end_token)];
                assert_eq!(tokens, ids(&row["ids"]), "{}", completion.text);
            }
            let expected: Vec<f64> = rows.iter().map(|row| row[field].as_f64().expect("a number")).collect();
            assert_close(context, &log_probs(&choices, context), &log_softmax(&expected), 1e-3);
            let mass = expected.iter().map(|log_prob| log_prob.exp()).sum::<f64>().ln();
            assert_close(context, &[choices.log_mass(context).expect("a mass")], &[mass], 1e-3);
        }
    }
}
