//! All fields of a run file, with their allowed values and defaults, as the reader itself knows them.
//!
//! The reader is asked: a field that does not exist makes it list the fields of a table, and a value that is wrong for every field (a time
//! of day) makes it say the values that are allowed. So there is no second list of fields; only their [`SENTENCES`] stand elsewhere.

use std::path::Path;

use serde_json::Value;

use super::{changes::Change, read_spec_with, sentences::SENTENCES};
use crate::Problem;

/// A field of a run file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldNote {
    /// The path of its table; empty for the top.
    pub(crate) table: String,
    /// The kind of the table, if only tables of that kind have it.
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    /// The values that are allowed; `None` for a table, whose fields have notes of their own, or names of the user's own.
    pub(crate) allowed: Option<String>,
    /// The value that it has if it is left out, where that is a value.
    pub(crate) default: Option<String>,
    /// The meaning of the field.
    pub(crate) sentence: &'static str,
}

/// A name that no field has.
const NO_FIELD: &str = "xyzzy";
/// A value that no field may have.
const NO_VALUE: &str = "07:32:00";

/// A table, and the changes to an empty file that make it.
#[derive(Clone)]
struct Place {
    path: Vec<String>,
    /// Its path without the numbers of tables in arrays.
    shown: String,
    changes: Vec<Change>,
}

/// All fields, each table with its own before those inside of it.
pub(crate) fn annotated_fields() -> Vec<FieldNote> {
    let field = |path: &[&str], value| {
        Change::value_at(&path.iter().map(ToString::to_string).collect::<Vec<_>>(), value)
    };
    let base = vec![
        field(&["model", "source"], "\"embedded\""),
        field(&["contexts", "list"], "[\"a\", \"b\"]"),
        field(&["contexts", "held_out"], "0.5"),
    ];
    let mut notes = Vec::new();
    explore(&Place { path: Vec::new(), shown: String::new(), changes: base }, &mut notes);
    notes
}

fn explore(place: &Place, notes: &mut Vec<FieldNote>) {
    let kinds = place.kinds();
    let of_kinds: Vec<(Place, Vec<String>)> = kinds
        .iter()
        .map(|kind| {
            let place = place.with(&["kind"], &format!("\"{kind}\""));
            let fields = place.fields();
            (place, fields)
        })
        .collect();
    let common = match of_kinds.first() {
        None => place.fields(),
        Some((_, fields)) => {
            let is_common = |field: &&String| of_kinds.iter().all(|(_, fields)| fields.contains(field));
            fields.iter().filter(is_common).cloned().collect()
        }
    };
    let mut inner = Vec::new();
    let mut tell = |place: &Place, kind: Option<&String>, field: &String| {
        let table = place.inner(field);
        notes.push(place.note(kind, field, table.is_some()));
        inner.extend(table);
    };
    common.iter().for_each(|field| tell(place, None, field));
    for (kind, (place, fields)) in kinds.iter().zip(&of_kinds) {
        fields
            .iter()
            .filter(|field| !common.contains(field))
            .for_each(|field| tell(place, Some(kind), field));
    }
    inner.iter().for_each(|place| explore(place, notes));
}

impl Place {
    fn of(&self, names: &[&str]) -> Vec<String> {
        self.path.iter().cloned().chain(names.iter().map(ToString::to_string)).collect()
    }

    /// The place with a field of this value.
    fn with(&self, names: &[&str], value: &str) -> Self {
        let mut place = self.clone();
        place.changes.push(Change::value_at(&self.of(names), value));
        place
    }

    fn problems(&self) -> Vec<Problem> {
        read_spec_with("", "", Path::new(""), &self.changes)
            .err()
            .map_or_else(Vec::new, |error| error.problems)
    }

    /// The values that are allowed by the problem whose message begins so.
    fn allowed(&self, message: &str) -> Option<String> {
        let found = self.problems().into_iter().find(|problem| problem.message.starts_with(message))?;
        Some(found.allowed)
    }

    /// The fields that are listed where `field` of this table is unknown.
    fn listed(&self, field: &[&str]) -> Option<Vec<String>> {
        let allowed = self.allowed(&format!("unknown field `{}`", self.of(field).join(".")))?;
        Some(allowed.split(", ").map(str::to_owned).collect())
    }

    fn fields(&self) -> Vec<String> {
        self.with(&[NO_FIELD], "1").listed(&[NO_FIELD]).unwrap_or_default()
    }

    /// The kinds of the table, if it has some.
    fn kinds(&self) -> Vec<String> {
        if !self.fields().iter().any(|field| field == "kind") {
            return Vec::new();
        }
        let allowed = self.with(&["kind"], NO_VALUE).allowed(&format!("`{}`", self.of(&["kind"]).join(".")));
        allowed.map_or_else(Vec::new, |kinds| kinds.split(", ").map(str::to_owned).collect())
    }

    /// The table in the field, or the first of an array of tables.
    fn inner(&self, field: &str) -> Option<Self> {
        let shown = if self.shown.is_empty() { field.to_owned() } else { format!("{}.{field}", self.shown) };
        for (value, name) in [("{}", None), ("[{}]", Some("1"))] {
            let path: Vec<&str> = [field].into_iter().chain(name).collect();
            let unknown: Vec<&str> = path.iter().copied().chain([NO_FIELD]).collect();
            // A table that the base has keeps its fields.
            let is_there = self.path.is_empty() && ["model", "contexts"].contains(&field);
            let made = if is_there { self.clone() } else { self.with(&[field], value) };
            // `{ column = "NAME" }` is a way to say a value.
            if made.with(&unknown, "1").listed(&unknown).is_some_and(|fields| fields != ["column"]) {
                return Some(Self { path: self.of(&path), shown, changes: made.changes });
            }
        }
        None
    }

    fn note(&self, kind: Option<&String>, field: &str, is_table: bool) -> FieldNote {
        let path = self.of(&[field]).join(".");
        let allowed = self.with(&[field], NO_VALUE).allowed(&format!("`{path}`")).filter(|_| !is_table);
        FieldNote {
            table: self.shown.clone(),
            kind: kind.cloned(),
            name: field.to_owned(),
            allowed,
            default: self.default(field).filter(|_| !is_table),
            sentence: sentence(&self.shown, kind, field),
        }
    }

    /// The value of the field in a spec that does not say it.
    fn default(&self, field: &str) -> Option<String> {
        // The base says these.
        if ["contexts", "features", "rewards"].contains(&self.path.first().map_or("", String::as_str))
            || self.of(&[field]) == ["model", "source"]
        {
            return None;
        }
        let feature = Change::value_at(
            &["features".to_owned()],
            "[{ name = \"f\", kind = \"contains\", text = \"a\", mean = 0.5 }]",
        );
        let tune = Change::value_at(&["tune".to_owned(), "steps".to_owned()], "50");
        let is_of_tuning = self.path.first().is_some_and(|table| table == "tune");
        let mut changes = self.changes.clone();
        changes.extend([feature].into_iter().chain(is_of_tuning.then_some(tune)));
        let spec = read_spec_with("", "", Path::new(""), &changes).ok()?;
        let json = serde_json::to_value(spec).ok()?;
        let pointer: String = self.of(&[field]).iter().map(|name| format!("/{name}")).collect();
        match json.pointer(&pointer)? {
            Value::Null | Value::Object(_) => None,
            Value::String(text) if text.is_empty() => None,
            value => Some(value.to_string()),
        }
    }
}

/// The sentence on a field: that of its kind, or that of all kinds.
fn sentence(table: &str, kind: Option<&String>, field: &str) -> &'static str {
    let of = |path: &str| SENTENCES.iter().find(|(known, _)| *known == path).map(|(_, sentence)| *sentence);
    let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
    let own = kind.and_then(|kind| of(&format!("{prefix}{kind}.{field}")));
    own.or_else(|| of(&format!("{prefix}{field}"))).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{contexts, http, log, target, tune_tables};

    #[test]
    fn every_field_has_a_sentence_and_every_sentence_a_field() {
        let notes = annotated_fields();
        let without: Vec<_> = notes.iter().filter(|note| note.sentence.is_empty()).collect();
        assert!(without.is_empty(), "{without:#?}");
        let unused: Vec<_> = SENTENCES
            .iter()
            .filter(|(_, sentence)| notes.iter().all(|note| note.sentence != *sentence))
            .collect();
        assert!(unused.is_empty(), "{unused:#?}");
    }

    #[test]
    fn every_field_of_the_reader_is_told_with_its_values() {
        let notes = annotated_fields();
        for (table, fields) in [
            ("tune", tune_tables::TUNE),
            ("checkpoints", tune_tables::CHECKPOINTS),
            ("log", log::LOG),
            ("contexts", contexts::CONTEXT_FIELDS),
            ("features", &target::TARGET_FIELDS),
            ("features", http::HTTP_FIELDS),
        ] {
            for field in fields {
                let is_it = |note: &&FieldNote| note.table == table && note.name == *field;
                assert!(notes.iter().any(|note| is_it(&note)), "{table}.{field}");
            }
        }
        let of = |table: &str, name: &str| {
            notes.iter().find(|note| note.table == table && note.name == name).unwrap().clone()
        };
        let steps = of("tune", "steps");
        assert_eq!(steps.allowed.unwrap(), "a whole number from 0 (nothing is tuned) to 1000000000");
        assert_eq!(of("tune", "samples_per_step").default.as_deref(), Some("256"));
        assert_eq!(of("tune.adapter", "rank").default.as_deref(), Some("8"));
        assert_eq!(of("tune.sampling", "z").kind.as_deref(), Some("offline"));
        assert!(of("tune", "decay").allowed.unwrap().contains("cosine"));
        let untold: Vec<_> =
            notes.iter().filter(|note| note.allowed.is_none()).map(|note| &note.name).collect();
        let tables =
            ["model", "contexts", "features", "rewards", "fit", "tune", "checkpoints", "log", "sample"];
        let inner = [
            "grammar",
            "distribution",
            "optimizer",
            "adapter",
            "sampling",
            "validation",
            "early_stopping",
            "console",
            "mlflow",
        ];
        assert!(
            untold.iter().all(|name| tables.iter().chain(&inner).any(|table| table == name)),
            "{untold:?}"
        );
    }
}
