//! Features that are made of other features: the kinds `between`, `all`, `any` and `not`, and the resolution of the names in them.

use std::collections::HashMap;

use toml::de::DeValue;

use super::{
    Allowed, FeatureKind, FeatureSpec,
    allowed::{FINITE, SOME_TEXT, TEXTS},
    category::CategoryRule,
    measures::measures,
    section::Section,
};

/// The number that a name stands for: the value of a feature, or whether a category has a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    /// The position of the feature.
    pub(crate) feature: usize,
    /// The position of the label, with `other` behind the labels; `None` for the value of the feature itself.
    pub(crate) label: Option<usize>,
}

/// The parts that names can stand for: a feature's name, and `FEATURE = LABEL`. Of a category's own name no number is meant, but a
/// reference may have it by mistake. Of two equal names the first is meant.
pub(crate) fn named_parts(features: &[FeatureSpec]) -> HashMap<String, Part> {
    let mut found = HashMap::new();
    let mut position = 0;
    let mut last = None;
    for measure in measures(features) {
        let feature = measure.index;
        position = if last == Some(feature) { position + 1 } else { 0 };
        last = Some(feature);
        let label = measure.label.is_some().then_some(position);
        found.entry(measure.feature.name.clone()).or_insert(Part { feature, label: None });
        found.entry(measure.name).or_insert(Part { feature, label });
    }
    found
}

/// The features in an order in which each comes after those that it is made of; or, as the error, the rings of features that are made
/// of each other, each beginning at its first feature. `parts` has the parts of each feature.
///
/// # Cost
/// Linear in features and parts.
pub(crate) fn evaluation_order(parts: &[Vec<Part>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut missing: Vec<usize> = parts.iter().map(Vec::len).collect();
    let mut users = vec![Vec::new(); parts.len()];
    for (feature, parts) in parts.iter().enumerate() {
        parts.iter().for_each(|part| users[part.feature].push(feature));
    }
    let mut order: Vec<usize> = (0..parts.len()).filter(|&feature| missing[feature] == 0).collect();
    let mut done = 0;
    while let Some(&feature) = order.get(done) {
        done += 1;
        for &user in &users[feature] {
            missing[user] -= 1;
            if missing[user] == 0 {
                order.push(user);
            }
        }
    }
    if order.len() == parts.len() { Ok(order) } else { Err(rings(parts, &missing)) }
}

/// The rings among the features that still miss parts. Each such feature has a part that misses parts too.
fn rings(parts: &[Vec<Part>], missing: &[usize]) -> Vec<Vec<usize>> {
    let mut rings = Vec::new();
    let mut walked = vec![None; parts.len()];
    for start in (0..parts.len()).filter(|&feature| missing[feature] > 0) {
        let mut path = Vec::new();
        let mut next = Some(start);
        while let Some(feature) = next.filter(|&feature| walked[feature].is_none()) {
            walked[feature] = Some(start);
            path.push(feature);
            next = parts[feature].iter().map(|part| part.feature).find(|&part| missing[part] > 0);
        }
        // A walk that ends in an earlier one has found no ring of its own.
        let Some(end) = next.filter(|&feature| walked[feature] == Some(start)) else { continue };
        let Some(begin) = path.iter().position(|&feature| feature == end) else { continue };
        let mut ring = path.split_off(begin);
        let first = ring.iter().enumerate().min_by_key(|(_, feature)| **feature);
        let first = first.map_or(0, |(index, _)| index);
        ring.rotate_left(first);
        rings.push(ring);
    }
    rings
}

impl FeatureKind {
    /// The names of the features that it is made of, each with the field that has it.
    pub(crate) fn part_names(&self) -> Vec<(String, &str)> {
        match self {
            Self::Between { of, .. } | Self::Not { of } => vec![("of".into(), of)],
            Self::All { of } | Self::Any { of } => {
                (1..).zip(of).map(|(number, name)| (format!("of.{number}"), name.as_str())).collect()
            }
            Self::Category(category) => match &category.rule {
                CategoryRule::Of { of } => vec![("of".into(), of)],
                CategoryRule::Choices | CategoryRule::Patterns { .. } => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

const NAME: Allowed<String> = Allowed { words: "the name of another feature", holds: SOME_TEXT.holds };
const NAMES: Allowed<Vec<String>> =
    Allowed { words: "the names of other features: [\"...\", \"...\"]", holds: TEXTS.holds };

/// Reads the fields of the kind `between`.
pub(super) fn read_between(section: &Section<'_>) -> FeatureKind {
    let of = read_of(section);
    let (low, high) = (section.number("low", &FINITE), section.number("high", &FINITE));
    if !section.may_have("low") && !section.may_have("high") && !section.is_doubtful("kind") {
        section.wrong_table("has no `low` and no `high`", "one of them, or both", &["low", "high"]);
    }
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        section.wrong("low", &format!("is {low}"), &format!("at most `high`, {high}"));
    }
    FeatureKind::Between { of, low, high }
}

/// Reads the name of a part.
pub(super) fn read_of(section: &Section<'_>) -> String {
    section.require("of", NAME.words);
    read_name(section).unwrap_or_default()
}

/// Reads the name of a part, if it is there.
pub(super) fn read_name(section: &Section<'_>) -> Option<String> {
    doubt_kind(section, |value| value.is_str());
    section.string("of", &NAME)
}

/// A value of another type than the kind has there may belong to another kind: it is the one mistake.
fn doubt_kind(section: &Section<'_>, is_right: fn(&DeValue<'_>) -> bool) {
    if section.value("of").is_some_and(|value| !is_right(value.get_ref())) {
        section.document.doubt(section.name("kind"));
    }
}

/// Reads the names of parts, which differ.
pub(super) fn read_all_of(section: &Section<'_>) -> Vec<String> {
    section.require("of", NAMES.words);
    doubt_kind(section, |value| value.is_array());
    let Some(names) = section.strings("of", &NAMES) else { return Vec::new() };
    section.place_items("of");
    let twice = (0..names.len()).find(|&index| names[..index].contains(&names[index]));
    if let Some(index) = twice {
        section.wrong_item("of", index, &format!("has \"{}\" a second time", names[index]), "each name once");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_first_and_rings_are_found_whole() {
        let order = |parts: &[&[usize]]| {
            let part = |&feature: &usize| Part { feature, label: None };
            evaluation_order(&parts.iter().map(|parts| parts.iter().map(part).collect()).collect::<Vec<_>>())
        };
        assert_eq!(order(&[&[2, 1], &[2], &[]]), Ok(vec![2, 1, 0]));
        assert_eq!(order(&[&[0]]), Err(vec![vec![0]]));
        // 1 -> 3 -> 2 -> 1, with 0 outside that is made of it; 4 and 5 are a ring of their own.
        assert_eq!(order(&[&[2], &[3], &[1], &[2], &[5], &[4], &[]]), Err(vec![vec![1, 3, 2], vec![4, 5]]));
        // A chain of 100,000 features needs no stack.
        let chain: Vec<Vec<Part>> = (0..100_000)
            .map(|at| if at == 0 { vec![] } else { vec![Part { feature: at - 1, label: None }] })
            .collect();
        assert_eq!(evaluation_order(&chain).unwrap().len(), 100_000);
    }
}
