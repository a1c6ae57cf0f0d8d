//! Chat templates, against Hugging Face transformers (`reference/chat.py` made the values).

use std::path::Path;

use disco_core::Distribution;
use disco_core::Streams;
use disco_lm::{Error, Generation, LanguageModel, Message};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    common::{device, ids},
    tiny,
};

fn reference() -> Value {
    serde_json::from_str(include_str!("reference/chat.json")).expect("the reference is JSON")
}

/// A tiny model whose tokenizer has a few words.
fn model(files: &[(&str, Value)]) -> Result<LanguageModel, Error> {
    let folder = TempDir::new().expect("a temporary folder");
    tiny::write(folder.path(), 0);
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [{"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "model": {"type": "WordLevel", "vocab": {"?": 0, "<s>": 1, "hello": 2, "user": 3}, "unk_token": "?"},
    });
    for (name, content) in [("tokenizer.json", tokenizer)].iter().chain(files) {
        let text = content.as_str().map_or_else(|| content.to_string(), String::from);
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    let generation = Generation { max_new_tokens: 4, ..Generation::default() };
    LanguageModel::load(folder.path(), &device(), generation)
}

fn messages(row: &Value) -> Vec<Message> {
    serde_json::from_value(row["messages"].clone()).expect("messages")
}

#[test]
fn conversations_are_written_as_transformers_writes_them() {
    let reference = reference();
    for row in reference["rows"].as_array().expect("rows") {
        let template = row["template"].as_str().expect("a name");
        let mut config = reference["special_tokens"].clone();
        config["chat_template"] = reference["templates"][template].clone();
        let written = model(&[("tokenizer_config.json", config)]).expect("loads").chat_text(&messages(row));
        let what = format!("{template}, {}", row["conversation"]);
        match row["refusal"].as_str() {
            None => assert_eq!(written.expect(&what), row["text"].as_str().expect("text"), "{what}"),
            Some(refusal) => {
                let error = written.expect_err(&what);
                assert!(matches!(error, Error::ChatTemplate { .. }), "{what}: {error}");
                assert!(error.to_string().contains(refusal), "{what}: {error}");
            }
        }
    }
}

#[test]
fn a_template_is_found_wherever_it_may_be() {
    let hello = [Message::new("user", "hello")];
    let named = json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": "named"}]);
    for (files, expected) in [
        (vec![("chat_template.jinja", json!("file\n"))], "file"),
        (
            vec![
                ("chat_template.jinja", json!("file")),
                ("tokenizer_config.json", json!({"chat_template": "config"})),
            ],
            "file",
        ),
        (vec![("tokenizer_config.json", json!({"chat_template": named}))], "named"),
        (
            vec![(
                "tokenizer_config.json",
                json!({"chat_template": "{{ bos_token }}", "bos_token": {"content": "<s>"}}),
            )],
            "<s>",
        ),
    ] {
        assert_eq!(model(&files).expect("loads").chat_text(&hello).expect("text"), expected);
    }
    let error = model(&[]).expect("loads").chat_text(&hello).expect_err("no template");
    assert!(matches!(error, Error::NoChatTemplate), "{error}");
    let older = vec![("chat_template.json", json!({"chat_template": "older"}))];
    assert_eq!(model(&older).expect("loads").chat_text(&hello).expect("text"), "older");
    let nameless =
        json!({"chat_template": [{"name": "rag", "template": "no"}, {"name": "tool_use", "template": "no"}]});
    let error = model(&[("tokenizer_config.json", nameless)])
        .expect("loads")
        .chat_text(&hello)
        .expect_err("no default");
    assert!(error.to_string().contains("(rag, tool_use), and none is named `default`"), "{error}");
    let broken = json!({"chat_template": "{% if %}"});
    let error = model(&[("tokenizer_config.json", broken)]).expect("loads").chat_text(&hello);
    match error {
        Err(error @ Error::ChatTemplate { .. }) => {
            let start = "chat template, `chat_template` in tokenizer_config.json: line 1: unexpected `%}`";
            assert!(error.to_string().starts_with(start), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// The tokenizer has a token that the model has no row for: other texts are read, and a text with it is refused by its name.
#[test]
fn added_tokens_beyond_the_vocabulary_are_refused_where_they_occur() {
    let config = json!({"pad_token": "[PAD]", "chat_template": "{{ messages[0].content }}"});
    let model = model(&[("tokenizer_config.json", config)]).expect("loads");
    assert_eq!(model.encode("hello").expect("ids"), [2]);
    for error in [
        model.encode("hello [PAD]").expect_err("no row"),
        model.chat_ids(&[Message::new("user", "[PAD]")]).expect_err("no row"),
    ] {
        assert!(
            matches!(&error, Error::TokenOutside { token, id: 4, vocabulary: 4 } if token == "[PAD]"),
            "{error}"
        );
    }
}

#[test]
fn an_answering_model_reads_its_contexts_through_the_template() {
    let template = "{% for message in messages %}<s>{{ message.role }} {{ message.content }}{% endfor %}";
    let plain = model(&[("tokenizer_config.json", json!({"chat_template": template}))]).expect("loads");
    let answering = plain.answering(None).expect("it has a template");
    assert_eq!(plain.encode("hello").expect("ids"), [2]);
    assert_eq!(answering.encode("hello").expect("ids"), [1, 3, 2]);
    assert_eq!(answering.chat_ids(&[Message::new("user", "hello")]).expect("ids"), [1, 3, 2]);
    let instructed = plain.answering(Some("hello")).expect("it has a template");
    assert_eq!(instructed.encode("user").expect("ids"), [1, 0, 2, 1, 3, 3]);
    let context = "hello".to_string();
    let drawn = answering.sample(&context, &Streams::new(0, 4)).expect("samples");
    let same = plain.tokens().sample(&vec![1, 3, 2], &Streams::new(0, 4)).expect("samples");
    for (drawn, same) in drawn.iter().zip(&same) {
        assert_eq!((&drawn.value.tokens, drawn.log_prob), (&same.value, same.log_prob));
    }
    assert!(matches!(model(&[]).expect("loads").answering(None), Err(Error::NoChatTemplate)));
}

/// The real tokenizer of SmolLM2 encodes special tokens inside the text as special tokens.
#[test]
fn smollm2_is_asked_with_the_ids_of_transformers() {
    let Some(folder) = std::env::var_os("DISCO_SMOLLM2") else {
        eprintln!("skipped: DISCO_SMOLLM2 does not name a folder of SmolLM2-135M (see reference/smollm2.py)");
        return;
    };
    let model = LanguageModel::load(Path::new(&folder), &device(), Generation::default()).expect("loads");
    let reference = reference();
    let rows = reference["rows"].as_array().expect("rows").iter().filter(|row| row["template"] == "smollm2");
    for row in rows {
        assert_eq!(model.chat_text(&messages(row)).expect("text"), row["text"].as_str().expect("text"));
        assert_eq!(model.chat_ids(&messages(row)).expect("ids"), ids(&row["ids"]));
    }
}
