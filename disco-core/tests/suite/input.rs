//! Files that a user names: kinds of files, byte order marks, encodings, ends and lengths of lines.

use std::{io::Cursor, path::PathBuf};

use disco_core::{
    Error,
    input::{Lines, open_regular, read_lines, read_text},
};

use crate::scratch::Scratch;

fn lines_of(content: &[u8]) -> disco_core::Result<Vec<(usize, String)>> {
    Lines::new("given.txt", Cursor::new(content)).collect()
}

#[track_caller]
fn has_lines(content: &str, expected: &[&str]) {
    let lines = lines_of(content.as_bytes()).unwrap();
    let numbers: Vec<usize> = lines.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=expected.len()).collect::<Vec<_>>());
    assert_eq!(lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn lines_lose_their_ends_and_the_mark_at_the_head() {
    has_lines("", &[]);
    has_lines("\u{feff}", &[]);
    has_lines("\u{feff}\n", &[""]);
    has_lines("a\nb", &["a", "b"]);
    has_lines("\u{feff}a\r\nb\r\n", &["a", "b"]);
    has_lines("a\n\n", &["a", ""]);
    has_lines("a\rb\n\r\n", &["a\rb", ""]);
    // Inside of a text it is a character.
    has_lines("a\n\u{feff}b", &["a", "\u{feff}b"]);
}

#[test]
fn lines_are_bounded() {
    let limited = |content: &'static [u8]| -> disco_core::Result<Vec<(usize, String)>> {
        Lines::new("given.txt", Cursor::new(content)).with_limit(3).collect()
    };
    for content in [b"abc\nabc".as_slice(), b"\xef\xbb\xbfabc\r\nabc\r\n"] {
        assert_eq!(limited(content).unwrap(), [(1, "abc".to_string()), (2, "abc".to_string())]);
    }
    let expected = "given.txt, line 2: the line is longer than 3 bytes, the limit";
    for content in [b"abc\nabcd\nabc".as_slice(), b"abc\nabcd", b"abc\nabcdefghijklmnop"] {
        assert_eq!(limited(content).unwrap_err().to_string(), expected);
    }
    // Nothing follows.
    let mut lines = Lines::new("given.txt", Cursor::new(b"abcdef\nabc")).with_limit(3);
    assert!(lines.next().unwrap().is_err());
    assert!(lines.next().is_none());
}

#[test]
fn other_encodings_are_named() {
    let folder = Scratch::folder("encodings");
    for (content, name) in [
        (b"\xff\xfea\0\n\0".as_slice(), "UTF-16, little-endian"),
        (b"\xfe\xff\0a\0\n", "UTF-16, big-endian"),
        (b"\xff\xfe\0\0a\0\0\0", "UTF-32, little-endian"),
        (b"\0\0\xfe\xff\0\0\0a", "UTF-32, big-endian"),
    ] {
        let path = folder.write(content);
        for error in [read_text(&path).unwrap_err(), read_lines(&path).unwrap().next().unwrap().unwrap_err()]
        {
            let expected = format!("line 1: the encoding is {name}, by its byte order mark; allowed: UTF-8");
            assert!(error.to_string().ends_with(&expected), "{error}");
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_line_and_place() {
    let folder = Scratch::folder("bytes");
    // Latin-1.
    let path = folder.write(b"\xef\xbb\xbfone\ncaf\xe9\n");
    let error = read_text(&path).unwrap_err();
    assert!(matches!(error, Error::Malformed { line: 2, .. }), "{error}");
    assert!(error.to_string().ends_with("line 2: byte 4 of the line is not UTF-8"), "{error}");
    let error = read_lines(&path).unwrap().nth(1).unwrap().unwrap_err();
    assert!(error.to_string().ends_with("line 2: byte 4 of the line is not UTF-8"), "{error}");
}

#[test]
fn a_text_loses_the_mark_at_its_head_alone() {
    let folder = Scratch::folder("text");
    let path = folder.write("\u{feff}a\u{feff}\r\nb".as_bytes());
    assert_eq!(read_text(&path).unwrap(), "a\u{feff}\r\nb");
    let missing = read_text(folder.0.join("missing")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn a_directory_is_named() {
    let folder = Scratch::folder("directory");
    let error = read_text(&folder.0).unwrap_err();
    assert!(error.to_string().ends_with(": it is a directory; allowed: a regular file"), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_sockets_devices_and_dangling_links_are_named() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let folder = Scratch::folder("kinds");
    let refused = |path: PathBuf| open_regular(path).unwrap_err().to_string();
    let pipe = folder.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(refused(pipe.clone()), "it is a named pipe (FIFO); allowed: a regular file");
    let socket = folder.0.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(refused(socket), "it is a socket; allowed: a regular file");
    assert_eq!(refused("/dev/zero".into()), "it is a character device; allowed: a regular file");
    let link = folder.0.join("link");
    symlink("pipe", &link).unwrap();
    assert_eq!(refused(link), "it is a named pipe (FIFO); allowed: a regular file");
    let dangling = folder.0.join("dangling");
    symlink("nowhere", &dangling).unwrap();
    assert_eq!(refused(dangling), "it is a symbolic link to nowhere, which does not exist");
    let to_file = folder.0.join("to-file");
    symlink(folder.write(b"text"), &to_file).unwrap();
    assert_eq!(read_text(to_file).unwrap(), "text");
}
