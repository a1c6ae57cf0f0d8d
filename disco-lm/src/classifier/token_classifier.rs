//! Classifiers over token ids: an encoder with a classification head.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use burn::tensor::{Device, Tensor};
use disco_core::numerics::log_sum_exp;

use crate::{
    Error, Result,
    architecture::{
        classifier_config::{ClassifierConfig, Link},
        parameters::classifier_parameters,
    },
    attention::BidirectionalAttention,
    device::{
        transfer::{download, indices},
        workers::in_batches,
    },
    layers::{
        activation::activate,
        block::Mode,
        linear::Linear,
        norm::NormWeights,
        reader::ParameterReader,
        stack::{Direction, Stack},
        weight::Weight,
    },
    model::forward::padded,
    weights::{self, Loaded, ModelKind, TensorSource, folder::must_be_folder},
};

/// The most texts in a batch. It bounds the memory, and changes no result.
const BATCH: usize = 32;

/// BERT, DistilBERT or RoBERTa with a classification head: gives the probability of each label from the token ids of a
/// text.
#[derive(Clone)]
pub struct TokenClassifier(Arc<Parts>);

struct Parts {
    config: ClassifierConfig,
    ignored: Vec<String>,
    device: Device,
    embedding: Tensor<2>,
    /// The position embeddings of the tokens of a text, with the embedding of the first token type added.
    positions: Tensor<2>,
    embedding_norm: NormWeights,
    stack: Stack,
    dense: Linear,
    head: Linear,
}

impl TokenClassifier {
    /// Reads `config.json` and the safetensors of a Hugging Face folder. No tokenizer is needed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], [`Error::Config`], [`Error::Weights`] or [`Error::NotFiniteWeight`], naming the file.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        must_be_folder(folder, "the folder of a classifier")?;
        let path = folder.join("config.json");
        let config = ClassifierConfig::from_config(&weights::read_json(&path)?, &path)?;
        let kind = ModelKind { embedding: config.encoder.names.embedding, tied: false, classifier: true };
        let source = weights::SafetensorsFolder::open(folder, kind)?;
        config.encoder.check_layers(source.shapes().len(), &path)?;
        let parameters = classifier_parameters(&config);
        let Loaded { values, ignored } = weights::load(&source, &parameters, false, folder)?;
        let weights = parameters.iter().zip(values);
        let weights: Vec<Weight> =
            weights.map(|(parameter, values)| Weight::from_values(values, parameter.shape, device)).collect();
        let no_adapter = BTreeMap::new();
        let mut from = ParameterReader::new(&weights, &no_adapter);
        let embedding = from.elements();
        let mut positions = from.elements().narrow(0, config.first_position, config.positions());
        if config.token_types.is_some() {
            positions = positions + from.elements().narrow(0, 0, 1);
        }
        let encoder = &config.encoder;
        let embedding_norm = NormWeights::assemble(encoder, &mut from);
        let stack = Stack::assemble(encoder, encoder.layers, Direction::Bidirectional, &mut from);
        let [dense, head] = [(); 2].map(|()| from.linear(true));
        let device = device.clone();
        Ok(Self(Arc::new(Parts {
            config,
            ignored,
            device,
            embedding,
            positions,
            embedding_norm,
            stack,
            dense,
            head,
        })))
    }

    /// The names of the labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.0.config.labels
    }

    /// The names of tensors in the files that no such classifier reads, as [`TokenModel::ignored_tensors`](crate::TokenModel::ignored_tensors).
    pub fn ignored_tensors(&self) -> &[String] {
        &self.0.ignored
    }

    /// Whether the logits are numbers that are not turned into probabilities, because the configuration says `regression`.
    pub fn is_regression(&self) -> bool {
        self.0.config.link == Link::None
    }

    /// The number of token ids.
    pub fn vocabulary(&self) -> usize {
        self.0.config.encoder.vocabulary
    }

    /// The most tokens that a text can have, special tokens included.
    pub fn positions(&self) -> usize {
        self.0.config.positions()
    }

    /// The logit of every label of every text. A text is given by its token ids, special tokens included.
    ///
    /// Texts of similar length share a batch; the logits do not depend on that.
    ///
    /// # Errors
    /// [`Error::TextTooLong`], [`Error::TokenId`], [`Error::EmptyContext`] for a text without a token, or
    /// [`Error::NotFinite`] for a model that gives NaN.
    ///
    /// # Cost
    /// One forward pass over all tokens, padding included.
    pub fn logits(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f64>>> {
        texts.iter().try_for_each(|text| self.check(text))?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        // Longest first: the largest batch comes first, and later batches reuse its memory.
        order.sort_by_key(|&i| std::cmp::Reverse(texts[i].len()));
        let batches = in_batches(&self.0.device, &mut order, BATCH, usize::MAX, |batch| {
            self.batch(&batch.iter().map(|&i| texts[i]).collect::<Vec<_>>())
        })?;
        let mut logits = vec![Vec::new(); texts.len()];
        for (&i, row) in order.iter().zip(batches.into_iter().flatten()) {
            logits[i] = row;
        }
        Ok(logits)
    }

    /// The log-probability (nats) of every label of every text: the softmax of `logits / temperature`, or the sigmoid of each
    /// if the configuration is of a multi-label problem or has a single label.
    ///
    /// # Errors
    /// As [`logits`](Self::logits); [`Error::Invalid`] for a temperature that is not positive and finite, or for a regression, which
    /// has no probabilities.
    pub fn log_probs(&self, texts: &[&[u32]], temperature: f64) -> Result<Vec<Vec<f64>>> {
        check_temperature(temperature)?;
        let rows = self.logits(texts)?.into_iter();
        rows.map(|row| self.log_probs_of(&row, temperature)).collect()
    }

    pub(crate) fn log_probs_of(&self, logits: &[f64], temperature: f64) -> Result<Vec<f64>> {
        let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
        Ok(match self.0.config.link {
            Link::Softmax => {
                let log_mass = log_sum_exp(&scaled);
                scaled.into_iter().map(|logit| logit - log_mass).collect()
            }
            Link::None => {
                let allowed =
                    "the logit: `problem_type` of the classifier is regression, so that it gives a number";
                return Err(Error::invalid("value", "a probability", allowed));
            }
            // ln sigmoid(x) = -ln(1 + exp(-x)), without overflow on either side.
            Link::Sigmoid => scaled.into_iter().map(|x| x.min(0.0) - (-x.abs()).exp().ln_1p()).collect(),
        })
    }

    fn check(&self, text: &[u32]) -> Result<()> {
        if text.is_empty() {
            return Err(Error::EmptyContext { text: None });
        }
        let positions = self.positions();
        if text.len() > positions {
            return Err(Error::TextTooLong { tokens: text.len(), positions });
        }
        let vocabulary = self.vocabulary();
        match text.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(Error::TokenId { id: *id, vocabulary }),
            None => Ok(()),
        }
    }

    fn batch(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f64>>> {
        let Parts { config, device, .. } = &*self.0;
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let seq_len = lengths.iter().copied().max().unwrap_or(0);
        let (ids, positions) = padded(texts, seq_len, |_| 0);
        let ids = indices(ids.into_iter().map(|id| id as usize), device);
        let x = self.0.embedding.clone().select(0, ids)
            + self.0.positions.clone().select(0, indices(positions, device));
        let x = self.0.embedding_norm.forward(&config.encoder, x);
        let mut attention = BidirectionalAttention::new(&config.encoder, &lengths, seq_len, device);
        let hidden = self.0.stack.forward(&config.encoder, x, None, &mut attention, &mut Mode::Plain);
        // The classification head sees the hidden state of the first token.
        let first = hidden.select(0, indices((0..texts.len()).map(|row| row * seq_len), device));
        let logits = download(self.0.head.forward(activate(config.activation, self.0.dense.forward(first))))?;
        if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
            let what = "a logit of the classifier".into();
            return Err(Error::NotFinite { what, value: f64::from(*logit) });
        }
        Ok(logits
            .chunks(config.labels.len())
            .map(|row| row.iter().copied().map(f64::from).collect())
            .collect())
    }
}

pub(crate) fn check_temperature(temperature: f64) -> Result<()> {
    if temperature > 0.0 && temperature.is_finite() {
        Ok(())
    } else {
        Err(Error::invalid("temperature", temperature, "positive and finite"))
    }
}

impl fmt::Debug for TokenClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenClassifier").field(&self.0.config).finish()
    }
}
