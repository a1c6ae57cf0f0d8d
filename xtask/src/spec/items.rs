//! Items of arrays, with their places, and of tables whose names are the user's own: methods of [`Section`].

use std::collections::BTreeMap;

use toml::{Spanned, de::DeValue};

use super::section::Section;

impl Section<'_> {
    /// A table of strings by names of the user's own, if the field is there. `allowed` says in words what it may hold.
    pub(super) fn strings_by_name(
        &self,
        field: &'static str,
        allowed: &str,
    ) -> Option<BTreeMap<String, String>> {
        let value = self.value(field)?.get_ref();
        let Some(table) = value.as_table() else {
            self.wrong(field, &format!("is of type {}", value.type_str()), allowed);
            return None;
        };
        let mut strings = BTreeMap::new();
        for (name, value) in table {
            let Some(text) = value.get_ref().as_str() else {
                let message = format!("has `{}` of type {}", name.get_ref(), value.get_ref().type_str());
                self.document.report_field(&self.name(field), value.span(), &message, allowed);
                return None;
            };
            strings.insert(name.get_ref().to_string(), text.to_owned());
        }
        Some(strings)
    }

    /// The items of the array `field`; none if it is no array.
    fn array(&self, field: &'static str) -> &[Spanned<DeValue<'_>>] {
        let array = self.value(field).and_then(|value| value.get_ref().as_array());
        array.map_or(&[], |array| array.as_ref())
    }

    /// Reports a problem with an item of the array `field`, counted from 0.
    pub(super) fn wrong_item(&self, field: &'static str, index: usize, message: &str, allowed: &str) {
        match self.array(field).get(index) {
            Some(item) => self.document.report_field(&self.name(field), item.span(), message, allowed),
            None => self.wrong(field, message, allowed),
        }
    }

    /// As [`Self::wrong_item`], with the item shown: the message goes on from it.
    pub(super) fn wrong_entry(&self, field: &'static str, index: usize, message: &str, allowed: &str) {
        let shown = self.array(field).get(index).map(|item| self.document.shown(item.span()));
        let message =
            shown.map_or_else(|| message.to_owned(), |shown| format!("has {shown}, which {message}"));
        self.wrong_item(field, index, &message, allowed);
    }

    /// Remembers the places of the items of the array `field`, for conflicts that are found later: `field.1` and so on.
    pub(super) fn place_items(&self, field: &'static str) {
        for (number, item) in (1..).zip(self.array(field)) {
            self.document.place(format!("{}.{number}", self.name(field)), item.span());
        }
    }
}
