//! Encoders with a classification head: BERT, DistilBERT, RoBERTa.

use std::path::Path;

use serde_json::Value;

use super::{Activation, Family, FeedForward, Fields, Norm, NormOrder, Positions, Spec, reciprocal_root};
use crate::Result;

/// How logits become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// One label holds.
    Softmax,
    /// Each label holds or not.
    Sigmoid,
}

/// The shape of an encoder with a classification head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassifierSpec {
    pub(crate) encoder: Spec,
    /// The row of the position table that the first token has.
    pub(crate) first_position: usize,
    /// How many kinds of token there are; a text is of the first kind.
    pub(crate) token_types: Option<usize>,
    /// What the head applies between its two products.
    pub(crate) activation: Activation,
    pub(crate) labels: Vec<String>,
    pub(crate) link: Link,
}

/// The classifiers there are, as `model_type` names them.
const KNOWN: &str = "bert, distilbert, roberta, xlm-roberta";

impl ClassifierSpec {
    /// Reads a `config.json`; `path` is for messages.
    pub(crate) fn from_config(config: &Value, path: &Path) -> Result<Self> {
        let fields = Fields { config, path };
        let labels = labels(&fields)?;
        let multiple = "multi_label_classification";
        let problem = fields.text("problem_type", Some(String::new()))?;
        // A single label is a question of yes or no.
        let link = if labels.len() == 1 || problem == multiple { Link::Sigmoid } else { Link::Softmax };
        let tanh = Activation::Tanh;
        let spec = match fields.text("model_type", None)?.as_str() {
            "distilbert" => Self {
                encoder: distilbert(&fields)?,
                first_position: 0,
                token_types: None,
                activation: Activation::Relu,
                labels,
                link,
            },
            kind @ ("bert" | "roberta" | "xlm-roberta") => {
                let family = if kind == "bert" { Family::Bert } else { Family::Roberta };
                let padding = fields.size("pad_token_id", Some(1))?;
                let first_position = if kind == "bert" { 0 } else { padding + 1 };
                let token_types = Some(fields.size("type_vocab_size", Some(2))?);
                let encoder = bert(&fields, family)?;
                Self { encoder, first_position, token_types, activation: tanh, labels, link }
            }
            other => return Err(fields.refused("model_type", other, KNOWN)),
        };
        spec.encoder.check(&fields)?;
        if spec.first_position >= spec.encoder.max_positions {
            let allowed = "more positions than the id of the padding token";
            return Err(fields.refused("max_position_embeddings", spec.encoder.max_positions, allowed));
        }
        if spec.token_types == Some(0) {
            return Err(fields.refused("type_vocab_size", 0, "at least 1"));
        }
        Ok(spec)
    }

    /// The most tokens that a text can have.
    pub(crate) fn positions(&self) -> usize {
        self.encoder.max_positions - self.first_position
    }
}

/// `id2label`, in the order of the ids.
fn labels(fields: &Fields<'_>) -> Result<Vec<String>> {
    let Some(map) = fields.get("id2label") else {
        let count = fields.size("num_labels", Some(2))?;
        return match count {
            1..=1_000_000 => Ok((0..count).map(|id| format!("LABEL_{id}")).collect()),
            _ => Err(fields.refused("num_labels", count, "1 to 1000000")),
        };
    };
    let allowed = "an object with a text for each of \"0\", \"1\", ...";
    let label = |id: usize| map.get(id.to_string()).and_then(Value::as_str).map(String::from);
    let labels: Option<Vec<String>> =
        map.as_object().and_then(|object| (0..object.len()).map(label).collect());
    labels.filter(|labels| !labels.is_empty()).ok_or_else(|| fields.refused("id2label", map, allowed))
}

/// The activations of a feed-forward block, as configurations name them.
const ACTIVATIONS: [(&str, Activation); 4] = [
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
];

fn bert(fields: &Fields<'_>, family: Family) -> Result<Spec> {
    fields.choice("position_embedding_type", "absolute", &[("absolute", ())])?;
    fields.off("is_decoder")?;
    fields.off("add_cross_attention")?;
    let width = fields.size("hidden_size", Some(768))?;
    let heads = fields.size("num_attention_heads", Some(12))?;
    let head_width = fields.divided(width, "num_attention_heads", heads, "hidden_size")?;
    Ok(Spec {
        family,
        vocabulary: fields.size("vocab_size", None)?,
        layers: fields.layers("num_hidden_layers", Some(12))?,
        feed_forward_width: fields.size("intermediate_size", Some(3072))?,
        max_positions: fields.size("max_position_embeddings", Some(512))?,
        norm_epsilon: fields.number("layer_norm_eps", Some(1e-12))?,
        ..encoder(width, heads, head_width, fields.choice("hidden_act", "gelu", &ACTIVATIONS)?)
    })
}

fn distilbert(fields: &Fields<'_>) -> Result<Spec> {
    let width = fields.size("dim", Some(768))?;
    let heads = fields.size("n_heads", Some(12))?;
    let head_width = fields.divided(width, "n_heads", heads, "dim")?;
    Ok(Spec {
        vocabulary: fields.size("vocab_size", None)?,
        layers: fields.layers("n_layers", Some(6))?,
        feed_forward_width: fields.size("hidden_dim", Some(3072))?,
        max_positions: fields.size("max_position_embeddings", Some(512))?,
        ..encoder(width, heads, head_width, fields.choice("activation", "gelu", &ACTIVATIONS)?)
    })
}

/// What all of them share; sizes that are not given here are zero.
fn encoder(width: usize, heads: usize, head_width: usize, activation: Activation) -> Spec {
    Spec {
        family: Family::DistilBert,
        vocabulary: 0,
        width,
        layers: 0,
        heads,
        kv_heads: heads,
        head_width,
        feed_forward_width: 0,
        max_positions: 0,
        embedding_scale: 1.0,
        norm: Norm::Layer,
        norm_order: NormOrder::After,
        norm_epsilon: 1e-12,
        positions: Positions::Learned,
        window: None,
        attention_scale: reciprocal_root(head_width),
        feed_forward: FeedForward { activation, gated: false },
        qkv_bias: true,
        output_bias: true,
        feed_forward_bias: true,
        query_key_norm: false,
        tied: true,
        output_scale: 1.0,
        encoder: None,
    }
}
