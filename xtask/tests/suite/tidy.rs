//! The repository is tidy, and each rule of tidy finds what it is there for and nothing else.

use std::{collections::BTreeMap, path::Path};

use xtask::{CrateGraph, check_crates, check_source, findings, workspace_root};

#[test]
fn the_repository_is_tidy() {
    let findings = findings(&workspace_root()).unwrap();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Checks that `text` as the file `path` gives exactly the findings whose beginnings are `expected`.
#[track_caller]
fn check(path: &str, text: &str, expected: &[&str]) {
    let found: Vec<String> = check_source(Path::new(path), text).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "found: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "`{found}` should begin with `{expected}`");
    }
}

#[test]
fn sources_are_checked_line_by_line() {
    check("a.rs", "//! Docs.\n", &[]);
    check("a.rs", "#![doc = include_str!(\"../README.md\")]\n", &[]);
    check("a.rs", "fn main() {}\n", &["a.rs:1: has no documentation"]);
    check("a.md", "no rust\n", &[]);
    check("a.md", "one \ntwo\n", &["a.md:1: ends with white space"]);
    check("a.md", "one\r\n", &["a.md:1: ends with white space"]);
    check("a.md", "one\ttwo\n", &["a.md:1: contains a tab"]);
    check("a.md", "no end", &["a.md: must end with exactly one line end"]);
    check("a.md", "two ends\n\n", &["a.md: must end with exactly one line end"]);
    for name in ["todo", "unimplemented", "dbg"] {
        let call = format!("//! Docs.\nfn f() {{ {name}!() }}\n");
        check("a.rs", &call, &[&format!("a.rs:2: `{name}!` marks unfinished work")]);
        check("a.md", &call, &[]);
        check("a.rs", &format!("//! Docs.\nmy_{name}!();\n"), &[]);
    }
}

#[test]
fn long_files_are_found() {
    let lines = |count: usize| format!("//! Docs.\n{}", "// line\n".repeat(count - 1));
    check("a.rs", &lines(400), &[]);
    check("a.rs", &lines(401), &["a.rs: has 401 lines, allowed are 400"]);
    check("a.toml", &lines(401), &[]);
}

#[test]
fn paths_of_one_machine_are_found() {
    for folder in ["work", "home", "root", "Users"] {
        check("a.md", &format!("see /{folder}/me/x\n"), &["a.md:1: names a folder of one machine"]);
        check("a.md", &format!("`/{folder}/x`\n"), &["a.md:1: names a folder of one machine"]);
        check("a.md", &format!("see src/{folder}/x and $HOME/{folder}/x and ../{folder}/x\n"), &[]);
    }
}

/// A workspace of the named members, each with a README, and these edges.
fn graph(edges: &[(&str, &[&str])]) -> CrateGraph {
    let members: BTreeMap<_, _> =
        ["disco-core", "disco-qrs", "disco-lm"].map(|name| (name.to_owned(), name.into())).into();
    CrateGraph {
        with_readme: members.keys().cloned().collect(),
        members,
        edges: edges
            .iter()
            .map(|(from, to)| ((*from).to_owned(), to.iter().map(|name| (*name).to_owned()).collect()))
            .collect(),
    }
}

#[track_caller]
fn check_graph(graph: &CrateGraph, expected: &[&str]) {
    let found: Vec<String> = check_crates(graph).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "found: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "`{found}` should begin with `{expected}`");
    }
}

#[test]
fn forbidden_edges_are_found() {
    check_graph(&graph(&[("disco-qrs", &["disco-core"]), ("disco-lm", &["disco-core", "burn"])]), &[]);
    check_graph(
        &graph(&[("disco-core", &["disco-qrs"])]),
        &["disco-core/Cargo.toml: `disco-core` may not depend on `disco-qrs` (allowed: none)"],
    );
    check_graph(
        &graph(&[("disco-qrs", &["helper"]), ("helper", &["burn-tensor"])]),
        &[
            "disco-qrs/Cargo.toml: only disco-lm and xtask may reach Burn or tokenizers, but disco-qrs -> helper -> burn-tensor",
        ],
    );
}

#[test]
fn members_must_be_known_and_described() {
    let mut graph = graph(&[]);
    graph.with_readme.remove("disco-qrs");
    graph.members.insert("disco-new".into(), "disco-new".into());
    graph.with_readme.insert("disco-new".into());
    check_graph(
        &graph,
        &["disco-new/Cargo.toml: `disco-new` is not in the table", "disco-qrs/README.md: is missing"],
    );
}
