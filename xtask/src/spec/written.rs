//! A run file as it is written beside results: complete, wherever it is put.

use std::path::Path;

use toml::{Value, de::DeTable};

/// The file `text` with its title, and with the absolute `folder` from which its relative paths are seen. The rest is as it was, with its
/// comments.
pub(super) fn written(text: &str, title: &str, folder: &Path) -> String {
    // The path of a file in the current folder has no folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let quoted = |text: &str| Value::from(text).to_string();
    let folder = quoted(&absolute.to_string_lossy());
    let parsed = DeTable::parse(text).ok();
    let place = |field: &str| Some(parsed.as_ref()?.get_ref().get(field)?.span());
    let rest = match place("folder") {
        Some(own) => format!("{}{folder}{}", &text[..own.start], &text[own.end..]),
        None => format!("folder = {folder}\n{text}"),
    };
    match place("title") {
        Some(_) => rest,
        None => format!("title = {}\n{rest}", quoted(title)),
    }
}
