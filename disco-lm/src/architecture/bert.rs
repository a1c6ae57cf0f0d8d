//! BERT (Devlin et al. 2019), RoBERTa and DistilBERT: encoders, with the names of their classification heads.

use super::{
    activations,
    config_reader::ConfigReader,
    fields::{Fields, NO_DECODER},
    model_config::{Activation, FeedForward, ModelConfig, Norm, NormOrder, Positions, Sizes},
    tensor_names::{ClassifierNames, StackNames, TensorNames},
};
use crate::Result;

pub(super) const BERT: TensorNames = TensorNames {
    embedding: "bert.embeddings.word_embeddings",
    positions: "bert.embeddings.position_embeddings",
    head: "",
    stack: StackNames {
        layers: "bert.encoder.layer",
        attention_norm: "attention.output.LayerNorm",
        qkv: &["attention.self.query", "attention.self.key", "attention.self.value"],
        output: "attention.output.dense",
        feed_forward_norm: "output.LayerNorm",
        up: &["intermediate.dense"],
        down: "output.dense",
        ..StackNames::NONE
    },
    encoder: None,
};

pub(super) const BERT_HEAD: ClassifierNames = ClassifierNames {
    token_types: "bert.embeddings.token_type_embeddings",
    embedding_norm: "bert.embeddings.LayerNorm",
    dense: "bert.pooler.dense",
    head: "classifier",
};

pub(super) const ROBERTA: TensorNames = TensorNames {
    embedding: "roberta.embeddings.word_embeddings",
    positions: "roberta.embeddings.position_embeddings",
    stack: StackNames { layers: "roberta.encoder.layer", ..BERT.stack },
    ..BERT
};

pub(super) const ROBERTA_HEAD: ClassifierNames = ClassifierNames {
    token_types: "roberta.embeddings.token_type_embeddings",
    embedding_norm: "roberta.embeddings.LayerNorm",
    dense: "classifier.dense",
    head: "classifier.out_proj",
};

const DISTILBERT: TensorNames = TensorNames {
    embedding: "distilbert.embeddings.word_embeddings",
    positions: "distilbert.embeddings.position_embeddings",
    stack: StackNames {
        layers: "distilbert.transformer.layer",
        attention_norm: "sa_layer_norm",
        qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        output: "attention.out_lin",
        feed_forward_norm: "output_layer_norm",
        up: &["ffn.lin1"],
        down: "ffn.lin2",
        ..StackNames::NONE
    },
    ..BERT
};

pub(super) const DISTILBERT_HEAD: ClassifierNames = ClassifierNames {
    token_types: "",
    embedding_norm: "distilbert.embeddings.LayerNorm",
    dense: "pre_classifier",
    head: "classifier",
};

/// The meaning of the fields of BERT and RoBERTa. The embedding is tied to a head that a classifier does not have.
pub(super) const BERT_FIELDS: Fields = Fields {
    honoured: &[
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "hidden_act",
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
    ],
    idle: &["hidden_dropout_prob", "attention_probs_dropout_prob", "tie_word_embeddings"],
    fixed: NO_DECODER,
};

/// The meaning of the fields of DistilBERT.
pub(super) const DISTILBERT_FIELDS: Fields = Fields {
    honoured: &[
        "vocab_size",
        "max_position_embeddings",
        "n_layers",
        "num_hidden_layers",
        "n_heads",
        "num_attention_heads",
        "dim",
        "hidden_size",
        "hidden_dim",
        "activation",
    ],
    idle: &[
        // How positions start in training; the file holds them.
        "sinusoidal_pos_embds",
        "dropout",
        "qa_dropout",
        "seq_classif_dropout",
        "tie_word_embeddings",
    ],
    fixed: &[],
};

pub(super) fn bert(reader: &ConfigReader<'_>, names: TensorNames, vocabulary: usize) -> Result<ModelConfig> {
    reader.check(&BERT_FIELDS)?;
    let hidden_size = reader.size("hidden_size", Some(768))?;
    let heads = reader.size("num_attention_heads", Some(12))?;
    let head_dim = reader.divided(hidden_size, "num_attention_heads", heads, "hidden_size")?;
    Ok(ModelConfig {
        names,
        vocabulary: reader.size("vocab_size", Some(vocabulary))?,
        layers: reader.layers("num_hidden_layers", Some(12))?,
        intermediate_size: reader.size("intermediate_size", Some(3072))?,
        max_positions: reader.size("max_position_embeddings", Some(512))?,
        norm_epsilon: reader.number("layer_norm_eps", Some(1e-12))?,
        ..encoder(hidden_size, heads, head_dim, reader.choice("hidden_act", "gelu", activations::ALL)?)
    })
}

pub(super) fn distilbert(reader: &ConfigReader<'_>) -> Result<ModelConfig> {
    reader.check(&DISTILBERT_FIELDS)?;
    let hidden_size = reader.size(reader.either("dim", "hidden_size"), Some(768))?;
    let heads_field = reader.either("n_heads", "num_attention_heads");
    let heads = reader.size(heads_field, Some(12))?;
    let head_dim = reader.divided(hidden_size, heads_field, heads, "dim")?;
    Ok(ModelConfig {
        vocabulary: reader.size("vocab_size", Some(30_522))?,
        layers: reader.layers(reader.either("n_layers", "num_hidden_layers"), Some(6))?,
        intermediate_size: reader.size("hidden_dim", Some(3072))?,
        max_positions: reader.size("max_position_embeddings", Some(512))?,
        ..encoder(hidden_size, heads, head_dim, reader.choice("activation", "gelu", activations::ALL)?)
    })
}

/// The settings that these encoders share; the sizes that are not arguments are zero, and the caller fills them in.
fn encoder(hidden_size: usize, heads: usize, head_dim: usize, activation: Activation) -> ModelConfig {
    let sizes = Sizes {
        vocabulary: 0,
        hidden_size,
        layers: 0,
        heads,
        kv_heads: heads,
        head_dim,
        intermediate_size: 0,
        max_positions: 0,
    };
    ModelConfig {
        norm: Norm::Layer,
        norm_order: NormOrder::After,
        norm_epsilon: 1e-12,
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        tied: true,
        ..ModelConfig::new(DISTILBERT, sizes, Positions::Learned)
    }
}
