//! The repository's hygiene: rules that neither the compiler nor clippy checks.
//!
//! Every message says what to do. The same checks are a test, so that `cargo test` finds them too. One file per kind of rule:
//! `crates.rs` (edges between crates), `order.rs` (imports between the folders of a crate, which `modules.rs` and `imports.rs`
//! read), `documents.rs` (files that documents name) and `sources.rs` (the text of one file).

mod crates;
mod documents;
mod graph;
mod imports;
mod modules;
mod order;
mod sources;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use clap::Args;

pub use crates::{CrateGraph, check_crates};
pub use documents::{Tree, check_document};
pub use graph::graph_text;
pub use modules::{Import, ModuleGraph};
pub use order::{check_modules, check_order};
pub use sources::check_source;

use crate::{
    Error, Result,
    process::workspace_root,
    terminal::{print, say},
};

/// The arguments of `cargo xtask tidy`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TidyOptions {
    /// Print which folders and files at the top of each crate import from which, in topological order, instead of checking anything.
    #[arg(long)]
    graph: bool,
}

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
    let crates = CrateGraph::of(root)?;
    let mut findings = check_crates(&crates);
    for (name, folder) in &crates.members {
        findings.extend(check_modules(&ModuleGraph::of_crate(root, name, folder)?));
    }
    let mut files = Vec::new();
    collect(root, &mut files)?;
    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_path_buf();
    let tree = Tree::new(files.iter().map(|path| relative(path)));
    for path in files.iter().filter(|path| is_edited_by_people(path)) {
        let bytes = fs::read(path).map_err(|cause| Error::read(path, cause))?;
        let path = relative(path);
        match String::from_utf8(bytes) {
            Ok(text) => {
                findings.extend(check_source(&path, &text));
                if path.extension().is_some_and(|extension| extension == "md") {
                    findings.extend(check_document(&path, &text, &tree));
                }
            }
            Err(_) => {
                findings.push(Finding { path, line: None, message: "is not UTF-8: save it as UTF-8".into() })
            }
        }
    }
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

/// Prints the findings of this workspace to standard error, or its graph of imports to standard output.
///
/// # Errors
/// [`Error::Untidy`] if there are findings.
pub(crate) fn run(options: &TidyOptions) -> Result<()> {
    let root = workspace_root();
    if options.graph {
        for (name, folder) in &CrateGraph::of(&root)?.members {
            print(graph_text(&ModuleGraph::of_crate(&root, name, folder)?))?;
        }
        return Ok(());
    }
    let findings = findings(&root)?;
    for finding in &findings {
        say(finding);
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Untidy { findings: findings.len() }) }
}

/// All files under `folder`: no build output, no version control.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|cause| Error::read(folder, cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| Error::read(folder, cause))?;
        let (path, name) = (entry.path(), entry.file_name());
        if !path.is_dir() {
            files.push(path);
        } else if !["target", ".git"].iter().any(|left_out| name == *left_out) {
            collect(&path, files)?;
        }
    }
    Ok(())
}

/// Whether the file is text that people write: no data.
fn is_edited_by_people(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let is_data = path.components().any(|part| part.as_os_str() == "golden");
    !is_data
        && (["rs", "toml", "md", "sh", "css", "py"].contains(&extension.as_ref())
            || path.ends_with(".ci/run"))
}
