//! The command line of `cargo xtask sample`.

use std::path::PathBuf;

use clap::{Args, builder::TypedValueParser};

use super::Decoder;
use crate::{
    Backend, Error, Result, Shard,
    spec::{
        Allowed, ModelSpec,
        allowed::{BEAM, CLOSED_SHARE, COUNT, FINITE, PENALTY, POSITIVE_SHARE, TEMPERATURE, WHOLE},
    },
    steering::SamplerKind,
};

/// The number of completions of a context, by default.
const COUNT_DRAWN: usize = 8;

/// The arguments of `cargo xtask sample`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SampleArguments {
    /// "embedded", a folder in Hugging Face's format, a GGUF file, an id of the hub (organisation/name[@revision][:FILE.gguf]), a
    /// server's address (http://HOST:PORT/v1), or the results of a run: then contexts and decoding are by default those of the run.
    #[arg(long, value_name = "MODEL")]
    pub(super) model: String,
    /// An adapter beside its weights: a folder in PEFT's layout, or the id of one on the hub.
    #[arg(long, value_name = "ADAPTER")]
    pub(super) adapter: Option<String>,
    /// A text to continue; can be given more than once.
    #[arg(long, value_name = "TEXT", conflicts_with = "contexts")]
    pub(super) context: Vec<String>,
    /// A text file with one context a line.
    #[arg(long, value_name = "FILE")]
    pub(super) contexts: Option<PathBuf>,
    /// Contexts are messages of a user, and are put through the model's chat template.
    #[arg(long)]
    pub(super) chat: bool,
    /// The system's message before that.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub(super) system: Option<String>,
    /// How many completions each context gets. [default: 8; 1 with --greedy and --beam]
    #[arg(long, value_name = "N", value_parser = whole(&COUNT), conflicts_with = "greedy")]
    count: Option<usize>,
    /// The seed of the draws. [default: 0, or that of the target's run file]
    #[arg(long, value_name = "N", conflicts_with_all = ["greedy", "beam"])]
    pub(super) seed: Option<u64>,
    /// The most probable token each time, in the place of draws.
    #[arg(long, conflicts_with = "beam")]
    greedy: bool,
    /// The most probable completions that a search in a beam of this width finds, in the place of draws.
    #[arg(long, value_name = "WIDTH", value_parser = whole(&BEAM))]
    beam: Option<usize>,
    /// The power of the length by which a beam divides log-probabilities.
    #[arg(long, value_name = "X", value_parser = number(&FINITE), requires = "beam", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// Draw samples of this target instead: `target.json` of `fit` or of a run. The model proposes them; contexts, base and decoding are those
    /// of the target's run file.
    #[arg(long, value_name = "FILE", requires = "accept", conflicts_with_all = ["adapter", "context", "contexts", "chat", "count", "greedy", "beam"])]
    pub(super) target: Option<PathBuf>,
    /// How many samples of the target each context gets.
    #[arg(long, value_name = "N", value_parser = whole(&COUNT), requires = "target")]
    pub(super) accept: Option<usize>,
    /// The largest number of proposals in each context. [default: 1,000 for each sample]
    #[arg(long, value_name = "N", value_parser = whole(&COUNT), requires = "target")]
    pub(super) proposals: Option<usize>,
    /// How samples of the target are made of proposals.
    #[arg(long, value_enum, requires = "target", default_value_t)]
    pub(super) sampler: SamplerKind,
    /// The run file that says how the features of the target are computed. [default: `run.toml` beside the target]
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(super) spec: Option<PathBuf>,
    /// Only samples of the target itself: by rejection at a known bound, or an error that says how many proposals that needs. By default, where
    /// the proposals allowed do not suffice for that, beta is chosen as in a run, and the distance from the target estimated.
    #[arg(long, requires = "target")]
    pub(super) exact: bool,
    /// Draw shard I of N; `merge` joins the files to the file of one process.
    #[arg(long, value_name = "I/N", conflicts_with_all = ["greedy", "beam"])]
    pub(super) shard: Option<Shard>,
    #[command(flatten)]
    pub(super) decoding: DecodingArguments,
    /// A file for the JSON lines, which appears whole or not at all. [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// The backend that computes.
    #[arg(long, value_enum, default_value_t)]
    pub(super) backend: Backend,
}

/// How logits become the distribution of the next token, which is sampled, searched and reported as `log_prob`.
#[derive(Clone, Debug, Args)]
pub(super) struct DecodingArguments {
    /// A completion is cut after this number of tokens. [default: 40]
    #[arg(long, value_name = "N", value_parser = whole(&COUNT))]
    max_new_tokens: Option<usize>,
    /// No completion ends before this number of tokens.
    #[arg(long, value_name = "N", value_parser = whole(&WHOLE))]
    min_new_tokens: Option<usize>,
    /// Logits are divided by this.
    #[arg(long, value_name = "X", value_parser = number(&TEMPERATURE), allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Only this number of the most probable tokens are drawn.
    #[arg(long, value_name = "N", value_parser = whole(&COUNT))]
    top_k: Option<usize>,
    /// Only the most probable tokens that together have this probability are drawn.
    #[arg(long, value_name = "P", value_parser = number(&POSITIVE_SHARE), allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Only tokens whose probability is at least this fraction of the largest probability are drawn.
    #[arg(long, value_name = "P", value_parser = number(&CLOSED_SHARE), allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Only the tokens nearest to the expected log-probability that together have this probability are drawn.
    #[arg(long, value_name = "P", value_parser = number(&POSITIVE_SHARE), allow_negative_numbers = true)]
    typical_p: Option<f64>,
    /// Above 1, tokens that have occurred become less probable.
    #[arg(long, value_name = "X", value_parser = number(&PENALTY), allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,
}

impl SampleArguments {
    /// How completions are found.
    ///
    /// # Errors
    /// [`Error::Argument`] for more than a beam can hold.
    pub(super) fn decoder(&self) -> Result<Decoder> {
        let Some(width) = self.beam else {
            let draw =
                Decoder::Draw { count: self.count.unwrap_or(COUNT_DRAWN), seed: self.seed.unwrap_or(0) };
            return Ok(if self.greedy { Decoder::Greedy } else { draw });
        };
        let count = self.count.unwrap_or(1);
        if count > width {
            let allowed = format!("at most the width of --beam, {width}");
            return Err(Error::Argument { flag: "--count", problem: format!("is {count}"), allowed });
        }
        Ok(Decoder::Beam { count, width, length_penalty: self.length_penalty.unwrap_or(1.0) })
    }
}

impl DecodingArguments {
    /// The first of these settings that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--max-new-tokens", self.max_new_tokens.is_some()),
            ("--min-new-tokens", self.min_new_tokens.is_some()),
            ("--temperature", self.temperature.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--typical-p", self.typical_p.is_some()),
            ("--repetition-penalty", self.repetition_penalty.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// The model with these settings; settings that are not given stay those of the model.
    ///
    /// # Errors
    /// [`Error::Argument`] for a minimum above the maximum.
    pub(super) fn over(&self, model: ModelSpec) -> Result<ModelSpec> {
        let model = ModelSpec {
            max_new_tokens: self.max_new_tokens.unwrap_or(model.max_new_tokens),
            min_new_tokens: self.min_new_tokens.unwrap_or(model.min_new_tokens),
            temperature: self.temperature.unwrap_or(model.temperature),
            top_k: self.top_k.or(model.top_k),
            top_p: self.top_p.or(model.top_p),
            min_p: self.min_p.or(model.min_p),
            typical_p: self.typical_p.or(model.typical_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(model.repetition_penalty),
            ..model
        };
        if model.min_new_tokens > model.max_new_tokens {
            let allowed = format!("at most --max-new-tokens, {}", model.max_new_tokens);
            let problem = format!("is {}", model.min_new_tokens);
            return Err(Error::Argument { flag: "--min-new-tokens", problem, allowed });
        }
        Ok(model)
    }
}

/// A number as a spec file allows it.
fn number(allowed: &'static Allowed<f64>) -> impl TypedValueParser<Value = f64> {
    checked(allowed.words, |value| (allowed.holds)(value))
}

/// A whole number as a spec file allows it.
fn whole(allowed: &'static Allowed<u64>) -> impl TypedValueParser<Value = usize> {
    checked(allowed.words, |value| (allowed.holds)(value)).map(|value: u64| value as usize)
}

fn checked<T: std::str::FromStr + Clone + Send + Sync + 'static>(
    words: &'static str,
    holds: impl Fn(&T) -> bool + Clone + Send + Sync + 'static,
) -> impl TypedValueParser<Value = T> {
    move |text: &str| match text.parse::<T>() {
        Ok(value) if holds(&value) => Ok(value),
        _ => Err(format!("allowed: {words}")),
    }
}

#[cfg(all(test, feature = "lm"))]
mod tests {
    use disco_lm::BeamSearch;

    use super::BEAM;

    #[test]
    fn a_beam_is_as_wide_as_the_language_model_allows() {
        for width in [0, 1, 1024, 1025] {
            let search = BeamSearch { width: width as usize, ..BeamSearch::default() };
            assert_eq!((BEAM.holds)(&width), search.validate().is_ok(), "{width}");
        }
    }
}
