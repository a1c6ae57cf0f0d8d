//! One independent random stream per sample.

use std::ops::Range;

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

/// The generator of one stream.
pub type StreamRng = ChaCha8Rng;

/// A run of numbered, independent random streams: sample `i` of a request draws from stream `i` only.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    key: u64,
    range: Range<u64>,
}

impl Streams {
    /// `count` streams under `key`.
    pub fn new(key: u64, count: usize) -> Self {
        Self { key, range: 0..count as u64 }
    }

    /// `count` streams under a key drawn from `rng` (one draw).
    pub fn draw<R: Rng + ?Sized>(rng: &mut R, count: usize) -> Self {
        Self::new(rng.next_u64(), count)
    }

    /// How many streams there are: the number of samples requested.
    pub fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// Whether no sample is requested.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The generator of stream `index`, at its beginning.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len): a programming error, as with a slice.
    pub fn rng(&self, index: usize) -> StreamRng {
        assert!(index < self.len(), "stream {index} of {}", self.len());
        let mut rng = ChaCha8Rng::seed_from_u64(self.key);
        rng.set_stream(self.range.start + index as u64);
        rng
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
        let middle = self.range.start + middle as u64;
        (
            Self { key: self.key, range: self.range.start..middle },
            Self { key: self.key, range: middle..self.range.end },
        )
    }

    /// Runs of at most `size` streams, in order.
    ///
    /// # Panics
    /// If `size` is zero.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = Self> + '_ {
        assert!(size > 0, "chunks of no streams");
        (0..self.len()).step_by(size).map(move |start| {
            let from = self.range.start + start as u64;
            Self { key: self.key, range: from..(from + size as u64).min(self.range.end) }
        })
    }
}
