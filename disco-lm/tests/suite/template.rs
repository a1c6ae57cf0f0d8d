//! A model reads contexts through its template in sampling, scoring and tuning, and does not save the template.

use disco_core::{Distribution, Streams};
use disco_lm::{ContextTemplate, Generation, LanguageModel, LmPolicy, Precision};
use disco_tuner::{BatchItem, Policy};
use tempfile::TempDir;

use crate::common::{assert_close, device};

/// Allowed difference between the same matmuls in batches of different sizes.
const SEQUENCE_TOLERANCE: f64 = 1e-4;

fn load(folder: &std::path::Path) -> LanguageModel {
    let generation = Generation { max_new_tokens: 8, ..Generation::default() };
    LanguageModel::load(folder, &device(), generation).expect("the model loads")
}

fn plain() -> LanguageModel {
    load(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare").as_ref())
}

#[test]
fn the_model_reads_what_the_template_renders() {
    let plain = plain();
    let template = ContextTemplate::new(|context| Ok(format!("{context}:\nMy lord, ")));
    let templated = plain.clone().with_template(template);
    let [short, whole] = ["ROMEO", "ROMEO:\nMy lord, "].map(str::to_string);
    assert_eq!(templated.encode(&short).expect("ids"), plain.encode(&whole).expect("ids"));

    let streams = Streams::new(4, 6);
    let drawn = templated.sample(&short, &streams).expect("samples");
    assert_eq!(drawn, plain.sample(&whole, &streams).expect("samples"));
    let values: Vec<_> = drawn.iter().map(|sample| &sample.value).collect();
    let expected = plain.log_probs(&whole, &values).expect("scores");
    let scored = templated.log_probs(&short, &values).expect("scores");
    assert_close("scores", &scored, &expected, SEQUENCE_TOLERANCE);

    // A policy also reads contexts through the template, and so does its model.
    let mut policy = LmPolicy::new(templated);
    let batch: Vec<_> =
        drawn.iter().map(|sample| BatchItem { context: &short, sample: &sample.value }).collect();
    policy
        .accumulate(&batch, &mut |log_probs| {
            assert_close("in training", log_probs, &expected, SEQUENCE_TOLERANCE);
            Ok(vec![0.0; log_probs.len()])
        })
        .expect("a gradient");
    let scored = policy.model().log_probs(&short, &values).expect("scores");
    assert_close("of the policy", &scored, &expected, SEQUENCE_TOLERANCE);

    // A saved model has no template.
    let parent = TempDir::new().expect("a temporary folder");
    let folder = parent.path().join("saved");
    policy.model().save(&folder, Precision::F32).expect("saved");
    let saved = load(&folder);
    assert_eq!(saved.encode(&whole).expect("ids"), plain.encode(&whole).expect("ids"));
}

#[test]
fn a_template_may_hold_its_special_tokens() {
    let plain = plain();
    let prefix = ContextTemplate::prefix("<|endoftext|>");
    let [added, own] = [prefix.clone(), prefix.with_own_special_tokens()]
        .map(|template| plain.clone().with_template(template).encode("No").expect("ids"));
    // The tokenizer of this model adds one such token before every text.
    assert_eq!(own, plain.encode("No").expect("ids"));
    assert_eq!(added, [&own[..1], &own].concat());
}

#[test]
fn a_template_that_fails_is_named_with_its_context() {
    let template = ContextTemplate::new(|context| match context.len() {
        0 => Err("no question".into()),
        _ => Ok(String::new()),
    });
    let model = plain().with_template(template);
    let error = model.sample(&String::new(), &Streams::new(0, 1)).expect_err("no text").to_string();
    assert!(error.contains("the template of the context \"\": no question"), "{error}");
    assert!(model.template().is_some());
    let whole = model.clone().without_template();
    assert!(whole.encode("a").is_ok());
}
