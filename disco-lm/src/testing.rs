//! Helpers of the unit tests: small random models of every kind of layer, and a way to run the code for other devices on the CPU.

use std::{cell::Cell, path::Path};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};

use crate::{
    Backend, Decoding, Generation, TokenModel, Tokenizer,
    architecture::{parameters::parameters, read_config},
    weights::Loaded,
};

thread_local! {
    static ON_OTHER_DEVICE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread treats CPU memory as the memory of another device.
pub(crate) fn is_other_device() -> bool {
    ON_OTHER_DEVICE.get()
}

/// Does `work` as if no tensor were in CPU memory: with Burn's operations alone, as on a GPU. All of it runs on one thread.
pub(crate) fn on_other_device<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let pool = ThreadPoolBuilder::new().num_threads(1).start_handler(|_| ON_OTHER_DEVICE.set(true)).build();
    pool.expect("a thread").install(work)
}

/// A model of a configuration with random weights.
pub(crate) fn random(config: &Value, decoding: Decoding) -> TokenModel {
    let config = read_config(config, Path::new("config.json")).expect("a known configuration");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut value = move |_| rng.random_range(-0.4f32..0.4);
    let sizes = parameters(&config).into_iter().map(|parameter| parameter.shape[0] * parameter.shape[1]);
    let values = sizes.map(|size| (0..size).map(&mut value).collect()).collect();
    let generation = Generation { max_new_tokens: 5, decoding, ..Generation::default() };
    let device = Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).expect("a backend");
    TokenModel::from_loaded(Loaded { values, ignored: Vec::new() }, config, vec![2], &device, generation)
        .expect("a model")
}

/// A tokenizer for the models of [`config`]: 2 ends a sequence, and the ids from 3 on are the letters from `a` to `u`.
pub(crate) fn letters() -> Tokenizer {
    let special = ["<pad>", "<bos>", "<eos>"].map(String::from);
    let special_tokens = (0..).zip(&special).map(|(id, text): (u32, _)| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    });
    let special_tokens: Vec<Value> = special_tokens.collect();
    let all = special.into_iter().chain(('a'..='u').map(String::from)).zip(0..);
    let vocabulary: std::collections::BTreeMap<String, u32> = all.collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": special_tokens, "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    Tokenizer::from_json(tokenizer.to_string().as_bytes(), Path::new("tokenizer.json"), None)
        .expect("a tokenizer")
}

/// A configuration: the sizes that all test configurations share, and the fields `more`.
pub(crate) fn config(more: Value) -> Value {
    let mut config = json!({
        "vocab_size": 24, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 24, "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
    });
    config.as_object_mut().expect("object").extend(more.as_object().cloned().expect("object"));
    config
}
