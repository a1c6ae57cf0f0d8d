//! A part of a stage's samples.

use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize, de::IgnoredAny};

/// Shard `index` of `count`, from 1: the samples of each context with certain numbers. Random streams are numbered, so that all shards
/// together draw the samples of one process, to the bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenShard")]
pub struct Shard {
    index: usize,
    count: usize,
}

/// A shard as a file has it.
#[derive(Deserialize)]
struct WrittenShard {
    index: usize,
    count: usize,
}

impl TryFrom<WrittenShard> for Shard {
    type Error = String;

    fn try_from(WrittenShard { index, count }: WrittenShard) -> Result<Self, String> {
        match 1 <= index && index <= count {
            true => Ok(Self { index, count }),
            false => {
                Err(format!("the shard has index {index} of count {count}; allowed: 1 <= index <= count"))
            }
        }
    }
}

impl Default for Shard {
    /// All samples.
    fn default() -> Self {
        Self { index: 1, count: 1 }
    }
}

impl Shard {
    /// The numbers of the samples of this shard, of `total` in each context.
    pub fn range(self, total: usize) -> Range<usize> {
        let end = |index: usize| (index as u128 * total as u128 / self.count as u128) as usize;
        end(self.index - 1)..end(self.index)
    }

    /// All shards of which this is one.
    pub(crate) fn all(self) -> impl Iterator<Item = Self> {
        (1..=self.count).map(move |index| Self { index, ..self })
    }

    /// The number of all shards.
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// Its number, from 1.
    pub(crate) fn index(self) -> usize {
        self.index
    }

    /// Whether it is not all samples.
    pub fn is_part(self) -> bool {
        self.count > 1
    }
}

/// Whether a line says of which inputs, and which shard, the lines behind it are.
pub(crate) fn is_shard_line(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "that they are there is enough")]
    struct Written {
        stage: IgnoredAny,
        version: IgnoredAny,
        inputs: IgnoredAny,
    }
    serde_json::from_slice::<Written>(line).is_ok()
}

impl FromStr for Shard {
    type Err = String;

    /// Reads `i/n`.
    fn from_str(text: &str) -> Result<Self, String> {
        let shard = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.trim().parse().ok()?, count: count.trim().parse().ok()? })
        });
        let is_one = |shard: &Self| 1 <= shard.index && shard.index <= shard.count;
        shard.filter(is_one).ok_or_else(|| "allowed: i/n with 1 <= i <= n, such as 2/8".into())
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_all_samples_once() {
        for total in [0, 1, 7, 100, usize::MAX / 2] {
            for count in [1, 2, 3, 8, 13] {
                let mut next = 0;
                for index in 1..=count {
                    let range = format!("{index}/{count}").parse::<Shard>().unwrap().range(total);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, total);
            }
        }
        for bad in ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
