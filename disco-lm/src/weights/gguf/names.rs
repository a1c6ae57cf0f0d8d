//! Tensor names: from Hugging Face's to GGUF's.

/// Tensors that a model has once: Hugging Face's name and GGUF's.
const TOP: [(&str, &str); 6] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.ln_f", "output_norm"),
];

/// Tensors that every layer has: Hugging Face's name and GGUF's, without the prefix of the layer.
const LAYER: [(&str, &str); 17] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
];

/// GGUF's name of a tensor; `None` for a tensor that no architecture read from GGUF has.
pub(crate) fn gguf_name(name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    let find = |table: &[(&'static str, &'static str)], stem: &str| {
        table.iter().find(|(theirs, _)| *theirs == stem).map(|(_, ours)| *ours)
    };
    match stem.strip_prefix("model.layers.").or_else(|| stem.strip_prefix("transformer.h.")) {
        None => Some(format!("{}.{kind}", find(&TOP, stem)?)),
        Some(rest) => {
            let (layer, stem) = rest.split_once('.')?;
            Some(format!("blk.{layer}.{}.{kind}", find(&LAYER, stem)?))
        }
    }
}
