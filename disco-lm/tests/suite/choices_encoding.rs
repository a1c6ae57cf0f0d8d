//! How choices become token ids: behind their context they have their own text again, whatever stands at the boundary.

use std::path::PathBuf;

use disco_core::{Distribution, numerics::log_softmax};
use disco_lm::{ChoiceModel, Choices, Generation, LanguageModel};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    choices::{embedded, log_probs},
    common::{assert_close, device, folder},
};

const CONTEXTS: [&str; 8] =
    ["The ki", "the king", "the king ", "the king:\n", "Answer: ", "caf", "\u{4f60}", "1"];
const TEXTS: [&str; 14] = [
    "ng",
    "king",
    " king",
    "  two",
    "\nline",
    "n't",
    ".",
    "e\u{301}",
    "\u{e9}",
    " \u{597d}",
    "1",
    "11",
    "Saint-Denis, of course",
    "the",
];

/// The choices of every context, each by itself so that an error names it.
fn check(model: &LanguageModel, contexts: &[&str], texts: &[&str]) {
    for context in contexts {
        let ids = model.encode(context).expect("ids");
        for text in texts {
            let choices = Choices::<str>::new([*text]).expect("choices").without_end_token();
            let choices = ChoiceModel::new(model.clone(), choices).expect("a model");
            let space = choices.space(context).unwrap_or_else(|error| panic!("{error}"));
            let tokens = space.outcomes()[0].tokens.clone();
            let completion = model.completion_after(&ids, tokens.clone()).expect("a completion");
            assert_eq!(completion.text, *text, "{context:?}");
            // Where the running text has the same ids in front, the choice has those behind them.
            let whole = model.encode(&format!("{context}{text}")).expect("ids");
            if let Some(rest) = whole.strip_prefix(ids.as_slice()) {
                assert_eq!(tokens, rest, "{context:?}, {text:?}");
            }
        }
    }
}

#[test]
fn byte_level_tokenizers_give_every_choice_back() {
    check(&embedded(Default::default()), &CONTEXTS, &TEXTS);
}

#[test]
fn sentence_piece_gives_every_choice_back() {
    let path =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/gguf-sentencepiece.gguf"));
    let model = LanguageModel::load(path, &device(), Generation::default()).expect("loads");
    check(&model, &CONTEXTS, &TEXTS);
    // The word alone begins with a space; behind a letter it must not.
    let behind = |context: &str| {
        let choices = Choices::<str>::new(["king"]).expect("choices").without_end_token();
        let choices = ChoiceModel::new(model.clone(), choices).expect("a model");
        choices.space(context).expect("a space").outcomes()[0].tokens.clone()
    };
    let alone = model.tokenizer().encode_as_is("king").expect("ids");
    assert_ne!(behind("the"), alone);
    assert_eq!(model.tokenizer().decode(&alone).expect("text"), "king");
}

/// A tokenizer as T5's is: words begin with a mark for their space, and an end token follows a text that is encoded.
fn t5_tokenizer() -> String {
    let pieces =
        ["\u{2581}king", "\u{2581}the", "\u{2581}", "q", "u", "e", "n", "S", "a", "i", "t", "k", "g", "h"];
    let mut vocabulary = vec![json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", -10.0])];
    vocabulary.extend(pieces.iter().map(|piece| json!([piece, -2.0])));
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let spaces =
        json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
        "pre_tokenizer": spaces, "decoder": spaces,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": false},
    });
    tokenizer.to_string()
}

/// An encoder reads the context of a T5: the choice is encoded as a text of its own, with one end token.
#[test]
fn an_encoder_decoder_writes_a_text_of_its_own() {
    let place = TempDir::new().expect("a temporary folder");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(folder("t5-gated-untied").join(name), place.path().join(name)).expect("copied");
    }
    std::fs::write(place.path().join("tokenizer.json"), t5_tokenizer()).expect("written");
    let model = LanguageModel::load(place.path(), &device(), Generation::default()).expect("loads");
    let texts = ["king", "the queen", "Saint"];
    let choices =
        ChoiceModel::<str>::new(model.clone(), Choices::new(texts).expect("choices")).expect("a model");
    for context in ["the king", "the king "] {
        assert_eq!(model.encode(context).expect("ids").last(), Some(&1), "the tokenizer ends a text");
        let space = choices.space(context).expect("a space");
        for (completion, text) in space.outcomes().iter().zip(texts) {
            // As T5's labels are encoded.
            assert_eq!(completion.tokens, model.tokenizer().encode(text).expect("ids"), "{text}");
            assert_eq!(model.tokenizer().decode(&completion.tokens).expect("text"), text);
        }
        let of_model =
            model.log_probs(context, &space.outcomes().iter().collect::<Vec<_>>()).expect("scores");
        assert_close(context, &log_probs(&choices, context), &log_softmax(&of_model), 1e-4);
    }
    // There is no such text.
    let spaced = Choices::<str>::new([" king"]).expect("choices");
    let error =
        ChoiceModel::new(model, spaced).expect("a model").space("the").expect_err("refused").to_string();
    assert!(
        error.contains("have the text \" king\"") && error.contains("the nearest have \"king\""),
        "{error}"
    );
}
