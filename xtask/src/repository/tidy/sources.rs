//! Rules on the text of one file.

use std::path::Path;

use super::Finding;

/// One idea each: a file longer than this holds more than one.
const MOST_LINES: usize = 340;

/// Macros that mark unfinished work, spelled so that this file does not contain them.
const UNFINISHED: [&str; 3] = [concat!("todo", "!"), concat!("unimplemented", "!"), concat!("dbg", "!")];

/// Beginnings of paths that exist on one machine only, spelled likewise.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// The findings on the file `path` (relative to the workspace) whose content is `text`.
pub fn check_source(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, message: String| findings.push(Finding { path: path.to_path_buf(), line, message });
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");

    for (index, line) in text.split('\n').enumerate() {
        let number = Some(index + 1);
        if line.ends_with([' ', '\t', '\r']) {
            find(number, "ends with white space: remove it (and save with LF line ends)".into());
        }
        if line.trim_end().contains('\t') {
            find(number, "contains a tab: use spaces, or \\t in a string".into());
        }
        if let Some(prefix) = MACHINE_PATHS.iter().find(|prefix| names_path(line, prefix)) {
            find(
                number,
                format!("names a folder of one machine (`{prefix}`): make the path relative, or an argument"),
            );
        }
        if is_rust {
            for name in UNFINISHED.iter().filter(|name| calls_macro(line, name)) {
                find(number, format!("`{name}` marks unfinished work: finish it, or return a typed error"));
            }
        }
    }
    if text.is_empty() || !text.ends_with('\n') || text.ends_with("\n\n") {
        find(None, "must end with exactly one line end".into());
    }
    if is_rust {
        let lines = text.lines().count();
        if lines > MOST_LINES {
            find(None, format!("has {lines} lines, allowed are {MOST_LINES}: split it by idea"));
        }
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![doc") {
            find(Some(1), "has no documentation: begin it with `//!` and say what the file is for".into());
        }
    }
    findings
}

/// Whether an absolute path with this prefix begins somewhere in the line.
fn names_path(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "._-~$}/".contains(c)))
    })
}

/// Whether the line has the macro's name on its own, not as the end of a longer one.
fn calls_macro(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
    })
}
