//! Estimates in JSON, which has no infinity: an infinite error or effective sample size is `null`.

use disco_core::Estimate;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    value: f64,
    std_error: Option<f64>,
    ess: Option<f64>,
}

impl From<&Estimate> for Saved {
    fn from(estimate: &Estimate) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self { value: estimate.value, std_error: finite(estimate.std_error), ess: finite(estimate.ess) }
    }
}

impl From<Saved> for Estimate {
    fn from(saved: Saved) -> Self {
        let infinite = f64::INFINITY;
        Self {
            value: saved.value,
            std_error: saved.std_error.unwrap_or(infinite),
            ess: saved.ess.unwrap_or(infinite),
        }
    }
}

pub(crate) fn serialize<S: Serializer>(estimate: &Estimate, serializer: S) -> Result<S::Ok, S::Error> {
    Saved::from(estimate).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Estimate, D::Error> {
    Saved::deserialize(deserializer).map(Estimate::from)
}

/// The same for an estimate that may be missing.
pub(crate) mod option {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        estimate: &Option<Estimate>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        estimate.as_ref().map(Saved::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Estimate>, D::Error> {
        Ok(Option::<Saved>::deserialize(deserializer)?.map(Estimate::from))
    }
}
