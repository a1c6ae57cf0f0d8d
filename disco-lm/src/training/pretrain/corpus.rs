//! A tokenised text for pretraining: a training part, a held-out part, and a vocabulary learnt from the training part.

use disco_core::Error as CoreError;
use rand::{Rng, RngExt};
use tokenizers::{
    AddedToken, Tokenizer as HfTokenizer,
    models::bpe::{BPE, BpeTrainer},
    pre_tokenizers::byte_level::ByteLevel,
    processors::template::TemplateProcessing,
};

use crate::{Error, Result, Tokenizer, training::pretrain::END_OF_TEXT};

/// A tokenised corpus.
///
/// It is a stream of passages, each up to and including a blank line, with [`END_OF_TEXT`] before the first and after
/// each, so that a model learns where a passage ends.
#[derive(Debug)]
pub struct Corpus {
    tokenizer: Tokenizer,
    end: u32,
    train: Vec<u32>,
    held_out: Vec<u32>,
    held_out_characters: usize,
    train_characters: usize,
}

impl Corpus {
    /// Splits `text` by characters: its last fraction, `held_out`, is held out. The vocabulary of `vocabulary` entries is
    /// learnt from the training part alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a part is empty or `vocabulary` is too small for the 256 bytes and [`END_OF_TEXT`].
    pub fn new(text: &str, held_out: f64, vocabulary: usize) -> Result<Self> {
        if !(held_out > 0.0 && held_out < 1.0) {
            return Err(Error::invalid("held_out", held_out, "between 0 and 1"));
        }
        let (train, rest) = split(text, held_out)?;
        Self::from_parts(train, rest, bpe(train, vocabulary)?)
    }

    /// Splits `text` in the same way, and tokenises it with an existing tokenizer. It may put one
    /// [`END_OF_TEXT`] before each text, as the tokenizer of [`new`](Self::new) does, or nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a part is empty, or the vocabulary has no [`END_OF_TEXT`].
    pub fn with_tokenizer(text: &str, held_out: f64, tokenizer: Tokenizer) -> Result<Self> {
        let (train, rest) = split(text, held_out)?;
        Self::from_parts(train, rest, tokenizer)
    }

    fn from_parts(train: &str, rest: &str, tokenizer: Tokenizer) -> Result<Self> {
        let end = tokenizer
            .id(END_OF_TEXT)
            .ok_or_else(|| Error::invalid("tokenizer", "without end token", END_OF_TEXT))?;
        Ok(Self {
            end,
            train: stream(train, &tokenizer, end)?,
            held_out: stream(rest, &tokenizer, end)?,
            held_out_characters: rest.chars().count(),
            train_characters: train.chars().count(),
            tokenizer,
        })
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The number of tokens of the training part.
    pub fn train_tokens(&self) -> usize {
        self.train.len()
    }

    /// The mean number of characters per token of the training part.
    pub fn characters_per_token(&self) -> f64 {
        self.train_characters as f64 / self.train.len() as f64
    }

    /// The id of [`END_OF_TEXT`].
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// The held-out stream, and the number of characters of its text.
    pub(crate) fn held_out(&self) -> (&[u32], usize) {
        (&self.held_out, self.held_out_characters)
    }

    /// A random window of `length` consecutive tokens of the training part.
    pub(crate) fn window(&self, length: usize, rng: &mut impl Rng) -> Result<&[u32]> {
        let last = self.train.len().checked_sub(length);
        let last = last.ok_or_else(|| {
            CoreError::invalid("window", length, format!("at most the corpus' {} tokens", self.train.len()))
        })?;
        let start = rng.random_range(0..=last);
        Ok(&self.train[start..start + length])
    }
}

fn split(text: &str, held_out: f64) -> Result<(&str, &str)> {
    let characters = text.chars().count();
    let train_characters = (characters as f64 * (1.0 - held_out)).floor() as usize;
    let at = text.char_indices().nth(train_characters).map_or(text.len(), |(at, _)| at);
    let (train, rest) = text.split_at(at);
    if train.is_empty() || rest.is_empty() {
        return Err(Error::invalid("corpus", format!("{characters} characters"), "enough for two parts"));
    }
    Ok((train, rest))
}

fn stream(text: &str, tokenizer: &Tokenizer, end: u32) -> Result<Vec<u32>> {
    let mut ids = vec![end];
    for passage in text.split_inclusive("\n\n") {
        // The tokenizer puts an end token before each text; in the stream the end token of the earlier passage serves.
        let encoded = tokenizer.encode(passage)?;
        ids.extend(encoded.strip_prefix(&[end]).unwrap_or(&encoded));
        ids.push(end);
    }
    Ok(ids)
}

/// Learns a byte-level byte-pair encoding (Sennrich et al. 2016) from the passages of `text`.
fn bpe(text: &str, vocabulary: usize) -> Result<Tokenizer> {
    let failed = |cause| Error::Tokenizer { cause };
    // END_OF_TEXT and the 256 bytes.
    if vocabulary < 257 {
        return Err(Error::invalid("vocabulary", vocabulary, "at least 257"));
    }
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocabulary)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let byte_level = ByteLevel::new(false, true, true);
    let mut trained = tokenizers::TokenizerImpl::<
        BPE,
        tokenizers::NormalizerWrapper,
        ByteLevel,
        TemplateProcessing,
        ByteLevel,
    >::new(BPE::default());
    trained.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
    trained.train(&mut trainer, text.split_inclusive("\n\n")).map_err(failed)?;
    let end = trained
        .token_to_id(END_OF_TEXT)
        .ok_or_else(|| Error::invalid("vocabulary", vocabulary, "large enough for the end token"))?;
    let template = TemplateProcessing::builder()
        .try_single(format!("{END_OF_TEXT}:0 $A:0"))
        .and_then(|builder| builder.try_pair(format!("{END_OF_TEXT}:0 $A:0 $B:1")))
        .map_err(|reason| Error::Tokenizer { cause: reason.into() })?
        .special_tokens(vec![(END_OF_TEXT, end)])
        .build()
        .map_err(|error| Error::Tokenizer { cause: Box::new(error) })?;
    trained.with_post_processor(Some(template));
    let json = trained.to_string(false).map_err(failed)?;
    let tokenizer: HfTokenizer = json.parse().map_err(failed)?;
    Ok(tokenizer.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_lost_whether_or_not_the_tokenizer_adds_a_begin_token() {
        let text = "the king\n\nand the queen\n\nof the night\n\n";
        let adds = bpe(text, 300).expect("a tokenizer");
        let mut json: serde_json::Value = serde_json::from_str(&adds.to_json().expect("JSON")).expect("JSON");
        json["post_processor"] = serde_json::Value::Null;
        let path = std::path::Path::new("tokenizer.json");
        let plain = Tokenizer::from_json(json.to_string().as_bytes(), path, None).expect("a tokenizer");
        let end = adds.id(END_OF_TEXT).expect("an end token");
        assert_eq!(adds.encode("the king").expect("ids")[0], end);
        assert_ne!(plain.encode("the king").expect("ids")[0], end);
        let streams = [&adds, &plain].map(|tokenizer| stream(text, tokenizer, end).expect("a stream"));
        assert_eq!(streams[0], streams[1]);
    }
}
