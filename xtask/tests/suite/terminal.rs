//! Text that reaches a terminal, and the effect of a closed or full terminal on a command.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, process::Command};

/// Runs `script` in bash, where `"$0"` is xtask; gives the exit code that it ends with, standard output and standard error.
fn shell(script: &str) -> (Option<i32>, String, String) {
    let output = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_xtask")]).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), out, err)
}

#[test]
fn a_message_that_cannot_be_said_changes_no_exit_code() {
    for redirection in ["2>/dev/full", "2>&-", "2>&1 | true", "2>&- >&-", "2>/dev/full >/dev/full"] {
        let (code, ..) = shell(&format!("\"$0\" run nowhere.toml {redirection}; exit ${{PIPESTATUS[0]}}"));
        assert_eq!(code, Some(1), "{redirection}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_a_command_quietly_and_a_full_disk_does_not() {
    for reader in ["head -1", "true"] {
        let (code, _, said) = shell(&format!("\"$0\" tidy --graph | {reader}; exit ${{PIPESTATUS[0]}}"));
        assert_eq!((code, said.as_str()), (Some(0), ""), "{reader}");
    }
    let (code, _, said) = shell("\"$0\" tidy --graph >/dev/full");
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: cannot write standard output: No space left"), "{said}");
    let (code, _, said) = shell("\"$0\" tidy --graph >/dev/full 2>/dev/full");
    assert_eq!((code, said.as_str()), (Some(1), ""));
}

#[test]
fn no_name_of_a_file_moves_the_cursor_or_begins_a_line() {
    let name = "a\u{1b}[2J\u{9b}31m\u{202e}\nerror: forged\r.toml";
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["run", name]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with("error: cannot read a\\u{1b}[2J\\u{9b}31m\\u{202e}\n  error: forged\\r.toml: "),
        "{said}"
    );
    // Bytes that are no text at all.
    let name = OsStr::from_bytes(b"a\xff\x1b\x9b.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("run").arg(name).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: cannot read a\u{fffd}\\u{1b}\u{fffd}.toml: "), "{said}");
}

#[test]
fn the_line_of_a_run_file_is_shown_without_what_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "sed = \"\u{9b}31m\u{202e}\"\n[model]\nsource = \"embedded\"\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("run").arg(&path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sed = \"\\u{9b}31m\\u{202e}\""), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
}

#[test]
fn names_of_features_and_warnings_keep_to_their_line_of_the_table() {
    let mut record = crate::common::record();
    record.spec.features[0].name = "\u{1b}[2J\nking\u{9b}".into();
    record.qrs.as_mut().unwrap().warnings.push("a sample says \"\u{202e}\n\u{1b}]0;title\u{7}\"".into());
    let table = xtask::terminal_table(&record);
    assert!(table.contains("\n\\u{1b}[2J\\nking\\u{9b}  0.08"), "{table}");
    assert!(table.contains("Note (QRS): a sample says \"\\u{202e}\\n\\u{1b}]0;title\\u{7}\"\n"), "{table}");
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
}
