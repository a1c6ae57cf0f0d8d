//! Classifiers over texts, and a classifier's label probability as a feature.

use std::{path::Path, sync::Arc};

use burn::tensor::Device;
use disco_core::{Feature, Score};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, TokenClassifier, Tokenizer, classifier::token_classifier::check_temperature,
    model::model_files::ModelFiles, weights::folder::must_be_folder,
};

/// The treatment of a text that has more tokens than a classifier has positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Overlong {
    /// The text is an error.
    #[default]
    Refuse,
    /// Tokens at the end of the text are left out; the special tokens stay.
    Truncate,
}

/// BERT, DistilBERT or RoBERTa with a classification head and its tokenizer: gives the probability of each label of a
/// text.
#[derive(Clone, Debug)]
pub struct Classifier {
    tokens: TokenClassifier,
    tokenizer: Arc<Tokenizer>,
}

impl Classifier {
    /// Reads a Hugging Face folder: `config.json`, `tokenizer.json` and safetensors, single or sharded.
    ///
    /// # Errors
    /// As [`TokenClassifier::load`]; [`Error::Vocabulary`] if the tokenizer does not fit the model.
    pub fn load(folder: impl AsRef<Path>, device: &Device, overlong: Overlong) -> Result<Self> {
        let folder = folder.as_ref();
        must_be_folder(folder, "the folder of a classifier")?;
        let tokenizer = ModelFiles::open(folder)?.tokenizer()?;
        let tokens = TokenClassifier::load(folder, device)?;
        tokenizer.check_fits(tokens.vocabulary())?;
        let tokenizer = match overlong {
            Overlong::Refuse => tokenizer,
            Overlong::Truncate => tokenizer.truncated(tokens.positions())?,
        };
        Ok(Self { tokens, tokenizer: tokenizer.into() })
    }

    /// The classifier over token ids.
    pub fn tokens(&self) -> &TokenClassifier {
        &self.tokens
    }

    /// The names of the labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        self.tokens.labels()
    }

    /// The logit of every label of every text. The tokenizer adds its special tokens.
    ///
    /// # Errors
    /// As [`TokenClassifier::logits`]; [`Error::Tokenizer`].
    pub fn logits(&self, texts: &[&str]) -> Result<Vec<Vec<f64>>> {
        let encoded: Vec<Vec<u32>> =
            texts.iter().map(|text| self.tokenizer.encode(text)).collect::<Result<_>>()?;
        self.tokens.logits(&encoded.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// The log-probability (nats) of every label of every text, as [`TokenClassifier::log_probs`].
    ///
    /// # Errors
    /// As [`logits`](Self::logits); [`Error::Invalid`] for a temperature that is not positive and finite.
    pub fn log_probs(&self, texts: &[&str], temperature: f64) -> Result<Vec<Vec<f64>>> {
        check_temperature(temperature)?;
        let rows = self.logits(texts)?.into_iter();
        rows.map(|row| self.tokens.log_probs_of(&row, temperature)).collect()
    }

    /// A feature called `name` whose value is the probability, log-probability or logit of `label`. The classifier is
    /// shared, not copied.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label that the classifier does not have or has more than once, for a temperature that is not
    /// positive and finite, or for a probability of a regression.
    pub fn feature(
        &self,
        name: impl Into<String>,
        label: &str,
        value: LabelValue,
        temperature: f64,
    ) -> Result<LabelFeature> {
        check_temperature(temperature)?;
        if value != LabelValue::Logit {
            let any = vec![0.0; self.labels().len()];
            self.tokens.log_probs_of(&any, temperature)?;
        }
        let mut places = (0..self.labels().len()).filter(|place| self.labels()[*place] == label);
        match (places.next(), places.count()) {
            (Some(label), 0) => {
                Ok(LabelFeature { name: name.into(), classifier: self.clone(), label, value, temperature })
            }
            (Some(_), more) => {
                let value = format!("{label}, which {} of the labels are called", more + 1);
                Err(Error::invalid(
                    "label",
                    value,
                    "a name of one label; rename them in id2label of config.json",
                ))
            }
            (None, _) => Err(Error::invalid("label", label, self.labels().join(", "))),
        }
    }
}

/// The value of a [`LabelFeature`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LabelValue {
    /// The label's probability, in [0, 1].
    #[default]
    Probability,
    /// The natural logarithm of the label's probability (nats).
    LogProbability,
    /// The label's logit divided by the temperature: the reward of a reward model.
    Logit,
}

/// A classifier's value for a label as a feature of every sample that is a text. The classifier sees only the sample, not
/// the context.
///
/// A feature needs no gradient, so that the classifier computes none.
#[derive(Clone, Debug)]
pub struct LabelFeature {
    name: String,
    classifier: Classifier,
    // Invariant: the index of a label.
    label: usize,
    value: LabelValue,
    // Invariant: positive and finite.
    temperature: f64,
}

impl LabelFeature {
    /// The value of the feature for every text.
    ///
    /// # Errors
    /// As [`Classifier::logits`]; [`Error::NotFinite`].
    pub fn of(&self, texts: &[&str]) -> Result<Vec<f64>> {
        let tokens = &self.classifier.tokens;
        let rows = self.classifier.logits(texts)?.into_iter();
        rows.map(|row| {
            let log_prob = || Ok::<_, Error>(tokens.log_probs_of(&row, self.temperature)?[self.label]);
            let value = match self.value {
                LabelValue::Logit => row[self.label] / self.temperature,
                LabelValue::LogProbability => log_prob()?,
                LabelValue::Probability => log_prob()?.exp(),
            };
            // A temperature near 0 can turn finite logits into infinite values.
            if value.is_finite() {
                Ok(value)
            } else {
                Err(Error::NotFinite { what: format!("the feature `{}`", self.name), value })
            }
        })
        .collect()
    }
}

impl<C, X: AsRef<str>> Feature<C, X> for LabelFeature {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, _: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        let texts: Vec<&str> = samples.iter().map(|sample| X::as_ref(sample)).collect();
        Ok(self.of(&texts)?.into_iter().map(Ok).collect())
    }
}
