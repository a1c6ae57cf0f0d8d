//! The repository is tidy, and each rule of tidy finds what it is there for and nothing else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use xtask::{
    CrateGraph, ModuleGraph, Tree, check_crates, check_document, check_modules, check_order, check_source,
    findings, graph_text, workspace_root,
};

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
    check("a.rs", &lines(340), &[]);
    check("a.rs", &lines(341), &["a.rs: has 341 lines, allowed are 340"]);
    check("a.toml", &lines(341), &[]);
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

/// A crate with these files in `src`.
fn modules(name: &str, files: &[(&str, &str)]) -> ModuleGraph {
    let files = files.iter().map(|(file, text)| (Path::new(*file), *text));
    ModuleGraph::from_sources(name, Path::new("c/src"), files)
}

/// A crate whose `high` may import from `low`, and not the other way round.
const LAYERS: [(&str, &str); 3] = [
    ("lib.rs", "mod high;\nmod low;\npub use high::{Thing, inner::Deep as Renamed};\npub use low::Base;"),
    ("low.rs", "pub struct Base;"),
    ("high/mod.rs", "mod inner;\nuse crate::Base;\nuse crate::low;\npub struct Thing;"),
];

/// Checks that another file of that crate gives findings that begin like this.
#[track_caller]
fn check_import(file: &str, text: &str, expected: &[&str]) {
    let graph = modules("c", &[&LAYERS[..], &[(file, text)]].concat());
    let found: Vec<String> = check_order(&graph, &["low", "high"]).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "found: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "`{found}` should begin with `{expected}`");
    }
}

#[test]
fn imports_against_the_order_of_folders_are_found() {
    check_import("high/inner.rs", "use super::Thing;\nuse crate::high::Thing as Other;", &[]);
    for (text, line) in [
        ("use crate::{Base, high::{inner::*, Thing}};", 1),
        ("\nuse crate::Thing;", 2),
        ("use crate::Renamed;", 1),
        ("use crate::*;", 1),
        ("use super::super::high;", 1),
        ("\n\nfn f() { crate::high::g() }", 3),
        ("macro_rules! m { () => { $crate::high::x } }", 1),
        ("pub(in crate::high) struct X;", 1),
    ] {
        let expected =
            format!("c/src/low/part.rs:{line}: `low` may not import from `high`, which comes later");
        check_import("low/part.rs", text, &[&expected]);
    }
    check_import("other.rs", "use crate::high::Thing;", &["c/src/other: `other` is not in the order"]);
    check_import("low/part.rs", "\n\"", &["c/src/low/part.rs:2: is not Rust"]);
}

#[test]
fn tests_may_import_anything() {
    check_import("low/part.rs", "#[cfg(test)]\nmod tests {\n    use crate::high::Thing;\n}", &[]);
    check_import("low/tests.rs", "use crate::high::Thing;", &[]);
    let files = [
        &LAYERS[..],
        &[("low/mod.rs", "#[cfg(test)]\nmod testing;"), ("low/testing.rs", "use crate::high;")],
    ];
    assert!(check_order(&modules("c", &files.concat()), &["low", "high"]).is_empty());
}

#[test]
fn rings_are_found_where_there_is_no_order() {
    let ring = [
        ("a.rs", "use crate::b;"),
        ("b.rs", "\nuse crate::c;"),
        ("c.rs", "use crate::{a, d};"),
        ("d.rs", ""),
    ];
    let graph = modules("c", &ring);
    let found: Vec<String> = check_modules(&graph).iter().map(ToString::to_string).collect();
    let expected = [
        "c/src/a.rs:1: `a` imports from `b` (`crate::b`) in a ring of a, b, c",
        "c/src/b.rs:2: `b` imports from `c` (`crate::c`) in a ring of a, b, c",
        "c/src/c.rs:1: `c` imports from `a` (`crate::a`) in a ring of a, b, c",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)), "{found:#?}");
    let text = "c\n    d\n    a <- imports: b    (ring 1)\n    b <- imports: c    (ring 1)\n    c <- imports: a, d    (ring 1)\n    rings: 1\n";
    assert_eq!(graph_text(&graph), text);
    assert_eq!(graph_text(&modules("c", &LAYERS)), "c\n    low\n    high <- imports: low\n");
}

/// Checks that a line of the document `path` gives exactly the findings that these names do not exist.
#[track_caller]
fn check_line(path: &str, line: &str, missing: &[&str]) {
    let files = [
        "README.md",
        "one/Cargo.toml",
        "one/README.md",
        "one/src/deep/file.rs",
        "two/Cargo.toml",
        "two/src/top.rs",
    ];
    let tree = Tree::new(files.map(PathBuf::from));
    let found: Vec<String> =
        check_document(Path::new(path), line, &tree).iter().map(ToString::to_string).collect();
    let expected: Vec<String> = missing
        .iter()
        .map(|name| format!("{path}:1: names `{name}`, which does not exist: correct the name, or remove it"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn documents_name_files_that_exist() {
    for right in
        ["`deep/`", "`file.rs`", "`deep/file.rs`", "`src/deep`", "`one/src/deep/file.rs`", "[two](../two)"]
    {
        check_line("one/README.md", right, &[]);
    }
    check_line("one/README.md", "`top.rs`", &["top.rs"]);
    check_line("README.md", "`top.rs` and `file.rs` in [one](one) and [two](two/src/top.rs#L1)", &[]);
    check_line("README.md", "`gone.rs` beside [gone](three)", &["gone.rs", "three"]);
    check_line(
        "one/README.md",
        "`lost/`, `model/lost.rs` and `src/lost` and [x](lost.md)",
        &["lost/", "model/lost.rs", "src/lost", "lost.md"],
    );
    for meant_otherwise in [
        "`org/model@v1`, `HuggingFaceTB/SmolLM2-135M`, `loss/policy`, `target/runs/demo/report.html`, `model/`",
        "`config.json`, `cargo run file.toml`, `crate::gone`, `{a,b}.rs`, `NAME.XXXXXX`, `a/b`",
        "[web](https://example.org/x.md), [item](crate::gone), [`Type`](Type), [method](gone())",
    ] {
        check_line("one/README.md", meant_otherwise, &[]);
    }
    check_line("CHANGELOG.md", "`gone.rs`", &[]);
    let fenced = "```text\n`gone.rs`\n```\n";
    assert!(check_document(Path::new("README.md"), fenced, &Tree::default()).is_empty());
}
