//! What the families call their tensors in Hugging Face files.

use crate::architecture::model_config::{Family, FeedForward, ModelConfig};

/// The stems of a stack's tensors: without `.weight` or `.bias`, those of a layer without the layer. Several
/// stems are stacked by rows in one parameter. What a family does not have is empty.
pub(crate) struct TensorNames {
    /// What comes before a layer's number.
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    /// Of the norms behind the blocks, where there are two each.
    pub(crate) attention_post_norm: &'static str,
    pub(crate) feed_forward_post_norm: &'static str,
    pub(crate) qkv: &'static [&'static str],
    pub(crate) query_norm: &'static str,
    pub(crate) key_norm: &'static str,
    pub(crate) output: &'static str,
    /// Of a decoder's attention to its encoder.
    pub(crate) cross_norm: &'static str,
    pub(crate) cross_query: &'static str,
    pub(crate) cross_keys_values: &'static [&'static str],
    pub(crate) cross_output: &'static str,
    pub(crate) feed_forward_norm: &'static str,
    /// The gate before what it gates.
    pub(crate) up: &'static [&'static str],
    pub(crate) down: &'static str,
    /// Of the relative position bias; part of the first layer, shared by all.
    pub(crate) relative: &'static str,
    /// At the end of the stack.
    pub(crate) norm: &'static str,
    /// Whether the matrices of products are stored as `[in, out]`: GPT-2's `Conv1D` are.
    pub(crate) transposed: bool,
}

const LLAMA: TensorNames = TensorNames {
    layers: "model.layers",
    attention_norm: "input_layernorm",
    attention_post_norm: "",
    feed_forward_post_norm: "",
    qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    query_norm: "self_attn.q_norm",
    key_norm: "self_attn.k_norm",
    output: "self_attn.o_proj",
    cross_norm: "",
    cross_query: "",
    cross_keys_values: &[],
    cross_output: "",
    feed_forward_norm: "post_attention_layernorm",
    up: &["mlp.gate_proj", "mlp.up_proj"],
    down: "mlp.down_proj",
    relative: "",
    norm: "model.norm",
    transposed: false,
};

const GEMMA: TensorNames = TensorNames {
    attention_post_norm: "post_attention_layernorm",
    feed_forward_norm: "pre_feedforward_layernorm",
    feed_forward_post_norm: "post_feedforward_layernorm",
    ..LLAMA
};

const GPT2: TensorNames = TensorNames {
    layers: "transformer.h",
    attention_norm: "ln_1",
    qkv: &["attn.c_attn"],
    query_norm: "",
    key_norm: "",
    output: "attn.c_proj",
    feed_forward_norm: "ln_2",
    up: &["mlp.c_fc"],
    down: "mlp.c_proj",
    norm: "transformer.ln_f",
    transposed: true,
    ..LLAMA
};

const T5_DECODER: TensorNames = TensorNames {
    layers: "decoder.block",
    attention_norm: "layer.0.layer_norm",
    attention_post_norm: "",
    feed_forward_post_norm: "",
    qkv: &["layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v"],
    query_norm: "",
    key_norm: "",
    output: "layer.0.SelfAttention.o",
    cross_norm: "layer.1.layer_norm",
    cross_query: "layer.1.EncDecAttention.q",
    cross_keys_values: &["layer.1.EncDecAttention.k", "layer.1.EncDecAttention.v"],
    cross_output: "layer.1.EncDecAttention.o",
    feed_forward_norm: "layer.2.layer_norm",
    up: &["layer.2.DenseReluDense.wi"],
    down: "layer.2.DenseReluDense.wo",
    relative: "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    norm: "decoder.final_layer_norm",
    transposed: false,
};

const T5_ENCODER: TensorNames = TensorNames {
    layers: "encoder.block",
    feed_forward_norm: "layer.1.layer_norm",
    up: &["layer.1.DenseReluDense.wi"],
    down: "layer.1.DenseReluDense.wo",
    relative: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    norm: "encoder.final_layer_norm",
    ..T5_DECODER
};

const BERT: TensorNames = TensorNames {
    layers: "bert.encoder.layer",
    attention_norm: "attention.output.LayerNorm",
    qkv: &["attention.self.query", "attention.self.key", "attention.self.value"],
    query_norm: "",
    key_norm: "",
    output: "attention.output.dense",
    feed_forward_norm: "output.LayerNorm",
    up: &["intermediate.dense"],
    down: "output.dense",
    norm: "",
    ..LLAMA
};

const ROBERTA: TensorNames = TensorNames { layers: "roberta.encoder.layer", ..BERT };

const DISTILBERT: TensorNames = TensorNames {
    layers: "distilbert.transformer.layer",
    attention_norm: "sa_layer_norm",
    qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    output: "attention.out_lin",
    feed_forward_norm: "output_layer_norm",
    up: &["ffn.lin1"],
    down: "ffn.lin2",
    ..BERT
};

impl TensorNames {
    /// Those of the stack that the model ends with.
    pub(crate) fn of(config: &ModelConfig) -> Self {
        match (config.family, config.feed_forward) {
            (Family::Gpt2, _) => GPT2,
            (Family::Llama, _) => LLAMA,
            (Family::Gemma, _) => GEMMA,
            (Family::Bert, _) => BERT,
            (Family::Roberta, _) => ROBERTA,
            (Family::DistilBert, _) => DISTILBERT,
            (Family::T5, FeedForward { gated: false, .. }) => T5_DECODER,
            (Family::T5, FeedForward { gated: true, .. }) => {
                Self { up: &["layer.2.DenseReluDense.wi_0", "layer.2.DenseReluDense.wi_1"], ..T5_DECODER }
            }
        }
    }

    /// Those of the encoder that reads the context; only T5 has one.
    pub(crate) fn of_encoder(config: &ModelConfig) -> Self {
        match config.feed_forward.gated {
            false => T5_ENCODER,
            true => {
                Self { up: &["layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"], ..T5_ENCODER }
            }
        }
    }
}

impl Family {
    /// The tensors of the embedding and of the learned positions.
    pub(crate) fn embeddings(self) -> [&'static str; 2] {
        match self {
            Self::Gpt2 => ["transformer.wte", "transformer.wpe"],
            Self::Llama | Self::Gemma => ["model.embed_tokens", ""],
            Self::T5 => ["shared", ""],
            Self::Bert => ["bert.embeddings.word_embeddings", "bert.embeddings.position_embeddings"],
            Self::Roberta => ["roberta.embeddings.word_embeddings", "roberta.embeddings.position_embeddings"],
            Self::DistilBert => {
                ["distilbert.embeddings.word_embeddings", "distilbert.embeddings.position_embeddings"]
            }
        }
    }

    /// Those of the kinds of token and of the norm behind the embeddings; of the two products of a
    /// classification head. Only encoders have them.
    pub(crate) fn classifier(self) -> [&'static str; 4] {
        match self {
            Self::Bert => [
                "bert.embeddings.token_type_embeddings",
                "bert.embeddings.LayerNorm",
                "bert.pooler.dense",
                "classifier",
            ],
            Self::Roberta => [
                "roberta.embeddings.token_type_embeddings",
                "roberta.embeddings.LayerNorm",
                "classifier.dense",
                "classifier.out_proj",
            ],
            Self::DistilBert => ["", "distilbert.embeddings.LayerNorm", "pre_classifier", "classifier"],
            Self::Gpt2 | Self::Llama | Self::Gemma | Self::T5 => [""; 4],
        }
    }
}
