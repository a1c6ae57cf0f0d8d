//! A classifier's label as a feature.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::Value;

use super::{
    ModelSource,
    allowed::{POSITIVE, SOME_TEXT},
    reader::Section,
};

/// A label of a classifier, in its eyes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifierSpec {
    /// Where the classifier comes from: a folder in Hugging Face's format, or a hub.
    pub model: ModelSource,
    /// One of its labels.
    pub label: String,
    /// What the feature is.
    pub value: LabelValue,
    /// Logits are divided by this.
    pub temperature: f64,
    /// Texts longer than the classifier can read are cut; otherwise they are an error.
    pub truncate: bool,
}

/// What a classifier says of a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelValue {
    /// Its probability.
    #[default]
    Probability,
    /// The natural logarithm of it.
    LogProbability,
    /// The logit over the temperature.
    Logit,
}

/// Reads what belongs to a feature of this kind; none if a problem was reported.
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
            section.wrong("label", "is none of the classifier's", &labels.join(", "));
            None
        }
        Ok((_, model)) => Some(ClassifierSpec { model, label: label?, value, temperature, truncate }),
    }
}

/// The labels of a classifier, if its configuration is here and names them; or what is wrong with it.
fn labels(model: &ModelSource) -> Result<Option<Vec<String>>, String> {
    let ModelSource::Folder(folder) = model else { return Ok(None) };
    if !folder.join("tokenizer.json").is_file() {
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
