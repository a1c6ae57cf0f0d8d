//! Problems with references from features to features: names that there are not, rings, and kinds that cannot be parts.

use std::collections::BTreeMap;

use super::{
    FeatureKind, FeatureSpec,
    category::LABEL_FIELDS,
    document::Conflict,
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
    let mut unknown: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut made_of = vec![Vec::new(); features.len()];
    for reference in references(features) {
        match parts.get(reference.name) {
            None => unknown.entry(reference.name).or_default().push(reference.path),
            Some(part) => {
                found.extend(wrong_kind(features, &reference, *part));
                if !reference.is_condition {
                    made_of[reference.feature].push(*part);
                }
            }
        }
    }
    found.extend(unknown.into_iter().map(|(name, places)| no_such_name(features, name, places)));
    let rings = evaluation_order(&made_of).err().unwrap_or_default();
    found.extend(rings.iter().map(|ring| ring_conflict(features, ring)));
    found
}

fn references(features: &[FeatureSpec]) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for (feature, spec) in features.iter().enumerate() {
        for (field, name) in spec.kind.part_names() {
            found.push(Reference { feature, path: path(feature, &field), name, is_condition: false });
        }
        if let Some(name) = &spec.given {
            found.push(Reference { feature, path: path(feature, "given"), name, is_condition: true });
        }
    }
    found
}

/// The path of a field of a feature.
fn path(feature: usize, field: &str) -> String {
    format!("features.{}.{field}", feature + 1)
}

/// A feature has the name that a label of a category has. That two features have one name is found elsewhere.
fn equal_names(measures: &[Measure<'_>], found: &mut Vec<Conflict>) {
    let mut known: BTreeMap<&str, &Measure<'_>> = BTreeMap::new();
    for measure in measures {
        let Some(first) = known.insert(&measure.name, measure) else { continue };
        if first.label.is_none() && measure.label.is_none() {
            continue;
        }
        let (feature, category) =
            if measure.label.is_none() { (measure, first) } else { (first, measure) };
        found.push(Conflict {
            fields: vec![path(feature.index, "name")],
            others: vec![path(category.index, "name"), format!("features.{}", category.index + 1)],
            message: format!("is \"{}\", the name of a label of `{}`", measure.name, category.feature.name),
            allowed: "names that differ".into(),
        });
    }
}

/// The problem of a name that several places may have.
fn no_such_name(features: &[FeatureSpec], name: &str, places: Vec<String>) -> Conflict {
    let measures = measures(features);
    let mut names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
    names.extend(measures.iter().filter(|measure| measure.label.is_some()).map(|measure| &*measure.name));
    let also = match &places[1..] {
        [] => String::new(),
        more => format!("; it stands in {} too", more.join(", ")),
    };
    // The name may be that of a feature whose name, or a label of which, has a problem of its own.
    let fields = ["name", "kind", "distribution"].into_iter().chain(LABEL_FIELDS);
    let others = fields.flat_map(|field| (0..features.len()).map(move |feature| path(feature, field)));
    Conflict {
        message: format!("is \"{name}\", and no feature has that name{also}{}", hint(&nearest(name, &names))),
        allowed: list(&names),
        others: others.collect(),
        fields: places,
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
    let others = vec![
        path(reference.feature, "kind"),
        format!("features.{}", part.feature + 1),
    ];
    // Of a feature that names itself, the kind alone is looked at.
    let others = if part.feature == reference.feature { others[..1].to_vec() } else { others };
    Some(Conflict { fields: vec![reference.path.clone()], others, message, allowed })
}

/// The problem of features that are made of each other.
fn ring_conflict(features: &[FeatureSpec], ring: &[usize]) -> Conflict {
    let names: Vec<String> =
        ring.iter().chain(&ring[..1]).map(|&feature| format!("`{}`", features[feature].name)).collect();
    let fields = ring.iter().map(|&feature| path(feature, "of"));
    let message = match ring {
        [_] => "makes the feature of itself".to_owned(),
        _ => format!("makes features of each other: {}", names.join(" of ")),
    };
    Conflict {
        fields: fields.collect(),
        others: ring.iter().map(|feature| format!("features.{}", feature + 1)).collect(),
        message,
        allowed: "features that are made of others, and those not of them".into(),
    }
}
