//! Entries of arrays, and of tables whose names are the user's own: methods of [`Section`].

use std::collections::BTreeMap;

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

    /// Reports a problem with an item of the array `field`, which is shown: the message goes on from it.
    pub(super) fn wrong_entry(&self, field: &'static str, index: usize, message: &str, allowed: &str) {
        let item = self.value(field).and_then(|value| value.get_ref().as_array()?.get(index));
        let Some(item) = item else { return self.wrong(field, message, allowed) };
        let message = format!("has {}, which {message}", self.document.shown(item.span()));
        self.document.report_field(&self.name(field), item.span(), &message, allowed);
    }
}
