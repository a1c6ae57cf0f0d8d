//! Models under a grammar: methods of [`TokenModel`] and [`LanguageModel`], and the grammar as a feature.

use std::sync::Arc;

use disco_core::{Condition, Feature, Score};
use rayon::prelude::*;

use crate::{
    Completion, Generation, Grammar, LanguageModel, Result, TokenModel, Tokenizer,
    grammar::{compiled::CompiledGrammar, state::GrammarState},
};

impl TokenModel {
    /// The same model under a grammar, whose texts are those of `tokenizer`'s tokens: see [`LanguageModel::under_grammar`].
    ///
    /// # Errors
    /// As [`LanguageModel::under_grammar`].
    pub fn under_grammar(&self, grammar: &Grammar, tokenizer: &Tokenizer) -> Result<Self> {
        if self.has_encoder() {
            return Err(grammar.refused(
                "the model writes a text of its own, behind an encoder; allowed: decoder-only models",
            ));
        }
        let compiled = CompiledGrammar::new(grammar, tokenizer, self.vocabulary(), &self.shared.end_tokens)?;
        let masked = Self { grammar: Some(compiled), ..self.clone() };
        masked.check_grammar_fits(&self.generation)?;
        Ok(masked)
    }

    /// The same model without a grammar.
    #[must_use]
    pub fn without_grammar(&self) -> Self {
        Self { grammar: None, ..self.clone() }
    }

    /// The grammar of the model, if it has one.
    pub fn grammar(&self) -> Option<&Grammar> {
        self.grammar.as_ref().map(|compiled| &compiled.grammar)
    }

    /// Whether a sequence is a text of the grammar, as a feature; `None` for a model without a grammar.
    pub fn grammar_feature(&self) -> Option<GrammarFeature> {
        self.grammar.clone().map(|grammar| GrammarFeature { grammar })
    }

    /// The condition that a sequence is a text of the grammar; `None` for a model without a grammar. The product of
    /// [`without_grammar`](Self::without_grammar) and this condition is the target of which this model is the proposal.
    pub fn grammar_condition(&self) -> Option<Condition<GrammarFeature>> {
        self.grammar_feature().map(Condition::always)
    }

    /// The length in tokens, the end token included, of a short sequence that the grammar accepts. It comes from a search with a
    /// budget, so that there may be shorter ones; `None` for a model without a grammar, and where the search found none.
    pub fn shortest_accepted(&self) -> Option<usize> {
        self.grammar.as_ref().and_then(|compiled| compiled.shortest().found)
    }

    /// Checks that the grammar may accept a sequence of `max_new_tokens`.
    pub(crate) fn check_grammar_fits(&self, generation: &Generation) -> Result<()> {
        let Some(compiled) = &self.grammar else { return Ok(()) };
        let (at_least, most) = (compiled.shortest().at_least, generation.max_new_tokens);
        if at_least <= most {
            return Ok(());
        }
        let reason = format!(
            "no sequence that it accepts is shorter than {at_least} tokens, the end token included; `max_new_tokens` is {most}"
        );
        Err(compiled.grammar.refused(reason))
    }
}

impl LanguageModel {
    /// The same model under a grammar: it never draws a token after which its text could not become a text of the grammar, and ends
    /// only where its text is one.
    ///
    /// ```text
    /// ln q(x) = sum_t [ ln a(x_t | x_<t) - ln M_t ],    M_t = sum_{v allowed after x_<t} a(v | x_<t)
    /// ```
    ///
    /// with `a` the model as it is decoded: temperature, penalties and truncation come first. The ids of a sample are scored as they
    /// were drawn, and every tokenisation of a text is allowed. Drawing, scores, gradients, greedy decoding and beam search follow `q`;
    /// a policy made from this model is under the grammar too, and saved files are those of the model without it.
    ///
    /// `q` is not the model given the grammar, `a(x) 1[x in G] / a(G)`: a prefix that can hardly be completed gets the same mass as one that
    /// easily is. Importance weights and rejection correct it, since `a(x) 1[x in G] / q(x) = prod_t M_t` is at most 1
    /// (see [`grammar_condition`](Self::grammar_condition)).
    ///
    /// A sequence that is cut at `max_new_tokens`, or that comes to a *dead end*, where the grammar allows none of the tokens that can be
    /// drawn (truncation left others, or the vocabulary lacks a byte), is drawn as it is. It has not ended with an end token, its `ln q` is
    /// what it was drawn with, and the condition forbids it. Beam search leaves dead ends out.
    ///
    /// # Errors
    /// [`Error::Grammar`](crate::Error::Grammar): the grammar accepts no sequence of the model's tokens, or none of `max_new_tokens`; it needs too
    /// much time or memory; the model has no end token, or an encoder. That none of `max_new_tokens` is accepted is found for grammars
    /// with few texts, and for long prescribed beginnings; for others, the share of samples that were cut tells:
    /// see [`shortest_accepted`](Self::shortest_accepted). [`Error::Invalid`](crate::Error::Invalid) for a tokenizer whose tokens have no bytes
    /// of their own. While drawing or scoring, [`Error::Grammar`](crate::Error::Grammar) if a token needs too much time or memory.
    ///
    /// # Cost
    /// Compiling, once; then a mask for each token, on all threads, in drawing, scoring and the gradient.
    pub fn under_grammar(&self, grammar: &Grammar) -> Result<Self> {
        Ok(self.with_tokens(self.tokens().under_grammar(grammar, self.tokenizer())?))
    }

    /// The same model without a grammar.
    #[must_use]
    pub fn without_grammar(&self) -> Self {
        self.with_tokens(self.tokens().without_grammar())
    }

    /// The grammar of the model, if it has one.
    pub fn grammar(&self) -> Option<&Grammar> {
        self.tokens().grammar()
    }

    /// As [`TokenModel::grammar_feature`].
    pub fn grammar_feature(&self) -> Option<GrammarFeature> {
        self.tokens().grammar_feature()
    }

    /// As [`TokenModel::grammar_condition`].
    pub fn grammar_condition(&self) -> Option<Condition<GrammarFeature>> {
        self.tokens().grammar_condition()
    }

    /// As [`TokenModel::shortest_accepted`].
    pub fn shortest_accepted(&self) -> Option<usize> {
        self.tokens().shortest_accepted()
    }
}

/// Whether a sequence is a text of a grammar: 1 for token ids that the grammar allows one after the other, with an end token where it
/// accepts them, and else 0. It looks at the ids, not at the text.
///
/// Made by [`LanguageModel::grammar_feature`]. Its name is `grammar`. A value takes one parser step for each token, and no mask.
#[derive(Clone, Debug)]
pub struct GrammarFeature {
    grammar: Arc<CompiledGrammar>,
}

impl GrammarFeature {
    /// Whether token ids, the end token included, are a text of the grammar.
    ///
    /// # Errors
    /// [`Error::Grammar`](crate::Error::Grammar) if a token needs too much time or memory.
    pub fn accepts(&self, tokens: &[u32]) -> Result<bool> {
        self.accepts_at(0, tokens)
    }

    /// As [`accepts`](Self::accepts), for the sample of this number: samples of different numbers do not wait for each other.
    fn accepts_at(&self, number: usize, tokens: &[u32]) -> Result<bool> {
        match tokens.split_last() {
            Some((last, text)) if self.grammar.is_end(*last) => {
                GrammarState::new(&self.grammar, number).accepts(text)
            }
            _ => Ok(false),
        }
    }

    fn all(&self, samples: Vec<&[u32]>) -> disco_core::Result<Vec<Score>> {
        let value = |(number, tokens)| Ok(Ok(f64::from(u8::from(self.accepts_at(number, tokens)?))));
        samples.into_par_iter().enumerate().map(value).collect()
    }
}

/// Its name in reports and constraints.
const NAME: &str = "grammar";

impl<C: ?Sized> Feature<C, Completion> for GrammarFeature {
    fn name(&self) -> &str {
        NAME
    }

    fn values(&self, _context: &C, samples: &[&Completion]) -> disco_core::Result<Vec<Score>> {
        self.all(samples.iter().map(|sample| sample.tokens.as_slice()).collect())
    }
}

impl<C: ?Sized, X: AsRef<[u32]> + ?Sized> Feature<C, X> for GrammarFeature {
    fn name(&self) -> &str {
        NAME
    }

    fn values(&self, _context: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        self.all(samples.iter().map(|sample| (*sample).as_ref()).collect())
    }
}
