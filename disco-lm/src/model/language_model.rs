//! The language model over text: a token model with its tokenizer.

use std::{collections::BTreeMap, path::Path, time::SystemTime};

use burn::tensor::Device;
use disco_core::{Distribution, Sampled, Score, Scorer, Streams};
use serde::{Deserialize, Serialize};

use crate::{
    ContextTemplate, Error, Generation, Message, Precision, Result, TokenModel, Tokenizer,
    model::model_files::ModelFiles,
    text::chat_template::ChatTemplate,
    weights::{add_file, check_folder, replace_folder},
};

/// The configuration, in which saving writes the precision.
const CONFIG: &str = "config.json";

/// A sequence that a language model drew.
///
/// A score depends on the ids alone: they are scored as they were drawn, and never tokenised again from the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Completion {
    /// The token ids, the end token included.
    pub tokens: Vec<u32>,
    /// The text that they add to the context's, special tokens left out.
    pub text: String,
    /// Whether it ended with an end token, rather than being cut at the maximum length.
    pub finished: bool,
}

impl AsRef<str> for Completion {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// A language model: a distribution over completions, given a text.
///
/// The context is tokenised with the special tokens that the tokenizer adds by itself, such as a begin token. A
/// [`ContextTemplate`] may render it first.
///
/// Its methods are in several files: loading, saving, templates and chat in `model/language_model.rs`, adapters in
/// `model/adapted.rs`, greedy decoding in `generation/mod.rs`, beam search in `generation/beam_search.rs`, and the held-out loss
/// of pretraining in `training/pretrain/held_out.rs`.
#[derive(Clone, Debug)]
pub struct LanguageModel {
    tokens: TokenModel,
    tokenizer: std::sync::Arc<Tokenizer>,
    /// The files beside the weights, as they were read, so that a saved model has them too.
    files: std::sync::Arc<BTreeMap<String, Vec<u8>>>,
    pub(crate) template: Option<ContextTemplate>,
}

impl LanguageModel {
    /// Reads a model:
    ///
    /// - a Hugging Face folder: `config.json`, `tokenizer.json` and safetensors, single or sharded;
    /// - a `.gguf` file, with the tokenizer inside of it (feature `gguf`, on by default).
    ///
    /// # Errors
    /// As [`TokenModel::load`]; [`Error::Vocabulary`] if the tokenizer does not fit the model.
    pub fn load(path: impl AsRef<Path>, device: &Device, generation: Generation) -> Result<Self> {
        let path = path.as_ref();
        let mut files = ModelFiles::open(path)?;
        // The tokenizer comes first: it is read quickly, and a folder without one is the most common mistake.
        let tokenizer = files.tokenizer()?;
        let tokens = TokenModel::from_files(&files, device, generation)?;
        Self::new(tokens, tokenizer, files.into_sidecars())
    }

    pub(crate) fn new(
        tokens: TokenModel,
        tokenizer: Tokenizer,
        files: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self> {
        tokenizer.check_fits(tokens.vocabulary())?;
        Ok(Self { tokens, tokenizer: tokenizer.into(), files: files.into(), template: None })
    }

    /// The model over token ids.
    pub fn tokens(&self) -> &TokenModel {
        &self.tokens
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The same tokenizer and files with another token model.
    pub(crate) fn with_tokens(&self, tokens: TokenModel) -> Self {
        Self { tokens, ..self.clone() }
    }

    /// The same model with other settings of generation.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the setting.
    pub fn with_generation(&self, generation: Generation) -> Result<Self> {
        Ok(self.with_tokens(self.tokens.with_generation(generation)?))
    }

    /// The same model as a chat model: each context becomes the message of a user, after a message `system` if it is given,
    /// and is rendered by the model's chat template. This replaces any [`ContextTemplate`] of the model.
    ///
    /// If the template asks for the date, it always gets the date of this call, in UTC.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`]; [`Error::ChatTemplate`] if it refuses such a conversation.
    pub fn answering(&self, system: Option<&str>) -> Result<Self> {
        let chat = ChatTemplate::find(&self.files)?;
        let system: Vec<_> = system.into_iter().map(|system| Message::new("system", system)).collect();
        let now = SystemTime::now();
        let render = move |context: &str| {
            let messages = [system.as_slice(), &[Message::new("user", context)]].concat();
            chat.render(&messages, now)
        };
        // A template that refuses such a conversation is an error now, not at the first context.
        render("?")?;
        let template = ContextTemplate::new(move |context| Ok(render(context)?)).with_own_special_tokens();
        Ok(self.clone().with_template(template))
    }

    /// The text that the model's chat template makes of a conversation, up to the beginning of an answer.
    ///
    /// The text contains the special tokens of the template. Use [`LanguageModel::chat_ids`] for its ids:
    /// [`encode`](Self::encode) could add special tokens again.
    ///
    /// # Errors
    /// [`Error::NoChatTemplate`]; [`Error::ChatTemplate`] if it refuses the conversation.
    pub fn chat_text(&self, messages: &[Message]) -> Result<String> {
        ChatTemplate::find(&self.files)?.render(messages, SystemTime::now())
    }

    /// The token ids of [`LanguageModel::chat_text`], a context for [`LanguageModel::tokens`]. Its special tokens are
    /// encoded as special tokens, and no other token is added.
    ///
    /// # Errors
    /// As [`LanguageModel::chat_text`]; [`Error::TokenOutside`].
    pub fn chat_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode_as_is(&self.chat_text(messages)?)?;
        self.tokenizer.check_ids(&ids, self.tokens.vocabulary())?;
        Ok(ids)
    }

    /// The completion that consists of `tokens`, after some text: of a context that is known, use
    /// [`completion_after`](Self::completion_after).
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn completion(&self, tokens: Vec<u32>) -> Result<Completion> {
        let text = match self.tokens.has_encoder() {
            true => self.tokenizer.decode(&tokens)?,
            false => self.tokenizer.decode_after_text(&tokens)?,
        };
        Ok(self.with_text(tokens, text))
    }

    /// The completion that consists of `tokens`, after a context of these ids. Its text is what it adds to the text of the
    /// context, so that both together are the text of all tokens: in many tokenizers a text alone loses its first space. An
    /// encoder-decoder model writes a text of its own.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn completion_after(&self, context: &[u32], tokens: Vec<u32>) -> Result<Completion> {
        let text = match self.tokens.has_encoder() {
            true => self.tokenizer.decode(&tokens)?,
            false => self.tokenizer.decode_after(context, &tokens)?,
        };
        Ok(self.with_text(tokens, text))
    }

    fn with_text(&self, tokens: Vec<u32>, text: String) -> Completion {
        let finished = tokens.last().is_some_and(|id| self.tokens.is_end(*id));
        Completion { text, tokens, finished }
    }

    /// Writes a Hugging Face folder that transformers loads; an adapter is merged into the weights. The files are written to
    /// another folder, which replaces an earlier model in one step when it is complete.
    ///
    /// # Errors
    /// As [`check_folder`](Self::check_folder); [`Error::Invalid`] naming a tensor that `precision` cannot hold;
    /// [`Error::NotFiniteWeight`]; [`Error::Io`] or [`Error::Format`], naming the file.
    pub fn save(&self, folder: impl AsRef<Path>, precision: Precision) -> Result<()> {
        let folder = folder.as_ref();
        replace_folder(folder, |new| {
            for (name, content) in self.files.iter() {
                let path = new.join(name);
                let content =
                    if name == CONFIG { with_dtype(content, precision, &path)? } else { content.clone() };
                std::fs::write(&path, content).map_err(|source| Error::io(&path, source))?;
            }
            self.tokens.save_weights(new, precision)
        })
    }

    /// Adds a file, such as a model card, to a folder that [`save`](Self::save) has written.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a folder that was not saved or was changed since; [`Error::Io`].
    pub fn add_file(folder: impl AsRef<Path>, name: &str, content: &[u8]) -> Result<()> {
        add_file(folder.as_ref(), name, content)
    }

    /// Checks that a model could be saved into `folder`, for example before a long run. It creates the folders above `folder`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `folder` exists and is neither an empty folder nor one that was saved and holds nothing else: the
    /// file `manifest.json` lists what was saved; [`Error::Io`] if its parent cannot be written to.
    pub fn check_folder(folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        check_folder(folder)
    }

    fn complete(
        &self,
        context: &[u32],
        drawn: Vec<Sampled<Vec<u32>>>,
    ) -> disco_core::Result<Vec<Sampled<Completion>>> {
        let completed = drawn.into_iter().map(|Sampled { value, log_prob }| {
            Ok(Sampled { value: self.completion_after(context, value)?, log_prob })
        });
        completed.collect()
    }
}

/// `config.json` with the precision of the saved weights.
fn with_dtype(config: &[u8], precision: Precision, path: &Path) -> Result<Vec<u8>> {
    let mut config: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(config).map_err(|error| Error::format(path, error))?;
    config.remove("torch_dtype");
    config.insert("dtype".into(), precision.dtype().into());
    serde_json::to_vec_pretty(&config).map_err(|error| Error::format(path, error))
}

impl LanguageModel {
    /// The same model, which reads every context as `template` renders it. A policy made from it does so too.
    #[must_use]
    pub fn with_template(mut self, template: ContextTemplate) -> Self {
        self.template = Some(template);
        self
    }

    /// The same model, which reads contexts as they are.
    #[must_use]
    pub fn without_template(mut self) -> Self {
        self.template = None;
        self
    }

    /// The template that renders contexts, if there is one.
    pub fn template(&self) -> Option<&ContextTemplate> {
        self.template.as_ref()
    }

    /// The token ids of a context, which the template renders first if there is one.
    ///
    /// # Errors
    /// [`Error::Template`]; [`Error::EmptyContext`] if there is no token; [`Error::TokenOutside`] for a token of the tokenizer that
    /// the model does not have.
    pub fn encode(&self, context: &str) -> Result<Vec<u32>> {
        let ids = match &self.template {
            None => self.tokenizer().encode(context)?,
            Some(template) => {
                let text = template.render(context)?;
                if template.adds_special_tokens {
                    self.tokenizer().encode(&text)?
                } else {
                    self.tokenizer().encode_as_is(&text)?
                }
            }
        };
        self.tokenizer.check_ids(&ids, self.tokens.vocabulary())?;
        if ids.is_empty() { Err(Error::EmptyContext { text: Some(context.into()) }) } else { Ok(ids) }
    }
}

impl<C: AsRef<str> + ?Sized> Scorer<C, Completion> for LanguageModel {
    fn log_scores(&self, context: &C, samples: &[&Completion]) -> disco_core::Result<Vec<Score>> {
        let samples: Vec<&Vec<u32>> = samples.iter().map(|sample| &sample.tokens).collect();
        self.tokens.log_scores(&self.encode(context.as_ref())?, &samples)
    }
}

impl<C: AsRef<str> + ?Sized> Distribution<C, Completion> for LanguageModel {
    fn sample(&self, context: &C, streams: &Streams) -> disco_core::Result<Vec<Sampled<Completion>>> {
        let context = self.encode(context.as_ref())?;
        self.complete(&context, self.tokens.sample(&context, streams)?)
    }

    fn sample_each(
        &self,
        contexts: &[&C],
        streams: &[Streams],
    ) -> disco_core::Result<Vec<Vec<Sampled<Completion>>>> {
        let contexts: Vec<Vec<u32>> =
            contexts.iter().map(|context| self.encode((*context).as_ref())).collect::<Result<_>>()?;
        let drawn = self.tokens.sample_each(&contexts.iter().collect::<Vec<_>>(), streams)?;
        contexts.iter().zip(drawn).map(|(context, drawn)| self.complete(context, drawn)).collect()
    }
}

disco_core::impl_product!([] LanguageModel);
