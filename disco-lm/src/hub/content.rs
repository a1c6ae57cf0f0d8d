//! Contents that cannot be those of the files that their names say, such as the login page of a network.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    path::Path,
};

use disco_core::input;
use sha2::{Digest, Sha256};

use crate::{
    hub::client::sha256_of,
    weights::{self, Shard},
};

/// The number of bytes at the beginning of a file that are looked at.
const HEAD: u64 = 512;

/// Beginnings of web pages, in lower case.
const PAGES: [&str; 8] = ["<!doctype", "<html", "<head", "<body", "<script", "<meta", "<title", "<?xml"];

const POINTER: &str = "version https://git-lfs.github.com/spec/";

/// Why a content with this beginning is not that of the file `name`; `None` if it may be.
fn mistaken(name: &str, head: &[u8]) -> Option<&'static str> {
    let text = weights::without_mark(head).trim_ascii_start();
    let begins =
        |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    let is_json = name.ends_with(".json");
    if PAGES.iter().any(|page| begins(page)) {
        Some("it is a web page, as networks give that want a login")
    } else if begins(POINTER) {
        Some("it is a pointer of Git LFS in the place of the content")
    } else if head.is_empty() && (is_json || name.ends_with(".safetensors") || name.ends_with(".gguf")) {
        Some("it is empty")
    } else if is_json && !text.starts_with(b"{") && !text.starts_with(b"[") {
        Some("it is not JSON")
    } else {
        None
    }
}

/// As [`mistaken`], of an open file.
pub(crate) fn mistaken_file(name: &str, file: &mut File) -> io::Result<Option<&'static str>> {
    file.rewind()?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(mistaken(name, &head))
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(crate) fn sha256(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut hash = Sha256::new();
    io::copy(file, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Why the file at `path` in a cache is not the file `name` of a model; `None` if nothing speaks against it.
///
/// Hashing a content takes seconds, so that a content under its hash is hashed only if it looks damaged.
pub(crate) fn unsound(path: &Path, name: &str) -> Option<String> {
    let mut file = match input::open_regular(path) {
        Ok(file) => file,
        Err(error) => return Some(error.to_string()),
    };
    let mistaken = mistaken_file(name, &mut file).ok()?;
    let looks_damaged = name.ends_with(".safetensors") && Shard::open(path.into()).is_err();
    if mistaken.is_none() && !looks_damaged {
        return None;
    }
    // A content has its hash as name, and a file of a snapshot is a link to it. A content may itself be a link into a store that
    // several caches share, whose names are other hashes.
    let hash = |path: &Path| path.file_name().and_then(|name| sha256_of(name.to_str()?));
    match hash(path).or_else(|| hash(&fs::read_link(path).ok()?)) {
        Some(expected) => {
            let found = sha256(&mut file).ok()?;
            (found != expected).then(|| format!("its SHA-256 is {found}"))
        }
        None => mistaken.map(String::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_pointers_and_texts_are_told_from_contents() {
        for (name, head) in [
            ("config.json", &b"<!DOCTYPE html><title>Log in</title>"[..]),
            ("model.safetensors", b"\xef\xbb\xbf \n<HTML>"),
            ("chat_template.jinja", b"<?xml version=\"1.0\"?>"),
            ("m.gguf", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
            ("config.json", b"Please log in."),
            ("config.json", b""),
            ("m.gguf", b""),
        ] {
            assert!(mistaken(name, head).is_some(), "{name} {head:?}");
        }
        for (name, head) in [
            ("config.json", &b"\xef\xbb\xbf {\"a\": 1}"[..]),
            ("special_tokens_map.json", b"[]"),
            ("chat_template.jinja", b"<|im_start|>system"),
            ("chat_template.jinja", b""),
            // The length 60 of a header is the sign `<`.
            ("model.safetensors", b"<\0\0\0\0\0\0\0{\"x\":"),
            ("m.gguf", b"GGUF\x03\0\0\0"),
        ] {
            assert_eq!(mistaken(name, head), None, "{name} {head:?}");
        }
    }
}
