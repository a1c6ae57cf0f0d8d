//! A run file as it is written beside results: complete, wherever it is put.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::changes::{Change, quoted};

/// The file `text` with all changes, its title, and the absolute `folder` from which its relative paths are seen. The rest is as it was, with
/// its comments, unless a change adds a field to a table.
pub(super) fn written(text: &str, changes: &[Change], title: &str, folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let folder = Change::string("", &["folder"], &absolute.to_string_lossy());
    let title = Change::string("", &["title"], title);
    let all = changes.iter().chain([&folder, &title]);
    all.fold(text.to_owned(), changed)
}

/// The text with one change.
fn changed(text: String, change: &Change) -> String {
    if let Some(place) = change.place(&text) {
        return format!("{}{}{}", &text[..place.start], change.value(), &text[place.end..]);
    }
    if let Some(field) = change.top_field() {
        let is_there = DeTable::parse(&text).is_ok_and(|table| table.get_ref().contains_key(field));
        if !is_there {
            return format!("{} = {}\n{text}", key(field), change.value());
        }
    }
    let padded = change.padded(0);
    let Ok(mut table) = DeTable::parse(&text) else { return text };
    match change.apply(table.get_mut(), &padded, 0) {
        Ok(()) => document(table.get_ref()),
        // It is reported where the file is read.
        Err(_) => text.clone(),
    }
}

/// A whole file.
fn document(top: &DeTable<'_>) -> String {
    let (mut plain, mut tables) = (String::new(), String::new());
    for (name, value) in top {
        let name = key(name.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => tables += &format!("\n[{name}]\n{}", lines(table)),
            DeValue::Array(items)
                if !items.is_empty() && items.iter().all(|item| item.get_ref().is_table()) =>
            {
                for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                    tables += &format!("\n[[{name}]]\n{}", lines(table));
                }
            }
            other => plain += &format!("{name} = {}\n", inline(other)),
        }
    }
    plain + &tables
}

/// The fields of a table, one a line.
fn lines(table: &DeTable<'_>) -> String {
    fields(table).iter().map(|field| format!("{field}\n")).collect()
}

fn fields(table: &DeTable<'_>) -> Vec<String> {
    table
        .iter()
        .map(|(name, value)| format!("{} = {}", key(name.get_ref()), inline(value.get_ref())))
        .collect()
}

/// A value in the place where it is used.
fn inline(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(holds) => holds.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let fields = fields(table);
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
    }
}

/// A name of a field, in quotes where it needs some.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_bare { name.to_owned() } else { quoted(name) }
}
