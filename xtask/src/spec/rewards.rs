//! The tables `[[rewards]]`: features whose values are rewards.

use serde::{Deserialize, Serialize};

use super::{
    allowed::{FINITE, SOME_TEXT},
    section::Section,
};

/// A reward: the target has the factor `exp(feature / beta)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardSpec {
    /// The name of the feature whose value is the reward.
    pub feature: String,
    /// The strength: the smaller, the more the reward counts. In RLHF it is the coefficient of the KL penalty.
    pub beta: f64,
}

/// The fields of a table.
pub(super) const REWARD_FIELDS: &[&str] = &["feature", "beta"];

/// The strength, which is not 0. A negative one asks for small values.
const BETA: super::Allowed<f64> = super::Allowed {
    words: "a finite number other than 0, such as 0.1",
    holds: |x| (FINITE.holds)(x) && *x != 0.0 && x.recip().is_finite(),
};

/// Reads one table of `[[rewards]]`.
pub(super) fn read_reward(section: &Section<'_>) -> RewardSpec {
    section.require("feature", "the name of a feature, whose value is the reward");
    section.require("beta", BETA.words);
    RewardSpec {
        feature: section.string("feature", &SOME_TEXT).unwrap_or_default(),
        beta: section.number("beta", &BETA).unwrap_or(1.0),
    }
}
