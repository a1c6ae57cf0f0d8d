//! A grammar with the tokens of one model, shared by all of its sequences.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use llguidance::Matcher;

use crate::{
    Error, Result, Tokenizer,
    grammar::{Grammar, engine::compile, mask::Mask, shortest::Shortest, state::GrammarState},
};

/// The most copies of the lexer.
const LEXERS: usize = 16;

/// A grammar with the tokens of one model.
pub(crate) struct CompiledGrammar {
    pub(crate) grammar: Grammar,
    /// Before the first token, and never advanced.
    root: Matcher,
    /// Copies of `root`. Each shares its cache of lexer states with the sequences that were begun from it; a lock of the library
    /// guards the cache, so that there are as many as there are threads.
    lexers: Vec<Mutex<Matcher>>,
    pub(super) end_tokens: Vec<u32>,
    /// The mask of the first token.
    pub(crate) first: Mask,
    /// Set before anyone else has the grammar.
    shortest: OnceLock<Shortest>,
}

impl CompiledGrammar {
    /// Compiles a grammar for a model with these end tokens, and looks for the shortest sequence that it accepts.
    pub(crate) fn new(
        grammar: &Grammar,
        tokenizer: &Tokenizer,
        vocabulary: usize,
        end_tokens: &[u32],
    ) -> Result<Arc<Self>> {
        if end_tokens.is_empty() {
            return Err(grammar.refused("the model has no end token, so that no sequence is ever complete"));
        }
        let mut bytes = tokenizer.token_bytes(vocabulary)?;
        // No end token is part of a text.
        end_tokens.iter().for_each(|token| bytes[*token as usize].clear());
        let root =
            compile(grammar.parsed()?, bytes.clone(), false).map_err(|reason| grammar.refused(reason))?;
        let lexers = rayon::current_num_threads().clamp(1, LEXERS);
        let mut compiled = Self {
            grammar: grammar.clone(),
            lexers: (0..lexers).map(|_| Mutex::new(root.deep_clone())).collect(),
            root,
            end_tokens: end_tokens.into(),
            first: Mask::nothing(),
            shortest: OnceLock::new(),
        };
        compiled.first = GrammarState::first_mask(&compiled)?;
        let compiled = Arc::new(compiled);
        let Some(shortest) = Shortest::search(&compiled, &bytes)? else {
            return Err(grammar.refused("it accepts no sequence of the model's tokens"));
        };
        compiled.shortest.get_or_init(|| shortest);
        Ok(compiled)
    }

    /// Bounds on the length of the shortest accepted sequence.
    pub(crate) fn shortest(&self) -> Shortest {
        self.shortest.get().copied().unwrap_or(Shortest { at_least: 1, found: None })
    }

    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.end_tokens.contains(&token)
    }

    /// A parser before the first token, which shares its lexer with all others of this number.
    pub(super) fn begin(&self, lexer: usize) -> Matcher {
        self.lexer(lexer).clone()
    }

    /// As [`begin`](Self::begin), with a new lexer for this number. A lexer that has reached a limit never works again.
    pub(super) fn begin_anew(&self, lexer: usize) -> Matcher {
        let mut kept = self.lexer(lexer);
        *kept = self.root.deep_clone();
        kept.clone()
    }

    fn lexer(&self, number: usize) -> MutexGuard<'_, Matcher> {
        let lexer = &self.lexers[number % self.lexers.len()];
        lexer.lock().expect("cloning a parser does not panic")
    }

    /// The error of a state whose parser fails.
    pub(super) fn failed(&self, reason: String) -> Error {
        self.grammar.refused(reason)
    }
}

impl fmt::Debug for CompiledGrammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.grammar.fmt(f)
    }
}
