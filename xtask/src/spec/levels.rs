//! Numbers that are asked for, as a table of a run file has them: one for all contexts, a column, a range, or shares by label.

use std::ops::Range;

use super::{
    Allowed,
    allowed::SOME_TEXT,
    fields::Fields,
    names::{hint, list, nearest},
    section::Section,
    target::{Level, Share},
    values::as_number,
};

impl Section<'_> {
    /// A number, or `{ column = NAME }`, if the field is there.
    pub(super) fn level(&self, field: &'static str, allowed: &Allowed<f64>) -> Option<Level> {
        if !self.is_table(field) {
            return self.number(field, allowed).map(Level::Number);
        }
        self.column_name(field).map(|column| Level::Column { column })
    }

    /// The name of a column in a table `{ column = NAME }`.
    pub(super) fn column_name(&self, field: &'static str) -> Option<String> {
        self.table(
            field,
            |_| Fields::of(&["column"]),
            |table| {
                table.require("column", SOME_TEXT.words);
                table.string("column", &SOME_TEXT)
            },
        )
    }

    /// A range `[LOW, HIGH]`, if the field is there.
    pub(super) fn range(&self, field: &'static str, allowed: &Allowed<f64>) -> Option<(f64, f64)> {
        const RANGE: Allowed<Vec<f64>> = Allowed {
            words: "two numbers, the lower first: [LOW, HIGH]",
            holds: |range| matches!(range[..], [low, high] if low < high),
        };
        let range = self.items(field, &RANGE, as_number)?;
        if let Some(wrong) = range.iter().find(|bound| !(allowed.holds)(bound)) {
            self.wrong(field, &format!("has {wrong}"), allowed.words);
            return None;
        }
        Some((range[0], range[1]))
    }

    /// A table of shares by label, each a number or `{ column = NAME }`, if the field is there. The labels are in the field `of`.
    pub(super) fn shares(
        &self,
        field: &'static str,
        labels: &[&str],
        of: &str,
        allowed: &Allowed<f64>,
    ) -> Option<Vec<Share>> {
        let value = self.value(field)?;
        let Some(table) = value.get_ref().as_table() else {
            let words = "a table: { LABEL = SHARE, ... }";
            self.wrong(field, &format!("is of type {}", value.get_ref().type_str()), words);
            return None;
        };
        let mut shares = Vec::new();
        for (key, value) in table {
            let (label, path) = (key.get_ref().as_ref(), format!("{}.{}", self.name(field), key.get_ref()));
            if !labels.contains(&label) {
                self.document.doubt(self.name(field));
                let message = format!("unknown field `{path}`{}", hint(&nearest(label, labels)));
                self.document.report(key.span(), message, format!("the labels in `{of}`: {}", list(labels)));
                return None;
            }
            let wrong = |span: Range<usize>, message: &str, allowed: &str| {
                self.document.doubt(self.name(field));
                self.document.report_field(&path, span, message, allowed);
            };
            let column = value.get_ref().as_table().filter(|table| table.len() == 1);
            let column = column.and_then(|table| table.get("column")?.get_ref().as_str());
            let share = match (column, as_number(value.get_ref())) {
                (Some(column), _) => Level::Column { column: column.into() },
                (None, Some(number)) if (allowed.holds)(&number) => Level::Number(number),
                _ => {
                    let found = self.document.shown(value.span());
                    let words = format!("{}, or {{ column = \"NAME\" }}", allowed.words);
                    wrong(value.span(), &format!("is {found}"), &words);
                    return None;
                }
            };
            shares.push(Share { label: label.into(), share });
        }
        // In the order of the labels, whatever order the table has.
        shares.sort_by_key(|share| labels.iter().position(|label| *label == share.label));
        Some(shares)
    }
}
