//! Markov chains over a finite alphabet.

use std::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::{
    Distribution, Error, Result, Sampled, Score, Scorer, Space, StreamRng, Streams, Table, alias::Alias,
    table::check_probabilities,
};

/// The parameters of a [`MarkovChain`].
///
/// | field | allowed |
/// |---|---|
/// | `symbols` | at least one, all different |
/// | `initial` | one probability per symbol, sum 1 |
/// | `transitions` | one such row per symbol: from it to each symbol |
/// | `end` | one of the symbols, or `None` |
/// | `max_length` | at least 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarkovChainConfig<S> {
    /// The alphabet.
    pub symbols: Vec<S>,
    /// The probability (not its logarithm) that a sequence begins with each symbol.
    pub initial: Vec<f64>,
    /// `transitions[i][j]`: the probability (not its logarithm) that symbol `j` follows symbol `i`.
    pub transitions: Vec<Vec<f64>>,
    /// The symbol that ends a sequence and is its last. With `None`, all sequences have the length `max_length`.
    pub end: Option<S>,
    /// The length at which a sequence is cut.
    pub max_length: usize,
}

/// A Markov chain: sequences that end with the end symbol, or are cut at a maximal length.
///
/// `p(x) = initial(x_1) prod_t transitions(x_t-1, x_t)`. A sequence is an event: the end symbol belongs to
/// it and its probability counts, and a cut sequence has no end symbol; the probabilities of all sequences
/// sum to 1. Anything else (empty, too short without an end, too long, going on after the end, an unknown
/// symbol) has log-probability `-inf`. Cost of a sample: one stream, two draws per symbol.
///
/// ```
/// use disco_core::{MarkovChain, MarkovChainConfig};
/// let chain = MarkovChain::new(MarkovChainConfig {
///     symbols: vec!['a', '.'],
///     initial: vec![1.0, 0.0],
///     transitions: vec![vec![0.75, 0.25], vec![0.0, 1.0]],
///     end: Some('.'),
///     max_length: 3,
/// })?;
/// let all = chain.to_table(10)?;
/// assert_eq!(all.space().outcomes(), [vec!['a', 'a', 'a'], vec!['a', 'a', '.'], vec!['a', '.']]);
/// assert_eq!(all.probabilities(), [0.5625, 0.1875, 0.25]);
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MarkovChain<S> {
    symbols: Space<S>,
    initial: Row,
    // Invariant: one row per symbol.
    transitions: Vec<Row>,
    // Invariant: below symbols.len().
    end: Option<usize>,
    // Invariant: at least 1.
    max_length: usize,
}

/// The transition probabilities from one symbol.
#[derive(Clone, Debug)]
struct Row {
    log_probs: Vec<f64>,
    alias: Alias,
}

impl Row {
    fn new(what: &str, probabilities: &[f64], symbols: usize) -> Result<Self> {
        if probabilities.len() != symbols {
            return Err(Error::Length {
                what: what.to_string().into(),
                expected: symbols,
                actual: probabilities.len(),
            });
        }
        check_probabilities(what, probabilities)?;
        Ok(Self {
            log_probs: probabilities.iter().map(|probability| probability.ln()).collect(),
            alias: Alias::new(probabilities.iter().copied()),
        })
    }
}

impl<S: Clone + Eq + Hash> MarkovChain<S> {
    /// The chain with these parameters.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`] and [`Error::Invalid`], naming the field (and the row of
    /// `transitions`), for values outside the table at [`MarkovChainConfig`].
    pub fn new(config: MarkovChainConfig<S>) -> Result<Self> {
        let symbols = Space::new(config.symbols)?;
        let n = symbols.len();
        Error::check_length("transitions, one row per symbol", n, config.transitions.len())?;
        let initial = Row::new("initial", &config.initial, n)?;
        let rows = config.transitions.iter().enumerate();
        let transitions =
            rows.map(|(i, row)| Row::new(&format!("transitions[{i}]"), row, n)).collect::<Result<_>>()?;
        let end = match &config.end {
            None => None,
            Some(end) => Some(
                symbols
                    .position(end)
                    .ok_or_else(|| Error::invalid("end", "no symbol of the chain", "one of the symbols"))?,
            ),
        };
        if config.max_length == 0 {
            return Err(Error::invalid("max_length", 0, "at least 1"));
        }
        Ok(Self { symbols, initial, transitions, end, max_length: config.max_length })
    }

    /// The log-probability of a sequence (nats).
    pub fn log_prob(&self, sequence: &[S]) -> f64 {
        let mut log_prob = 0.0;
        let mut row = Some(&self.initial);
        for symbol in sequence {
            // After the end symbol no row is left.
            let (Some(from), Some(position)) = (row, self.symbols.position(symbol)) else {
                return f64::NEG_INFINITY;
            };
            log_prob += from.log_probs[position];
            row = (self.end != Some(position)).then(|| &self.transitions[position]);
        }
        let ended = row.is_none();
        let complete = sequence.len() == self.max_length || (ended && sequence.len() < self.max_length);
        if complete { log_prob } else { f64::NEG_INFINITY }
    }

    /// The chain as a table: all sequences of positive probability, written out.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than `limit` sequences.
    pub fn to_table(&self, limit: usize) -> Result<Table<Vec<S>>> {
        let (mut sequences, mut log_probs) = (Vec::new(), Vec::new());
        // Sequences still to be continued: their positions and log-probability.
        let mut open = vec![(Vec::new(), 0.0)];
        while let Some((prefix, log_prob)) = open.pop() {
            let last = prefix.last().copied();
            if prefix.len() == self.max_length || (last.is_some() && last == self.end) {
                if sequences.len() == limit {
                    let allowed = format!("at most {limit}");
                    return Err(Error::invalid("number of sequences of the chain", "more", allowed));
                }
                sequences.push(self.spell(&prefix));
                log_probs.push(log_prob);
                continue;
            }
            let row = last.map_or(&self.initial, |last| &self.transitions[last]);
            for (position, step) in row.log_probs.iter().enumerate().rev() {
                if *step > f64::NEG_INFINITY {
                    open.push(([prefix.as_slice(), &[position]].concat(), log_prob + step));
                }
            }
        }
        Table::from_log_probs(Space::new(sequences)?, log_probs)
    }

    fn spell(&self, positions: &[usize]) -> Vec<S> {
        positions.iter().map(|&position| self.symbols.outcomes()[position].clone()).collect()
    }

    fn draw(&self, rng: &mut StreamRng) -> Sampled<Vec<S>> {
        let mut positions = Vec::new();
        let mut log_prob = 0.0;
        let mut row = &self.initial;
        while positions.len() < self.max_length {
            let position = row.alias.sample(rng);
            log_prob += row.log_probs[position];
            positions.push(position);
            if self.end == Some(position) {
                break;
            }
            row = &self.transitions[position];
        }
        Sampled { value: self.spell(&positions), log_prob }
    }
}

impl<C: ?Sized, S: Clone + Eq + Hash + Send + Sync> Scorer<C, Vec<S>> for MarkovChain<S> {
    fn log_scores(&self, _: &C, samples: &[&Vec<S>]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(self.log_prob(sample))).collect())
    }
}

impl<C: ?Sized, S: Clone + Eq + Hash + Send + Sync> Distribution<C, Vec<S>> for MarkovChain<S> {
    fn sample(&self, _: &C, streams: &Streams) -> Result<Vec<Sampled<Vec<S>>>> {
        Ok(streams.iter().map(|mut rng| self.draw(&mut rng)).collect())
    }
}

crate::impl_product!([S] MarkovChain<S>);
