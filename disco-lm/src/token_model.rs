//! A causal language model over token ids.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use disco_core::{Distribution, Error as CoreError, Sampled, Score, Scorer, Streams};
use serde::{Deserialize, Serialize};

use crate::{
    Decoding, Error, Precision, Result,
    adapter::Adapter,
    decoder::Decoder,
    files::ModelFiles,
    layer::Side,
    rope::Rotary,
    slots::{Slot, slots},
    spec::Spec,
    weights,
};

/// What a sequence is, and how it is drawn.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `max_new_tokens` | 40 | 1 to the model's positions less the context |
/// | `decoding` | the model's own distribution | see [`Decoding`] |
/// | `batch` | 128 | at least 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generation {
    /// A sequence is cut after this many tokens, if no end token has come before.
    pub max_new_tokens: usize,
    /// How logits become the distribution of the next token.
    pub decoding: Decoding,
    /// How many sequences are worked on at once, by all threads together; the place of one that has ended goes to another. They
    /// are fewer where their contexts are many and long. The larger, the faster. It changes no result but by rounding, and on
    /// `flex` no bit of what a decoder draws.
    pub batch: usize,
}

impl Default for Generation {
    fn default() -> Self {
        Self { max_new_tokens: 40, decoding: Decoding::default(), batch: 128 }
    }
}

impl Generation {
    /// Checks every field by itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn check(&self) -> Result<()> {
        if self.max_new_tokens == 0 {
            return Err(Error::invalid("max_new_tokens", 0, "at least 1"));
        }
        if self.batch == 0 {
            return Err(Error::invalid("batch", 0, "at least 1"));
        }
        self.decoding.check()
    }

    /// Checks every field, also against a vocabulary's size and its end tokens.
    pub(crate) fn check_for(&self, vocabulary: usize, end_tokens: &[u32]) -> Result<()> {
        self.check()?;
        self.decoding.check_for(vocabulary, end_tokens, self.max_new_tokens)
    }
}

/// What models of one architecture on one device share.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) spec: Arc<Spec>,
    pub(crate) slots: Arc<Vec<Slot>>,
    pub(crate) device: Device,
    rotary: Option<Rotary>,
    /// Sorted ids that end a sequence.
    pub(crate) end_tokens: Vec<u32>,
}

/// A transformer as a distribution over token sequences, given a context of token ids. The context is the
/// beginning of the sequence for a decoder-only model; an encoder reads it for T5.
///
/// A sequence is an event: at most `max_new_tokens` ids that end with an end token, whose log-probability
/// counts, or that are cut at the maximum. Anything else has log-probability `-inf`.
#[derive(Clone, Debug)]
pub struct TokenModel {
    pub(crate) frame: Arc<Frame>,
    // Invariant: one tensor per slot, of the slot's shape.
    pub(crate) tensors: Vec<Tensor<2>>,
    /// Computed beside the tensors, which it shares with the models it was made from.
    pub(crate) adapter: Option<Adapter>,
    pub(crate) generation: Generation,
}

impl TokenModel {
    /// Reads a model: a Hugging Face folder (`config.json`, `generation_config.json` for the end tokens,
    /// safetensors), or a GGUF file. No tokenizer is needed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], [`Error::Config`], [`Error::Weights`] or [`Error::NotFiniteWeight`], naming the file;
    /// [`Error::Feature`] for what is not compiled in.
    pub fn load(path: &Path, device: &Device, generation: Generation) -> Result<Self> {
        Self::from_files(&ModelFiles::open(path)?, device, generation)
    }

    pub(crate) fn from_files(files: &ModelFiles, device: &Device, generation: Generation) -> Result<Self> {
        let (spec, end_tokens, values) = files.parameters()?;
        Self::from_values(values, spec, end_tokens, device, generation)
    }

    /// A model from its parameters, one vector per slot.
    pub(crate) fn from_values(
        values: Vec<Vec<f32>>,
        spec: Spec,
        mut end_tokens: Vec<u32>,
        device: &Device,
        generation: Generation,
    ) -> Result<Self> {
        if let Some(id) = end_tokens.iter().find(|id| **id as usize >= spec.vocabulary) {
            return Err(Error::TokenId { id: *id, vocabulary: spec.vocabulary });
        }
        end_tokens.sort_unstable();
        generation.check_for(spec.vocabulary, &end_tokens)?;
        let slots = slots(&spec);
        let tensors = slots.iter().zip(values);
        let tensors = tensors.map(|(slot, values)| upload(values, slot.shape, device)).collect();
        let rotary = Rotary::new(&spec, device);
        let frame =
            Frame { spec: Arc::new(spec), slots: slots.into(), device: device.clone(), rotary, end_tokens };
        Ok(Self { frame: Arc::new(frame), tensors, adapter: None, generation })
    }

    /// The same model, drawing sequences in another way.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub fn with_generation(&self, generation: Generation) -> Result<Self> {
        generation.check_for(self.vocabulary(), &self.frame.end_tokens)?;
        Ok(Self { generation, ..self.clone() })
    }

    /// How sequences are drawn.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The number of token ids.
    pub fn vocabulary(&self) -> usize {
        self.frame.spec.vocabulary
    }

    /// The number of parameters, those of an adapter not counted.
    pub fn parameters(&self) -> usize {
        self.frame.slots.iter().map(|slot| slot.shape[0] * slot.shape[1]).sum()
    }

    /// Whether `id` ends a sequence.
    pub fn is_end(&self, id: u32) -> bool {
        self.frame.end_tokens.binary_search(&id).is_ok()
    }

    pub(crate) fn decoder(&self) -> Decoder {
        let sides = self
            .adapter
            .as_ref()
            .map_or_else(BTreeMap::new, |adapter| adapter.sides(&self.frame.slots, &adapter.tensors));
        self.decoder_with(&self.tensors, &sides)
    }

    /// The decoder with other tensors in its slots and beside them, such as those of an automatic-differentiation
    /// graph.
    pub(crate) fn decoder_with(&self, tensors: &[Tensor<2>], sides: &BTreeMap<usize, Side>) -> Decoder {
        Decoder::assemble(&self.frame.spec, self.frame.rotary.clone(), tensors, sides)
    }

    /// The parameters' values, an adapter merged into them, one vector per slot.
    pub(crate) fn values(&self) -> Result<Vec<Vec<f32>>> {
        self.merged().tensors.iter().map(|tensor| download(tensor.clone())).collect()
    }

    /// Writes `model.safetensors` into `folder`, under the tensors' Hugging Face names; an adapter is merged.
    ///
    /// # Errors
    /// [`Error::Format`] naming the file if it cannot be written.
    pub fn save_weights(&self, folder: &Path, precision: Precision) -> Result<()> {
        weights::save(folder, &self.frame.slots, &self.values()?, precision)
    }

    /// Checks that a context has tokens, all of the vocabulary, and leaves room for a sequence.
    pub(crate) fn check_context(&self, context: &[u32]) -> Result<()> {
        self.check_fits(context, self.generation.max_new_tokens)
    }

    /// Checks that a context has tokens, all of the vocabulary, and leaves room for `new` more.
    pub(crate) fn check_fits(&self, context: &[u32], new: usize) -> Result<()> {
        let positions = self.frame.spec.max_positions;
        if context.is_empty() {
            return Err(Error::EmptyContext { text: String::new() });
        }
        if context.len() + new > positions {
            return Err(Error::TooLong { context: context.len(), new, positions });
        }
        self.check_ids(context)
    }

    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let vocabulary = self.vocabulary();
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(Error::TokenId { id: *id, vocabulary }),
            None => Ok(()),
        }
    }

    /// Whether `sample` is a sequence that could be drawn: ended once, at its end, or cut at the maximum.
    pub(crate) fn is_event(&self, sample: &[u32]) -> bool {
        let most = self.generation.max_new_tokens;
        match sample.split_last() {
            None => false,
            Some((last, before)) => {
                sample.len() <= most
                    && !before.iter().any(|id| self.is_end(*id))
                    && (self.is_end(*last) || sample.len() == most)
            }
        }
    }
}

/// Values to the device.
pub(crate) fn upload(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Values from the device, in row-major order.
pub(crate) fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(unreadable)
}

/// The same where they lie, without a copy if they lie in the host's memory.
pub(crate) fn fetch<const D: usize>(tensor: Tensor<D>) -> Result<TensorData> {
    tensor.try_into_data().map_err(unreadable)
}

fn unreadable(source: impl fmt::Debug) -> Error {
    CoreError::failed("reading from the device", format!("{source:?}")).into()
}

impl Scorer<Vec<u32>, Vec<u32>> for TokenModel {
    fn log_scores(&self, context: &Vec<u32>, samples: &[&Vec<u32>]) -> disco_core::Result<Vec<Score>> {
        let samples: Vec<&[u32]> = samples.iter().map(|sample| sample.as_slice()).collect();
        let rows = self.token_log_probs(context, &samples)?;
        Ok(rows.into_iter().map(|row| Ok(row.map_or(f64::NEG_INFINITY, |row| row.iter().sum()))).collect())
    }
}

impl Distribution<Vec<u32>, Vec<u32>> for TokenModel {
    fn sample(&self, context: &Vec<u32>, streams: &Streams) -> disco_core::Result<Vec<Sampled<Vec<u32>>>> {
        let mut drawn = self.draw(&[context], std::slice::from_ref(streams))?;
        Ok(drawn.remove(0))
    }

    fn sample_each(
        &self,
        contexts: &[&Vec<u32>],
        streams: &[Streams],
    ) -> disco_core::Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        CoreError::check_length("streams, one run per context", contexts.len(), streams.len())?;
        let contexts: Vec<&[u32]> = contexts.iter().map(|context| context.as_slice()).collect();
        Ok(self.draw(&contexts, streams)?)
    }
}

disco_core::impl_product!([] TokenModel);
