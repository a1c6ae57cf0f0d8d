//! References from one part of a run file to another: to features by their names, and to columns of contexts.

use super::{
    FeatureSpec, Spec, Target,
    document::Conflict,
    names::{hint, nearest},
    target::SUM_TOLERANCE,
};

/// The problems with the references of a spec.
pub(super) fn reference_conflicts(spec: &Spec) -> Vec<Conflict> {
    let mut found = Vec::new();
    asked(spec, &mut found);
    conditions(spec, &mut found);
    rewards(spec, &mut found);
    columns(spec, &mut found);
    found
}

/// Something is asked at all.
fn asked(spec: &Spec, found: &mut Vec<Conflict>) {
    if spec.rewards.is_empty() && spec.features.iter().all(|feature| feature.target.is_none()) {
        let message = "ask for nothing: none has a target, and there are no [[rewards]]";
        let allowed = "a target for a feature (always, never, mean, between or distribution), or a reward";
        found.push(conflict(vec!["features".into(), "rewards".into()], message, allowed));
    }
}

/// The feature of a name, or the problem with the reference to it.
pub(super) fn find_feature<'s>(spec: &'s Spec, name: &str) -> Result<&'s FeatureSpec, (String, String)> {
    spec.features.iter().find(|feature| feature.name == name).ok_or_else(|| {
        let names: Vec<&str> = spec.features.iter().map(|feature| feature.name.as_str()).collect();
        (
            format!("is \"{name}\", and no feature has that name{}", hint(&nearest(name, &names))),
            names.join(", "),
        )
    })
}

/// Conditions under which means are asked.
fn conditions(spec: &Spec, found: &mut Vec<Conflict>) {
    for (index, feature) in spec.features.iter().enumerate() {
        let own = |field: &str| format!("features.{}.{field}", index + 1);
        let mut wrong = |field: &str, message: &str, allowed: &str| {
            found.push(conflict(vec![own(field), "features".into()], message, allowed));
        };
        if feature.per_context && feature.target.is_none() {
            wrong("per_context", "is of a target, and the feature has none", "a target beside it");
        }
        if let (Some(target), false) = (&feature.target, feature.per_context) {
            if target.has_columns() {
                let allowed = "per_context = true, or no `per_context`";
                wrong("per_context", "is false, but the target differs by context", allowed);
            }
        }
        let Some(given) = &feature.given else { continue };
        if feature.target.is_none() {
            wrong("given", "is of a target, and the feature has none", "a target beside it");
        }
        match find_feature(spec, given) {
            Err((message, allowed)) => wrong("given", &message, &allowed),
            Ok(condition) if condition.name == feature.name => {
                wrong("given", "names the feature itself", "the name of another feature");
            }
            Ok(condition) if !condition.kind.is_binary() => {
                let message = format!("is \"{given}\", which is not 0 or 1");
                wrong("given", &message, "the name of a feature that is 0 or 1");
            }
            Ok(_) => {}
        }
    }
}

fn rewards(spec: &Spec, found: &mut Vec<Conflict>) {
    for (index, reward) in spec.rewards.iter().enumerate() {
        let own = format!("rewards.{}.feature", index + 1);
        let fields = vec![own, "features".into()];
        match find_feature(spec, &reward.feature) {
            Err((message, allowed)) => found.push(conflict(fields, &message, &allowed)),
            Ok(feature) if feature.kind.labels().is_some() => {
                let message = format!("is \"{}\", a category", feature.name);
                found.push(conflict(fields, &message, "the name of a feature that is a number"));
            }
            Ok(feature) if feature.target.is_some() => {
                let message = format!("is \"{}\", of which a mean is asked as well", feature.name);
                let allowed =
                    "a feature without a target: a reward and a mean are two coefficients of one feature";
                found.push(conflict(fields, &message, allowed));
            }
            Ok(_) => {
                if spec.rewards[..index].iter().any(|other| other.feature == reward.feature) {
                    let message = format!("is \"{}\" for the second time", reward.feature);
                    found.push(conflict(
                        fields,
                        &message,
                        "each feature once: the factors of two rewards multiply",
                    ));
                }
            }
        }
    }
}

/// Columns that targets name: each context has them, with numbers that are allowed.
fn columns(spec: &Spec, found: &mut Vec<Conflict>) {
    for (index, feature) in spec.features.iter().enumerate() {
        let Some(target) = feature.target.as_ref().filter(|target| target.has_columns()) else { continue };
        let fields = vec![
            format!("features.{}.{}", index + 1, target.field()),
            format!("features.{}", index + 1),
            "contexts".into(),
        ];
        for (number, context) in spec.contexts.items.iter().enumerate() {
            let problem = match target {
                Target::Distribution(shares) => {
                    let values: Result<Vec<f64>, String> =
                        shares.iter().map(|share| share.share.of(context)).collect();
                    values.and_then(|values| check_shares(&values))
                }
                _ => target.level().map_or(Ok(0.0), |level| level.of(context)).and_then(|mean| {
                    let allowed = feature.kind.means();
                    // A share of 0 or 1 in one of many contexts is what the column says.
                    let is_bound = feature.kind.is_binary() && (mean == 0.0 || mean == 1.0);
                    match (allowed.holds)(&mean) || is_bound {
                        true => Ok(()),
                        false => Err(format!("its mean is {mean}; allowed: {}", allowed.words)),
                    }
                }),
            };
            if let Err(problem) = problem {
                let message = format!("cannot be had in context {}: {problem}", number + 1);
                let allowed = "a column of numbers that every context has";
                found.push(conflict(fields, &message, allowed));
                break;
            }
        }
    }
}

/// Shares are between 0 and 1, and sum to 1.
fn check_shares(values: &[f64]) -> Result<(), String> {
    if let Some(wrong) = values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(format!("a share is {wrong}; allowed: a number from 0 to 1"));
    }
    let sum: f64 = values.iter().sum();
    match (sum - 1.0).abs() <= SUM_TOLERANCE {
        true => Ok(()),
        false => Err(format!("the shares sum to {sum}; allowed: 1")),
    }
}

fn conflict(fields: Vec<String>, message: &str, allowed: &str) -> Conflict {
    Conflict { fields, message: message.into(), allowed: allowed.into() }
}
