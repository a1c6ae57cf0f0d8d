//! A divergence by its name, with help for the other names that the field has for it.

use disco_core::Error as CoreError;
use disco_divergence::{Error, FDivergence};

use super::names::{Alias, hint, list, meant};

/// Other names of divergences. The order of the arguments of KL differs between authors: both are offered.
const ALIASES: &[Alias] = &[
    ("kl", &["forward-kl", "reverse-kl"]),
    ("kld", &["forward-kl", "reverse-kl"]),
    ("kl-divergence", &["forward-kl", "reverse-kl"]),
    ("kullback-leibler", &["forward-kl", "reverse-kl"]),
    ("fkl", &["forward-kl"]),
    ("kl-forward", &["forward-kl"]),
    ("inclusive-kl", &["forward-kl"]),
    ("dpg", &["forward-kl"]),
    ("gdc", &["forward-kl"]),
    ("rkl", &["reverse-kl"]),
    ("kl-reverse", &["reverse-kl"]),
    ("backward-kl", &["reverse-kl"]),
    ("exclusive-kl", &["reverse-kl"]),
    ("rlhf", &["reverse-kl"]),
    ("jsd", &["js"]),
    ("jensen-shannon", &["js"]),
    ("jensen-shannon-divergence", &["js"]),
    ("gjs", &["skewed-js:<weight>"]),
    ("tvd", &["tv"]),
    ("total-variation", &["tv"]),
    ("total-variation-distance", &["tv"]),
    ("chi2", &["chi2-forward", "chi2-reverse"]),
    ("chi-squared", &["chi2-forward", "chi2-reverse"]),
    ("chi-square", &["chi2-forward", "chi2-reverse"]),
    ("pearson", &["chi2-forward", "chi2-reverse"]),
    ("neyman", &["chi2-forward", "chi2-reverse"]),
    ("hellinger-squared", &["hellinger"]),
    ("squared-hellinger", &["hellinger"]),
    ("h2", &["hellinger"]),
    ("symmetric-kl", &["jeffreys"]),
    ("symmetrised-kl", &["jeffreys"]),
    ("symmetrized-kl", &["jeffreys"]),
    ("j-divergence", &["jeffreys"]),
    ("renyi", &["alpha:<order>"]),
    ("tsallis", &["alpha:<order>"]),
    ("alpha", &["alpha:<order>"]),
    ("alpha-divergence", &["alpha:<order>"]),
    ("skewed-kl", &["skewed-kl:<weight>"]),
    ("skew-kl", &["skewed-kl:<weight>"]),
    ("skewed-js", &["skewed-js:<weight>"]),
    ("skew-js", &["skewed-js:<weight>"]),
];

/// The divergence that `name` names.
///
/// # Errors
/// The problem, as the end of a sentence that begins with the field, and the values that are allowed.
pub(crate) fn find_divergence(name: &str) -> Result<FDivergence, (String, String)> {
    match name.parse::<FDivergence>() {
        Ok(divergence) => Ok(divergence),
        Err(Error::UnknownName { allowed, .. }) => {
            let head = |name: &'static str| name.split(':').next().unwrap_or(name);
            let heads: Vec<&str> = allowed.iter().map(|name| head(name)).collect();
            let given = name.split(':').next().unwrap_or(name);
            let meant = meant(given, &heads, ALIASES);
            let whole = |name: &&str| allowed.iter().find(|known| head(known) == *name).copied();
            let meant: Vec<&str> = meant.iter().map(|name| whole(name).unwrap_or(name)).collect();
            Err((format!("is \"{name}\"{}", hint(&meant)), list(allowed)))
        }
        // A parameter behind the colon.
        Err(Error::Core(CoreError::Invalid { field, value, allowed })) => {
            Err((format!("is \"{name}\": {field} is {value}"), allowed.into_owned()))
        }
        Err(other) => Err((format!("is \"{name}\""), other.to_string())),
    }
}

/// The named divergences that are finite where the policy leaves the target's support.
pub(crate) fn finite_outside_the_support() -> String {
    use disco_divergence::Divergence;
    let finite = FDivergence::NAMED.into_iter().filter(|one| one.derivative_at_infinity() < f64::INFINITY);
    finite.map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_leads_to_a_divergence() {
        for (alias, meant) in ALIASES {
            assert!(alias.parse::<FDivergence>().is_err(), "{alias} is a name");
            for name in *meant {
                let name = name.replace("<order>", "0.5").replace("<weight>", "0.5");
                assert!(name.parse::<FDivergence>().is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn a_divergence_that_is_none_is_told_which_may_be_meant() {
        let said = |name: &str| find_divergence(name).unwrap_err().0;
        assert_eq!(said("kl"), "is \"kl\"; did you mean `forward-kl` or `reverse-kl`?");
        assert_eq!(said("KL_forward"), "is \"KL_forward\"; did you mean `forward-kl`?");
        assert_eq!(said("Total Variation"), "is \"Total Variation\"; did you mean `tv`?");
        assert_eq!(said("alpha"), "is \"alpha\"; did you mean `alpha:<order>`?");
        assert_eq!(said("alpha:x"), "is \"alpha:x\"; did you mean `alpha:<order>`?");
        assert_eq!(said("mmd"), "is \"mmd\"");
        let (problem, allowed) = find_divergence("skewed-js:1.5").unwrap_err();
        assert_eq!(problem, "is \"skewed-js:1.5\": weight of a skewed divergence is 1.5");
        assert_eq!(allowed, "0 < weight < 1");
        assert_eq!(finite_outside_the_support(), "forward-kl, tv, js, chi2-forward, hellinger");
    }
}
