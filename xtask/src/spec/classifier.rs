//! A classifier's label as a feature, as a spec file describes it.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::Value;

use super::{
    ModelSource,
    allowed::{POSITIVE, SOME_TEXT},
    reader::Section,
};

/// A label of a classifier whose value is a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

/// Reads the fields of a feature of this kind; `None` if a problem was reported.
pub(super) fn read_classifier(section: &Section<'_>, folder: &Path) -> Option<ClassifierSpec> {
    let values = [
        ("probability", LabelValue::Probability),
        ("log_probability", LabelValue::LogProbability),
        ("logit", LabelValue::Logit),
    ];
    let value = section.choice("value", &values).unwrap_or_default();
    let temperature = section.number("temperature", &POSITIVE).unwrap_or(1.0);
    let truncate = section.boolean("truncate").unwrap_or(false);
    for field in ["model", "label"] {
        if !section.has(field) {
            section.wrong_table(&format!("has no `{field}`"), SOME_TEXT.words);
        }
    }
    let label = section.string("label", &SOME_TEXT);
    let model = section.string("model", &SOME_TEXT)?;
    let model = ModelSource::find_with(&model, folder, "config.json");
    match model.and_then(|model| Ok((labels(&model)?, model))) {
        Err(problem) => {
            let allowed = "a folder in Hugging Face's format or an id of the hub, of BERT, DistilBERT or RoBERTa with a \
                           classifier";
            section.wrong("model", &problem, allowed);
            None
        }
        Ok((Some(labels), _)) if label.as_ref().is_some_and(|label| !labels.contains(label)) => {
            section.wrong("label", "is not one of the classifier's labels", &labels.join(", "));
            None
        }
        Ok((_, model)) => Some(ClassifierSpec { model, label: label?, value, temperature, truncate }),
    }
}

/// The labels of a classifier, if its configuration is on this machine and names them; or the problem with it.
fn labels(model: &ModelSource) -> Result<Option<Vec<String>>, String> {
    let ModelSource::Folder(folder) = model else { return Ok(None) };
    if !["tokenizer.json", "vocab.txt", "vocab.json"].iter().any(|name| folder.join(name).is_file()) {
        return Err(format!("names a folder without tokenizer.json: {}", folder.display()));
    }
    let path = folder.join("config.json");
    let config =
        fs::read(&path).map_err(|error| format!("gives no classifier: {}: {error}", path.display()))?;
    let config: Value = serde_json::from_slice(&config)
        .map_err(|error| format!("gives no classifier: {}: {error}", path.display()))?;
    let labels = config.get("id2label").and_then(Value::as_object);
    Ok(labels.map(|labels| labels.values().filter_map(Value::as_str).map(String::from).collect()))
}
