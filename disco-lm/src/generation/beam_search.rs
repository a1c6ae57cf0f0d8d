//! Beam search: looks for the most probable sequences with a beam of bounded width.

use burn::tensor::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Completion, Error, LanguageModel, Result, TokenModel,
    attention::kv_cache::{DeviceCache, HostCache, KvCache, is_by_row},
    decoding::History,
    generation::slices,
    grammar::{mask::Mask, state::GrammarState},
    layers::{block::Mode, transformer::Transformer},
    model::{forward::prefill, lm_head::LmHead},
};

/// The widest beam: memory is allocated for its whole width, even if there are fewer sequences to find.
const WIDEST: usize = 1024;

/// Settings of the beam search, which is that of Hugging Face transformers.
///
/// Every step continues the `width` most probable open sequences. Sequences that end among the `width` best
/// candidates compete by their score, `log_prob / length^length_penalty`, to be among the `width` best ended ones.
/// Probabilities are those of the model with its [`Decoding`](crate::Decoding), the same that samples have.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `width` | 4 | 1 to 1024, each a sequence of its own in the cache |
/// | `returned` | 1 | 1 to `width` |
/// | `length_penalty` | 1 | finite |
/// | `early_stopping` | [`EarlyStopping::Heuristic`] | |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BeamSearch {
    /// How many open sequences each context has.
    pub width: usize,
    /// How many sequences are returned for each context, the best first.
    pub returned: usize,
    /// The power of the length by which log-probabilities are divided: values above 0 favour long sequences, at 0 the
    /// score is the log-probability itself.
    pub length_penalty: f64,
    /// When the search stops before all sequences have ended.
    pub early_stopping: EarlyStopping,
}

/// When a beam search stops, once `width` sequences have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EarlyStopping {
    /// When the best open sequence, scored at its current length, is no better than the worst ended one
    /// (`early_stopping=False` in transformers).
    #[default]
    Heuristic,
    /// At once (`early_stopping=True`).
    WhenFull,
    /// When no open sequence can become better than the worst ended one, whatever its final length (`"never"`).
    Never,
}

impl Default for BeamSearch {
    fn default() -> Self {
        Self { width: 4, returned: 1, length_penalty: 1.0, early_stopping: EarlyStopping::Heuristic }
    }
}

impl BeamSearch {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if !(1..=WIDEST).contains(&self.width) {
            return Err(Error::invalid("width", self.width, format!("1 to {WIDEST}")));
        }
        if self.returned == 0 || self.returned > self.width {
            return Err(Error::invalid("returned", self.returned, format!("1 to `width`, {}", self.width)));
        }
        if !self.length_penalty.is_finite() {
            return Err(Error::invalid("length_penalty", self.length_penalty, "finite"));
        }
        Ok(())
    }

    fn score(&self, log_prob: f64, length: usize) -> f64 {
        log_prob / (length as f64).powf(self.length_penalty)
    }
}

/// A sequence that a beam search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis<X> {
    /// The sequence.
    pub value: X,
    /// Its log-probability under the model (nats).
    pub log_prob: f64,
    /// The score that ranks it: `log_prob / length^length_penalty`.
    pub score: f64,
}

/// A sequence that has not ended.
#[derive(Default)]
struct Open {
    tokens: Vec<u32>,
    log_prob: f64,
    /// Under a grammar, the state of the sequence, or of the one that it continues.
    grammar: Option<GrammarState>,
}

/// An open sequence extended by one token.
struct Candidate {
    /// The index of the open sequence.
    parent: usize,
    token: u32,
    log_prob: f64,
}

/// The search in one context.
struct Beam {
    context: usize,
    open: Vec<Open>,
    /// In the order of their scores, the best first.
    ended: Vec<Hypothesis<Vec<u32>>>,
}

impl Beam {
    /// Advances by one token; returns the parents of the new open sequences.
    fn advance(
        &mut self,
        mut candidates: Vec<Candidate>,
        search: &BeamSearch,
        model: &TokenModel,
    ) -> Vec<usize> {
        candidates.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
        candidates.truncate(model.candidates(search));
        let mut parents = Vec::new();
        let mut open = Vec::new();
        for (rank, Candidate { parent, token, log_prob }) in candidates.into_iter().enumerate() {
            let mut tokens = self.open[parent].tokens.clone();
            tokens.push(token);
            if model.is_complete(&tokens) {
                // Candidates of lower rank only make sure that `width` sequences stay open.
                if rank < search.width {
                    let score = search.score(log_prob, tokens.len());
                    self.ended.push(Hypothesis { value: tokens, log_prob, score });
                }
            } else if open.len() < search.width {
                parents.push(parent);
                open.push(Open { tokens, log_prob, grammar: self.open[parent].grammar.clone() });
            }
        }
        self.ended.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.ended.truncate(search.width);
        self.open = open;
        if self.has_converged(search, model.generation().max_new_tokens) {
            self.open.clear();
            parents.clear();
        }
        parents
    }

    fn has_converged(&self, search: &BeamSearch, longest: usize) -> bool {
        let (Some(open), true) = (self.open.first(), self.ended.len() == search.width) else {
            return false;
        };
        let grows = search.early_stopping == EarlyStopping::Never && search.length_penalty > 0.0;
        let length = if grows { longest } else { open.tokens.len() };
        let worst = self.ended[self.ended.len() - 1].score;
        search.early_stopping == EarlyStopping::WhenFull || search.score(open.log_prob, length) <= worst
    }
}

impl TokenModel {
    /// Searches for the most probable sequences in each context; the best first.
    ///
    /// Returns fewer than `returned` sequences only where fewer can be drawn. The result is deterministic, and does not
    /// depend on the other contexts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting; for a context, or a model that gives NaN, as
    /// [`greedy`](Self::greedy).
    ///
    /// # Cost
    /// The cost of drawing `width` samples per context, and for every token a copy of the KV cache. On the CPU only the
    /// rows that several sequences continue are copied.
    pub fn beam_search(
        &self,
        contexts: &[&[u32]],
        search: &BeamSearch,
    ) -> Result<Vec<Vec<Hypothesis<Vec<u32>>>>> {
        search.validate()?;
        for context in contexts {
            self.check_context(context)?;
        }
        let transformer = self.transformer();
        let contexts_at_once = (self.generation.batch / search.width).max(1);
        let mut found = Vec::with_capacity(contexts.len());
        for contexts in contexts.chunks(contexts_at_once) {
            found.extend(match is_by_row(&self.shared.config, &self.shared.device) {
                true => self.search_batch::<HostCache>(&transformer, contexts, search)?,
                false => self.search_batch::<DeviceCache>(&transformer, contexts, search)?,
            });
        }
        Ok(found)
    }

    fn search_batch<G: KvCache>(
        &self,
        transformer: &Transformer,
        contexts: &[&[u32]],
        search: &BeamSearch,
    ) -> Result<Vec<Vec<Hypothesis<Vec<u32>>>>> {
        let shared = &self.shared;
        let head = self.lm_head();
        let prefilled = prefill(transformer, &shared.config, contexts, &shared.device);
        let beam = |context| Beam { context, open: vec![Open::default()], ended: Vec::new() };
        let mut beams: Vec<Beam> = (0..contexts.len()).map(beam).collect();
        self.extend_beams(&head, prefilled.last.clone(), &prefilled.contexts, &mut beams, search)?;

        let open = |beams: &[Beam]| beams.iter().map(|beam| beam.open.len()).sum::<usize>();
        let mut cache = G::new(&shared.config, self.generation.max_new_tokens - 1, &shared.device);
        let cache_contexts = G::contexts(prefilled.prefix);
        let rows = beams.iter().flat_map(|beam| vec![cache_contexts[beam.context].clone(); beam.open.len()]);
        cache.reorder(&[], rows.collect());
        while open(&beams) > 0 {
            let rows =
                beams.iter().flat_map(|beam| beam.open.iter().map(|open| (beam.context, &open.tokens)));
            let (ids, positions): (Vec<u32>, Vec<usize>) = rows
                .map(|(context, tokens)| {
                    (tokens[tokens.len() - 1], prefilled.contexts[context].len() + tokens.len() - 1)
                })
                .unzip();
            let hidden = transformer.hidden_states(&ids, &positions, &mut cache, &mut Mode::Plain);
            let parents = self.extend_beams(&head, hidden, &prefilled.contexts, &mut beams, search)?;
            cache.reorder(&parents, Vec::new());
        }
        let best = |beam: Beam| beam.ended.into_iter().take(search.returned).collect();
        Ok(beams.into_iter().map(best).collect())
    }

    /// How many candidates each step considers: at least `width` stay open even if the best ones all end.
    fn candidates(&self, search: &BeamSearch) -> usize {
        (1 + self.shared.end_tokens.len()).max(2) * search.width
    }

    /// Advances every beam by one token, given one hidden state per open sequence. Returns, for each new open sequence,
    /// the row of the sequence that it continues.
    fn extend_beams(
        &self,
        head: &LmHead<'_>,
        hidden: Tensor<2>,
        contexts: &[&[u32]],
        beams: &mut [Beam],
        search: &BeamSearch,
    ) -> Result<Vec<usize>> {
        let masks = self.beam_masks(beams)?;
        let histories: Vec<History<'_>> = beams
            .iter()
            .flat_map(|beam| {
                let history = |open| History { context: contexts[beam.context], generated: open };
                beam.open.iter().map(move |open| history(&open.tokens))
            })
            .collect();
        let count = self.candidates(search);
        let likeliest = head.each_next(
            hidden,
            |row| histories[row],
            &masks,
            |_, next| {
                next.top(count).into_iter().map(|token| (token, next.log_prob(token))).collect::<Vec<_>>()
            },
        )?;
        let mut likeliest = likeliest.into_iter();
        let mut parents = Vec::new();
        let mut start = 0;
        for beam in beams {
            let mut candidates = Vec::new();
            for (parent, open) in beam.open.iter().enumerate() {
                let tokens = likeliest.next().expect("a row for every open sequence");
                candidates.extend(tokens.into_iter().map(|(token, log_prob)| Candidate {
                    parent,
                    token,
                    log_prob: open.log_prob + log_prob,
                }));
            }
            let rows = beam.open.len();
            parents.extend(beam.advance(candidates, search, self).into_iter().map(|parent| start + parent));
            start += rows;
        }
        Ok(parents)
    }
}

impl TokenModel {
    /// The mask of every open sequence; none for a model without a grammar.
    fn beam_masks(&self, beams: &mut [Beam]) -> Result<Vec<Mask>> {
        let Some(grammar) = &self.grammar else { return Ok(Vec::new()) };
        let mut open: Vec<&mut Open> = beams.iter_mut().flat_map(|beam| &mut beam.open).collect();
        let masks = open.par_iter_mut().enumerate().map(|(number, open)| {
            let state = open.grammar.get_or_insert_with(|| GrammarState::new(grammar, number));
            state.mask_after(&open.tokens)
        });
        masks.collect()
    }
}

impl LanguageModel {
    /// Searches for the most probable completions of each context, the best first: see
    /// [`TokenModel::beam_search`].
    ///
    /// # Errors
    /// As [`TokenModel::beam_search`] and [`encode`](Self::encode).
    pub fn beam_search(
        &self,
        contexts: &[&str],
        search: &BeamSearch,
    ) -> Result<Vec<Vec<Hypothesis<Completion>>>> {
        let contexts = self.encode_all(contexts)?;
        let found = self.tokens().beam_search(&slices(&contexts), search)?;
        let complete = |(context, found): (&Vec<u32>, Vec<Hypothesis<Vec<u32>>>)| {
            let complete = |Hypothesis { value, log_prob, score }| {
                Ok(Hypothesis { value: self.completion_after(context, value)?, log_prob, score })
            };
            found.into_iter().map(complete).collect()
        };
        contexts.iter().zip(found).map(complete).collect()
    }
}
