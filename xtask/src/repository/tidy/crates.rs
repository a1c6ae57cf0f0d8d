//! Rules on the crates: the allowed edges between them, and the README of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::Finding;
use crate::{
    Error, Result,
    process::{self, output},
};

/// Which crate of the workspace may depend on which other ones.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("disco-core", &[]),
    ("disco-divergence", &["disco-core"]),
    ("disco-ebm", &["disco-core"]),
    ("disco-qrs", &["disco-core", "disco-divergence"]),
    ("disco-tuner", &["disco-core", "disco-divergence"]),
    ("disco-lm", &["disco-core", "disco-tuner"]),
    ("xtask", &["disco-core", "disco-divergence", "disco-ebm", "disco-qrs", "disco-tuner", "disco-lm"]),
];

/// The only crates that may reach a tensor library or a tokenizer, directly or not.
const MAY_REACH_MODELS: [&str; 2] = ["disco-lm", "xtask"];

/// The crates of a workspace and everything they depend on, of all kinds (normal, dev, build).
#[derive(Clone, Debug, Default)]
pub struct CrateGraph {
    /// The folder of each member, relative to the workspace.
    pub members: BTreeMap<String, PathBuf>,
    /// The members that have a README.md.
    pub with_readme: BTreeSet<String>,
    /// The direct dependencies of every package, by name.
    pub edges: BTreeMap<String, BTreeSet<String>>,
}

impl CrateGraph {
    /// Asks cargo for the graph of the workspace at `root`, on this platform.
    ///
    /// # Errors
    /// If cargo or rustc do not answer, or not as documented.
    pub fn of(root: &Path) -> Result<Self> {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.arg("-vV");
        let version = output(rustc)?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.ok_or_else(|| Error::answer("rustc -vV", "no line `host: `"))?;

        let mut metadata = process::cargo();
        metadata.current_dir(root).args(["metadata", "--format-version", "1", "--filter-platform", host]);
        let metadata: Value = serde_json::from_str(&output(metadata)?)
            .map_err(|error| Error::answer("cargo metadata", &error.to_string()))?;
        Self::from_metadata(root, &metadata)
            .ok_or_else(|| Error::answer("cargo metadata", "a field is missing"))
    }

    fn from_metadata(root: &Path, metadata: &Value) -> Option<Self> {
        let mut graph = Self::default();
        let mut names = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            names.insert(package["id"].as_str()?, package["name"].as_str()?);
            if package["source"].is_null() {
                let name = package["name"].as_str()?.to_owned();
                let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
                if folder.join("README.md").is_file() {
                    graph.with_readme.insert(name.clone());
                }
                let folder = folder.strip_prefix(root).unwrap_or(folder).to_path_buf();
                graph.members.insert(name, folder);
            }
        }
        for node in metadata["resolve"]["nodes"].as_array()? {
            let from = (*names.get(node["id"].as_str()?)?).to_owned();
            let to = graph.edges.entry(from).or_default();
            for dependency in node["dependencies"].as_array()? {
                to.insert((*names.get(dependency.as_str()?)?).to_owned());
            }
        }
        Some(graph)
    }

    /// The shortest way from `from` to a package that `wanted` accepts.
    fn path_to(&self, from: &str, wanted: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(package) = queue.pop_front() {
            if wanted(package) {
                let mut path = vec![package.to_owned()];
                let mut at = package;
                while let Some(&before) = came_from.get(at) {
                    path.push(before.to_owned());
                    at = before;
                }
                path.reverse();
                return Some(path);
            }
            for next in self.edges.get(package).into_iter().flatten() {
                if next != from && !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, package);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

/// The findings on the crates and the edges between them.
pub fn check_crates(graph: &CrateGraph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, folder) in &graph.members {
        let mut find = |file: &str, message: String| {
            findings.push(Finding { path: folder.join(file), line: None, message });
        };
        if !graph.with_readme.contains(name) {
            find(
                "README.md",
                "is missing: say what the crate is for, with an example; it is the crate's documentation"
                    .into(),
            );
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| crate_name == name) else {
            find(
                "Cargo.toml",
                format!(
                    "`{name}` is not in the table of allowed edges: add it to xtask/src/repository/tidy/crates.rs and to ARCHITECTURE.md"
                ),
            );
            continue;
        };
        let direct = graph.edges.get(name).into_iter().flatten();
        for to in direct.filter(|to| graph.members.contains_key(*to) && !allowed.contains(&to.as_str())) {
            let allowed = if allowed.is_empty() { "none".into() } else { allowed.join(", ") };
            find(
                "Cargo.toml",
                format!(
                    "`{name}` may not depend on `{to}` (allowed: {allowed}): remove the dependency, or move the code to where it is allowed"
                ),
            );
        }
        if !MAY_REACH_MODELS.contains(&name.as_str())
            && let Some(path) = graph.path_to(name, is_model_library)
        {
            let path = path.join(" -> ");
            find(
                "Cargo.toml",
                format!(
                    "only {} may reach Burn or tokenizers, but {path}: cut this path",
                    MAY_REACH_MODELS.join(" and ")
                ),
            );
        }
    }
    findings
}

fn is_model_library(package: &str) -> bool {
    package == "tokenizers"
        || package == "burn"
        || package.starts_with("burn-")
        || package.starts_with("cubecl")
}
