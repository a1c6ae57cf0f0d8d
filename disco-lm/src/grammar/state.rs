//! The state of one sequence in a grammar.

use std::sync::Arc;

use llguidance::Matcher;

use crate::{
    Result,
    grammar::{compiled::CompiledGrammar, engine::reason, mask::Mask},
};

/// The library's reason of an empty mask.
const NO_TOKEN: &str = "NoExtensionBias";

/// The state of one sequence in a grammar. A copy goes on by itself.
#[derive(Clone)]
pub(crate) struct GrammarState {
    grammar: Arc<CompiledGrammar>,
    parser: Parser,
    /// The tokens that `parser` has consumed, and no end token.
    consumed: Vec<u32>,
    /// The token after `consumed` that was not allowed.
    left: Option<u32>,
}

impl GrammarState {
    /// The state before the first token. Sequences whose numbers differ can go on at the same time.
    pub(crate) fn new(grammar: &Arc<CompiledGrammar>, number: usize) -> Self {
        let parser = Parser { number, matcher: grammar.begin(number) };
        Self { grammar: grammar.clone(), parser, consumed: Vec::new(), left: None }
    }

    /// The tokens that may follow `tokens`, which hold no end token. It is quick if `tokens` continue those of the last call.
    ///
    /// # Errors
    /// [`Error::Grammar`](crate::Error::Grammar) if a limit on time or memory is reached.
    pub(crate) fn mask_after(&mut self, tokens: &[u32]) -> Result<Mask> {
        if tokens.is_empty() {
            return Ok(self.grammar.first.clone());
        }
        if !self.advance(tokens)? {
            return Ok(Mask::nothing());
        }
        self.parser.mask(&self.grammar, &self.consumed)
    }

    /// Whether `tokens`, which hold no end token, are a complete text.
    ///
    /// # Errors
    /// As [`mask_after`](Self::mask_after).
    pub(crate) fn accepts(&mut self, tokens: &[u32]) -> Result<bool> {
        Ok(self.advance(tokens)? && self.parser.accepts(&self.grammar, &self.consumed)?)
    }

    /// Goes on to `tokens`; returns whether each of them is allowed.
    fn advance(&mut self, tokens: &[u32]) -> Result<bool> {
        if !tokens.starts_with(&self.consumed) {
            *self = Self::new(&self.grammar, self.parser.number);
        }
        // A token that is not allowed does not change the parser.
        self.left = self.left.filter(|left| tokens.get(self.consumed.len()) == Some(left));
        while let Some(token) = tokens.get(self.consumed.len()).filter(|_| self.left.is_none()) {
            if self.parser.push(&self.grammar, &self.consumed, *token)? {
                self.consumed.push(*token);
            } else {
                self.left = Some(*token);
            }
        }
        Ok(self.left.is_none())
    }

    /// The mask of the first token.
    pub(super) fn first_mask(grammar: &CompiledGrammar) -> Result<Mask> {
        Parser { number: 0, matcher: grammar.begin(0) }.mask(grammar, &[])
    }
}

/// The library's parser, which is begun anew where its lexer has reached a limit: the lexer is shared, and other sequences may have
/// filled it.
#[derive(Clone)]
struct Parser {
    /// The number of the lexer.
    number: usize,
    matcher: Matcher,
}

impl Parser {
    /// The allowed tokens after those that were consumed.
    fn mask(&mut self, grammar: &CompiledGrammar, consumed: &[u32]) -> Result<Mask> {
        let ends = self.accepts(grammar, consumed)?;
        let mut bits = self.ask(grammar, consumed, |matcher| {
            // At the end of the grammar the library has stopped, and asking it again is an error.
            if matcher.is_stopped() {
                return Ok(Vec::new());
            }
            match matcher.compute_mask() {
                Ok(mask) => Ok(mask.as_slice().to_vec()),
                Err(error) if error.to_string().starts_with(NO_TOKEN) => Ok(Vec::new()),
                Err(error) => Err(error.to_string()),
            }
        })?;
        for end in &grammar.end_tokens {
            let word = *end as usize / 32;
            bits.resize(bits.len().max(word + 1), 0);
            bits[word] &= !(1 << (end % 32));
            bits[word] |= u32::from(ends) << (end % 32);
        }
        Ok(Mask::new(bits))
    }

    fn accepts(&mut self, grammar: &CompiledGrammar, consumed: &[u32]) -> Result<bool> {
        self.ask(grammar, consumed, |matcher| matcher.is_accepting().map_err(|error| error.to_string()))
    }

    /// Consumes a token if it is allowed; returns whether it is.
    fn push(&mut self, grammar: &CompiledGrammar, consumed: &[u32], token: u32) -> Result<bool> {
        self.ask(grammar, consumed, |matcher| {
            let taken = matcher.try_consume_tokens(&[token]).map_err(|error| error.to_string())?;
            Ok(taken == 1)
        })
    }

    /// The answer of the library. If it fails, it is asked once more from a new lexer.
    fn ask<T>(
        &mut self,
        grammar: &CompiledGrammar,
        consumed: &[u32],
        mut question: impl FnMut(&mut Matcher) -> Result<T, String>,
    ) -> Result<T> {
        if let Ok(answer) = question(&mut self.matcher) {
            return Ok(answer);
        }
        self.matcher = grammar.begin_anew(self.number);
        let again = self.matcher.consume_tokens(consumed).map_err(|error| error.to_string());
        let answer = again.and_then(|()| question(&mut self.matcher));
        answer.map_err(|error| grammar.failed(reason(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grammar, testing::letters};

    fn compiled(expression: &str) -> Arc<CompiledGrammar> {
        let grammar = Grammar::regex(expression).expect("a grammar");
        CompiledGrammar::new(&grammar, &letters(), 24, &[2]).expect("it fits")
    }

    /// The ids of letters.
    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(|letter| u32::from(letter - b'a') + 3).collect()
    }

    /// A state may be asked about any tokens, in any order.
    #[test]
    fn a_mask_does_not_depend_on_what_was_asked_before() {
        let grammar = compiled("ab*c|ad");
        let after = |text: &str| GrammarState::new(&grammar, 0).mask_after(&ids(text)).expect("a mask");
        let tokens = |mask: Mask| mask.tokens().collect::<Vec<_>>();
        assert_eq!(tokens(after("")), ids("a"));
        assert_eq!(tokens(after("a")), ids("bcd"));
        assert_eq!(tokens(after("abb")), ids("bc"));
        assert_eq!(tokens(after("ad")), [2]);
        assert!(after("u").is_nothing() && after("adu").is_nothing() && after("abdb").is_nothing());
        let mut state = GrammarState::new(&grammar, 1);
        for text in ["ab", "abu", "ab", "abuc", "abbc", "", "ad", "a", "u", "ab", "abc"] {
            assert_eq!(state.mask_after(&ids(text)).expect("a mask"), after(text), "{text}");
            assert_eq!(
                state.accepts(&ids(text)).expect("an answer"),
                ["ad", "abbc", "abc"].contains(&text),
                "{text}"
            );
        }
        let copy = state.clone();
        for (mut state, text) in [(copy, "abb"), (state, "ad")] {
            assert_eq!(state.mask_after(&ids(text)).expect("a mask"), after(text), "{text}");
        }
    }

    /// A lexer that has reached a limit is replaced, and the sequence goes on from where it was.
    #[test]
    fn a_state_outlives_its_lexer() {
        let grammar = compiled("[a-c]*a[a-c]{3}");
        let expected = GrammarState::new(&grammar, 0).mask_after(&ids("abcab")).expect("a mask");
        let mut state = GrammarState::new(&grammar, 3);
        state.mask_after(&ids("abca")).expect("a mask");
        state.parser.matcher.test_trigger_lexer_error().expect_err("the library's own way to break a lexer");
        assert_eq!(state.mask_after(&ids("abcab")).expect("a mask"), expected);
        let another = GrammarState::new(&grammar, 3).mask_after(&ids("abcab")).expect("a mask");
        assert_eq!(another, expected);
    }
}
