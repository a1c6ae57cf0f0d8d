//! Contexts of a run file: a list, lines of text, or JSON lines, as people's editors and programs write them.

use std::{fs, path::Path};

use xtask::{Spec, SpecError, read_spec};

/// Reads a spec with this table of contexts.
fn with(contexts: &str, folder: &Path) -> Result<Spec, SpecError> {
    let text = format!(
        "[model]\nsource = \"embedded\"\n[contexts]\n{contexts}\n[[features]]\nname = \"night\"\nkind = \"contains\"\n\
         text = \"night\"\nmean = 0.5\n"
    );
    read_spec("mine.toml", &text, folder)
}

/// The contexts of a file of this name and content.
#[track_caller]
fn file(name: &str, content: &[u8], fields: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    match with(&format!("file = \"{name}\"\n{fields}"), folder.path()) {
        Ok(spec) => Ok(spec.contexts),
        Err(error) => {
            assert_eq!(error.problems.len(), 1, "{error}");
            Err(format!("{}; allowed: {}", error.problems[0].message, error.problems[0].allowed))
        }
    }
}

#[track_caller]
fn refused(name: &str, content: &str, fields: &str, parts: &[&str]) {
    let said = file(name, content.as_bytes(), fields).unwrap_err();
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

#[test]
fn contexts_come_from_a_list_or_a_file() {
    assert_eq!(file("lines.txt", b"one\n two \n", "").unwrap(), ["one", " two "]);
    let empty = file("empty.txt", b"", "").unwrap_err();
    assert!(empty.starts_with("`contexts.file` gives no contexts: file of contexts"), "{empty}");
    let here = Path::new("");
    let one = |contexts: &str| {
        let error = with(contexts, here).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        error.problems[0].message.clone()
    };
    assert!(
        one("file = \"missing.txt\"")
            .starts_with("`contexts.file` gives no contexts: cannot read missing.txt")
    );
    assert_eq!(one("list = []"), "`contexts.list` is []");
    assert_eq!(one("list = [\"a\", 3]"), "`contexts.list` has 3 as item 2");
    assert_eq!(one("list = [\"a\"]\nfile = \"lines.txt\""), "[contexts] must say where the contexts are");
    assert_eq!(one(""), "[contexts] must say where the contexts are");
    assert_eq!(one("lst = [\"a\"]"), "unknown field `contexts.lst`; did you mean `list`?");
    assert_eq!(
        one("list = [\"a\"]\ncolumn = \"x\""),
        "`contexts.column` is of a file, and the contexts are a list"
    );
    assert!(one("file = \".\"").contains("it is a directory"), "{}", one("file = \".\""));
    // An empty context that is asked for by itself.
    assert_eq!(with("list = [\"\"]", here).unwrap().contexts, [""]);
}

/// The file in the folder of cases that were reported for other tools: written by Windows' editors.
#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_part_of_a_context() {
    let expected = ["the baker", "knows every", "last line"];
    let saved = b"\xef\xbb\xbfthe baker\r\nknows every\r\nlast line\r\n";
    assert_eq!(file("contexts_bom_crlf.txt", saved, "").unwrap(), expected);
    let unended = b"\xef\xbb\xbfthe baker\r\nknows every\r\nlast line";
    assert_eq!(file("unended.txt", unended, "").unwrap(), expected);
    let json = b"\xef\xbb\xbf{\"context\": \"the baker\"}\r\n{\"context\": \"knows every\"}\r\n";
    assert_eq!(file("contexts.jsonl", json, "").unwrap(), expected[..2]);
    // PowerShell's redirection writes UTF-16.
    let wide: Vec<u8> = b"\xff\xfet\0h\0e\0\r\0\n\0".to_vec();
    let said = file("wide.txt", &wide, "").unwrap_err();
    assert!(said.contains("UTF-16, little-endian") && said.contains("UTF-8"), "{said}");
}

#[test]
fn blank_lines_at_the_end_are_no_contexts() {
    for content in ["one\ntwo\n", "one\ntwo\n\n", "one\r\ntwo\r\n\r\n\r\n", "one\ntwo\n \n\t\n"] {
        assert_eq!(file("lines.txt", content.as_bytes(), "").unwrap(), ["one", "two"], "{content:?}");
    }
    for content in ["{\"context\": \"one\"}\n\n", "{\"context\": \"one\"}\r\n\r\n"] {
        assert_eq!(file("lines.jsonl", content.as_bytes(), "").unwrap(), ["one"], "{content:?}");
    }
    refused("lines.txt", "\n\n", "", &["gives no contexts"]);
    refused("lines.txt", "one\n\ntwo\n", "", &["lines.txt, line 2: the line is blank", "list = [\"\"]"]);
    // In JSON lines, an empty context is asked for by itself.
    assert_eq!(file("lines.jsonl", b"{\"context\": \"\"}\n", "").unwrap(), [""]);
}

#[test]
fn json_lines_are_read_by_their_ending_or_where_the_run_file_says_so() {
    let lines = b"{\"context\": \"one\", \"prompt\": \"two\"}\n";
    for name in ["x.jsonl", "x.ndjson", "x.JSONL", "x.json"] {
        assert_eq!(file(name, lines, "").unwrap(), ["one"], "{name}");
    }
    assert_eq!(file("x.jsonl", lines, "column = \"prompt\"").unwrap(), ["two"]);
    assert_eq!(file("x.txt", lines, "format = \"jsonl\"").unwrap(), ["one"]);
    assert_eq!(file("x.txt", lines, "").unwrap(), [String::from_utf8_lossy(lines).trim_end()]);
    assert_eq!(file("x.jsonl", b"a {\n", "format = \"text\"").unwrap(), ["a {"]);
    assert_eq!(file("x.csv", b"a,b\n", "format = \"text\"").unwrap(), ["a,b"]);
    refused(
        "x.csv",
        "prompt\na\n",
        "",
        &["is a file of the kind .csv", "JSON lines (.jsonl)", "format = \"text\""],
    );
    refused(
        "x.txt",
        "a\n",
        "column = \"prompt\"",
        &["`contexts.column` is of JSON lines", "format = \"jsonl\""],
    );
    refused(
        "x.jsonl",
        "{}",
        "format = \"ndjson\"",
        &["`contexts.format` is \"ndjson\"; did you mean `jsonl`?"],
    );
}

#[test]
fn a_line_without_the_column_says_which_it_has() {
    let prompt = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
    refused(
        "x.jsonl",
        prompt,
        "",
        &["x.jsonl, line 1: there is no field `context`; it has `prompt`: column = \"prompt\" takes that"],
    );
    refused("x.jsonl", prompt, "column = \"promt\"", &["no field `promt`; did you mean `prompt`?"]);
    refused("x.jsonl", "{\"a\": \"b\", \"c\": 3}\n", "", &["its strings are: a; allowed"]);
    refused("x.jsonl", "{\"context\": 3}\n", "", &["field `context` is 3; allowed: a string"]);
    refused("x.jsonl", "{\"context\": \"a\"}\nplain\n", "", &["line 2: expected value"]);
    refused("x.json", "[\"a\", \"b\"]\n", "", &["line 1", "an object a line"]);
}

#[test]
fn weights_that_a_run_would_not_honour_are_refused() {
    let equal = b"{\"context\": \"a\", \"weight\": 2}\n{\"context\": \"b\", \"weight\": 2}\n";
    assert_eq!(file("x.jsonl", equal, "").unwrap(), ["a", "b"]);
    // It is the number that counts, however it is written.
    let equal = b"{\"context\": \"a\", \"weight\": 1}\n{\"context\": \"b\", \"weight\": 1.0}\n";
    assert_eq!(file("x.jsonl", equal, "").unwrap(), ["a", "b"]);
    for second in ["\"weight\": 1", "\"other\": 1"] {
        let lines = format!("{{\"context\": \"a\", \"weight\": 3}}\n{{\"context\": \"b\", {second}}}\n");
        refused("x.jsonl", &lines, "", &["line 2: `weight` is", "counts all of its contexts equally"]);
    }
    // Also beside a number that only Python writes; and neither line counts twice.
    let lines = "{\"context\": \"a\", \"weight\": 1, \"score\": NaN}\n{\"context\": \"b\", \"weight\": 5, \"score\": NaN}\n";
    refused("x.jsonl", lines, "", &["line 2: `weight` is 5", "counts all of its contexts equally"]);
    let twice = "{\"context\": \"a\", \"weight\": 1, \"weight\": 2}\n";
    refused("x.jsonl", twice, "", &["line 1: duplicate field `weight`"]);
}
