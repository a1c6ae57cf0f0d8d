//! Reading lines that any program wrote.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use disco_core::{Error as CoreError, infinite, input};
use serde::{Deserialize, de::IgnoredAny};

use super::{StoredSample, is_shard_end, is_shard_line};
use crate::{Result, contexts::TextContext};

/// The largest log-probability that is read: rounding in `f32` may leave one slightly above 0.
const LARGEST: f64 = 1e-6;

/// The largest number of tokens of a sample that is read, far beyond the context of any model.
const MOST_TOKENS: usize = 1_000_000_000;

/// A line of a file.
#[derive(Clone, Debug)]
pub(crate) struct StoredLine {
    pub(crate) context: TextContext,
    #[cfg_attr(not(feature = "lm"), allow(dead_code, reason = "it is written again by `score`"))]
    pub(crate) index: Option<usize>,
    pub(crate) sample: StoredSample,
    /// Whether the file tells the number of tokens, and whether the sample is finished.
    pub(crate) tells: Tells,
    pub(crate) log_prob: f64,
    pub(crate) log_base: Option<f64>,
    #[cfg_attr(not(feature = "lm"), allow(dead_code, reason = "it is written again by `score`"))]
    pub(crate) log_target: Option<f64>,
    pub(crate) features: BTreeMap<String, Option<f64>>,
    pub(crate) place: Place,
}

/// The facts of a sample that a line may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tells {
    pub(crate) tokens: bool,
    pub(crate) finished: bool,
}

/// The file and number of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    pub(crate) line: usize,
}

impl Place {
    /// The error of this line.
    pub(crate) fn wrong(&self, problem: impl Into<String>) -> CoreError {
        CoreError::Malformed { path: self.path.to_path_buf(), line: self.line, cause: problem.into().into() }
    }
}

/// A line as JSON has it.
#[derive(Deserialize)]
struct RawLine {
    #[serde(alias = "prompt")]
    context: Option<TextContext>,
    sample: Option<RawSample>,
    #[serde(alias = "completion")]
    text: Option<String>,
    tokens: Option<Tokens>,
    finished: Option<bool>,
    index: Option<usize>,
    #[serde(default, with = "infinite::option")]
    log_prob: Option<f64>,
    #[serde(default, with = "infinite::option")]
    log_base: Option<f64>,
    #[serde(default, with = "infinite::option")]
    log_target: Option<f64>,
    #[serde(default)]
    features: BTreeMap<String, Option<RawValue>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSample {
    Text(String),
    Parts { text: String, tokens: Option<Tokens>, finished: Option<bool> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    Count(usize),
    Ids(Vec<u32>),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum RawValue {
    Number(f64),
    Truth(bool),
}

/// Whether a line is a sample, or that of a shard: a file that begins with one may be replaced by another of its kind.
pub(crate) fn begins_samples(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "that they are there is enough")]
    struct Written {
        context: IgnoredAny,
        sample: IgnoredAny,
        #[serde(alias = "log_score")]
        log_prob: IgnoredAny,
    }
    serde_json::from_slice::<Written>(line).is_ok() || is_shard_line(line)
}

/// The context of a line, as JSON, and its index. The line has to be a sample, with or without a log-probability.
///
/// # Errors
/// [`CoreError::Malformed`].
pub(crate) fn read_line_place(line: &str, path: &Path, number: usize) -> Result<(String, usize)> {
    #[derive(Deserialize)]
    struct Placed {
        #[serde(alias = "prompt")]
        context: serde_json::Value,
        index: Option<usize>,
    }
    let place = Place { path: Arc::from(path), line: number };
    read_line(line, Some(0.0), place.clone())?;
    let placed: Placed =
        serde_json::from_str(&infinite::from_python(line)).map_err(|error| place.wrong(error.to_string()))?;
    let missing = "there is no `index`: the number of the sample among those of its context";
    let index = placed.index.ok_or_else(|| place.wrong(missing))?;
    Ok((placed.context.to_string(), index))
}

/// The lines of some files, in their order.
///
/// # Errors
/// [`CoreError::Io`]; [`CoreError::Malformed`] with the line for one that is no sample, or has a log-probability that none can be,
/// and for a file without a line.
pub(crate) fn read_samples(paths: &[PathBuf]) -> Result<Vec<StoredLine>> {
    read(paths, None)
}

/// As [`read_samples`], of texts that are to be scored: a line without a log-probability has 0.
///
/// # Errors
/// As [`read_samples`].
pub(crate) fn read_texts(paths: &[PathBuf]) -> Result<Vec<StoredLine>> {
    read(paths, Some(0.0))
}

/// As [`read_samples`], of files whose bytes have been read.
///
/// # Errors
/// As [`read_samples`].
pub(crate) fn parse_samples(files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<StoredLine>> {
    let mut found = Vec::new();
    for (path, bytes) in files {
        add_lines(&mut found, path, input::Lines::new(path, &bytes[..]), None)?;
    }
    Ok(found)
}

fn read(paths: &[PathBuf], log_prob: Option<f64>) -> Result<Vec<StoredLine>> {
    let mut found = Vec::new();
    for path in paths {
        add_lines(&mut found, path, input::read_lines(path)?, log_prob)?;
    }
    Ok(found)
}

/// Adds the samples of the lines of a file.
fn add_lines(
    found: &mut Vec<StoredLine>,
    path: &Path,
    lines: impl Iterator<Item = disco_core::Result<(usize, String)>>,
    log_prob: Option<f64>,
) -> Result<()> {
    let shared: Arc<Path> = Arc::from(path);
    let before = found.len();
    let mut is_shard = false;
    for line in lines {
        let (number, line) = line?;
        let is_first = number == 1 && is_shard_line(line.as_bytes());
        is_shard |= is_first;
        let is_empty = is_first || line.trim().is_empty() || (is_shard && is_shard_end(line.as_bytes()));
        if !is_empty {
            found.push(read_line(&line, log_prob, Place { path: shared.clone(), line: number })?);
        }
    }
    if found.len() == before {
        return Err(Place { path: shared, line: 1 }.wrong("there is no sample in this file").into());
    }
    Ok(())
}

fn read_line(line: &str, log_prob: Option<f64>, place: Place) -> Result<StoredLine> {
    let raw: RawLine =
        serde_json::from_str(&infinite::from_python(line)).map_err(|error| place.wrong(error.to_string()))?;
    let (text, tokens, finished) = match (raw.sample, raw.text) {
        (Some(_), Some(_)) => {
            return Err(place.wrong("both `sample` and `text` are there: one of them").into());
        }
        (None, None) => {
            let fields = "there is no `sample` (or `text`): the text that was drawn";
            return Err(place.wrong(fields).into());
        }
        (Some(RawSample::Text(text)), None) | (None, Some(text)) => (text, raw.tokens, raw.finished),
        (Some(RawSample::Parts { text, tokens, finished }), None) => {
            (text, tokens.or(raw.tokens), finished.or(raw.finished))
        }
    };
    let log_prob = raw.log_prob.or(log_prob).ok_or_else(|| {
        place
            .wrong("there is no `log_prob`: `ln` of the probability with which the sample was drawn, in nats")
    })?;
    if !(log_prob.is_finite() && log_prob <= LARGEST) {
        return Err(place
            .wrong(format!("`log_prob` is {log_prob}; allowed: a finite number, at most 0"))
            .into());
    }
    for (field, value) in [("log_base", raw.log_base), ("log_target", raw.log_target)] {
        if value == Some(f64::INFINITY) {
            let problem = format!("`{field}` is inf; allowed: a number, or \"-inf\" for a forbidden sample");
            return Err(place.wrong(problem).into());
        }
    }
    let number = |value: RawValue| match value {
        RawValue::Number(number) => number,
        RawValue::Truth(truth) => f64::from(u8::from(truth)),
    };
    let tells = Tells { tokens: tokens.is_some(), finished: finished.is_some() };
    let (tokens, token_count) = match tokens {
        Some(Tokens::Ids(ids)) => (Some(ids.clone()), ids.len()),
        Some(Tokens::Count(count)) if count > MOST_TOKENS => {
            let problem =
                format!("`tokens` is {count}; allowed: token ids, or their number, at most {MOST_TOKENS}");
            return Err(place.wrong(problem).into());
        }
        Some(Tokens::Count(count)) => (None, count),
        None => (None, 0),
    };
    Ok(StoredLine {
        context: raw.context.unwrap_or_else(|| "".into()),
        index: raw.index,
        sample: StoredSample { tokens, text, finished: finished.unwrap_or(true), token_count },
        tells,
        log_prob,
        log_base: raw.log_base,
        log_target: raw.log_target,
        features: raw.features.into_iter().map(|(name, value)| (name, value.map(number))).collect(),
        place,
    })
}
