//! Mistakes in the run file's own kinds of features: each is one problem, at its place.

use std::{fs, path::Path};

use xtask::{SpecError, read_spec};

/// A spec with these features, each a name and lines of fields that are parted by `; `. The first table begins at line 6.
fn read_in(folder: &Path, features: &[(&str, &str)]) -> Result<xtask::Spec, SpecError> {
    let mut text =
        "[model]\nsource = \"embedded\"\n[contexts]\nfile = \"people.jsonl\"\ncolumn = \"name\"\n".to_owned();
    for (name, fields) in features {
        text += &format!("[[features]]\nname = '{name}'\n{}\n", fields.replace("; ", "\n"));
    }
    if !text.contains("mean =") && !text.contains("distribution =") {
        text += "[[features]]\nname = \"asked\"\nkind = \"ends\"\nmean = 0.5\n";
    }
    fs::write(folder.join("people.jsonl"), PEOPLE).unwrap();
    read_spec("mine.toml", &text, folder)
}

/// In the second row `entity` is missing and `empty` blank.
const PEOPLE: &str = "{\"name\": \"Ann\", \"who\": \"her\", \"entity\": \"x\", \"empty\": \"y\"}\n{\"name\": \"Bob\", \"who\": 7, \"empty\": \" \"}\n";

fn read(features: &[(&str, &str)]) -> Result<xtask::Spec, SpecError> {
    read_in(tempfile::tempdir().unwrap().path(), features)
}

/// Checks that there is one problem; its place is line and column.
#[track_caller]
fn refused(features: &[(&str, &str)], place: (usize, usize), message: &str, allowed: &str) {
    let error = read(features).map(|_| ()).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let problem = &error.problems[0];
    assert!(problem.message.contains(message), "`{}` should contain `{message}`", problem.message);
    assert!(problem.allowed.contains(allowed), "`{}` should contain `{allowed}`", problem.allowed);
    assert_eq!(problem.position, place, "{error}");
}

/// As [`refused`], for one feature.
#[track_caller]
fn one(fields: &str, place: (usize, usize), message: &str, allowed: &str) {
    refused(&[("it", fields)], place, message, allowed);
}

#[track_caller]
fn fine(features: &[(&str, &str)]) {
    if let Err(error) = read(features) {
        panic!("{error}");
    }
}

#[test]
fn lists_of_words_are_checked() {
    let words = |fields: &str| format!("kind = \"words\"; {fields}");
    one(&words("ignore_case = true"), (6, 1), "has no `list` and no `file`", "list = [\"...\"");
    one(&words("list = [\"a\"]; file = \"b\""), (6, 1), "has both `list` and `file`", "or file");
    one(&words("list = []"), (9, 8), "`features.1.list` is []", "at least one");
    one(&words("list = [\"a\", \"C++\"]"), (9, 14), "\"C++\" is not one or more words", "letters, digits");
    one(&words("list = [\"a, b\"]"), (9, 9), "\"a, b\" is not one or more words", "spaces between");
    one(&words("list = [\" \"]"), (9, 9), "\" \" is not one or more words", "words of");
    one(&words("list = [\"a\"]; value = \"sum\""), (10, 9), "is \"sum\"", "presence, count, share, sign");
    one(&words("list = [\"a\"]; value = \"sign\""), (6, 1), "has no `against`", "against_file");
    one(&words("list = [\"a\"]; against = [\"b\"]"), (10, 11), "is of a sign", "value = \"sign\"");
    one(
        &words("list = [\"a\", \"B\"]; value = \"sign\"; against = [\"b\"]"),
        (11, 11),
        "in the other list too",
        "one of",
    );
    fine(&[("it", &words("list = [\"B\"]; value = \"sign\"; against = [\"b\"]; ignore_case = false"))]);
    one(&words("list = [\"a\"]; value = \"share\"; mean = 1"), (11, 8), "is 1", "above 0 and below 1");
    one(
        &words("list = [\"a\"]; value = \"sign\"; against = [\"b\"]; mean = -1"),
        (12, 8),
        "is -1",
        "above -1 and below 1",
    );
    one(&words("list = [\"a\"]; value = \"count\"; always = true"), (11, 10), "not 0 or 1", "mean");
    one(&words("file = \"none.txt\""), (9, 8), "cannot be used: cannot read", "an entry a line");

    let folder = tempfile::tempdir().unwrap();
    let in_file = |text: &[u8]| {
        fs::write(folder.path().join("list.txt"), text).unwrap();
        read_in(folder.path(), &[("it", &words("file = \"list.txt\""))]).map(|_| ()).map_err(|error| {
            assert_eq!(error.problems.len(), 1, "{error}");
            error.problems[0].message.clone()
        })
    };
    assert_eq!(in_file(b"a\r\n\nof course"), Ok(()));
    assert!(in_file(b"a\nb!\n").unwrap_err().contains("list.txt, line 2: \"b!\" is not one or more words"));
    assert!(in_file(b"\n\n").unwrap_err().ends_with("has no entry"));
    assert!(in_file(b"a\n\xff\n").unwrap_err().contains("line 2"));
}

#[test]
fn questions_to_json_are_checked() {
    let json = |fields: &str| format!("kind = \"json\"; {fields}");
    one(
        &json("path = \"a\""),
        (9, 8),
        "`features.1.path` is \"a\", which does not begin with `$`",
        "$ for the whole",
    );
    one(&json("path = \"$.a[x]\""), (9, 8), "at character 4, neither a whole number", "[-1]");
    one(&json("equals = 1"), (9, 10), "is of a place", "path = \"$\"");
    one(&json("otherwise = 1"), (9, 13), "is of a place", "path = \"$\"");
    one(&json("path = \"$\"; equals = nan"), (10, 10), "`features.1.equals`", "finite number");
    one(&json("path = \"$\"; equals = []"), (10, 10), "`features.1.equals`", "a string");
    one(&json("path = \"$\"; otherwise = inf"), (10, 13), "is inf", "finite");
    one(&json("path = \"$\"; equals = 1; otherwise = 0"), (11, 13), "is of a number", "one of `equals`");
    one(&json("path = \"$.n\"; always = true"), (10, 10), "not 0 or 1", "mean");
    fine(&[("it", &json("path = \"$.n\"; equals = true; always = true"))]);
    fine(&[("it", &json("path = \"$.n\"; mean = -3"))]);
}

#[test]
fn categories_are_checked() {
    let category = |fields: &str| format!("kind = \"category\"; {fields}");
    one(&category("ordered = true"), (6, 1), "has no `choices` and no `labels`", "choices = [");
    one(&category("labels = [\"a\"]"), (6, 1), "has `labels`, but no `patterns` and no `of`", "patterns");
    one(
        &category("choices = [\"a\"]; patterns = ['a']"),
        (6, 1),
        "more than one rule for its labels: `choices`, `patterns`",
        "or labels",
    );
    one(
        &category("choices = [\"a\", \"other\"]"),
        (9, 17),
        "has \"other\", which is the name",
        "none of them `other`",
    );
    one(&category("choices = [\"a\", \"b\", \"a\"]"), (9, 22), "has \"a\", a second time", "differ");
    one(&category("choices = [\" a\"]"), (9, 12), "white space", "strings");
    one(&category("choices = [\"\"]"), (9, 12), "empty", "strings");
    one(
        &category("labels = [\"a\"]; patterns = ['a', 'b']"),
        (10, 12),
        "has 2 items, and there are 1 `labels`",
        "each label",
    );
    one(
        &category("labels = [\"a\"]; patterns = ['(']"),
        (10, 13),
        "no regular expression: unclosed group",
        "docs.rs/regex",
    );
    let choices = "choices = [\"aye\", \"nay\"]";
    one(
        &category(&format!("{choices}; mean = 0.5")),
        (10, 8),
        "asked of a category",
        "distribution = { aye = SHARE",
    );
    let asked = |shares: &str| category(&format!("{choices}; distribution = {{ {shares} }}"));
    one(&asked("aye = 0.5, nay = 0.4"), (10, 16), "sums to 0.9: aye 0.5, nay 0.4", "sum to 1");
    one(&asked("aye = 1.0"), (10, 16), "has no share for nay", "each label");
    one(
        &asked("aye = 0.5, ney = 0.5"),
        (10, 29),
        "distribution.ney`; did you mean `nay`?",
        "aye, nay, other",
    );
    one(&asked("aye = 1.5, nay = 0.5"), (10, 24), "distribution.aye` is 1.5", "from 0 to 1");
    fine(&[("it", &asked("aye = 0.5, nay = 0.3, other = 0.2"))]);
    one("kind = \"ends\"; distribution = { aye = 1 }", (9, 16), "is no category", "kind = \"category\"");
}

#[test]
fn references_are_checked() {
    let king = ("king", "kind = \"contains\"; text = \"king\"");
    let words = ("words", "kind = \"length\"; unit = \"words\"");
    let answer = ("answer", "kind = \"category\"; choices = [\"aye\", \"nay\"]");
    let with = |fields: &str, place: (usize, usize), message: &str, allowed: &str| {
        refused(&[king, words, answer, ("it", fields)], place, message, allowed);
    };
    let names = "king, words, answer = aye";
    with(
        "kind = \"not\"; of = \"kink\"",
        (21, 6),
        "`features.4.of` is \"kink\", and no feature has that name; did you mean `king`?",
        names,
    );
    with(
        "kind = \"all\"; of = [\"king\", \"answer=aye\"]",
        (21, 15),
        "`features.4.of.2` is \"answer=aye\"",
        names,
    );
    with(
        "kind = \"any\"; of = [\"answer = eye\"]",
        (21, 7),
        "`answer` has no such label; did you mean `answer = aye`?",
        "its `choices`: answer = aye",
    );
    with("kind = \"any\"; of = [\"king\", \"king\"]", (21, 15), "has \"king\" a second time", "once");
    with("kind = \"any\"; of = []", (21, 6), "is []", "names of other features");
    with("kind = \"any\"; of = \"king\"", (21, 6), "is of type string", "names of other features");
    with("kind = \"not\"; of = [\"king\"]", (21, 6), "is of type array", "the name of another feature");
    with("kind = \"not\"", (18, 1), "has no `of`", "the name of another feature");
    with("kind = \"not\"; of = \"words\"", (21, 6), "is \"words\", which is not 0 or 1", "that is 0 or 1");
    with(
        "kind = \"all\"; of = [\"king\", \"answer\"]",
        (21, 15),
        "is \"answer\", a category, and not 0 or 1",
        "its labels: answer = aye, answer = nay, answer = other",
    );
    with("kind = \"between\"; of = \"answer\"; low = 1", (21, 6), "a category, and not a number", "a number");
    with("kind = \"between\"; of = \"words\"", (18, 1), "has no `low` and no `high`", "one of them");
    with("kind = \"between\"; of = \"words\"; low = 2; high = 1", (22, 7), "is 2", "at most `high`, 1");
    with(
        "kind = \"category\"; labels = [\"x\"]; of = \"answer\"",
        (22, 6),
        "a category, and not a number",
        "a number",
    );
    with("kind = \"not\"; of = \"it\"", (21, 6), "makes the feature of itself", "not of them");
    with(
        "kind = \"ends\"; given = \"words\"; mean = 0.5",
        (21, 9),
        "is \"words\", which is not 0 or 1",
        "0 or 1",
    );
    with("kind = \"ends\"; given = \"answer\"; mean = 0.5", (21, 9), "a category", "answer = aye");
    with("kind = \"ends\"; given = \"it\"; mean = 0.5", (21, 9), "the feature itself", "another");
    with(
        "kind = \"ends\"; given = \"answer = yes\"; mean = 0.5",
        (21, 9),
        "`answer` has no such label",
        "answer = nay",
    );
    for fields in [
        "kind = \"all\"; of = [\"king\", \"answer = other\"]",
        "kind = \"not\"; of = \"answer = aye\"",
        "kind = \"between\"; of = \"king\"; high = 0",
        "kind = \"category\"; labels = [\"no\", \"yes\"]; of = \"king\"",
        "kind = \"ends\"; given = \"answer = aye\"; mean = 0.5",
    ] {
        fine(&[king, words, answer, ("it", fields)]);
    }
    let label = ("answer = aye", "kind = \"ends\"");
    refused(&[answer, label], (11, 8), "the name of a label of `answer`", "differ");
    // The category's own label cannot be the condition of its shares.
    let own = "kind = \"category\"; choices = [\"aye\"]; given = \"it = aye\"; distribution = { aye = 1 }";
    one(own, (10, 9), "the feature itself", "another");
}

#[test]
fn rings_are_named_in_full_and_each_mistake_is_one_problem() {
    let not = |of: &str| format!("kind = \"not\"; of = \"{of}\"");
    refused(
        &[("a", &not("b")), ("b", &not("c")), ("c", "kind = \"any\"; of = [\"b\"]")],
        (13, 6),
        "`features.2.of` makes features of each other: `b` of `c` of `b`",
        "not of them",
    );
    refused(
        &[("c", &not("a")), ("a", &not("b")), ("b", &not("c"))],
        (9, 6),
        "makes features of each other: `c` of `a` of `b` of `c`",
        "not of them",
    );
    // One wrong name in three places is one problem; three wrong names are three.
    refused(
        &[("a", &not("kng")), ("b", &not("kng")), ("king", "kind = \"ends\"; given = \"kng\"; mean = 0.5")],
        (9, 6),
        "did you mean `king`?; nor for features.2.of, features.3.given",
        "a, b, king",
    );
    let error = read(&[("a", &not("x")), ("b", &not("y")), ("c", &not("a")), ("d", &not("z"))]).unwrap_err();
    assert_eq!(error.problems.len(), 3, "{error}");
    // A name with a problem of its own may be the one that is meant.
    let error = read(&[("", "kind = \"ends\""), ("b", &not("a"))]).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn columns_that_are_looked_for_are_in_every_context() {
    let text = |column: &str| format!("kind = \"contains\"; text = {{ column = \"{column}\" }}");
    fine(&[("it", &text("who"))]);
    one(&text("entity"), (9, 1), "has no text in context 2: there is no field `entity`", "every context");
    one(&text("empty"), (9, 1), "has no text in context 2: field `empty` has no text", "every context");
    one(
        &text("no"),
        (9, 1),
        "in context 1: there is no field `no`; there are: empty, entity, name, who (1 contexts more",
        "column",
    );
    // The same column in two features is one problem, two columns are two.
    refused(&[("a", &text("entity")), ("b", &text("entity"))], (9, 1), "`features.1.text`", "every context");
    let error = read(&[("a", &text("entity")), ("b", &text("no"))]).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    one("kind = \"count\"; text = { colum = \"who\" }", (9, 10), "did you mean `column`?", "column");
    one("kind = \"ends\"; text = {}", (9, 1), "has no `column`", "not empty");
    one("kind = \"starts_with\"; text = 3", (9, 8), "is of type integer", "{ column = \"NAME\" }");
}

#[test]
fn targets_that_features_of_features_cannot_have_are_refused() {
    let asked = |fields: &str, mean: &str| format!("{fields}; mean = {mean}");
    let king = asked("kind = \"contains\"; text = \"king\"", "0.3");
    let fields = |fields: &str, mean: &str, place, message: &str, allowed: &str| {
        refused(&[("king", &king), ("it", &asked(fields, mean))], place, message, allowed);
    };
    fields("kind = \"all\"; of = [\"king\"]", "0.4", (15, 8), "in no text is it above `king`", "at most 0.3");
    fields(
        "kind = \"any\"; of = [\"king\"]",
        "0.2",
        (15, 8),
        "in no text is it below `king`",
        "at least 0.3",
    );
    fields("kind = \"not\"; of = \"king\"", "0.3", (15, 8), "either it or `king`", "0.7");
    fine(&[("king", &king), ("it", &asked("kind = \"not\"; of = \"king\"", "0.7"))]);
    fine(&[("king", &king), ("it", &asked("kind = \"all\"; of = [\"king\"]", "0.2"))]);
    fine(&[("king", &king), ("it", &asked("kind = \"any\"; of = [\"king\"]", "0.4"))]);
    let words = "kind = \"length\"; unit = \"words\"";
    let range = |low: &str, mean: &str| asked(&format!("kind = \"between\"; of = \"n\"; low = {low}"), mean);
    refused(
        &[("n", words), ("wide", &range("2", "0.3")), ("narrow", &range("5", "0.4"))],
        (21, 8),
        "in no text is it above `wide`",
        "at most 0.3",
    );
    let at = |value: &str| asked(&format!("kind = \"json\"; path = \"$.a\"; equals = {value}"), "0.6");
    refused(&[("one", &at("1")), ("two", &at("\"two\""))], (17, 8), "no text can have both", "at most 0.4");
    let list = |value: &str, mean: &str| {
        asked(&format!("kind = \"words\"; list = [\"a\"]; value = \"{value}\""), mean)
    };
    refused(
        &[("share", &list("share", "0.5")), ("presence", &list("presence", "0.4"))],
        (17, 8),
        "in no text is it below `share`",
        "at least 0.5",
    );
}
