//! The language model over token ids.

use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc};

use burn::tensor::Device;
use disco_core::{Distribution, Error as CoreError, Sampled, Score, Scorer, Streams};

use crate::{
    Error, Generation, Precision, Result,
    architecture::{
        model_config::ModelConfig,
        parameters::{Parameter, parameters},
    },
    decoding::DEAD_END,
    device::workers::in_batches,
    grammar::compiled::CompiledGrammar,
    layers::{low_rank::LowRank, rotary::Rotary, transformer::Transformer, weight::Weight},
    lora::adapter::Adapter,
    model::model_files::ModelFiles,
    weights::{self, Loaded},
};

/// The state that a model shares with all models made from it: everything but weights, adapter and settings of generation.
#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) parameters: Arc<Vec<Parameter>>,
    pub(crate) device: Device,
    rotary: Option<Rotary>,
    /// Sorted ids that end a sequence.
    pub(crate) end_tokens: Vec<u32>,
    /// See [`TokenModel::ignored_tensors`].
    ignored: Vec<String>,
}

/// A transformer as a distribution over token sequences, given a context of token ids. The context is the
/// beginning of the sequence for a decoder-only model; an encoder reads it for T5.
///
/// A sequence is an event: at most `max_new_tokens` ids that end with an end token, whose log-probability
/// counts, or that are cut at the maximum. Any other sequence of ids has log-probability `-inf`; an id outside the vocabulary
/// is an error. Under a [`Grammar`](crate::Grammar), an event may also end where the grammar allows none of the tokens that can be drawn.
///
/// Its methods for grammars are in `model/under_grammar.rs`.
#[derive(Clone, Debug)]
pub struct TokenModel {
    pub(crate) shared: Arc<SharedState>,
    // Invariant: one weight per parameter, of the parameter's shape.
    pub(crate) weights: Vec<Weight>,
    /// Its low-rank updates are computed beside the weights, which are shared with the model that this one was made from.
    pub(crate) adapter: Option<Adapter>,
    pub(crate) generation: Generation,
    pub(crate) grammar: Option<Arc<CompiledGrammar>>,
}

impl TokenModel {
    /// Reads a model: a Hugging Face folder (`config.json`, `generation_config.json` for the end tokens,
    /// safetensors), or a GGUF file. No tokenizer is needed.
    ///
    /// # Errors
    /// [`Error::NoModel`]; [`Error::Io`], [`Error::Format`], [`Error::NotRead`], [`Error::Config`],
    /// [`Error::Weights`] or [`Error::NotFiniteWeight`], naming the file; [`Error::TokenId`] for an end token outside the vocabulary;
    /// [`Error::Invalid`] for a setting of `generation`; [`Error::Feature`] for a GGUF file without the feature `gguf`.
    pub fn load(path: impl AsRef<Path>, device: &Device, generation: Generation) -> Result<Self> {
        let path = path.as_ref();
        Self::from_files(&ModelFiles::open(path)?, device, generation)
    }

    pub(crate) fn from_files(files: &ModelFiles, device: &Device, generation: Generation) -> Result<Self> {
        let (config, end_tokens, loaded) = files.parameters()?;
        Self::from_loaded(loaded, config, end_tokens, device, generation)
    }

    /// A model from the elements of its parameters, one vector per parameter.
    pub(crate) fn from_loaded(
        Loaded { values, ignored }: Loaded,
        config: ModelConfig,
        mut end_tokens: Vec<u32>,
        device: &Device,
        generation: Generation,
    ) -> Result<Self> {
        if let Some(id) = end_tokens.iter().find(|id| **id as usize >= config.vocabulary) {
            return Err(Error::TokenId { id: *id, vocabulary: config.vocabulary });
        }
        end_tokens.sort_unstable();
        generation.validate_for(config.vocabulary, &end_tokens)?;
        let parameters = parameters(&config);
        let weights = parameters.iter().zip(values);
        let weights =
            weights.map(|(parameter, values)| Weight::from_values(values, parameter.shape, device)).collect();
        let rotary = Rotary::new(&config, device);
        let shared = SharedState {
            config: Arc::new(config),
            parameters: parameters.into(),
            device: device.clone(),
            rotary,
            end_tokens,
            ignored,
        };
        Ok(Self { shared: Arc::new(shared), weights, adapter: None, generation, grammar: None })
    }

    /// The same model with other settings of generation.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting; [`Error::Grammar`] if no sequence that the model's grammar accepts is so short.
    pub fn with_generation(&self, generation: Generation) -> Result<Self> {
        generation.validate_for(self.vocabulary(), &self.shared.end_tokens)?;
        self.check_grammar_fits(&generation)?;
        Ok(Self { generation, ..self.clone() })
    }

    /// The settings of generation.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The number of token ids that the model knows: ids are from 0 to this number - 1.
    pub fn vocabulary(&self) -> usize {
        self.shared.config.vocabulary
    }

    /// The number of tokens that a context and its new tokens may have together.
    pub fn positions(&self) -> usize {
        self.shared.config.max_positions
    }

    /// The names of tensors in the files that no model of this kind reads, such as the head of another task or a table that is
    /// computed. transformers ignores them too. A tensor that could change a probability is an error instead.
    pub fn ignored_tensors(&self) -> &[String] {
        &self.shared.ignored
    }

    /// The number of parameters, without an adapter's.
    pub fn parameters(&self) -> usize {
        self.shared.parameters.iter().map(|parameter| parameter.shape[0] * parameter.shape[1]).sum()
    }

    /// Whether an encoder reads the context, so that a sequence does not continue it.
    pub(crate) fn has_encoder(&self) -> bool {
        self.shared.config.encoder.is_some()
    }

    /// Whether `id` ends a sequence.
    pub fn is_end(&self, id: u32) -> bool {
        self.shared.end_tokens.binary_search(&id).is_ok()
    }

    /// The transformer with this model's weights, and the low-rank updates of its adapter if it has one.
    pub(crate) fn transformer(&self) -> Transformer {
        let low_rank = self.adapter.as_ref().map_or_else(BTreeMap::new, |adapter| {
            adapter.layout.updates(&self.shared.parameters, &adapter.tensors)
        });
        self.transformer_with(&self.weights, &low_rank)
    }

    /// The transformer with other weights and low-rank updates, such as tensors of an autodiff graph.
    pub(crate) fn transformer_with(
        &self,
        weights: &[Weight],
        low_rank: &BTreeMap<usize, LowRank>,
    ) -> Transformer {
        Transformer::assemble(&self.shared.config, self.shared.rotary.clone(), weights, low_rank)
    }

    /// The elements of the parameters, one vector per parameter; an adapter is merged into them.
    pub(crate) fn values(&self) -> Result<Vec<Vec<f32>>> {
        self.merged().weights.iter().map(Weight::download).collect()
    }

    /// Writes `model.safetensors` into `folder`, under the tensors' Hugging Face names; an adapter is merged.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a tensor that `precision` cannot hold, before anything is written;
    /// [`Error::NotFiniteWeight`]; [`Error::Io`] naming the file.
    pub fn save_weights(&self, folder: impl AsRef<Path>, precision: Precision) -> Result<()> {
        let folder = folder.as_ref();
        weights::save(folder, &self.shared.parameters, &self.values()?, precision)
    }

    /// Checks that a context is not empty, has only ids of the vocabulary, and leaves enough positions for the longest sequence.
    pub(crate) fn check_context(&self, context: &[u32]) -> Result<()> {
        self.check_fits(context, self.generation.max_new_tokens)
    }

    /// Checks that a context is not empty, has only ids of the vocabulary, and leaves positions for `new` more tokens.
    pub(crate) fn check_fits(&self, context: &[u32], new: usize) -> Result<()> {
        let positions = self.shared.config.max_positions;
        if context.is_empty() {
            return Err(Error::EmptyContext { text: None });
        }
        if context.len() + new > positions {
            return Err(Error::TooLong { context: context.len(), new, positions });
        }
        self.check_ids(context)
    }

    /// Checks that all ids are in the vocabulary.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        let vocabulary = self.vocabulary();
        match ids.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(Error::TokenId { id: *id, vocabulary }),
            None => Ok(()),
        }
    }

    /// The event that a sample is: `None` if it could not be drawn, as it neither ended once, at its end, nor was cut at the maximum.
    ///
    /// Under a grammar, a shorter sequence without an end token may have come to a dead end, which depends on the model: its event
    /// has [`DEAD_END`] behind it.
    pub(crate) fn event<'a>(&self, sample: &'a [u32]) -> Option<Cow<'a, [u32]>> {
        let most = self.generation.max_new_tokens;
        let ends = sample.iter().filter(|id| self.is_end(**id)).count();
        let has_ended = sample.last().is_some_and(|id| self.is_end(*id));
        match sample.len() {
            length if length > most || ends != usize::from(has_ended) => None,
            length if has_ended || length == most => Some(sample.into()),
            _ if self.grammar.is_some() => Some([sample, &[DEAD_END]].concat().into()),
            _ => None,
        }
    }
}

impl TokenModel {
    /// Calls `work` on batches of at most `most` items, with at most [`Generation::batch`](crate::Generation::batch) items in
    /// progress at a time: see [`in_batches`].
    pub(crate) fn in_batches<T: Send, R: Send>(
        &self,
        items: &mut [T],
        most: usize,
        work: impl Fn(&mut [T]) -> Result<R> + Sync + Send,
    ) -> Result<Vec<R>> {
        in_batches(&self.shared.device, items, most, self.generation.batch, work)
    }
}

impl<C, X> Scorer<C, X> for TokenModel
where
    C: AsRef<[u32]> + ?Sized,
    X: AsRef<[u32]> + ?Sized,
{
    fn log_scores(&self, context: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        let samples: Vec<&[u32]> = samples.iter().map(|sample| (*sample).as_ref()).collect();
        let rows = self.token_log_probs(context.as_ref(), &samples)?;
        Ok(rows.into_iter().map(|row| Ok(row.map_or(f64::NEG_INFINITY, |row| row.iter().sum()))).collect())
    }
}

impl<C> Distribution<C, Vec<u32>> for TokenModel
where
    C: AsRef<[u32]> + ?Sized,
{
    fn sample(&self, context: &C, streams: &Streams) -> disco_core::Result<Vec<Sampled<Vec<u32>>>> {
        let mut drawn = self.draw(&[context.as_ref()], std::slice::from_ref(streams))?;
        Ok(drawn.remove(0))
    }

    fn sample_each(
        &self,
        contexts: &[&C],
        streams: &[Streams],
    ) -> disco_core::Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        CoreError::check_length("streams, one run per context", contexts.len(), streams.len())?;
        let contexts: Vec<&[u32]> = contexts.iter().map(|context| (*context).as_ref()).collect();
        Ok(self.draw(&contexts, streams)?)
    }
}

disco_core::impl_product!([] TokenModel);
