//! A classifier's label as a feature, as a spec file describes it.

use std::path::Path;

use disco_core::input;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ModelSource,
    allowed::{POSITIVE, SOME_TEXT},
    names::{Alias, hint, nearest},
    section::Section,
};

/// A label of a classifier whose value is a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierSpec {
    /// The place of the classifier: a folder in Hugging Face's format, or a hub.
    pub model: ModelSource,
    /// One of its labels.
    pub label: String,
    /// The value of the feature.
    pub value: LabelValue,
    /// Logits are divided by this.
    pub temperature: f64,
    /// Whether texts longer than the classifier can read are cut; otherwise they are an error.
    pub truncate: bool,
}

/// A value that a classifier gives for a label.
///
/// `disco_lm::LabelValue` is its twin, as for [`Backend`](crate::Backend); a test holds the two to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelValue {
    /// The probability of the label.
    #[default]
    Probability,
    /// The natural logarithm of the probability.
    LogProbability,
    /// The logit, divided by the temperature.
    Logit,
}

/// The fields of a feature of this kind, beside those of all kinds.
pub(super) const CLASSIFIER_FIELDS: &[&str] = &["model", "label", "value", "temperature", "truncate"];

/// The files in which a tokenizer begins.
const TOKENIZERS: [&str; 3] = ["tokenizer.json", "vocab.txt", "vocab.json"];

/// Other names of values.
const VALUES: &[Alias] = &[
    ("prob", &["probability"]),
    ("score", &["probability", "logit"]),
    ("logprob", &["log_probability"]),
    ("log_prob", &["log_probability"]),
    ("logits", &["logit"]),
];

/// Reads the fields of a feature of this kind.
pub(super) fn read_classifier(section: &Section<'_>, folder: &Path) -> ClassifierSpec {
    let values = [
        ("probability", LabelValue::Probability),
        ("log_probability", LabelValue::LogProbability),
        ("logit", LabelValue::Logit),
    ];
    section.require("model", SOME_TEXT.words);
    section.require("label", SOME_TEXT.words);
    let label = section.string("label", &SOME_TEXT);
    let model = section.string("model", &SOME_TEXT).and_then(|name| {
        let found = ModelSource::find_with(&name, folder, "config.json");
        match found.and_then(|model| Ok((labels(&model)?, model))) {
            Ok(found) => Some(found),
            Err(problem) => {
                let allowed = "a folder in Hugging Face's format or an id of the hub, of BERT, DistilBERT or RoBERTa with a \
                               classifier";
                section.wrong("model", &problem, allowed);
                None
            }
        }
    });
    let (labels, model) = model.unwrap_or((None, ModelSource::Embedded));
    if let (Some(label), Some(labels)) = (&label, labels)
        && !labels.contains(label)
    {
        let names: Vec<&str> = labels.iter().map(String::as_str).collect();
        let message = format!("is not one of the classifier's labels{}", hint(&nearest(label, &names)));
        section.wrong("label", &message, &labels.join(", "));
    }
    ClassifierSpec {
        model,
        label: label.unwrap_or_default(),
        value: section.choice("value", &values, VALUES).unwrap_or_default(),
        temperature: section.number("temperature", &POSITIVE).unwrap_or(1.0),
        truncate: section.boolean("truncate").unwrap_or(false),
    }
}

/// The labels of a classifier, if its configuration is on this machine and names them; or the problem with it.
fn labels(model: &ModelSource) -> Result<Option<Vec<String>>, String> {
    let ModelSource::Folder(folder) = model else { return Ok(None) };
    if !TOKENIZERS.iter().any(|name| folder.join(name).is_file()) {
        let names = TOKENIZERS.join(", ");
        return Err(format!("names a folder without {names}, of which one is needed: {}", folder.display()));
    }
    let path = folder.join("config.json");
    let config = input::read_text(&path).map_err(|error| format!("gives no classifier: {error}"))?;
    let config: Value = serde_json::from_str(&config)
        .map_err(|error| format!("gives no classifier: {}: {error}", path.display()))?;
    let labels = config.get("id2label").and_then(Value::as_object);
    // disco-lm reads a label that is a number as its text.
    let label = |label: &Value| match label {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Ok(labels.map(|labels| labels.values().filter_map(label).collect()))
}
