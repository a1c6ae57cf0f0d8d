//! The shortest sequence of tokens that a grammar accepts, by a search with a budget.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Result,
    grammar::{compiled::CompiledGrammar, mask::Mask, state::GrammarState},
};

/// The most masks that the search computes.
const BUDGET: usize = 2000;

/// The time after which the search ends: in an ambiguous grammar, masks are slow.
const TIME: Duration = Duration::from_secs(1);

/// The most tokens of a state that are tried, as long as the search is exhaustive.
const TOKENS: usize = 64;

/// The most states of a length, as long as the search is exhaustive.
const STATES: usize = 128;

/// The tokens of a state that are tried, and the states of a length that are kept, from then on.
const BEAM: usize = 8;

/// Bounds on the length of the shortest accepted sequence, in tokens, the end token included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortest {
    /// No shorter sequence is accepted.
    pub(crate) at_least: usize,
    /// The length of a sequence that is accepted; `None` if the search found none within its budget.
    pub(crate) found: Option<usize>,
}

/// A text that may be continued.
struct Open {
    state: GrammarState,
    tokens: Vec<u32>,
    bytes: Vec<u8>,
    mask: Mask,
}

impl Shortest {
    /// Searches length by length. All sequences of a length are looked at as long as they are few, texts that are the same once;
    /// from then on only some of them: those after which few tokens are allowed, since a grammar is nearer to its end there than inside of
    /// a free text.
    ///
    /// `bytes` are those of each token. The result is `None` if the grammar accepts no sequence at all.
    pub(super) fn search(grammar: &Arc<CompiledGrammar>, bytes: &[Vec<u8>]) -> Result<Option<Self>> {
        let end = grammar.end_tokens[0];
        let first = Open {
            state: GrammarState::new(grammar, 0),
            tokens: Vec::new(),
            bytes: Vec::new(),
            mask: grammar.first.clone(),
        };
        let mut open = vec![first];
        let mut is_exhaustive = true;
        let mut at_least = 1;
        let mut masks = 0;
        let begin = Instant::now();
        while !open.is_empty() {
            let length = open[0].tokens.len() + 1;
            if is_exhaustive {
                at_least = length;
            }
            if open.iter().any(|open| open.mask.allows(end)) {
                return Ok(Some(Self { at_least, found: Some(length) }));
            }
            let mut seen = HashSet::new();
            let mut next = Vec::new();
            for from in open {
                let (tokens, are_all) = candidates(&from.mask, bytes);
                is_exhaustive &= are_all;
                for token in tokens {
                    if masks >= BUDGET || begin.elapsed() >= TIME {
                        return Ok(Some(Self { at_least, found: None }));
                    }
                    let text = [from.bytes.as_slice(), &bytes[token as usize]].concat();
                    if !seen.insert(text.clone()) {
                        continue;
                    }
                    let tokens = [from.tokens.as_slice(), &[token]].concat();
                    let mut state = from.state.clone();
                    let mask = state.mask_after(&tokens)?;
                    masks += 1;
                    if !mask.is_nothing() {
                        next.push(Open { state, tokens, bytes: text, mask });
                    }
                }
            }
            is_exhaustive &= next.len() <= STATES;
            if !is_exhaustive {
                next.sort_by_cached_key(|open| (open.mask.tokens().count(), Reverse(open.bytes.len())));
                next.dedup_by(|a, b| a.mask == b.mask);
                next.truncate(BEAM);
            }
            open = next;
        }
        Ok(if is_exhaustive { None } else { Some(Self { at_least, found: None }) })
    }
}

/// Some allowed tokens, and whether they are all. If there are many, they are the longest for each last byte: a long token covers more of
/// a text that is prescribed, and the end of a free text is in its last byte.
fn candidates(mask: &Mask, bytes: &[Vec<u8>]) -> (Vec<u32>, bool) {
    let all: Vec<u32> = mask.tokens().take(TOKENS + 1).collect();
    if all.len() <= TOKENS {
        return (all, true);
    }
    let mut of_last: BTreeMap<u8, u32> = BTreeMap::new();
    let length = |token: u32| bytes[token as usize].len();
    for token in mask.tokens() {
        if let Some(last) =
            bytes[token as usize].last().filter(|last| last.is_ascii_punctuation() || **last == b'a')
        {
            let kept = of_last.entry(*last).or_insert(token);
            if length(token) > length(*kept) {
                *kept = token;
            }
        }
    }
    (of_last.into_values().collect(), false)
}
