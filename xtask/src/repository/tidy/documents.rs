//! Rules on Markdown documents: a file or folder of the repository that they name exists.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

use super::Finding;

/// Endings of the files that people edit: a name with one of them is meant as a file of the repository.
const EDITED: [&str; 6] = ["rs", "toml", "md", "py", "sh", "css"];

/// The folder of builds and runs.
const OUTPUT: &str = "target";

/// Names that are no files of the repository: folders in the results of a run, and placeholders for a reader's own files.
const ELSEWHERE: [&str; 5] = ["model/", "adapter/", "run.toml", "COPY.toml", "SPEC.toml"];

/// The document about the past, which names files that are gone.
const ABOUT_THE_PAST: &str = "CHANGELOG.md";

/// The files and folders of a workspace.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Everything that exists, relative to the workspace.
    paths: BTreeSet<PathBuf>,
}

impl Tree {
    /// The tree of these files, relative to the workspace, and of the folders above them.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut paths = BTreeSet::new();
        for file in files {
            paths.extend(file.ancestors().filter(|path| !path.as_os_str().is_empty()).map(Path::to_path_buf));
        }
        Self { paths }
    }

    /// Whether something below `folder` has a path that ends with `name`.
    fn has(&self, folder: &Path, name: &Path) -> bool {
        self.paths.iter().any(|path| path.starts_with(folder) && path.ends_with(name))
    }

    /// The folder of the crate that the document belongs to; the whole workspace if it belongs to none.
    fn crate_of(&self, document: &Path) -> PathBuf {
        let first = document.components().next().map(|first| PathBuf::from(first.as_os_str()));
        first.filter(|folder| self.paths.contains(&folder.join("Cargo.toml"))).unwrap_or_default()
    }
}

/// The findings on the document `path` (relative to the workspace) whose content is `text`.
pub fn check_document(path: &Path, text: &str, tree: &Tree) -> Vec<Finding> {
    if path.file_name() == Some(ABOUT_THE_PAST.as_ref()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            continue;
        }
        if in_fence {
            continue;
        }
        let code = code_spans(line);
        let named = code.iter().filter(|name| is_meant(name, path, tree));
        let linked = links(line);
        let linked = linked.iter().filter(|target| is_path(target, path));
        for name in named.chain(linked).filter(|name| !exists(name, path, tree)) {
            findings.push(Finding {
                path: path.into(),
                line: Some(index + 1),
                message: format!("names `{name}`, which does not exist: correct the name, or remove it"),
            });
        }
    }
    findings.dedup();
    findings
}

/// The text between backticks.
fn code_spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The targets of links, without a place in the document behind `#`.
fn links(line: &str) -> Vec<&str> {
    let behind = line.match_indices("](").filter_map(|(at, begin)| {
        let rest = &line[at + begin.len()..];
        rest.split_once(')').map(|(target, _)| target)
    });
    behind
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty())
        .collect()
}

/// Whether a link leads to a file: not to the web, nor to an item of Rust from the documentation of a crate.
fn is_path(target: &str, document: &Path) -> bool {
    let is_item = target.contains("::") || !target.contains(['/', '.']) && document.components().count() > 1;
    !target.contains([':', ' ', '`']) && !is_item
}

/// Whether a piece of code is meant as a file or folder of the repository.
fn is_meant(name: &str, document: &Path, tree: &Tree) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "._-/".contains(c);
    if name.is_empty() || name.starts_with('/') || !name.chars().all(is_plain) {
        return false;
    }
    let path = Path::new(name);
    let first = path.components().next();
    if ELSEWHERE.contains(&name) || path.starts_with(OUTPUT) {
        return false;
    }
    if path.extension().is_some_and(|extension| EDITED.iter().any(|edited| extension == OsStr::new(edited))) {
        return true;
    }
    // Other names with a slash may be ids of a hub, metrics or output. They are meant if they name a folder, or begin with one.
    let Some(Component::Normal(first)) = first else { return name.contains('/') };
    let home = tree.crate_of(document);
    let begins_here = ["", "src"].iter().any(|folder| tree.paths.contains(&home.join(folder).join(first)));
    name.ends_with('/') || name.contains('/') && (begins_here || tree.paths.contains(Path::new(first)))
}

/// Whether a name is right: relative to the document, to the workspace, or as the end of a path in the document's crate.
fn exists(name: &str, document: &Path, tree: &Tree) -> bool {
    let beside = normal(&document.parent().unwrap_or(Path::new("")).join(name));
    beside.as_os_str().is_empty()
        || tree.paths.contains(&beside)
        || tree.paths.contains(&normal(Path::new(name)))
        || tree.has(&tree.crate_of(document), &normal(Path::new(name)))
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}
