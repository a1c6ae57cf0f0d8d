//! References from one part of a run file to another: to features by their names, and to columns of contexts.

use std::collections::BTreeMap;

use super::{
    FeatureKind, FeatureSpec, Spec, Target,
    document::{Conflict, feature_path},
    names::{hint, nearest},
    part_conflicts::part_conflicts,
    target::SUM_TOLERANCE,
};
use crate::contexts::TextContext;

/// The problems with the references of a spec.
pub(super) fn reference_conflicts(spec: &Spec) -> Vec<Conflict> {
    let mut found = Vec::new();
    asked(spec, &mut found);
    conditions(spec, &mut found);
    found.extend(part_conflicts(&spec.features));
    phrases(spec, &mut found);
    rewards(spec, &mut found);
    columns(spec, &mut found);
    sample_space(spec, &mut found);
    found
}

/// Something is asked at all.
fn asked(spec: &Spec, found: &mut Vec<Conflict>) {
    if spec.rewards.is_empty() && spec.features.iter().all(|feature| feature.target.is_none()) {
        let message = "ask for nothing: none has a target, and there are no [[rewards]]";
        let allowed = "a target for a feature (always, never, mean, between or distribution), or a reward";
        found.push(Conflict::new(["features", "rewards"], message, allowed));
    }
}

/// The feature of a name, or the problem with the reference to it.
fn find_feature<'s>(spec: &'s Spec, name: &str) -> Result<&'s FeatureSpec, (String, String)> {
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
        let mut wrong = |field: &str, message: &str, allowed: &str| {
            found.push(Conflict {
                others: vec![format!("features.{}", index + 1)],
                ..Conflict::new([feature_path(index, field)], message, allowed)
            });
        };
        if feature.per_context && feature.target.is_none() {
            wrong(
                "per_context",
                "is of a target, and the feature has none",
                "a target beside it: always, never, mean, between or distribution",
            );
        }
        if let (Some(target), false) = (&feature.target, feature.per_context)
            && target.has_columns()
        {
            let allowed = "per_context = true, or no `per_context`";
            wrong("per_context", "is false, but the target differs by context", allowed);
        }
        if feature.given.is_some() && feature.target.is_none() {
            wrong(
                "given",
                "is of a target, and the feature has none",
                "a target beside it: always, never, mean, between or distribution",
            );
        }
    }
}

fn rewards(spec: &Spec, found: &mut Vec<Conflict>) {
    for (index, reward) in spec.rewards.iter().enumerate() {
        let own = format!("rewards.{}.feature", index + 1);
        let fields = vec![own, "features".into()];
        match find_feature(spec, &reward.feature) {
            Err((message, allowed)) => found.push(Conflict::new(fields, message, allowed)),
            Ok(feature) if feature.kind.labels().is_some() => {
                let message = format!("is \"{}\", a category", feature.name);
                found.push(Conflict::new(fields, message, "the name of a feature that is a number"));
            }
            Ok(feature) if feature.target.is_some() => {
                let message = format!("is \"{}\", of which a mean is asked as well", feature.name);
                let allowed =
                    "a feature without a target: a reward and a mean are two coefficients of one feature";
                found.push(Conflict::new(fields, message, allowed));
            }
            Ok(_) => {
                if spec.rewards[..index].iter().any(|other| other.feature == reward.feature) {
                    let message = format!("is \"{}\" for the second time", reward.feature);
                    found.push(Conflict::new(
                        fields,
                        message,
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
        let fields =
            vec![feature_path(index, target.field()), format!("features.{}", index + 1), "contexts".into()];
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
                found.push(Conflict::new(fields, message, allowed));
                break;
            }
        }
    }
}

/// The contexts and those that are held out, with their names in messages.
fn all_contexts(spec: &Spec) -> Vec<(String, &TextContext)> {
    let contexts = &spec.contexts;
    let items = (1..).zip(&contexts.items).map(|(number, context)| (format!("context {number}"), context));
    let held_out = (1..).zip(&contexts.held_out);
    let held_out = held_out.map(|(number, context)| (format!("held-out context {number}"), context));
    items.chain(held_out).collect()
}

/// Columns that features look for: each context has them, with texts that can be looked for. One column is one problem.
fn phrases(spec: &Spec, found: &mut Vec<Conflict>) {
    let contexts = all_contexts(spec);
    let mut wrong: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, feature) in spec.features.iter().enumerate().filter(|(_, feature)| feature.kind.has_column())
    {
        let problem = |kind: FeatureKind| match kind.pattern() {
            Some(Err(_)) => Err("the text is too long to be searched for".to_owned()),
            _ => Ok(()),
        };
        let of = |(name, context): &(String, &TextContext)| {
            Some(format!("{name}: {}", feature.kind.in_context(context).and_then(problem).err()?))
        };
        let problems: Vec<String> = contexts.iter().filter_map(of).collect();
        let Some(first) = problems.first() else { continue };
        let more = match problems.len() {
            1 => String::new(),
            count => format!(" ({} contexts more have such a problem)", count - 1),
        };
        wrong.entry(format!("has no text in {first}{more}")).or_default().push(index);
    }
    for (message, features) in wrong {
        let path = |field: &str| features.iter().map(|&index| feature_path(index, field)).collect::<Vec<_>>();
        found.push(Conflict {
            others: path("kind").into_iter().chain(["contexts".into()]).collect(),
            ..Conflict::new(path("text"), message, "a column that every context has, with a text")
        });
    }
}

/// The choices of each context, and that there is no grammar beside them.
fn sample_space(spec: &Spec, found: &mut Vec<Conflict>) {
    let Some(choices) = &spec.model.choices else { return };
    if spec.model.grammar.is_some() {
        let fields = ["model.choices", "model.grammar"];
        found.push(Conflict::new(fields, "is given beside a grammar", "one of the two"));
    }
    let wrong = |(name, context): (String, &TextContext)| Some((name, choices.of(context).err()?));
    if let Some((name, problem)) = all_contexts(spec).into_iter().find_map(wrong) {
        let message = format!("cannot be had in {name}: {problem}");
        let allowed = "a column of JSON lines with a list of strings in every context";
        found.push(Conflict::new(["model.choices", "contexts"], message, allowed));
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
