//! Features that are made of the values of other features.

use disco_core::Score;

use crate::spec::{CategoryRule, FeatureKind, Part};

/// A rule that gives a number for the values of other features. A sample that one of them skips is skipped.
#[derive(Clone, Debug)]
pub(super) enum Combination {
    Between {
        low: f64,
        high: f64,
    },
    All,
    Any,
    Not,
    /// The label at the position that the value is, or the last one, `other`.
    Label {
        labels: usize,
    },
}

impl Combination {
    /// The rule of a kind; `None` for one that is not made of others.
    pub(super) fn new(kind: &FeatureKind) -> Option<Self> {
        match kind {
            FeatureKind::Between { low, high, .. } => Some(Self::Between {
                low: low.unwrap_or(f64::NEG_INFINITY),
                high: high.unwrap_or(f64::INFINITY),
            }),
            FeatureKind::All { .. } => Some(Self::All),
            FeatureKind::Any { .. } => Some(Self::Any),
            FeatureKind::Not { .. } => Some(Self::Not),
            FeatureKind::Category(category) => match category.rule {
                CategoryRule::Of { .. } => Some(Self::Label { labels: category.labels.len() }),
                CategoryRule::Choices | CategoryRule::Patterns { .. } => None,
            },
            _ => None,
        }
    }

    /// The value for the values of the parts, of which there is at least one.
    pub(super) fn value(&self, parts: impl Iterator<Item = Score>) -> Score {
        let truth = |holds: bool| f64::from(u8::from(holds));
        let values = parts.collect::<Result<Vec<f64>, _>>()?;
        let first = values.first().copied().unwrap_or(0.0);
        Ok(match self {
            Self::Between { low, high } => truth((*low..=*high).contains(&first)),
            Self::All => truth(values.iter().all(|value| *value == 1.0)),
            Self::Any => truth(values.contains(&1.0)),
            Self::Not => truth(first == 0.0),
            Self::Label { labels } => {
                let is_label =
                    (0..*labels).contains(&(first as usize)) && first.fract() == 0.0 && first >= 0.0;
                if is_label { first } else { *labels as f64 }
            }
        })
    }
}

/// The value of a part: that of its feature, or whether this is the position of the part's label.
pub(super) fn part_value(part: Part, feature: &Score) -> Score {
    let value = feature.clone()?;
    Ok(part.label.map_or(value, |label| f64::from(u8::from(value == label as f64))))
}
