//! The graph of imports between the folders and files at the top of a crate's `src`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{Finding, collect, imports::FileImports};
use crate::{Error, Result};

/// An import from one node of a crate to another. A node is a folder or a file at the top of `src`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The importing file, relative to the workspace.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The node of that file.
    pub from: String,
    /// The imported node.
    pub to: String,
    /// The imported paths of this line, from the crate's root.
    pub paths: Vec<String>,
}

/// The nodes of a crate and the imports between them. Imports within a node, of `lib.rs` and `main.rs`, and of tests do not count.
#[derive(Clone, Debug, Default)]
pub struct ModuleGraph {
    /// The name of the crate.
    pub name: String,
    /// Its folder `src`, relative to the workspace.
    pub source: PathBuf,
    /// All nodes, but for those that are compiled for tests only.
    pub nodes: BTreeSet<String>,
    /// All imports between different nodes, by file and line.
    pub imports: Vec<Import>,
    /// Files that are not Rust.
    pub(super) unreadable: Vec<Finding>,
}

impl ModuleGraph {
    /// Reads the crate `name` in the folder `folder` of the workspace at `root`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn of_crate(root: &Path, name: &str, folder: &Path) -> Result<Self> {
        let source = root.join(folder).join("src");
        let mut files = Vec::new();
        collect(&source, &mut files)?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
        let read = |file: &PathBuf| {
            let text = fs::read_to_string(file).map_err(|cause| Error::read(file, cause))?;
            Ok((file.strip_prefix(&source).unwrap_or(file).to_path_buf(), text))
        };
        let texts: Vec<(PathBuf, String)> = files.iter().map(read).collect::<Result<_>>()?;
        let texts = texts.iter().map(|(file, text)| (file.as_path(), text.as_str()));
        Ok(Self::from_sources(name, &folder.join("src"), texts))
    }

    /// Reads a crate from the texts of its files, which are named relative to its `src`, the folder `source` of the workspace.
    pub fn from_sources<'a>(
        name: &str,
        source: &Path,
        files: impl IntoIterator<Item = (&'a Path, &'a str)>,
    ) -> Self {
        let mut graph = Self { name: name.to_owned(), source: source.to_owned(), ..Self::default() };
        let (mut read, mut test_modules, mut root) = (Vec::new(), Vec::new(), FileImports::default());
        for (file, text) in files {
            let module = module_of(file);
            if file.components().any(|part| Path::new(part.as_os_str()).file_stem() == Some("tests".as_ref()))
            {
                continue;
            }
            match FileImports::of(text, &module) {
                Ok(imports) if module.is_empty() => {
                    test_modules.extend(imports.test_modules.iter().cloned());
                    if file == Path::new("lib.rs") {
                        root = imports;
                    }
                }
                Ok(imports) => {
                    test_modules.extend(imports.test_modules.iter().cloned());
                    read.push((source.join(file), module, imports));
                }
                Err(error) => graph.unreadable.push(Finding {
                    path: source.join(file),
                    line: Some(error.span().start().line),
                    message: format!("is not Rust: {error}"),
                }),
            }
        }
        read.retain(|(_, module, _)| !test_modules.iter().any(|test| module.starts_with(test)));
        graph.nodes = read.iter().map(|(_, module, _)| module[0].clone()).collect();
        let exported = graph.exported(&root);
        for (file, module, imports) in &read {
            for import in &imports.paths {
                for to in graph.targets(&import.segments, &exported).into_iter().filter(|to| *to != module[0])
                {
                    graph.imports.push(Import {
                        file: file.clone(),
                        line: import.line,
                        from: module[0].clone(),
                        to,
                        paths: vec![format!("crate::{}", import.segments.join("::"))],
                    });
                }
            }
        }
        graph.imports.sort_by(|a, b| (&a.file, a.line, &a.to).cmp(&(&b.file, b.line, &b.to)));
        // One import per line and node.
        graph.imports.dedup_by(|later, kept| {
            let is_same = (&later.file, later.line, &later.to) == (&kept.file, kept.line, &kept.to);
            if is_same && !kept.paths.contains(&later.paths[0]) {
                kept.paths.append(&mut later.paths);
            }
            is_same
        });
        graph
    }

    /// The names that `lib.rs` re-exports, with the nodes that define them.
    fn exported(&self, root: &FileImports) -> BTreeMap<String, BTreeSet<String>> {
        let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for path in root.paths.iter().chain(&root.others) {
            let Some(node) = path.segments.first().filter(|node| self.nodes.contains(*node)) else {
                continue;
            };
            let name = path.alias.as_ref().or(path.segments.last()).filter(|_| path.segments.len() > 1);
            if let Some(name) = name {
                exported.entry(name.clone()).or_default().insert(node.clone());
            }
        }
        exported
    }

    /// The nodes that a path from the crate's root means.
    fn targets(&self, path: &[String], exported: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
        let Some(first) = path.first() else { return exported.values().flatten().cloned().collect() };
        if self.nodes.contains(first) {
            return BTreeSet::from([first.clone()]);
        }
        exported.get(first).cloned().unwrap_or_default()
    }

    /// The nodes that each node imports.
    pub(super) fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges: BTreeMap<&str, BTreeSet<&str>> =
            self.nodes.iter().map(|node| (node.as_str(), BTreeSet::new())).collect();
        for Import { from, to, .. } in &self.imports {
            edges.entry(from).or_default().insert(to);
        }
        edges
    }
}

/// The module of a file in `src`, from the crate's root, which is the module of `lib.rs` and `main.rs`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let last = module.last().map(String::as_str);
    if last == Some("mod") || module.len() == 1 && matches!(last, Some("lib" | "main")) {
        module.pop();
    }
    module
}
