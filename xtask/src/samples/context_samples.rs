//! The samples of each context.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{StoredLine, raw_line::Place};
use crate::{Result, StageError, contexts::TextContext};

/// The lines of one context, in the order of their files.
pub(crate) type ContextSamples = Vec<StoredLine>;

/// The contexts of some lines, each once, in the order in which they first occur.
pub(crate) fn find_contexts(lines: &[StoredLine]) -> Vec<TextContext> {
    let mut seen = std::collections::HashSet::new();
    lines.iter().map(|line| &line.context).filter(|context| seen.insert(*context)).cloned().collect()
}

/// Sorts lines by these contexts. The context of a line is the one that it is equal to; a line whose context is a text alone is of the
/// context with this text, whatever its columns, if there is only one.
///
/// # Errors
/// [`disco_core::Error::Malformed`] with the line for a context that is none of these, for an `index` that the same file has twice in one
/// context, and for a context without two samples, which a standard error needs.
pub(crate) fn in_contexts(lines: Vec<StoredLine>, contexts: &[TextContext]) -> Result<Vec<ContextSamples>> {
    let mut found: Vec<ContextSamples> = contexts.iter().map(|_| Vec::new()).collect();
    let mut places = std::collections::HashMap::new();
    let mut texts = std::collections::HashMap::new();
    for (index, context) in contexts.iter().enumerate() {
        places.entry(context).or_insert(index);
        texts.entry(context.text()).or_insert_with(Vec::new).push(index);
    }
    let mut indices = std::collections::HashMap::new();
    let mut last: Option<Place> = None;
    for line in lines {
        let exact = places.get(&line.context).copied();
        let by_text = || match texts.get(line.context.text()).map(Vec::as_slice) {
            Some([only]) if line.context.columns().is_empty() => Some(*only),
            _ => None,
        };
        let Some(index) = exact.or_else(by_text) else {
            let shown = serde_json::to_string(&line.context).unwrap_or_default();
            let problem = format!(
                "the context {} is none of the {} contexts of the run file",
                crate::terminal::cut(&shown, 80),
                contexts.len()
            );
            return Err(line.place.wrong(problem).into());
        };
        if let Some(number) = line.index {
            let key = (index, number, line.place.path.clone());
            if let Some(earlier) = indices.insert(key, line.place.line) {
                let problem = format!(
                    "the sample with `index` {number} of this context is in line {earlier} of the file too: it would count twice"
                );
                return Err(line.place.wrong(problem).into());
            }
        }
        last = Some(line.place.clone());
        found[index].push(line);
    }
    for (samples, context) in found.iter().zip(contexts) {
        if let (0 | 1, Some(place)) = (samples.len(), &last) {
            let shown = serde_json::to_string(context).unwrap_or_default();
            let problem = format!(
                "up to this line there are {} samples of the context {}; allowed: two or more",
                samples.len(),
                crate::terminal::cut(&shown, 80)
            );
            return Err(place.wrong(problem).into());
        }
    }
    Ok(found)
}

/// Refuses files of samples with the same content, which would count twice.
///
/// # Errors
/// [`StageError::Twice`].
pub(crate) fn check_distinct<'f>(files: impl IntoIterator<Item = (&'f Path, &'f [u8])>) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    for (path, bytes) in files {
        if let Some(earlier) = seen.insert(Sha256::digest(bytes), path) {
            return Err(StageError::Twice { first: earlier.into(), second: path.into() }.into());
        }
    }
    Ok(())
}
