//! The contexts `c ~ tau` that samples are drawn in.

use std::path::Path;

use rand::{Rng, RngExt};

use crate::{
    Error, Result, Streams,
    alias::Alias,
    json_lines::{Field, filled_lines, read_json_lines},
    json_string::string_in,
    permutation::{Permutation, mix},
};

/// Whether an item that was drawn can be drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replacement {
    /// Every draw is from all items.
    With,
    /// All items come once before any comes again.
    Without,
}

/// The distribution `tau` over contexts: a list with weights.
///
/// Drawing gives positions in the list, so that facts about a context (its `Z`, its counts) can be kept in arrays.
/// An average over contexts that were drawn from `tau` counts them equally: weights `tau(c)` would count `tau` twice.
///
/// ```
/// use disco_core::{Contexts, Streams};
/// let prompts = Contexts::weighted(vec!["Once upon a time", "Dear Sir"], &[3.0, 1.0])?;
/// let drawn = prompts.draw(&Streams::new(7, 1000));
/// let first = drawn.iter().filter(|index| prompts.get(**index) == Some(&"Once upon a time")).count();
/// assert!((700..800).contains(&first));
/// # Ok::<(), disco_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Contexts<C> {
    // Invariant: not empty.
    items: Vec<C>,
    // Invariant: one per item, not negative, sum 1.
    probabilities: Vec<f64>,
    alias: Alias,
}

impl<C> Contexts<C> {
    /// A single context.
    pub fn single(context: C) -> Self {
        Self { items: vec![context], probabilities: vec![1.0], alias: Alias::new([1.0]) }
    }

    /// Equally likely contexts.
    ///
    /// # Errors
    /// [`Error::Empty`].
    pub fn new(contexts: Vec<C>) -> Result<Self> {
        let weights = vec![1.0; contexts.len()];
        Self::weighted(contexts, &weights)
    }

    /// Contexts with weights: relative frequencies, of any sum.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`]; [`Error::Invalid`] for a weight that is negative or not
    /// finite, and where all are zero.
    pub fn weighted(contexts: Vec<C>, weights: &[f64]) -> Result<Self> {
        if contexts.is_empty() {
            return Err(Error::Empty { what: "list of contexts".into() });
        }
        Error::check_length("weights of contexts", contexts.len(), weights.len())?;
        if let Some((index, weight)) =
            weights.iter().enumerate().find(|(_, weight)| !(**weight >= 0.0 && weight.is_finite()))
        {
            return Err(Error::invalid(
                format!("weight of context {index}"),
                weight,
                "finite and not negative",
            ));
        }
        // Divided by the largest first, so that the sum cannot overflow.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(Error::invalid("weights of contexts", "all zero", "one above zero"));
        }
        let scaled: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
        let sum: f64 = scaled.iter().sum();
        let alias = Alias::new(scaled.iter().copied());
        Ok(Self { items: contexts, probabilities: scaled.iter().map(|weight| weight / sum).collect(), alias })
    }

    /// The contexts, in order.
    pub fn items(&self) -> &[C] {
        &self.items
    }

    /// The context at a position.
    pub fn get(&self, index: usize) -> Option<&C> {
        self.items.get(index)
    }

    /// The number of contexts: at least one.
    #[allow(clippy::len_without_is_empty)] // It is never empty.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The probability `tau(c)` of each context, in order.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// One position per stream, drawn with replacement according to the weights.
    pub fn draw(&self, streams: &Streams) -> Vec<usize> {
        streams.iter().map(|mut rng| self.alias.sample(&mut rng)).collect()
    }

    /// `count` different positions, drawn one after the other according to the weights of those that are
    /// left (successive sampling). One draw per context, whatever the count.
    ///
    /// Contexts of weight zero are never drawn.
    ///
    /// # Numerics
    /// Sorting exponential arrival times, with the weights as rates, gives the order of successive
    /// sampling (Efraimidis and Spirakis 2006, <https://doi.org/10.1016/j.ipl.2005.11.003>).
    ///
    /// # Errors
    /// [`Error::Invalid`] if fewer than `count` contexts have a weight above zero.
    pub fn draw_distinct<R: Rng + ?Sized>(&self, rng: &mut R, count: usize) -> Result<Vec<usize>> {
        let mut arrivals: Vec<(f64, usize)> = Vec::with_capacity(self.len());
        for (index, &probability) in self.probabilities.iter().enumerate() {
            let uniform: f64 = rng.random();
            if probability > 0.0 {
                arrivals.push((-(-uniform).ln_1p() / probability, index));
            }
        }
        if count > arrivals.len() {
            let allowed = format!("at most {}, the contexts with weight", arrivals.len());
            return Err(Error::invalid("number of distinct contexts", count, allowed));
        }
        arrivals.sort_unstable_by(|one, two| one.0.total_cmp(&two.0).then(one.1.cmp(&two.1)));
        Ok(arrivals[..count].iter().map(|(_, index)| *index).collect())
    }

    /// An endless, seeded sequence of positions, of which any part can be asked for: a run that is
    /// resumed needs to know only how many it has used.
    ///
    /// # Errors
    /// [`Error::Invalid`] for contexts of unequal weight without replacement: since each would come once
    /// in every pass, the weights would count for nothing.
    pub fn order(&self, key: u64, replacement: Replacement) -> Result<ContextOrder<'_, C>> {
        let first = self.probabilities[0];
        if replacement == Replacement::Without && self.probabilities.iter().any(|other| *other != first) {
            return Err(Error::invalid(
                "replacement of contexts",
                "without",
                "with, where weights are unequal: in a pass each context comes once",
            ));
        }
        Ok(ContextOrder { contexts: self, key, replacement })
    }
}

/// An endless, seeded sequence of positions in a list of contexts; see [`Contexts::order`].
#[derive(Clone, Debug)]
pub struct ContextOrder<'a, C> {
    contexts: &'a Contexts<C>,
    key: u64,
    replacement: Replacement,
}

impl<C> ContextOrder<'_, C> {
    /// The positions number `from` to `from + count - 1` of the sequence.
    ///
    /// Without replacement, each run of `contexts.len()` positions that begins at a multiple of that
    /// number is a pass: a fresh random order of all contexts.
    pub fn take(&self, from: u64, count: usize) -> Vec<usize> {
        let numbers = from..from.saturating_add(count as u64);
        match self.replacement {
            Replacement::With => self.contexts.draw(&Streams::numbered(self.key, numbers)),
            Replacement::Without => {
                let n = self.contexts.len();
                let place = |number: u64| {
                    let pass = number / n as u64;
                    Permutation::new(n, mix(self.key ^ mix(pass))).at((number % n as u64) as usize)
                };
                numbers.map(place).collect()
            }
        }
    }
}

impl Contexts<String> {
    /// Equally likely contexts, one per line of a text file, without the line ends (`\n` or `\r\n`).
    ///
    /// Blank lines at the end of the file, as an editor leaves them, are not contexts. Any other line is taken as it stands:
    /// an empty one between two others is the empty context, and spaces count. A byte order mark at the head of the file,
    /// or of a line, where files were put one after the other, is removed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] for a line that is not UTF-8, is longer than [`LINE_LIMIT`](crate::input::LINE_LIMIT),
    /// or has a zero byte or a carriage return inside; [`Error::Empty`] for a file without a line that is not blank. (The
    /// empty context alone is [`Contexts::single`].)
    pub fn from_text_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let lines: Vec<String> = filled_lines(path)?.map(|line| Ok(line?.1)).collect::<Result<_>>()?;
        Self::of_file(path, lines)
    }

    /// Equally likely contexts from JSON lines: `prefix` followed by the string in `field` of each line. Other fields are
    /// ignored, and so are blank lines at the end.
    ///
    /// # Cost
    /// Memory for one line and for the contexts: fields that are ignored are not kept.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`], with the number of the line, for a line that is not an object with a string in
    /// that field, once (a blank line before the last is none), and for one that [`from_text_file`](Self::from_text_file)
    /// refuses; [`Error::Empty`] for a file without a line that is not blank.
    pub fn from_json_lines(path: impl AsRef<Path>, field: &str, prefix: &str) -> Result<Self> {
        let path = path.as_ref();
        let fields = [Field { name: field, allowed: "a string" }];
        let mut contexts = Vec::new();
        for record in read_json_lines(path, &fields, |line| string_in(line, field))? {
            let (line, found) = record?;
            let text = found.map_err(|reason| Error::malformed(path, line, reason))?;
            contexts.push(format!("{prefix}{text}"));
        }
        Self::of_file(path, contexts)
    }

    fn of_file(path: &Path, contexts: Vec<String>) -> Result<Self> {
        if contexts.is_empty() {
            let what = format!("file of contexts {}, apart from blank lines,", path.display());
            return Err(Error::Empty { what: what.into() });
        }
        Self::new(contexts)
    }
}
