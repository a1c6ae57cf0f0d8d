//! A value at a place of a JSON text.

use std::{collections::VecDeque, fmt};

use disco_core::{Score, Skipped};
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::spec::{JsonScalar, JsonSpec, Step};

/// The value of the feature for a text; `name` is that of the feature.
///
/// # Cost
/// Linear in the text. Values that are not on the path are passed over without recursion, however deep they are.
pub(super) fn json_value(spec: &JsonSpec, text: &str, name: &str) -> Score {
    let text = text.trim();
    let truth = |holds: bool| Ok(f64::from(u8::from(holds)));
    let Some(path) = &spec.path else { return truth(serde_json::from_str::<IgnoredAny>(text).is_ok()) };
    let found = at_path(text, path.steps());
    if let Some(wanted) = &spec.equals {
        return truth(found.is_ok_and(|found| found == Some(Leaf::Scalar(wanted.clone()))));
    }
    let problem = match found {
        Ok(Some(Leaf::Scalar(JsonScalar::Number(number)))) => return Ok(number),
        Ok(Some(_)) => "the value there is no number",
        Ok(None) => "there is no such place",
        Err(_) => "the text is no JSON that can be read",
    };
    spec.otherwise.ok_or_else(|| Skipped::new(name, format!("no number at {path}: {problem}")))
}

/// A value at the end of a path.
#[derive(Clone, Debug, PartialEq)]
enum Leaf {
    Scalar(JsonScalar),
    /// `null`, an object or an array.
    Other,
}

/// The value at the place, if the text is JSON and has that place.
fn at_path(text: &str, steps: &[Step]) -> serde_json::Result<Option<Leaf>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = At(steps).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

/// Reads a value and gives what stands at the end of these steps. It goes as deep as there are steps.
#[derive(Clone, Copy)]
struct At<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<Leaf>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Leaf>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl At<'_> {
    fn scalar<E>(self, value: JsonScalar) -> Result<Option<Leaf>, E> {
        Ok(self.0.is_empty().then_some(Leaf::Scalar(value)))
    }

    /// The value of an object or array, whose parts were passed over.
    fn other(self) -> Option<Leaf> {
        self.0.is_empty().then_some(Leaf::Other)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<Leaf>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Option<Leaf>, E> {
        Ok(self.other())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Option<Leaf>, E> {
        self.scalar(JsonScalar::Truth(truth))
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<Leaf>, E> {
        self.scalar(JsonScalar::Text(text.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Option<Leaf>, E> {
        self.scalar(JsonScalar::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<Leaf>, E> {
        self.scalar(JsonScalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<Leaf>, E> {
        self.scalar(JsonScalar::Number(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Leaf>, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            match self.0.split_first() {
                // Of members with one name the last counts, as in Python and JavaScript.
                Some((Step::Name(wanted), rest)) if *wanted == name => {
                    found = map.next_value_seed(At(rest))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self.other().or(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Leaf>, A::Error> {
        let Some((Step::Item(wanted), rest)) = self.0.split_first() else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(self.other());
        };
        let mut found = None;
        if let Ok(wanted) = u64::try_from(*wanted) {
            for index in 0.. {
                let is_there = if index == wanted {
                    let item = seq.next_element_seed(At(rest))?;
                    found = item.clone().flatten();
                    item.is_some()
                } else {
                    seq.next_element::<IgnoredAny>()?.is_some()
                };
                if !is_there {
                    break;
                }
            }
            return Ok(found);
        }
        // The number of items is known at the end only: the last ones are kept, none of which is larger than a scalar.
        let mut last = VecDeque::new();
        while let Some(item) = seq.next_element_seed(At(rest))? {
            last.push_back(item);
            if last.len() as u64 > wanted.unsigned_abs() {
                last.pop_front();
            }
        }
        let is_long_enough = last.len() as u64 == wanted.unsigned_abs();
        Ok(last.pop_front().flatten().filter(|_| is_long_enough))
    }
}
