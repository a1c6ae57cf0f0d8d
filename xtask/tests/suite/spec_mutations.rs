//! One mistake in a run file is one problem, and the problem is at the mistake.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};
use xtask::{Problem, read_spec, workspace_root};

fn folder() -> PathBuf {
    workspace_root().join("xtask").join("specs")
}

fn demo() -> String {
    fs::read_to_string(folder().join("demo.toml")).unwrap()
}

/// A run file with every optional field that its comments show.
fn with_all_fields(text: &str) -> String {
    let shown = |line: &str| {
        let field = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).map(|(field, _)| field);
        // The list of contexts is there already, has one, and takes no file beside it.
        field.is_some_and(|field| {
            !["file", "format", "column", "template", "weight", "held_out"].contains(&field)
                && field.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    let line = |line: &str| if shown(line) { line.replacen("# ", "", 1) } else { line.to_owned() };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// That of the demo with the tables that its comments show further in, and contexts that are held out.
fn with_all_tables(text: &str) -> String {
    let list = "list = [\"KING RICHARD III:\\n\"]";
    assert!(text.contains(list));
    let text = text.replace(list, "list = [\"A\", \"B\", \"C\", \"D\"]\nheld_out = 0.5");
    text.replace("#   [log]", "[log]")
        .lines()
        .map(|line| match line.strip_prefix("#   ") {
            Some(field) if field.contains(" = ") && !field.contains("   ") => format!("{field}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// The run files of the repository, that of the demo first, each as it is and with every optional field.
fn specs() -> Vec<String> {
    let mut texts = Vec::new();
    let mut files: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort_by_key(|file| (!file.ends_with("demo.toml"), file.clone()));
    for path in files {
        let text = fs::read_to_string(path).unwrap();
        let full = with_all_fields(&text);
        if texts.is_empty() {
            texts.push(with_all_tables(&full));
        }
        texts.extend([text, full]);
    }
    texts
}

/// A field of a file: its path, and the places of its name and its value.
struct Field {
    path: String,
    key: Range<usize>,
    /// No value for a table with a header of its own.
    value: Option<Range<usize>>,
}

fn fields(text: &str) -> Vec<Field> {
    let mut found = Vec::new();
    collect(text, "", DeTable::parse(text).unwrap().get_ref(), &mut found);
    found
}

fn collect(text: &str, path: &str, table: &DeTable<'_>, found: &mut Vec<Field>) {
    for (key, value) in table {
        let path = format!("{path}{}", key.get_ref());
        let inner = match value.get_ref() {
            DeValue::Table(table) => vec![(format!("{path}."), table)],
            DeValue::Array(items) => {
                let tables = items.iter().enumerate();
                let tables = tables.filter_map(|(index, item)| Some((index, item.get_ref().as_table()?)));
                tables.map(|(index, table)| (format!("{path}.{}.", index + 1), table)).collect()
            }
            _ => Vec::new(),
        };
        let has_header = !inner.is_empty() && !text[value.span()].starts_with(['{', '['])
            || text[value.span()].starts_with("[[");
        let has_header = has_header || (!inner.is_empty() && text[..key.span().start].ends_with(['[', '.']));
        found.push(Field { path: path.clone(), key: key.span(), value: (!has_header).then(|| value.span()) });
        for (path, table) in inner {
            collect(text, &path, table, found);
        }
    }
}

fn problems(text: &str) -> Vec<Problem> {
    match read_spec("specs/mine.toml", text, Path::new("specs")) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems,
    }
}

fn replaced(text: &str, place: &Range<usize>, by: &str) -> String {
    format!("{}{by}{}", &text[..place.start], &text[place.end..])
}

/// Line and column of a byte.
fn position(text: &str, at: usize) -> (usize, usize) {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    (text[..at].matches('\n').count() + 1, text[line..at].chars().count() + 1)
}

/// Checks that the file has at most one problem, which names the field and what is allowed.
#[track_caller]
fn check(text: &str, field: &Field, change: &str) -> Option<Problem> {
    let problems = problems(text);
    let said: Vec<&String> = problems.iter().map(|problem| &problem.message).collect();
    assert!(problems.len() <= 1, "{} = {change}: {said:#?}", field.path);
    let problem = problems.into_iter().next()?;
    let name = field.path.rsplit('.').next().unwrap();
    let names_it = problem.message.contains(name) || problem.allowed.contains(name);
    assert!(names_it, "{} = {change}: {}; {}", field.path, problem.message, problem.allowed);
    assert!(!problem.allowed.is_empty(), "{} = {change}: {}", field.path, problem.message);
    Some(problem)
}

#[test]
fn every_run_file_of_the_repository_is_right() {
    for text in specs() {
        assert_eq!(problems(&text), [], "{text}");
    }
}

#[test]
fn one_wrong_value_is_one_problem() {
    let mut tried = 0;
    for text in specs() {
        for field in fields(&text) {
            let Some(value) = &field.value else { continue };
            let wrong = [
                "nan",
                "inf",
                "-inf",
                "-1",
                "0",
                "1",
                "3",
                "0.5",
                "1e300",
                "99999999999999999999",
                "\"\"",
                "\"no such thing\"",
                "true",
                "false",
                "[]",
                "[1]",
                "[\"a\"]",
                "{}",
                "{ kind = \"sgd\" }",
                "[[1]]",
                "[{}]",
                "07:32:00",
            ];
            for by in wrong {
                tried += 1;
                let changed = replaced(&text, value, by);
                let problem = check(&changed, &field, by);
                // None of these is right for any field. The place of a list's problem is that of its item.
                assert!(!["[[1]]", "[{}]"].contains(&by) || problem.is_some(), "{} = {by}", field.path);
                if ["07:32:00", "nan"].contains(&by) {
                    let problem = problem.unwrap_or_else(|| panic!("{} = {by} is taken", field.path));
                    assert_eq!(problem.position, position(&changed, value.start), "{} = {by}", field.path);
                    assert!(problem.message.contains(&field.path), "{}", problem.message);
                }
            }
        }
    }
    assert!(tried > 1500, "{tried}");
}

#[test]
fn one_unknown_field_is_one_problem() {
    for text in specs() {
        for field in fields(&text) {
            let name = &text[field.key.clone()];
            for by in ["xyzzy".to_owned(), format!("{name}x"), name[1..].to_owned(), name.to_uppercase()] {
                // A name of one letter.
                if by.is_empty() {
                    continue;
                }
                let changed = replaced(&text, &field.key, &by);
                let problems = problems(&changed);
                let said: Vec<&String> = problems.iter().map(|problem| &problem.message).collect();
                assert_eq!(said.len(), 1, "{} as {by}: {said:#?}", field.path);
                let table =
                    field.path.rsplit_once('.').map_or(String::new(), |(table, _)| format!("{table}."));
                assert!(
                    said[0].starts_with(&format!("unknown field `{table}{by}`")),
                    "{}: {said:?}",
                    field.path
                );
                assert_eq!(
                    problems[0].position,
                    position(&changed, field.key.start),
                    "{} as {by}",
                    field.path
                );
                // One letter is near to nothing.
                let is_near = by != "xyzzy" && by.len() > 1;
                assert!(!is_near || said[0].contains(&format!("did you mean `{name}`?")), "{said:?}");
            }
        }
    }
}

#[test]
fn one_missing_field_is_at_most_one_problem_and_a_field_twice_is_one() {
    for text in specs() {
        for field in fields(&text) {
            let Some(value) = &field.value else { continue };
            let line = text[..field.key.start].rfind('\n').map_or(0, |end| end + 1);
            if line != field.key.start {
                continue;
            }
            let whole = line..value.end;
            check(&replaced(&text, &whole, ""), &field, "(missing)");
            let twice = replaced(&text, &whole, &format!("{0}\n{0}", &text[whole.clone()]));
            let problems = problems(&twice);
            assert_eq!(problems.len(), 1, "{}", field.path);
            assert!(problems[0].message.contains("duplicate key"), "{}", problems[0].message);
        }
    }
}

#[test]
fn another_kind_is_one_problem_with_all_that_it_does_not_have() {
    let own =
        ["contains", "count", "regex", "starts_with", "ends", "classifier", "command", "http", "length"];
    let made = ["words", "json", "between", "all", "any", "not", "category"];
    let kinds = own.into_iter().chain(made).chain(["adam", "sgd"]);
    for text in specs() {
        for field in fields(&text).iter().filter(|field| field.path.ends_with(".kind")) {
            for kind in kinds.clone() {
                let value = field.value.as_ref().unwrap();
                let problems = problems(&replaced(&text, value, &format!("\"{kind}\"")));
                // A table without fields of its own kind lacks each that another kind must have.
                let lacks = problems.iter().all(|problem| problem.message.contains("] has no `"));
                assert!(problems.len() <= 1 || lacks, "{} = {kind}: {problems:#?}", field.path);
            }
        }
    }
    let demo = demo();
    let problems = problems(&demo.replace("kind = \"contains\"", "kind = \"length\""));
    let names =
        "unknown for kind `length`: `features.1.text`, `features.1.whole_word`, `features.1.ignore_case`";
    assert_eq!(problems[0].message, names);
    assert!(problems[0].allowed.ends_with("or another kind, which has what was given: contains, count"));
}

/// The case of issue 15, which gave nine problems.
#[test]
fn a_divergence_called_kl_is_one_problem() {
    let demo = demo().replace("divergence = \"js\"", "divergence = \"kl\"");
    let problems = problems(&demo);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(
        problems[0].message,
        "`tune.divergence` is \"kl\"; did you mean `forward-kl` or `reverse-kl`?"
    );
    assert!(problems[0].allowed.starts_with("forward-kl, reverse-kl, tv, js"), "{}", problems[0].allowed);
}

#[test]
fn several_mistakes_are_several_problems() {
    let mut demo = demo();
    for (right, wrong) in [
        ("backend = \"flex\"", "backend = \"cpu\""),
        ("held_out = 0.25", "held_out = 1"),
        ("divergence = \"js\"", "divergence = \"kl\""),
        ("steps = 90", "steps = -1"),
        ("keep = 2", "keeps = 2"),
        ("acceptance_rate = 0.5", "acceptance_rate = 1.0"),
    ] {
        assert!(demo.contains(right), "{right}");
        demo = demo.replacen(right, wrong, 1);
    }
    let said: Vec<String> = problems(&demo).into_iter().map(|problem| problem.message).collect();
    let starts = [
        "`backend` is \"cpu\"",
        "`fit.held_out` is 1",
        "`tune.divergence` is \"kl\"",
        "`tune.steps` is -1",
        "unknown field `checkpoints.keeps`; did you mean `keep`?",
        "`sample.acceptance_rate` is 1, but",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    assert!(said.iter().zip(starts).all(|(said, start)| said.starts_with(start)), "{said:#?}");
}

#[test]
fn names_from_elsewhere_are_told_what_they_are_here() {
    let text = with_all_fields(&demo());
    for (line, by, hint) in [
        ("backend = \"flex\"", "backend = \"torch\"", "did you mean `tch`?"),
        ("backend = \"flex\"", "backend = \"CPU\"", "did you mean `flex`?"),
        ("decay = \"linear\"", "decay = \"Cosine\"", "did you mean `cosine`?"),
        ("kind = \"sgd\"", "kind = \"SGD\"", "did you mean `sgd`?"),
        ("kind = \"sgd\", momentum = 0.9", "kind = \"adam-w\"", "did you mean `adamw`?"),
        ("kind = \"contains\"", "kind = \"word\"", "did you mean `contains`?"),
        ("kind = \"regex\"", "kind = \"regexp\"", "did you mean `regex`?"),
        ("best = \"js_target_policy\"", "best = \"js\"", "did you mean `js_target_policy`?"),
        ("divergence = \"js\"", "divergence = \"Jensen-Shannon\"", "did you mean `js`?"),
        ("divergence = \"js\"", "divergence = \"total_variation\"", "did you mean `tv`?"),
        ("divergence = \"js\"", "divergence = \"chi2\"", "did you mean `chi2-forward` or `chi2-reverse`?"),
    ] {
        assert!(text.contains(line), "{line}");
        let problems = problems(&text.replacen(line, by, 1));
        assert_eq!(problems.len(), 1, "{by}: {problems:#?}");
        assert!(problems[0].message.ends_with(hint), "{by}: {}", problems[0].message);
    }
}

#[test]
fn a_byte_order_mark_and_carriage_returns_move_no_place() {
    let wrong = demo().replace("seed = 1", "seed = -1");
    let plain = problems(&wrong);
    let windows = problems(&format!("\u{feff}{}", wrong.replace('\n', "\r\n")));
    assert_eq!(plain.len(), 1);
    assert_eq!(plain, windows);
    let first = problems(&format!("\u{feff}sed = 1\n{}", demo()));
    assert_eq!(first[0].position, (1, 1));
}
