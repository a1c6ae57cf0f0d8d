//! The repository's hygiene: rules that neither the compiler nor clippy checks.
//!
//! Every message says what to do. The same checks are a test, so that `cargo test` finds them too.

mod crates;
mod sources;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

pub use crates::{CrateGraph, check_crates};
pub use sources::check_source;

use crate::{Error, Result, process::workspace_root};

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the workspace.
    pub path: PathBuf,
    /// The line, from 1; `None` if the finding is about the whole file.
    pub line: Option<usize>,
    /// The problem and its remedy.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All findings in the workspace at `root`, sorted by file and line.
///
/// # Errors
/// If a file cannot be read or cargo does not answer.
pub fn findings(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = check_crates(&CrateGraph::of(root)?);
    let mut files = Vec::new();
    collect(root, &mut files)?;
    for path in files {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let bytes = fs::read(&path).map_err(|source| Error::read(&path, source))?;
        match String::from_utf8(bytes) {
            Ok(text) => findings.extend(check_source(relative, &text)),
            Err(_) => findings.push(Finding {
                path: relative.into(),
                line: None,
                message: "is not UTF-8: save it as UTF-8".into(),
            }),
        }
    }
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

/// Prints the findings of this workspace.
///
/// # Errors
/// [`Error::Untidy`] if there are any.
pub(crate) fn run() -> Result<()> {
    let findings = findings(&workspace_root())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Untidy { findings: findings.len() }) }
}

/// The text files under `folder` that people edit: no build output, no data, no version control.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::read(folder, source))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !["target", ".git", "golden"].contains(&name.as_ref()) {
                collect(&path, files)?;
            }
        } else if is_edited_by_people(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_edited_by_people(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    ["rs", "toml", "md", "sh", "css", "py"].contains(&extension.as_ref()) || path.ends_with(".ci/run")
}
