//! GGUF files: models and tokenizers are loaded, and errors name the problems of invalid files. `reference/gguf_files.py` made
//! the files.

use std::path::{Path, PathBuf};

use disco_core::{Distribution, Streams};
use disco_lm::{Error, Generation, LanguageModel, Precision, TokenModel};
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{ADDED, DECODERS, assert_close, device, ids};

/// Allowed difference in a logit, as for the golden folders.
const LOGITS_TOLERANCE: f64 = 2e-4;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/reference").join(format!("gguf-{name}"))
}

fn load(path: &Path) -> Result<TokenModel, Error> {
    TokenModel::load(path, &device(), Generation { max_new_tokens: 4, ..Generation::default() })
}

/// A copy of a file in which every occurrence of the bytes `from` is replaced by `to`, which has the same length.
fn patched(name: &str, from: &[u8], to: &[u8]) -> TempDir {
    let mut bytes = std::fs::read(file(name)).expect("readable");
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty() && from.len() == to.len(), "there is something to replace");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    written(&bytes)
}

fn written(bytes: &[u8]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("model.gguf"), bytes).expect("writable");
    folder
}

fn refusal(folder: &TempDir) -> Error {
    load(&folder.path().join("model.gguf")).expect_err("refused")
}

#[test]
fn golden_models_are_the_same_from_gguf() {
    for name in DECODERS.into_iter().chain(ADDED) {
        // The files were made from the repository's own golden models, whatever other seed is tested.
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = root.join(if ADDED.contains(&name) { "tests/suite/reference" } else { "../golden" });
        let folder = root.join(name);
        let golden = std::fs::read(folder.join("golden.json")).expect("readable");
        let golden: Value = serde_json::from_slice(&golden).expect("golden.json is JSON");
        let model = load(&file(&format!("{name}.gguf"))).expect("a golden model loads");
        let rows = model.logits(&ids(&golden["context_ids"])).expect("logits");
        let same = load(&folder).expect("loads").logits(&ids(&golden["context_ids"])).expect("logits");
        for (row, same) in rows.iter().zip(&same) {
            let [row, same] = [row, same].map(|row| row.iter().copied().map(f64::from).collect::<Vec<_>>());
            assert_close(name, &row, &same, LOGITS_TOLERANCE);
        }
        assert!(model.is_end(ids(&serde_json::json!([golden_end(&folder)]))[0]), "{name}: the end token");
    }
}

fn golden_end(folder: &Path) -> Value {
    let config = std::fs::read(folder.join("config.json")).expect("readable");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    match &config["eos_token_id"] {
        Value::Array(ids) => ids[0].clone(),
        id => id.clone(),
    }
}

#[test]
fn a_sentence_piece_tokenizer_gives_the_ids_of_sentencepiece() {
    let model =
        LanguageModel::load(file("sentencepiece.gguf"), &device(), Generation::default()).expect("loads");
    let rows: Value = serde_json::from_str(include_str!("reference/gguf-sentencepiece.json"))
        .expect("the reference is JSON");
    for row in rows.as_array().expect("rows") {
        let text = row["text"].as_str().expect("text");
        let encoded = model.encode(text).expect("ids");
        assert_eq!(encoded, ids(&row["ids"]), "{text:?}");
        assert_eq!(model.tokenizer().decode(&encoded).expect("text"), text);
    }
}

/// llama.cpp ends at `_<EOT>` whatever the metadata say of it (`llama-vocab.cpp`, "tokens that cause end-of-generation").
#[test]
fn an_end_of_turn_is_told_by_its_text() {
    let renamed = patched("sentencepiece.gguf", b"<0x00>", b"_<EOT>");
    let load = |path| LanguageModel::load(path, &device(), Generation::default()).expect("loads");
    let [plain, renamed] = [load(file("sentencepiece.gguf")), load(renamed.path().join("model.gguf"))];
    let id = renamed.tokenizer().id("_<EOT>").expect("a token");
    let end = plain.tokenizer().id("</s>").expect("a token");
    assert!(renamed.tokens().is_end(id) && renamed.tokens().is_end(end));
    assert!(!plain.tokens().is_end(id) && plain.tokens().is_end(end));
    assert_eq!(renamed.completion(vec![id]).expect("a completion").text, "", "it is a control token");
}

/// The text of a completion is what it adds to its context's: together they are the text of all tokens.
#[test]
fn a_completion_keeps_the_space_before_its_first_word() {
    let generation = Generation { max_new_tokens: 6, ..Generation::default() };
    let model = LanguageModel::load(file("sentencepiece.gguf"), &device(), generation).expect("loads");
    let context = "the king".to_string();
    let ids = model.encode(&context).expect("ids");
    let mut spaces = 0;
    for drawn in model.sample(&context, &Streams::new(1, 200)).expect("samples") {
        let whole = [ids.clone(), drawn.value.tokens.clone()].concat();
        let whole = model.tokenizer().decode(&whole).expect("text");
        assert_eq!(format!("{context}{}", drawn.value.text), whole);
        spaces += usize::from(drawn.value.text.starts_with(' '));
    }
    assert!(spaces > 0, "some begin with a word");
    let word = model.tokenizer().encode_as_is("king").expect("ids");
    assert_eq!(model.completion(word.clone()).expect("a completion").text, " king");
    assert_eq!(model.completion_after(&ids[..1], word).expect("a completion").text, "king", "after no text");
}

#[test]
fn a_model_from_gguf_is_saved_as_a_folder() {
    let model =
        LanguageModel::load(file("sentencepiece.gguf"), &device(), Generation::default()).expect("loads");
    let folder = TempDir::new().expect("a temporary folder");
    model.save(folder.path().join("saved"), Precision::F32).expect("saved");
    let again = LanguageModel::load(folder.path().join("saved"), &device(), Generation::default())
        .expect("loads again");
    let context = model.encode("the king").expect("ids");
    assert_eq!(again.encode("the king").expect("ids"), context);
    assert_eq!(
        again.tokens().logits(&context).expect("logits"),
        model.tokens().logits(&context).expect("logits")
    );
}

#[test]
fn all_tensors_that_do_not_fit_are_listed() {
    let renamed = patched("llama-gqa-tied.gguf", b"blk.0.attn_q.weight", b"blk.0.attn_x.weight");
    match refusal(&renamed) {
        Error::Weights { missing, unexpected, misshapen, .. } => {
            assert_eq!(missing, ["blk.0.attn_q.weight"]);
            assert_eq!(unexpected, ["blk.0.attn_x.weight"]);
            assert!(misshapen.is_empty());
        }
        other => panic!("{other}"),
    }
    let said = refusal(&renamed).to_string();
    let listed = "configuration; missing: blk.0.attn_q.weight; unexpected: blk.0.attn_x.weight";
    assert!(said.ends_with(listed), "{said}");
    // Key, type and value of the width of the feed-forward block, which only its matrices contradict.
    let key = b"llama.feed_forward_length\x04\0\0\0";
    let [from, to] = [64u32, 63].map(|width| [&key[..], &width.to_le_bytes()].concat());
    match refusal(&patched("llama-gqa-tied.gguf", &from, &to)) {
        Error::Weights { missing, unexpected, misshapen, .. } => {
            assert!(missing.is_empty() && unexpected.is_empty());
            assert_eq!(misshapen.len(), 6, "three matrices in two layers: {misshapen:?}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (name, from, to, message) in [
        ("qwen3.gguf", &b"qwen3"[..], &b"mamba"[..], "gpt2, llama"),
        ("llama-gqa-tied.gguf", b"GGUF\x03", b"GGUF\x01", "version 1; allowed: 2, 3"),
        ("llama-gqa-tied.gguf", b"GGUF", b"GGML", "not with `GGUF`"),
        ("llama-gqa-tied.gguf", b"llama.block_count", b"llama.block_xxxxx", "llama.block_count"),
        ("llama-untied-rope3.gguf", b"\0\0\x80\x3f", b"\0\0\x90\x3f", "rope_freqs.weight"),
    ] {
        let error = refusal(&patched(name, from, to)).to_string();
        assert!(error.contains(message), "{error}");
    }
    let gone = load(Path::new("no/such/place/model.gguf")).expect_err("not there").to_string();
    assert!(gone.contains("no/such/place/model.gguf"), "{gone}");
}

/// A copy of a file in which the metadata entry `key` is replaced by an entry `name` with a `value` of type `kind`.
fn with_entry(file_name: &str, key: &str, name: &str, kind: u32, value: [u8; 4]) -> TempDir {
    let mut bytes = std::fs::read(file(file_name)).expect("readable");
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(key.as_bytes())).expect(key);
    assert_eq!(bytes[at + key.len()..][..4], 4u32.to_le_bytes(), "{key} is a u32");
    let entry = [name.as_bytes(), &kind.to_le_bytes(), &value].concat();
    assert_eq!(name.len(), key.len());
    bytes[at..at + entry.len()].copy_from_slice(&entry);
    written(&bytes)
}

#[test]
fn an_end_token_that_the_vocabulary_does_not_have_is_named() {
    let key = "tokenizer.ggml.eos_token_id";
    let folder = with_entry("llama-gqa-tied.gguf", key, key, 4, 1_000_000u32.to_le_bytes());
    let error = refusal(&folder).to_string();
    let expected = format!("model.gguf: `{key}` is 1000000; allowed: below the number of tokens");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn an_alignment_that_is_none_is_shown_as_it_is() {
    // Replaces an entry whose key has the same length.
    let with = |kind: u32, value: [u8; 4]| {
        let folder = with_entry("llama-gqa-tied.gguf", "llama.block_count", "general.alignment", kind, value);
        refusal(&folder).to_string()
    };
    for (kind, value, shown) in
        [(4, 24u32.to_le_bytes(), "24"), (5, (-8i32).to_le_bytes(), "-8"), (6, 0.5f32.to_le_bytes(), "0.5")]
    {
        let error = with(kind, value);
        let expected = format!("`general.alignment` is {shown}; allowed: a power of 2");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_shape_that_cannot_be_is_named_with_its_tensor() {
    let bytes = std::fs::read(file("llama-gqa-tied.gguf")).expect("readable");
    let name = b"blk.0.attn_q.weight";
    // After the name come the number of dimensions, the width and the rows.
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(name)).expect("there") + name.len() + 4;
    let width = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    for rows in [1 << 62, u64::MAX] {
        let mut bytes = bytes.clone();
        bytes[at + 8..at + 16].copy_from_slice(&rows.to_le_bytes());
        let error = refusal(&written(&bytes)).to_string();
        let expected =
            format!("`blk.0.attn_q.weight` of shape [{rows}, {width}] has more values than can be counted");
        assert!(error.contains(&expected), "{error}");
    }
}

/// Tensors that share the same bytes could take any multiple of the file's size in memory.
#[test]
fn tensors_have_bytes_of_their_own_where_they_may_begin() {
    let bytes = std::fs::read(file("llama-gqa-tied.gguf")).expect("readable");
    let behind = |text: &str| {
        (0..bytes.len()).find(|at| bytes[*at..].starts_with(text.as_bytes())).expect(text) + text.len()
    };
    // After the name come the number of dimensions, two dimensions, the type and the offset.
    let place = |name: &str| behind(name) + 4 + 2 * 8 + 4;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        refusal(&written(&bytes)).to_string()
    };
    let (one, other) = (place("blk.0.attn_q.weight"), place("blk.1.attn_q.weight"));
    let error = with(one, &number(other).to_le_bytes());
    assert!(error.contains("blk.0.attn_q.weight") && error.contains("share bytes"), "{error}");
    let error = with(one, &(number(one) + 4).to_le_bytes());
    assert!(error.contains("allowed: multiples of 32"), "{error}");
    let epsilon = behind("llama.attention.layer_norm_rms_epsilon") + 4;
    let error = with(epsilon, &f32::NAN.to_le_bytes());
    assert!(error.contains("layer_norm_rms_epsilon") && error.contains("a finite number"), "{error}");
}

/// A list of the parameters of so many layers would take more than 24 GB, tables for so many positions 1 GB.
#[test]
fn a_size_that_no_tensor_has_takes_no_memory() {
    let bytes = std::fs::read(file("llama-gqa-tied.gguf")).expect("readable");
    let with = |key: &str, value: u32| {
        let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(key.as_bytes())).expect(key) + key.len();
        assert_eq!(bytes[at..at + 4], 4u32.to_le_bytes(), "{key} is a u32");
        let mut bytes = bytes.clone();
        bytes[at + 4..at + 8].copy_from_slice(&value.to_le_bytes());
        load(&written(&bytes).path().join("model.gguf"))
    };
    let error = with("llama.block_count", (1 << 24) - 1).expect_err("refused").to_string();
    assert!(error.contains("num_hidden_layers") && error.contains("at most 4096"), "{error}");
    let error = with("llama.block_count", 4096).expect_err("refused").to_string();
    assert!(error.contains("at most the number of tensors"), "{error}");
    with("llama.context_length", 1 << 24).expect("no longer than it may be");
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let mut bytes = std::fs::read(file("qwen2.gguf")).expect("readable");
    let end = bytes.len();
    // Tensors are padded to a multiple of 32 bytes; the last one needs no padding.
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = refusal(&written(&bytes)).to_string();
    assert!(error.contains("model.gguf: a weight of `") && error.contains("is NaN"), "{error}");
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused() {
    let bytes = std::fs::read(file("sentencepiece.gguf")).expect("readable");
    let name = b"token_embd.weight";
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(name)).expect("the embedding") + name.len();
    let mut fewer = bytes.clone();
    // After the name come the number of dimensions, which is two, the width and the rows.
    let rows = u64::from_le_bytes(bytes[at + 12..at + 20].try_into().expect("eight bytes"));
    fewer[at + 12..at + 20].copy_from_slice(&(rows - 1).to_le_bytes());
    let folder = written(&fewer);
    let error = LanguageModel::load(folder.path().join("model.gguf"), &device(), Generation::default());
    let error = error.expect_err("too many tokens");
    assert!(
        matches!(error, Error::Vocabulary { vocabulary, .. } if vocabulary as u64 == rows - 1),
        "{error}"
    );
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_is_cut() {
    let bytes = std::fs::read(file("llama-untied-rope3.gguf")).expect("readable");
    for kept in (0..2000).step_by(13).chain([bytes.len() / 2, bytes.len() - 40]) {
        let error = refusal(&written(&bytes[..kept]));
        assert!(matches!(error, Error::Format { .. }), "{kept}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Any bytes in the header give an error or a model, without a panic, and without an allocation of a size that only the
    /// header claims.
    #[test]
    fn a_lying_header_is_an_error(position in 0usize..4000, byte: u8, word: u64) {
        let mut bytes = std::fs::read(file("llama-gqa-tied.gguf")).expect("readable");
        let kept = bytes.clone();
        bytes[position] = byte;
        let _ = load(&written(&bytes).path().join("model.gguf"));
        bytes.copy_from_slice(&kept);
        bytes[position..position + 8].copy_from_slice(&word.to_le_bytes());
        let _ = load(&written(&bytes).path().join("model.gguf"));
    }

    /// Any bytes in a file with a tokenizer give an error or a model, without a panic.
    #[test]
    fn a_lying_tokenizer_is_an_error(position in 0usize..12_000, word: u64) {
        let mut bytes = std::fs::read(file("sentencepiece.gguf")).expect("readable");
        let position = position.min(bytes.len() - 8);
        bytes[position..position + 8].copy_from_slice(&word.to_le_bytes());
        let folder = written(&bytes);
        let _ = LanguageModel::load(folder.path().join("model.gguf"), &device(), Generation::default());
    }
}
