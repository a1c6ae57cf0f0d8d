//! Contexts of a run file: a list, lines of text, or JSON lines, as people's editors and programs write them.

use std::{fs, path::Path};

use xtask::{ChatSpec, ContextSpec, Spec, SpecError, TextContext, read_spec};

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
        Ok(spec) => Ok(spec.contexts.items.iter().map(|context| context.text().to_owned()).collect()),
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
    assert_eq!(with("list = [\"\"]", here).unwrap().contexts, ContextSpec::texts([""]));
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
        "x.tsv",
        "prompt\na\n",
        "",
        &["is a file of the kind .tsv", "JSON lines (.jsonl)", "format = \"text\""],
    );
    refused(
        "x.txt",
        "a\n",
        "column = \"prompt\"",
        &["`contexts.column` is of a table with columns", "format = \"jsonl\""],
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
fn weights_that_nobody_asked_for_are_refused() {
    let equal = b"{\"context\": \"a\", \"weight\": 2}\n{\"context\": \"b\", \"weight\": 2}\n";
    assert_eq!(file("x.jsonl", equal, "").unwrap(), ["a", "b"]);
    // It is the number that counts, however it is written.
    let equal = b"{\"context\": \"a\", \"weight\": 1}\n{\"context\": \"b\", \"weight\": 1.0}\n";
    assert_eq!(file("x.jsonl", equal, "").unwrap(), ["a", "b"]);
    for second in ["\"weight\": 1", "\"other\": 1"] {
        let lines = format!("{{\"context\": \"a\", \"weight\": 3}}\n{{\"context\": \"b\", {second}}}\n");
        refused("x.jsonl", &lines, "", &["line 2: `weight` is", "weight = \"weight\" weighs"]);
    }
    // Also beside a number that only Python writes; and neither line counts twice.
    let lines = "{\"context\": \"a\", \"weight\": 1, \"score\": NaN}\n{\"context\": \"b\", \"weight\": 5, \"score\": NaN}\n";
    refused("x.jsonl", lines, "", &["line 2: `weight` is 5", "weight = \"weight\" weighs"]);
    // A template makes no other use of them, unless it names them.
    let lines = "{\"job\": \"a\", \"weight\": 1}\n{\"job\": \"b\", \"weight\": 5}\n";
    refused(
        "x.jsonl",
        lines,
        "template = \"The {job}\"",
        &["line 2: `weight` is 5", "weight = \"weight\" weighs"],
    );
    let heavy = file("x.jsonl", lines.as_bytes(), "template = \"The {job} of {weight} kg\"");
    assert_eq!(heavy.unwrap(), ["The a of 1 kg", "The b of 5 kg"]);
    let twice = "{\"context\": \"a\", \"weight\": 1, \"weight\": 2}\n";
    refused("x.jsonl", twice, "", &["line 1: duplicate field `weight`"]);
}

/// The spec with these contexts, whose table is the file `name`.
#[track_caller]
fn table(name: &str, content: &str, fields: &str) -> Spec {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    with(&format!("file = \"{name}\"\n{fields}"), folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn rows_have_columns_of_which_a_template_makes_texts() {
    let lines = "{\"job\": \"nurse\", \"share\": 0.5}\n{\"job\": \"judge\", \"share\": 1}\n";
    let csv = "job,share\nnurse,0.5\n\"judge\",1\n";
    for (name, content) in [("x.jsonl", lines), ("x.csv", csv)] {
        let contexts = table(name, content, "template = \"The {job} ({share}) said {{\"").contexts;
        let texts: Vec<&str> = contexts.items.iter().map(TextContext::text).collect();
        assert_eq!(texts, ["The nurse (0.5) said {", "The judge (1) said {"], "{name}");
        assert_eq!(contexts.items[1].text_of("job").unwrap(), "judge");
        assert_eq!(contexts.items[1].number_of("share").unwrap(), 1.0);
    }
    // Columns stay beside a context that is a column itself; a table with that column alone has none.
    let contexts = table("x.jsonl", lines, "column = \"job\"").contexts;
    assert_eq!((contexts.items[0].text(), contexts.items[0].columns().len()), ("nurse", 2));
    assert!(table("x.csv", "context\nnurse\n", "").contexts.items[0].columns().is_empty());
    let contexts = table("x.txt", "nurse\njudge\n", "template = \"The {context}\"").contexts;
    assert_eq!(contexts.items[1].text(), "The judge");
    let list = with("list = [\"nurse\"]\ntemplate = \"The {context}\"", Path::new("")).unwrap();
    assert_eq!(list.contexts.items[0].text(), "The nurse");

    let places = ["x.jsonl, line 2: there is no field `job`; there are: share"];
    refused("x.jsonl", "{\"job\": \"a\"}\n{\"share\": 1}\n", "template = \"{job}\"", &places);
    refused("x.csv", "job\nnurse\n", "template = \"{jobs}\"", &["x.csv, line 2: there is no field `jobs`"]);
    refused(
        "x.csv",
        "job\nnurse\n",
        "template = \"{job\"",
        &["`contexts.template` has a `{` that is not closed"],
    );
    refused("x.csv", "job\nnurse\n", "template = \"jobs\"", &["has no place for a column"]);
    refused("x.csv", "job\nnurse\n", "template = \"{job}\"\ncolumn = \"job\"", &["beside `template`"]);
    refused("x.csv", "a,a\n1,2\n", "", &["two columns have the name `a`"]);
    refused("x.csv", "a,\n1,2\n", "", &["column 2 has no name"]);
    refused("x.csv", "a,b\n1\n", "", &["x.csv: CSV error"]);
    refused("x.csv", "context\n", "", &["no row below"]);
}

#[test]
fn contexts_have_weights_by_a_column() {
    let lines =
        "{\"context\": \"a\", \"n\": 3}\n{\"context\": \"b\", \"n\": 1}\n{\"context\": \"c\", \"n\": 0}\n";
    assert_eq!(table("x.jsonl", lines, "weight = \"n\"").contexts.weights.unwrap(), [3.0, 1.0, 0.0]);
    assert_eq!(
        table("x.csv", "context,n\na,2\nb,0.5\n", "weight = \"n\"").contexts.weights.unwrap(),
        [2.0, 0.5]
    );
    assert_eq!(table("x.jsonl", lines, "").contexts.weights(), [1.0; 3]);
    refused("x.jsonl", lines, "weight = \"m\"", &["line 1: there is no field `m`; there are: context, n"]);
    for wrong in ["-1", "\"many\"", "NaN", "null"] {
        let lines = format!("{{\"context\": \"a\", \"n\": 1}}\n{{\"context\": \"b\", \"n\": {wrong}}}\n");
        refused("x.jsonl", &lines, "weight = \"n\"", &["x.jsonl, line 2: ", "`n` is ", "number"]);
    }
    refused("x.csv", "context,n\na,0\n", "weight = \"n\"", &["the weights `n` are all 0"]);
    refused("x.txt", "a\n", "weight = \"n\"", &["`contexts.weight` is of a table with columns"]);
}

#[test]
fn contexts_are_held_out_by_a_share_or_a_file() {
    let names: Vec<String> = (0..10).map(|index| format!("c{index}")).collect();
    let list = format!("list = {names:?}");
    let here = Path::new("");
    let held_out = |share: &str, seed: u64| {
        let text = format!(
            "seed = {seed}\n[model]\nsource = \"embedded\"\n[contexts]\n{list}\nheld_out = {share}\n[[features]]\nname = \"n\"\n\
             kind = \"contains\"\ntext = \"n\"\nmean = 0.5\n"
        );
        read_spec("mine.toml", &text, here).unwrap().contexts
    };
    let contexts = held_out("0.3", 1);
    let (kept, out) = (&contexts.items, &contexts.held_out);
    assert_eq!((kept.len(), out.len()), (7, 3));
    let mut all: Vec<String> = kept.iter().chain(out).map(|context| context.text().to_owned()).collect();
    all.sort();
    assert_eq!(all, names);
    // The seed decides, and the file's order stays.
    assert_eq!(held_out("0.3", 1), contexts);
    assert!((2..20).any(|seed| held_out("0.3", seed) != contexts));
    assert!(kept.windows(2).all(|pair| pair[0].text() < pair[1].text()));

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("test.jsonl"), "{\"context\": \"x\"}\n").unwrap();
    let spec = with("list = [\"a\"]\nheld_out = \"test.jsonl\"", folder.path()).unwrap();
    assert_eq!(spec.contexts.held_out[0].text(), "x");
    let problem = |fields: &str| {
        let error = with(fields, folder.path()).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{error}");
        error.problems[0].message.clone()
    };
    assert!(problem("list = [\"a\"]\nheld_out = 0.5").contains("is a share of one context"));
    assert_eq!(problem("list = [\"a\", \"b\"]\nheld_out = 1.5"), "`contexts.held_out` is 1.5");
    assert!(problem("list = [\"a\"]\nheld_out = \"none.jsonl\"").contains("cannot read"));
    assert_eq!(problem("list = [\"a\"]\nheld_out = true"), "`contexts.held_out` is of type boolean");
}

#[test]
fn contexts_that_are_held_out_need_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.csv"), "context,n\na,2\nb,1\n").unwrap();
    let unequal = "context,weight\nc,1\nd,2\n";
    for (name, content) in [("y.csv", "context,m\nc,1\nd,2\n"), ("y.txt", "c\nd\n"), ("z.csv", unequal)] {
        fs::write(folder.path().join(name), content).unwrap();
        let fields = format!("file = \"x.csv\"\nweight = \"n\"\nheld_out = \"{name}\"");
        let contexts =
            with(&fields, folder.path()).unwrap_or_else(|error| panic!("{name}: {error}")).contexts;
        let texts: Vec<&str> = contexts.held_out.iter().map(TextContext::text).collect();
        assert_eq!((texts, contexts.weights), (vec!["c", "d"], Some(vec![2.0, 1.0])), "{name}");
    }
}

/// They are drawn at the end of a run, which would be late to find it.
#[test]
fn contexts_that_are_held_out_have_the_choices_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.jsonl"), "{\"context\": \"a\", \"says\": [\"night\", \"day\"]}\n")
        .unwrap();
    let said = |held_out: &str| {
        fs::write(folder.path().join("y.jsonl"), held_out).unwrap();
        let text = "[model]\nsource = \"embedded\"\nchoices = { column = \"says\" }\n[contexts]\nfile = \"x.jsonl\"\n\
                    held_out = \"y.jsonl\"\n[[features]]\nname = \"night\"\nkind = \"contains\"\ntext = \"night\"\nmean = 0.5\n";
        read_spec("mine.toml", text, folder.path()).map_err(|error| error.to_string())
    };
    let first = "{\"context\": \"b\", \"says\": [\"night\", \"noon\"]}\n";
    assert_eq!(said(first).unwrap().contexts.held_out.len(), 1);
    let error = said(&format!("{first}{{\"context\": \"c\"}}\n")).unwrap_err();
    let expected = "`model.choices` cannot be had in held-out context 2: there is no field `says`";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn contexts_may_be_messages_of_a_chat() {
    let here = Path::new("");
    let chat = |fields: &str| with(&format!("list = [\"a\"]\n{fields}"), here).map(|spec| spec.contexts.chat);
    assert_eq!(chat("").unwrap(), None);
    assert_eq!(chat("chat = false").unwrap(), None);
    assert_eq!(chat("chat = true").unwrap(), Some(ChatSpec::default()));
    let with_system = chat("chat = true\nsystem = \"Be brief.\"").unwrap().unwrap();
    assert_eq!(with_system.system.as_deref(), Some("Be brief."));
    let error = chat("system = \"Be brief.\"").unwrap_err();
    assert_eq!(error.problems[0].message, "`contexts.system` is of a chat, and `chat` is not true");
}
