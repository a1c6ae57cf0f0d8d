//! Features that bound each other whatever the text is: one that holds only where another holds, or whose values are never larger.
//!
//! Only what is certain is found. Other targets that cannot hold together are found by the fit, from samples.

use regex::Regex;

use super::{FeatureKind, LengthUnit, WordValue, Words};

/// A kind of feature with its pattern, which is compiled once, and the feature's name.
pub(super) struct Bounded<'a> {
    name: &'a str,
    kind: &'a FeatureKind,
    pattern: Option<Regex>,
    literal: Option<Literal<'a>>,
}

/// A text that occurs wherever a feature holds.
struct Literal<'a> {
    text: &'a str,
    ignore_case: bool,
    /// Whether no character of a word can stand before it, and behind it.
    bounds: (bool, bool),
}

impl<'a> Bounded<'a> {
    pub(super) fn new(name: &'a str, kind: &'a FeatureKind) -> Self {
        // Of a text that differs by context nothing is known.
        let literal = match kind {
            FeatureKind::Contains(words) | FeatureKind::Count(words) => {
                let Words { text, whole_word, ignore_case } = words;
                let bounds = (*whole_word, *whole_word);
                text.text().map(|text| Literal { text, ignore_case: *ignore_case, bounds })
            }
            FeatureKind::StartsWith { text } => {
                text.text().map(|text| Literal { text, ignore_case: false, bounds: (true, false) })
            }
            FeatureKind::Ends { text: Some(text) } => text.text().map(|text| Literal {
                text: text.trim_end(),
                ignore_case: false,
                bounds: (false, true),
            }),
            _ => None,
        };
        // A pattern that cannot be compiled is a problem of its own.
        Self { name, kind, pattern: kind.pattern().and_then(Result::ok), literal }
    }

    /// Whether it is 1 for every text.
    pub(super) fn always_holds(&self) -> bool {
        match (self.kind, &self.pattern) {
            (FeatureKind::Regex { pattern }, Some(compiled)) => {
                !looks_around(pattern) && compiled.is_match("")
            }
            _ => false,
        }
    }

    /// The largest known factor such that the factor times this value is never above the value of `other`.
    pub(super) fn factor_below(&self, other: &Self) -> Option<f64> {
        if self.kind == other.kind {
            return Some(1.0);
        }
        if let (
            FeatureKind::Length { unit: LengthUnit::Words },
            FeatureKind::Length { unit: LengthUnit::Characters },
        ) = (self.kind, other.kind)
        {
            return Some(1.0);
        }
        if self.is_made_below(other) {
            return Some(1.0);
        }
        let literal = self.literal.as_ref()?;
        if let FeatureKind::Length { unit: LengthUnit::Characters } = other.kind {
            return Some(literal.text.chars().count() as f64);
        }
        if let FeatureKind::Count(_) = self.kind {
            let counts = matches!(other.kind, FeatureKind::Count(_)) && literal.implies(other);
            return counts.then_some(1.0);
        }
        if let FeatureKind::Length { unit: LengthUnit::Words } = other.kind {
            let words = literal.text.split_whitespace().count();
            return (words > 0).then_some(words as f64);
        }
        let implied = match (self.kind, other.kind) {
            (FeatureKind::StartsWith { .. }, FeatureKind::StartsWith { text: other }) => {
                other.text().is_some_and(|other| literal.text.starts_with(other))
            }
            (FeatureKind::Ends { .. }, FeatureKind::Ends { text: Some(other) }) => {
                other.text().is_some_and(|other| literal.text.ends_with(other.trim_end()))
            }
            _ => literal.implies(other),
        };
        implied.then_some(1.0)
    }

    /// Whether its value is never above that of `other` because of what one of them is made of.
    fn is_made_below(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            (FeatureKind::All { of }, _) if of.iter().any(|name| name == other.name) => true,
            (_, FeatureKind::Any { of }) if of.iter().any(|name| name == self.name) => true,
            (FeatureKind::All { of }, FeatureKind::All { of: fewer }) => {
                fewer.iter().all(|name| of.contains(name))
            }
            (FeatureKind::Any { of: fewer }, FeatureKind::Any { of }) => {
                fewer.iter().all(|name| of.contains(name))
            }
            (
                FeatureKind::Between { of, low, high },
                FeatureKind::Between { of: others, low: lower, high: higher },
            ) => {
                let least = |bound: &Option<f64>| bound.unwrap_or(f64::NEG_INFINITY);
                let most = |bound: &Option<f64>| bound.unwrap_or(f64::INFINITY);
                of == others && least(lower) <= least(low) && most(high) <= most(higher)
            }
            (FeatureKind::WordList(own), FeatureKind::WordList(others)) => {
                let rank = |value| match value {
                    WordValue::Share => Some(0),
                    WordValue::Presence => Some(1),
                    WordValue::Count => Some(2),
                    WordValue::Sign => None,
                };
                let is_same = own.list == others.list && own.ignore_case == others.ignore_case;
                is_same && rank(own.value).zip(rank(others.value)).is_some_and(|(own, other)| own <= other)
            }
            (FeatureKind::Json(own), FeatureKind::Json(others)) => {
                own.equals.is_some() && others.path.is_none()
            }
            _ => false,
        }
    }

    /// Whether no text has both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            (FeatureKind::StartsWith { .. }, FeatureKind::StartsWith { .. })
            | (FeatureKind::Ends { .. }, FeatureKind::Ends { .. }) => {
                let (Some(a), Some(b)) = (&self.literal, &other.literal) else { return false };
                let is_inside = |a: &str, b: &str| match self.kind {
                    FeatureKind::StartsWith { .. } => a.starts_with(b),
                    _ => a.ends_with(b),
                };
                !is_inside(a.text, b.text) && !is_inside(b.text, a.text)
            }
            (FeatureKind::Json(own), FeatureKind::Json(others)) => {
                let is_one_place = own.path.is_some() && own.path == others.path;
                is_one_place && own.equals.is_some() && others.equals.is_some() && own.equals != others.equals
            }
            _ => false,
        }
    }

    /// Whether every text has exactly one of the two.
    pub(super) fn is_opposite_of(&self, other: &Self) -> bool {
        let negates =
            |one: &Self, other: &Self| matches!(one.kind, FeatureKind::Not { of } if of == other.name);
        negates(self, other) || negates(other, self)
    }
}

impl Literal<'_> {
    /// Whether a text with this one in it has an occurrence of `other` there.
    fn implies(&self, other: &Bounded<'_>) -> bool {
        let Some(pattern) = &other.pattern else { return false };
        match other.kind {
            FeatureKind::Contains(words) | FeatureKind::Count(words) => {
                let is_inside = |found: regex::Match<'_>| {
                    let (before, behind) = self.bounds;
                    (before || found.start() > 0) && (behind || found.end() < self.text.len())
                };
                (words.ignore_case || !self.ignore_case)
                    && pattern.find_iter(self.text).any(|found| !words.whole_word || is_inside(found))
            }
            FeatureKind::Regex { pattern: source } => {
                !self.ignore_case && !looks_around(source) && pattern.is_match(self.text)
            }
            _ => false,
        }
    }
}

/// Whether a match may depend on what stands beside it. Patterns that only seem to are counted too.
fn looks_around(pattern: &str) -> bool {
    pattern.contains(['^', '$'])
        || ["\\b", "\\B", "\\A", "\\z", "\\<", "\\>"].iter().any(|mark| pattern.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, whole_word: bool, ignore_case: bool) -> Words {
        Words { text: text.into(), whole_word, ignore_case }
    }

    fn factor(one: &FeatureKind, other: &FeatureKind) -> Option<f64> {
        Bounded::new("one", one).factor_below(&Bounded::new("other", other))
    }

    #[test]
    fn a_feature_bounds_those_that_hold_wherever_it_holds() {
        let contains = |text: &str, whole, case| FeatureKind::Contains(words(text, whole, case));
        let regex = |pattern: &str| FeatureKind::Regex { pattern: pattern.into() };
        let starts = |text: &str| FeatureKind::StartsWith { text: text.into() };
        let ends = |text: &str| FeatureKind::Ends { text: Some(text.into()) };
        let plain = contains("king", false, false);
        for (below, above) in [
            (contains("king", true, false), plain.clone()),
            (plain.clone(), contains("KING", false, true)),
            (contains("the kings", false, false), plain.clone()),
            (contains("my king", true, false), contains("king", true, false)),
            (starts("king of"), contains("king", true, false)),
            (starts("king of"), starts("king")),
            (ends("a king \n"), contains("king", true, false)),
            (ends("a king"), ends("king")),
            (plain.clone(), regex("k.n[gG]")),
            (plain.clone(), FeatureKind::Count(words("king", false, false))),
        ] {
            assert_eq!(factor(&below, &above), Some(1.0), "{below:?} {above:?}");
        }
        for (below, above) in [
            (plain.clone(), contains("king", true, false)),
            (contains("KING", false, true), plain.clone()),
            (contains("my king", false, false), contains("king", true, false)),
            (plain.clone(), contains("kings", false, false)),
            (plain.clone(), starts("king")),
            (plain.clone(), regex("^king")),
            (plain.clone(), regex(r"king\b")),
            (FeatureKind::Count(words("king", false, false)), plain.clone()),
            (regex("king"), plain.clone()),
        ] {
            assert_eq!(factor(&below, &above), None, "{below:?} {above:?}");
        }
        let length = |unit| FeatureKind::Length { unit };
        assert_eq!(factor(&plain, &length(LengthUnit::Characters)), Some(4.0));
        assert_eq!(factor(&contains("my king", false, false), &length(LengthUnit::Words)), Some(2.0));
        assert_eq!(factor(&length(LengthUnit::Words), &length(LengthUnit::Characters)), Some(1.0));
        let excludes = |one: &FeatureKind, other: &FeatureKind| {
            Bounded::new("one", one).excludes(&Bounded::new("other", other))
        };
        assert!(excludes(&starts("The"), &starts("A")) && !excludes(&starts("The"), &starts("The king")));
        assert!(excludes(&ends("."), &ends("!")) && !excludes(&ends(". "), &ends(".")));
        let always = |pattern: &str| Bounded::new("it", &regex(pattern)).always_holds();
        assert!(always("a*") && always("") && always("x|") && !always("a+") && !always("^$"));
    }
}
