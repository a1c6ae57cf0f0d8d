//! Items of an array in a table of a run file, with their places.

use super::section::Section;

impl Section<'_> {
    /// Reports a problem with an item of the array `field`, counted from 0.
    pub(super) fn wrong_item(&self, field: &'static str, index: usize, message: &str, allowed: &str) {
        let array = self.value(field).and_then(|value| value.get_ref().as_array());
        match array.and_then(|array| array.get(index)) {
            Some(item) => self.document.report_field(&self.name(field), item.span(), message, allowed),
            None => self.wrong(field, message, allowed),
        }
    }

    /// Remembers the places of the items of the array `field`, for conflicts that are found later: `field.1` and so on.
    pub(super) fn place_items(&self, field: &'static str) {
        let array = self.value(field).and_then(|value| value.get_ref().as_array());
        for (number, item) in (1..).zip(array.into_iter().flat_map(|array| array.iter())) {
            self.document.place(format!("{}.{number}", self.name(field)), item.span());
        }
    }
}
