//! Encoders with a classification head: BERT, DistilBERT, RoBERTa.

use std::path::Path;

use serde_json::Value;

use crate::{
    Result,
    architecture::{
        bert::{self, bert, distilbert},
        config_reader::ConfigReader,
        model_config::{Activation, ModelConfig},
        tensor_names::ClassifierNames,
    },
};

/// How logits become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Exactly one label is true.
    Softmax,
    /// Each label is true or false by itself.
    Sigmoid,
    /// The logits are numbers that are not turned into probabilities: a regression.
    None,
}

/// The configuration of an encoder with a classification head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassifierConfig {
    pub(crate) encoder: ModelConfig,
    pub(crate) names: ClassifierNames,
    /// The row of the position embedding that the first token has.
    pub(crate) first_position: usize,
    /// The number of token types, if there are any; all tokens of a text have the first type.
    pub(crate) token_types: Option<usize>,
    /// The activation between the two matmuls of the head.
    pub(crate) activation: Activation,
    pub(crate) labels: Vec<String>,
    pub(crate) link: Link,
}

/// The supported classifiers, as `model_type` names them.
const KNOWN: &str = "bert, distilbert, roberta, xlm-roberta";

impl ClassifierConfig {
    /// Reads a `config.json`; `path` is for error messages.
    pub(crate) fn from_config(config: &Value, path: &Path) -> Result<Self> {
        let reader = ConfigReader { config, path };
        let labels = labels(&reader)?;
        let link = link(&reader, labels.len())?;
        let tanh = Activation::Tanh;
        let config = match reader.text("model_type", None)?.as_str() {
            "distilbert" => Self {
                encoder: distilbert(&reader)?,
                names: bert::DISTILBERT_HEAD,
                first_position: 0,
                token_types: None,
                activation: Activation::Relu,
                labels,
                link,
            },
            kind @ ("bert" | "roberta" | "xlm-roberta") => {
                let is_bert = kind == "bert";
                let (tensors, names) =
                    if is_bert { (bert::BERT, bert::BERT_HEAD) } else { (bert::ROBERTA, bert::ROBERTA_HEAD) };
                let first_position = if is_bert { 0 } else { reader.size("pad_token_id", Some(1))? + 1 };
                let token_types = Some(reader.size("type_vocab_size", Some(2))?);
                let vocabulary = if kind == "roberta" { 50_265 } else { 30_522 };
                let encoder = bert(&reader, tensors, vocabulary)?;
                Self { encoder, names, first_position, token_types, activation: tanh, labels, link }
            }
            other => return Err(reader.refused("model_type", other, KNOWN)),
        };
        config.encoder.validate(&reader)?;
        if config.first_position >= config.encoder.max_positions {
            let allowed = "more positions than the id of the padding token";
            return Err(reader.refused("max_position_embeddings", config.encoder.max_positions, allowed));
        }
        if config.token_types == Some(0) {
            return Err(reader.refused("type_vocab_size", 0, "at least 1"));
        }
        Ok(config)
    }

    /// The largest number of tokens that a text can have.
    pub(crate) fn positions(&self) -> usize {
        self.encoder.max_positions - self.first_position
    }
}

/// How the logits of `labels` labels become probabilities, as in transformers' pipeline for text classification.
fn link(reader: &ConfigReader<'_>, labels: usize) -> Result<Link> {
    const KINDS: [(&str, Option<Link>); 4] = [
        ("", None),
        ("regression", Some(Link::None)),
        ("single_label_classification", Some(Link::Softmax)),
        ("multi_label_classification", Some(Link::Sigmoid)),
    ];
    let kind = reader.get("problem_type").map(|_| reader.choice("problem_type", "", &KINDS)).transpose()?;
    match kind.flatten() {
        Some(Link::Softmax) if labels == 1 => {
            let value = "single_label_classification with one label";
            Err(reader.refused("problem_type", value, "regression, or more than one label"))
        }
        Some(link) => Ok(link),
        // A single label is true or false.
        None => Ok(if labels == 1 { Link::Sigmoid } else { Link::Softmax }),
    }
}

/// `id2label`, in the order of the ids. Labels that are numbers are read as their text.
fn labels(reader: &ConfigReader<'_>) -> Result<Vec<String>> {
    let Some(map) = reader.get("id2label") else {
        let count = reader.size_or_null("num_labels", Some(2))?.unwrap_or(2);
        return match count {
            1..=1_000_000 => Ok((0..count).map(|id| format!("LABEL_{id}")).collect()),
            _ => Err(reader.refused("num_labels", count, "1 to 1000000")),
        };
    };
    let count = map.as_object().map_or(0, serde_json::Map::len);
    if reader.size_or_null("num_labels", None)?.is_some_and(|labels| labels != count) {
        return Err(reader.refused(
            "num_labels",
            reader.size("num_labels", None)?,
            format!("{count}, as in id2label"),
        ));
    }
    let allowed = "an object with a text for each of \"0\", \"1\", ...";
    let label = |id: usize| match map.get(id.to_string())? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let labels: Option<Vec<String>> =
        map.as_object().and_then(|object| (0..object.len()).map(label).collect());
    labels.filter(|labels| !labels.is_empty()).ok_or_else(|| reader.refused("id2label", map, allowed))
}
