//! Tensors of checkpoints that no parameter holds: those that no model reads, and other names of those that one does.

/// The beginnings of names that belong to heads of other tasks, and to nothing else: value heads and scores of reward models, heads
/// of classification and of questions, heads of pretraining.
const HEADS: [&str; 17] = [
    "v_head.",
    "value_head.",
    "values_head.",
    "reward_head.",
    "regression_head.",
    "critic_head.",
    "score.",
    "classifier.",
    "classification_head.",
    "qa_outputs.",
    "multiple_choice_head.",
    "cls.",
    "pooler.",
    "roberta.pooler.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
];

/// The ends of names of tensors that are computed from the configuration: masks, position ids, rotary tables; and a bias that T5's
/// first files hold and that T5 has never read.
const COMPUTED: [&str; 6] = [
    ".attn.bias",
    ".attn.masked_bias",
    ".crossattention.bias",
    "rotary_emb.inv_freq",
    "position_ids",
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
];

/// The copies of T5's embedding that files hold beside it.
pub(crate) const T5_COPIES: [&str; 2] = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// The output matrix of language models.
pub(crate) const HEAD: &str = "lm_head.weight";

/// Whether a tensor that no parameter holds changes nothing, as in transformers. A classifier has no `lm_head`.
pub(crate) fn is_idle(name: &str, classifier: bool) -> bool {
    HEADS.iter().any(|head| name.starts_with(head))
        || COMPUTED.iter().any(|end| name.ends_with(end))
        || (classifier && name.starts_with("lm_head."))
}

/// Whether the name is one that libraries of quantisation give.
pub(crate) fn is_quantised(name: &str) -> bool {
    const ENDS: [&str; 11] = [
        ".qweight",
        ".qzeros",
        ".scales",
        ".g_idx",
        ".SCB",
        ".absmax",
        ".quant_map",
        ".weight_scale",
        ".weight_scale_inv",
        ".weight_packed",
        ".input_scale",
    ];
    ENDS.iter().any(|end| name.ends_with(end)) || name.contains(".quant_state.")
}

/// The names under which transformers finds the tensor `name` too: with or without the prefix of the model's body, and with the first
/// names of LayerNorm's parameters. `embedding` is the name of the embedding, which begins with the prefix.
pub(crate) fn other_names(name: &str, embedding: &str) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    names.push(match embedding.split_once('.') {
        // The embedding of T5 has no prefix.
        None => format!("transformer.{name}"),
        Some((prefix, _)) => match name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
            Some(bare) => bare.to_owned(),
            None => format!("{prefix}.{name}"),
        },
    });
    let first = |name: &String| {
        let gamma = name.strip_suffix("LayerNorm.weight").map(|stem| format!("{stem}LayerNorm.gamma"));
        gamma.or_else(|| name.strip_suffix("LayerNorm.bias").map(|stem| format!("{stem}LayerNorm.beta")))
    };
    names.extend(names.iter().filter_map(first).collect::<Vec<_>>());
    names
}
