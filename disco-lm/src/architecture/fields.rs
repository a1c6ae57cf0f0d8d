//! The meaning of each field of a `config.json`, by architecture.
//!
//! A field that transformers' configuration class or modelling code reads is on one of three lists: it is honoured, it changes no
//! probability, or only some of its values are allowed. Every other field is one that transformers does not read either; it is
//! ignored, as there. `tests/suite/reference/fields.py` lists the fields that transformers reads, and a test compares the lists.

/// The fields of one architecture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// Fields that the architecture's reader reads; it refuses the values that it does not support.
    #[cfg_attr(not(test), expect(dead_code, reason = "a list that a test compares with transformers"))]
    pub(crate) honoured: &'static [&'static str],
    /// Fields that change no probability: of training, of generation, of formats, of other tasks.
    #[cfg_attr(not(test), expect(dead_code, reason = "a list that a test compares with transformers"))]
    pub(crate) idle: &'static [&'static str],
    /// Fields that would change a probability, with their allowed values as JSON.
    pub(crate) fixed: &'static [(&'static str, &'static [&'static str])],
}

/// The fields that all configurations share.
pub(crate) const COMMON: Fields = Fields {
    honoured: &["model_type", "eos_token_id", "quantization_config", "compression_config"],
    idle: &[
        // Formats and outputs.
        "transformers_version",
        "architectures",
        "dtype",
        "torch_dtype",
        "name_or_path",
        "output_hidden_states",
        "output_attentions",
        "return_dict",
        "attn_implementation",
        "experts_implementation",
        "use_cache",
        // Computes the same in parts.
        "chunk_size_feed_forward",
        // Training.
        "initializer_range",
        "attention_dropout",
        // Tokens that a tokenizer or a generation adds; padding is masked.
        "bos_token_id",
        "pad_token_id",
        // Other tasks.
        "is_encoder_decoder",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "classifier_dropout",
    ],
    fixed: &[
        ("per_layer_config", &["null", "{}"]),
        // Shared code of transformers makes a decoder look at what follows. Null counts as false there.
        ("is_causal", &["true"]),
        // Another file of weights, in the place of model.safetensors.
        ("transformers_weights", &["null"]),
        // Another file, which would be the configuration in the place of this one.
        ("configuration_files", &["null"]),
    ],
};

/// The fields that Llama's relatives share.
pub(crate) const LLAMA_LIKE: &[&str] = &[
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "attention_bias",
    "mlp_bias",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
];

/// The fields that only a decoder would read, or an encoder in the place of a decoder.
pub(crate) const NO_DECODER: &[(&str, &[&str])] = &[
    ("is_decoder", &["false"]),
    ("add_cross_attention", &["false"]),
    ("position_embedding_type", &["\"absolute\"", "null"]),
];
