//! One independent random stream per sample.

use std::{convert::Infallible, ops::Range, sync::Arc};

use rand::{Rng, SeedableRng, TryRng, rngs::ChaCha8Rng};

/// The random generator of one stream: ChaCha with 8 rounds.
///
/// It implements [`Rng`] and [`SeedableRng`], and hides the type of the generator. Tests of value stability fix its
/// numbers.
///
/// ```
/// use disco_core::{StreamRng, Streams};
/// use rand::{Rng, SeedableRng};
/// assert_eq!(StreamRng::of_stream(7, 3), Streams::new(7, 4).rng(3));
/// assert_eq!(StreamRng::seed_from_u64(7).next_u64(), StreamRng::of_stream(7, 0).next_u64());
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct StreamRng(ChaCha8Rng);

impl StreamRng {
    /// The generator of stream `number` under `key`, at its beginning.
    pub fn of_stream(key: u64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(key);
        rng.set_stream(number);
        Self(rng)
    }
}

impl TryRng for StreamRng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    #[inline]
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

impl SeedableRng for StreamRng {
    type Seed = <ChaCha8Rng as SeedableRng>::Seed;

    fn from_seed(seed: Self::Seed) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    fn seed_from_u64(key: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(key))
    }
}

/// Numbered, independent random streams: sample `i` of a request draws from stream `i` only.
///
/// A distribution that keeps to this gives the same samples whether they are drawn in one batch or
/// many, on one thread or many. Stream `i` is the ChaCha8 key stream of the request's key with stream
/// number `i`, so that streams of one request never overlap.
///
/// ```
/// use disco_core::Streams;
/// use rand::RngExt;
/// let streams = Streams::new(7, 4);
/// let (left, right) = streams.split_at(3);
/// let x: f64 = streams.rng(3).random();
/// let y: f64 = right.rng(0).random();
/// assert_eq!((left.len(), right.len()), (3, 1));
/// assert_eq!(x, y);
/// ```
#[derive(Clone, Debug)]
pub struct Streams {
    key: u64,
    numbers: Numbers,
}

/// The numbers of the streams, in order.
#[derive(Clone, Debug)]
enum Numbers {
    Run(Range<u64>),
    /// The range `1` of a list: a mixture hands these streams to one of its components.
    List(Arc<[u64]>, Range<usize>),
}

impl PartialEq for Streams {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |streams: &Self| (0..streams.len()).map(|i| streams.number(i)).collect::<Vec<_>>();
        let same_numbers = match (&self.numbers, &other.numbers) {
            (Numbers::Run(one), Numbers::Run(two)) => one == two,
            _ => self.len() == other.len() && numbers(self) == numbers(other),
        };
        self.key == other.key && same_numbers
    }
}

impl Eq for Streams {}

impl Streams {
    /// `count` streams under `key`, numbered from 0.
    pub fn new(key: u64, count: usize) -> Self {
        Self::numbered(key, 0..count as u64)
    }

    /// The streams with these numbers under `key`: a later part of a request that is never held as a whole.
    ///
    /// An empty or reversed range gives no stream.
    pub fn numbered(key: u64, numbers: Range<u64>) -> Self {
        let end = numbers.end.max(numbers.start);
        Self { key, numbers: Numbers::Run(numbers.start..end) }
    }

    /// `count` streams under a key drawn from `rng` (one draw).
    pub fn from_rng<R: Rng + ?Sized>(rng: &mut R, count: usize) -> Self {
        Self::new(rng.next_u64(), count)
    }

    /// The number of streams: the number of samples requested.
    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::Run(run) => (run.end - run.start) as usize,
            Numbers::List(_, part) => part.len(),
        }
    }

    /// Whether no sample is requested.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that all streams share.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    /// The number of stream `index` under the key.
    pub(crate) fn number(&self, index: usize) -> u64 {
        assert!(index < self.len(), "stream {index} of {}", self.len());
        match &self.numbers {
            Numbers::Run(run) => run.start + index as u64,
            Numbers::List(list, part) => list[part.start + index],
        }
    }

    /// The generator of stream `index`, at its beginning.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len): a programming error, as with a slice.
    pub fn rng(&self, index: usize) -> StreamRng {
        StreamRng::of_stream(self.key, self.number(index))
    }

    /// The generators of all streams, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = StreamRng> + '_ {
        (0..self.len()).map(|index| self.rng(index))
    }

    /// The streams before `middle`, and those from it on.
    ///
    /// # Panics
    /// If `middle` is beyond [`len`](Self::len).
    pub fn split_at(&self, middle: usize) -> (Self, Self) {
        assert!(middle <= self.len(), "split at {middle} of {}", self.len());
        (self.part(0, middle), self.part(middle, self.len()))
    }

    /// Runs of at most `size` streams, in order.
    ///
    /// # Panics
    /// If `size` is zero.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Self> + '_ {
        assert!(size > 0, "chunks of no streams");
        let len = self.len();
        (0..len).step_by(size).map(move |start| self.part(start, len.min(start.saturating_add(size))))
    }

    /// The streams at these positions, in this order. A composed distribution passes them to a part that draws some of
    /// the samples.
    ///
    /// # Panics
    /// If a position is not below [`len`](Self::len).
    pub fn select(&self, indices: &[usize]) -> Self {
        let list: Arc<[u64]> = indices.iter().map(|&index| self.number(index)).collect();
        let part = 0..list.len();
        Self { key: self.key, numbers: Numbers::List(list, part) }
    }

    /// Streams with these numbers under another key, derived from this key and `purpose`: any small number, another one for
    /// each use.
    ///
    /// A composed distribution that makes a choice of its own per sample draws it from these streams,
    /// and hands its parts a child, so that no randomness is used twice. The derived key is the first
    /// word of the stream numbered `u64::MAX - purpose`, which no request reaches.
    pub fn child(&self, purpose: u64) -> Self {
        let mut rng = StreamRng::of_stream(self.key, u64::MAX - purpose);
        Self { key: rng.next_u64(), numbers: self.numbers.clone() }
    }

    fn part(&self, from: usize, to: usize) -> Self {
        let numbers = match &self.numbers {
            Numbers::Run(run) => Numbers::Run(run.start + from as u64..run.start + to as u64),
            Numbers::List(list, part) => Numbers::List(Arc::clone(list), part.start + from..part.start + to),
        };
        Self { key: self.key, numbers }
    }
}
