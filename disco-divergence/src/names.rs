//! Divergences by name.

use std::{fmt, str::FromStr};

use crate::{Error, FDivergence};

/// The names that `FromStr` accepts, for its error message.
const ALLOWED: &[&str] = &[
    "forward-kl",
    "reverse-kl",
    "tv",
    "js",
    "chi2-forward",
    "chi2-reverse",
    "hellinger",
    "jeffreys",
    "alpha:<order>",
    "skewed-kl:<weight>",
    "skewed-js:<weight>",
];

impl fmt::Display for FDivergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KlForward => f.pad("forward-kl"),
            Self::KlReverse => f.pad("reverse-kl"),
            Self::TotalVariation => f.pad("tv"),
            Self::JensenShannon => f.pad("js"),
            Self::ChiSquaredForward => f.pad("chi2-forward"),
            Self::ChiSquaredReverse => f.pad("chi2-reverse"),
            Self::SquaredHellinger => f.pad("hellinger"),
            Self::Jeffreys => f.pad("jeffreys"),
            Self::Alpha(order) => f.pad(&format!("alpha:{}", order.get())),
            Self::SkewedKl(weight) => f.pad(&format!("skewed-kl:{}", weight.get())),
            Self::SkewedJs(weight) => f.pad(&format!("skewed-js:{}", weight.get())),
        }
    }
}

impl FromStr for FDivergence {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownName { given: given.into(), allowed: ALLOWED };
        let number = |text: &str| text.parse::<f64>().map_err(|_| unknown());
        if let Some(named) = Self::NAMED.into_iter().find(|divergence| divergence.to_string() == given) {
            return Ok(named);
        }
        match given.split_once(':').ok_or_else(unknown)? {
            ("alpha", order) => Ok(Self::alpha(number(order)?)?),
            ("skewed-kl", weight) => Ok(Self::skewed_kl(number(weight)?)?),
            ("skewed-js", weight) => Ok(Self::skewed_js(number(weight)?)?),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for FDivergence {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<FDivergence> for String {
    fn from(divergence: FDivergence) -> Self {
        divergence.to_string()
    }
}
