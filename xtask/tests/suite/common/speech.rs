//! A text model whose texts can be listed.

use disco_core::{Space, scorer};
use disco_tuner::SoftmaxTable;
use serde::{Deserialize, Serialize};
use xtask::TextSample;

/// Three words; the text ended by itself if the last is a full stop.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Speech {
    words: [String; 3],
    text: String,
}

impl TextSample for Speech {
    fn text(&self) -> &str {
        &self.text
    }

    fn token_count(&self) -> usize {
        self.words.len()
    }

    fn finished(&self) -> bool {
        self.words[2] == "."
    }
}

/// The probabilities of a word; the same at each place.
const WORDS: [(&str, f64); 6] =
    [("crown", 0.2), ("king", 0.05), ("love", 0.2), ("night", 0.25), ("sword", 0.1), (".", 0.2)];

pub(crate) fn speeches() -> Space<Speech> {
    let mut speeches = Vec::new();
    for (first, _) in WORDS {
        for (second, _) in WORDS {
            for (third, _) in WORDS {
                speeches.push(Speech {
                    words: [first, second, third].map(String::from),
                    text: format!("{first} {second} {third}"),
                });
            }
        }
    }
    Space::new(speeches).unwrap()
}

/// In the context "calm" swords are a tenth as frequent (up to normalisation).
pub(crate) fn base(contexts: &[String]) -> SoftmaxTable<String, Speech> {
    let log_score = scorer(|context: &String, speech: &Speech| {
        let word = |word: &String| {
            let (_, probability) = WORDS.iter().find(|(name, _)| name == word).unwrap();
            let calm = if context == "calm" && word == "sword" { 0.1 } else { 1.0 };
            (calm * probability).ln()
        };
        speech.words.iter().map(word).sum()
    });
    SoftmaxTable::from_scorer(Space::new(contexts.to_vec()).unwrap(), speeches(), &log_score).unwrap()
}
