//! The target of a feature: the fields `always`, `never`, `mean`, `between` and `distribution`, and how they hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{
    FeatureKind,
    allowed::{CLOSED_SHARE, FINITE, NOT_NEGATIVE, SOME_TEXT},
    category::LABEL_FIELDS,
    section::Section,
};
use crate::contexts::TextContext;

/// The target of a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// It holds for every sample.
    Always,
    /// It holds for no sample.
    Never,
    /// It has this mean.
    Mean {
        /// The mean.
        mean: Level,
        /// The mean may lie in `mean -+ tolerance`.
        tolerance: f64,
    },
    /// A category has its labels in these shares.
    Distribution(Vec<Share>),
}

/// The share of a label of a category.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The label.
    pub label: String,
    /// Its share.
    pub share: Level,
}

/// A number that is asked for: the same in every context, or the column of a context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// A number.
    Number(f64),
    /// The column of this name.
    Column {
        /// The name of the column.
        column: String,
    },
}

impl Level {
    /// The number in a context.
    ///
    /// # Errors
    /// The problem with the column, as a sentence that names it.
    pub fn of(&self, context: &TextContext) -> Result<f64, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Column { column } => context.number_of(column),
        }
    }

    /// The number, if it is the same in every context.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Column { .. } => None,
        }
    }
}

impl Target {
    /// This mean, in all contexts together.
    pub fn mean(mean: f64) -> Self {
        Self::Mean { mean: Level::Number(mean), tolerance: 0.0 }
    }

    /// Whether it is asked of every sample, rather than of their mean.
    pub(crate) fn is_hard(&self) -> bool {
        match self {
            Self::Always | Self::Never => true,
            Self::Mean { .. } => false,
            Self::Distribution(shares) => shares.iter().any(|share| share.share.number() == Some(0.0)),
        }
    }

    /// The mean that is asked of a feature: 1 for always, 0 for never; `None` for a distribution.
    pub(crate) fn level(&self) -> Option<Level> {
        match self {
            Self::Always => Some(Level::Number(1.0)),
            Self::Never => Some(Level::Number(0.0)),
            Self::Mean { mean, .. } => Some(mean.clone()),
            Self::Distribution(_) => None,
        }
    }

    /// The mean that is asked of a feature, where it is one number for all contexts.
    pub(crate) fn number(&self) -> Option<f64> {
        self.level()?.number()
    }

    /// Whether it differs by context.
    pub(crate) fn has_columns(&self) -> bool {
        match self {
            Self::Always | Self::Never => false,
            Self::Mean { mean, .. } => mean.number().is_none(),
            Self::Distribution(shares) => shares.iter().any(|share| share.share.number().is_none()),
        }
    }

    /// The field of a run file that says it.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::Mean { .. } => "mean",
            Self::Distribution(_) => "distribution",
        }
    }
}

/// As a run file has it: `"always"`, `{"mean": 0.5}`, `{"distribution": {"A": 0.2, "other": 0.8}}`.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Self::Always | Self::Never => return serializer.serialize_str(self.field()),
            _ => serializer.serialize_map(None)?,
        };
        match self {
            Self::Mean { mean, tolerance } => {
                map.serialize_entry("mean", mean)?;
                if *tolerance > 0.0 {
                    map.serialize_entry("tolerance", tolerance)?;
                }
            }
            Self::Distribution(shares) => {
                let shares: BTreeMap<&str, &Level> =
                    shares.iter().map(|share| (share.label.as_str(), &share.share)).collect();
                map.serialize_entry("distribution", &shares)?;
            }
            Self::Always | Self::Never => {}
        }
        map.end()
    }
}

/// A target as [`Serialize`] writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Hard(String),
    Mean {
        mean: Level,
        #[serde(default)]
        tolerance: f64,
    },
    Distribution {
        distribution: BTreeMap<String, Level>,
    },
}

/// As it is written. The shares are in the order of their labels' names, which is not that of the run file.
impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Hard(text) if text == Self::Always.field() => Self::Always,
            Written::Hard(text) if text == Self::Never.field() => Self::Never,
            Written::Hard(text) => return Err(de::Error::unknown_variant(&text, &["always", "never"])),
            Written::Mean { mean, tolerance } => Self::Mean { mean, tolerance },
            Written::Distribution { distribution } => {
                let share = |(label, share)| Share { label, share };
                Self::Distribution(distribution.into_iter().map(share).collect())
            }
        })
    }
}

/// The fields of a target, of which a feature has at most one.
const TARGETS: [&str; 5] = ["always", "never", "mean", "between", "distribution"];

/// The fields of a table of `[[features]]` that say what is asked of it.
pub(super) const TARGET_FIELDS: [&str; 8] =
    ["always", "never", "mean", "between", "distribution", "tolerance", "given", "per_context"];

const ALLOWED: &str = "one of: always = true, never = true, mean = NUMBER, between = [LOW, HIGH], distribution = { LABEL = SHARE, ... }";

/// Reads the target of a feature, if it has one.
pub(super) fn read_target(section: &Section<'_>, kind: &FeatureKind) -> Option<Target> {
    let given: Vec<&str> = TARGETS.into_iter().filter(|field| section.has(field)).collect();
    if given.len() > 1 {
        section.wrong_table("has more than one target", ALLOWED, &TARGETS);
    }
    // Where another field has a problem, the kind may not be what is meant.
    let is_kind_known = !section.has_problem();
    if is_kind_known && let Some(labels) = kind.labels() {
        for field in given.iter().filter(|field| **field != "distribution") {
            if !section.is_doubtful(field) {
                let allowed = format!("distribution = {{ {} = SHARE, ... }}", labels[0]);
                section.wrong(field, "is asked of a category", &allowed);
            }
        }
        // Nothing is known of labels that have a problem of their own.
        let is_known = LABEL_FIELDS.iter().all(|field| !section.is_doubtful(field));
        return if is_known { read_distribution(section, &labels) } else { None };
    }
    if is_kind_known && section.has("distribution") && !section.is_doubtful("distribution") {
        section.wrong(
            "distribution",
            "is asked of a feature that is no category",
            "kind = \"category\", or a mean",
        );
    }
    let means = if is_kind_known && !section.is_doubtful("value") { kind.means() } else { &FINITE };
    let tolerance = section.number("tolerance", &NOT_NEGATIVE);
    if section.has("tolerance") && !section.may_have("mean") && !section.is_doubtful("tolerance") {
        section.wrong("tolerance", "is of a mean", "mean = NUMBER beside it");
    }
    let tolerance = tolerance.unwrap_or(0.0);
    let mean = section.level("mean", means).map(|mean| Target::Mean { mean, tolerance });
    let between = section.range("between", means).map(|(low, high)| Target::Mean {
        mean: Level::Number(low + (high - low) / 2.0),
        tolerance: (high - low) / 2.0,
    });
    let hard = [("always", Target::Always), ("never", Target::Never)].map(|(field, target)| {
        let holds = section.boolean(field)?;
        if !holds && !section.is_doubtful(field) {
            section.wrong(field, "is false", ALLOWED);
        } else if is_kind_known && !kind.is_binary() && !section.is_doubtful(field) {
            let message = "is asked of a feature that is not 0 or 1";
            section.wrong(field, message, "mean = NUMBER, or a feature of another kind");
        }
        Some(target)
    });
    let [always, never] = hard;
    mean.or(between).or(always).or(never)
}

/// Reads the shares of a category's labels. They sum to 1.
fn read_distribution(section: &Section<'_>, labels: &[&str]) -> Option<Target> {
    let labels_in = LABEL_FIELDS.into_iter().find(|field| section.has(field)).unwrap_or(LABEL_FIELDS[0]);
    let mut shares = section.shares("distribution", labels, labels_in, &CLOSED_SHARE)?;
    let missing: Vec<&str> = labels
        .iter()
        .copied()
        .filter(|label| *label != OTHER && shares.iter().all(|share| share.label != *label))
        .collect();
    if !missing.is_empty() {
        let message = format!("has no share for {}", missing.join(", "));
        section.wrong("distribution", &message, "a share for each label; texts without a label are `other`");
        return None;
    }
    if shares.iter().all(|share| share.label != OTHER) {
        shares.push(Share { label: OTHER.into(), share: Level::Number(0.0) });
    }
    let numbers: Option<Vec<f64>> = shares.iter().map(|share| share.share.number()).collect();
    let sum = numbers.map(|numbers| numbers.iter().sum::<f64>());
    if let Some(sum) = sum.filter(|sum| (sum - 1.0).abs() > SUM_TOLERANCE) {
        let given: Vec<String> = shares
            .iter()
            .filter_map(|share| Some(format!("{} {}", share.label, share.share.number()?)))
            .collect();
        section.wrong(
            "distribution",
            &format!("sums to {sum}: {}", given.join(", ")),
            "shares that sum to 1, with `other` for texts without a label",
        );
        return None;
    }
    Some(Target::Distribution(shares))
}

/// The label of texts that have no other.
pub(crate) const OTHER: &str = "other";

/// The distance of a sum of shares from 1 that rounding alone can make.
pub(crate) const SUM_TOLERANCE: f64 = 1e-9;

/// The name of the feature under whose condition the mean is asked.
pub(super) fn read_given(section: &Section<'_>) -> Option<String> {
    section.string("given", &SOME_TEXT)
}
