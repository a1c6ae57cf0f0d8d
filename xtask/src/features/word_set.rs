//! The words of a text, and those among them that are in a list.

use std::{borrow::Cow, cmp::Reverse, collections::HashMap, ops::Range};

use crate::spec::{WordListSpec, WordValue, entry_words, folded, words_in};

/// The feature of a list of words, ready to be computed.
#[derive(Clone, Debug)]
pub(super) struct WordList {
    listed: WordSet,
    /// The other list; empty where there is none.
    against: WordSet,
    value: WordValue,
    ignore_case: bool,
}

/// Entries by their first words. Finding one costs a look-up for each word of the text, whatever the length of the list.
#[derive(Clone, Debug)]
struct WordSet {
    /// The other words of the entries that begin with a word, the entries with the most words first.
    rests: HashMap<String, Vec<Vec<String>>>,
}

/// A word of a text.
struct Word<'a> {
    range: Range<usize>,
    folded: Cow<'a, str>,
}

impl Word<'_> {
    /// The word up to its last apostrophe: `she` of `she's`.
    fn stem(&self) -> Option<&str> {
        self.folded.rsplit_once('\'').map(|(stem, _)| stem)
    }
}

impl WordList {
    pub(super) fn new(spec: &WordListSpec) -> Self {
        let set = |entries: &[String]| WordSet::new(entries, spec.ignore_case);
        let (listed, against) = (set(&spec.list), set(&spec.against));
        Self { listed, against, value: spec.value, ignore_case: spec.ignore_case }
    }

    pub(super) fn value(&self, text: &str) -> f64 {
        let words = self.words(text);
        let count = |set: &WordSet| set.find(text, &words).count();
        match self.value {
            WordValue::Presence => f64::from(u8::from(self.listed.find(text, &words).next().is_some())),
            WordValue::Count => count(&self.listed) as f64,
            WordValue::Share => {
                let found: usize = self.listed.find(text, &words).map(|found| found.len()).sum();
                found as f64 / words.len().max(1) as f64
            }
            WordValue::Sign => match count(&self.listed).cmp(&count(&self.against)) {
                std::cmp::Ordering::Less => -1.0,
                std::cmp::Ordering::Equal => 0.0,
                std::cmp::Ordering::Greater => 1.0,
            },
        }
    }

    /// The places of all entries of both lists, as ranges of bytes.
    pub(super) fn occurrences(&self, text: &str) -> Vec<Range<usize>> {
        let words = self.words(text);
        let ranges = |set: &WordSet| -> Vec<Range<usize>> {
            set.find(text, &words)
                .map(|found| words[found.start].range.start..words[found.end - 1].range.end)
                .collect()
        };
        [ranges(&self.listed), ranges(&self.against)].concat()
    }

    fn words<'a>(&self, text: &'a str) -> Vec<Word<'a>> {
        let word = |range: Range<usize>| {
            let folded = folded(&text[range.clone()], self.ignore_case);
            Word { range, folded }
        };
        words_in(text).map(word).collect()
    }
}

impl WordSet {
    /// A set of entries; those that are none were refused when the spec was read.
    fn new(entries: &[String], ignore_case: bool) -> Self {
        let mut rests: HashMap<String, Vec<Vec<String>>> = HashMap::with_capacity(entries.len());
        for mut words in entries.iter().filter_map(|entry| entry_words(entry, ignore_case).ok()) {
            let rest = words.split_off(1);
            rests.entry(words.swap_remove(0)).or_default().push(rest);
        }
        for rests in rests.values_mut() {
            rests.sort_by_key(|rest| Reverse(rest.len()));
        }
        Self { rests }
    }

    /// The entries in the words of a text, from left to right and without overlap, as ranges of words.
    fn find(&self, text: &str, words: &[Word<'_>]) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < words.len() {
                let start = at;
                let length = self.length_at(text, &words[start..]);
                at += length.unwrap_or(1);
                if let Some(length) = length {
                    return Some(start..start + length);
                }
            }
            None
        })
    }

    /// The number of words of the longest entry with which `words` begin.
    fn length_at(&self, text: &str, words: &[Word<'_>]) -> Option<usize> {
        let first = words.first()?;
        let rests = self.rests.get(&*first.folded).into_iter().flatten();
        let longest = rests.filter(|rest| goes_on(text, words, rest)).map(|rest| rest.len() + 1).next();
        longest.or_else(|| {
            let rests = self.rests.get(first.stem()?)?;
            rests.iter().any(Vec::is_empty).then_some(1)
        })
    }
}

/// Whether the words behind the first one are these, with nothing but white space between.
fn goes_on(text: &str, words: &[Word<'_>], rest: &[String]) -> bool {
    rest.iter().enumerate().all(|(index, wanted)| {
        let (Some(before), Some(word)) = (words.get(index), words.get(index + 1)) else { return false };
        let is_last = index + 1 == rest.len();
        let is_wanted = *word.folded == **wanted || (is_last && word.stem() == Some(wanted));
        is_wanted && text[before.range.end..word.range.start].trim().is_empty()
    })
}
