//! Problems with references from features to features: names that there are not, rings, and kinds that cannot be parts.

use std::collections::BTreeMap;

use super::{
    FeatureKind, FeatureSpec,
    category::LABEL_FIELDS,
    document::{Conflict, feature_path},
    measures::{Measure, measures},
    names::{hint, list, nearest},
    parts::{Part, evaluation_order, named_parts},
};

/// A reference to a part by its name.
struct Reference<'a> {
    /// The position of the feature that has it.
    feature: usize,
    /// The path of the field that has it.
    path: String,
    name: &'a str,
    /// Whether it is a condition, on which the feature's own values do not depend.
    is_condition: bool,
}

/// The problems with the references of features to features.
pub(super) fn part_conflicts(features: &[FeatureSpec]) -> Vec<Conflict> {
    let mut found = Vec::new();
    equal_names(&measures(features), &mut found);
    let parts = named_parts(features);
    let mut unknown: BTreeMap<Unknown<'_>, Vec<(String, &str)>> = BTreeMap::new();
    let mut made_of = vec![Vec::new(); features.len()];
    for reference in references(features) {
        match parts.get(reference.name) {
            None => {
                let place = (reference.path, reference.name);
                unknown.entry(Unknown::of(features, reference.name)).or_default().push(place);
            }
            Some(part) => {
                found.extend(wrong_kind(features, &reference, *part));
                if !reference.is_condition {
                    made_of[reference.feature].push(*part);
                }
            }
        }
    }
    found.extend(unknown.into_iter().map(|(what, places)| what.conflict(features, places)));
    let rings = evaluation_order(&made_of).err().unwrap_or_default();
    found.extend(rings.iter().map(|ring| ring_conflict(features, ring)));
    found
}

fn references(features: &[FeatureSpec]) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for (feature, spec) in features.iter().enumerate() {
        for (field, name) in spec.kind.part_names() {
            found.push(Reference { feature, path: feature_path(feature, &field), name, is_condition: false });
        }
        if let Some(name) = &spec.given {
            found.push(Reference { feature, path: feature_path(feature, "given"), name, is_condition: true });
        }
    }
    found
}

/// A feature has the name that a label of a category has. That two features have one name is found elsewhere.
fn equal_names(measures: &[Measure<'_>], found: &mut Vec<Conflict>) {
    let mut known: BTreeMap<&str, &Measure<'_>> = BTreeMap::new();
    for measure in measures {
        let Some(first) = known.insert(&measure.name, measure) else { continue };
        if first.label.is_none() && measure.label.is_none() {
            continue;
        }
        let (feature, category) = if measure.label.is_none() { (measure, first) } else { (first, measure) };
        let message = format!("is \"{}\", the name of a label of `{}`", measure.name, category.feature.name);
        found.push(Conflict {
            others: vec![format!("features.{}", category.index + 1)],
            ..Conflict::new([feature_path(feature.index, "name")], message, "names that differ")
        });
    }
}

/// A name that stands for nothing. One mistake at the feature that is meant may be behind all references to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unknown<'a> {
    /// Labels that this category does not have.
    LabelsOf(usize),
    /// A feature of this name, or labels of it.
    Feature(&'a str),
}

impl<'a> Unknown<'a> {
    fn of(features: &[FeatureSpec], name: &'a str) -> Self {
        let is_label_of = |feature: &FeatureSpec| {
            let rest = name.strip_prefix(feature.name.as_str());
            feature.kind.labels().is_some() && rest.is_some_and(|rest| rest.starts_with(" = "))
        };
        let feature = name.split(" = ").next().unwrap_or(name);
        features.iter().position(is_label_of).map_or(Self::Feature(feature), Self::LabelsOf)
    }

    /// The problem, with the places that have such a name.
    fn conflict(self, features: &[FeatureSpec], places: Vec<(String, &str)>) -> Conflict {
        let measures = measures(features);
        let is_meant = |measure: &&Measure<'_>| match self {
            Self::LabelsOf(category) => measure.index == category,
            Self::Feature(_) => true,
        };
        let names: Vec<&str> = measures.iter().filter(is_meant).map(|measure| &*measure.name).collect();
        let name = places.first().map_or("", |(_, name)| *name);
        let hint = hint(&nearest(name, &names));
        let (said, allowed) = match self {
            Self::LabelsOf(category) => {
                let feature = &features[category];
                let field = if feature.kind.has_choices() { "choices" } else { "labels" };
                (format!("`{}` has no such label", feature.name), format!("its `{field}`: {}", list(&names)))
            }
            Self::Feature(_) => ("no feature has that name".to_owned(), list(&names)),
        };
        // The feature that is meant may have a problem with its name or its labels.
        let fields = ["name", "kind", "distribution"].into_iter().chain(LABEL_FIELDS);
        let others =
            fields.flat_map(|field| (0..features.len()).map(move |feature| feature_path(feature, field)));
        let (fields, others): (Vec<String>, Vec<String>) =
            (places.into_iter().map(|(path, _)| path).collect(), others.collect());
        let also = match &fields[1..] {
            [] => String::new(),
            more => format!("; nor for {}", more.join(", ")),
        };
        Conflict {
            others,
            ..Conflict::new(fields, format!("is \"{name}\", and {said}{hint}{also}"), allowed)
        }
    }
}

/// The problem with a part of a kind that cannot be one there.
fn wrong_kind(features: &[FeatureSpec], reference: &Reference<'_>, part: Part) -> Option<Conflict> {
    let (own, other) = (&features[reference.feature], &features[part.feature]);
    let name = reference.name;
    let takes_numbers = match own.kind {
        FeatureKind::Between { .. } | FeatureKind::Category(_) => !reference.is_condition,
        _ => false,
    };
    let (message, allowed) = if reference.is_condition && part.feature == reference.feature {
        (format!("is \"{name}\", the feature itself"), "the name of another feature".to_owned())
    } else if let (None, Some(labels)) = (part.label, other.kind.labels()) {
        let wanted = if takes_numbers { "a number" } else { "0 or 1" };
        let labels: Vec<String> = labels.iter().map(|label| format!("{name} = {label}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let allowed = match takes_numbers {
            true => "the name of a feature that is a number".to_owned(),
            false => format!("one of its labels: {}", list(&labels)),
        };
        (format!("is \"{name}\", a category, and not {wanted}"), allowed)
    } else if part.label.is_none() && !takes_numbers && !other.kind.is_binary() {
        (format!("is \"{name}\", which is not 0 or 1"), "the name of a feature that is 0 or 1".to_owned())
    } else {
        return None;
    };
    let others = vec![feature_path(reference.feature, "kind"), format!("features.{}", part.feature + 1)];
    Some(Conflict { others, ..Conflict::new([reference.path.clone()], message, allowed) })
}

/// The problem of features that are made of each other.
fn ring_conflict(features: &[FeatureSpec], ring: &[usize]) -> Conflict {
    let names: Vec<String> =
        ring.iter().chain(&ring[..1]).map(|&feature| format!("`{}`", features[feature].name)).collect();
    let fields = ring.iter().map(|&feature| feature_path(feature, "of"));
    let message = match ring {
        [_] => "makes the feature of itself".to_owned(),
        _ => format!("makes features of each other: {}", names.join(" of ")),
    };
    Conflict {
        others: ring.iter().map(|feature| format!("features.{}", feature + 1)).collect(),
        ..Conflict::new(fields, message, "features that are made of others, and those not of them")
    }
}
