//! What the unit tests share: small random models of every kind of layer, and the paths that other devices take.

use std::{cell::Cell, path::Path};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};

use crate::{
    Backend, Decoding, Generation, TokenModel,
    architecture::{parameters::parameters, read_config},
};

thread_local! {
    static ELSEWHERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is one that takes the host for another device.
pub(crate) fn is_elsewhere() -> bool {
    ELSEWHERE.get()
}

/// Does `work` as if no tensor lay in the host's memory: with Burn's operations alone, as on a GPU. All of it is done by one
/// thread.
pub(crate) fn elsewhere<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let pool = ThreadPoolBuilder::new().num_threads(1).start_handler(|_| ELSEWHERE.set(true)).build();
    pool.expect("a thread").install(work)
}

/// A random model of a configuration.
pub(crate) fn random(config: &Value, decoding: Decoding) -> TokenModel {
    let config = read_config(config, Path::new("config.json")).expect("a known configuration");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut value = move |_| rng.random_range(-0.4f32..0.4);
    let sizes = parameters(&config).into_iter().map(|parameter| parameter.shape[0] * parameter.shape[1]);
    let values = sizes.map(|size| (0..size).map(&mut value).collect()).collect();
    let generation = Generation { max_new_tokens: 5, decoding, ..Generation::default() };
    let device = Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).expect("a backend");
    TokenModel::from_values(values, config, vec![2], &device, generation).expect("a model")
}

/// What all of the configurations say, and what is said of one.
pub(crate) fn config(more: Value) -> Value {
    let mut config = json!({
        "vocab_size": 24, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 24, "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
    });
    config.as_object_mut().expect("object").extend(more.as_object().cloned().expect("object"));
    config
}
