//! Recognises a file that is not of the kind that its name says, by its first bytes, so that a message names the cause.

use std::path::Path;

use crate::Error;

/// The number of bytes at the head of a file that [`identify`] looks at.
pub(crate) const HEAD: usize = 512;

/// Formats by the bytes that their files begin with.
const MAGIC: [(&[u8], &str); 14] = [
    (b"version https://git-lfs", "a Git LFS pointer, which stands for the file in a repository"),
    (b"GGUF", "a GGUF file"),
    (b"lmgg", "a GGML file, from before GGUF"),
    (b"fmgg", "a GGML file (ggmf), from before GGUF"),
    (b"tjgg", "a GGML file (ggjt), from before GGUF"),
    (b"algg", "a GGML adapter (ggla), from before GGUF"),
    (b"PK\x03\x04", "a zip archive, as PyTorch's files are"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"\x89HDF", "an HDF5 file, as TensorFlow's are"),
    (b"%PDF", "a PDF"),
    (b"\x80\x02", "a pickle of Python, as PyTorch's first files are"),
];

/// A file's format, if it is another than the one that is read, from the bytes at its head.
pub(crate) fn identify(head: &[u8]) -> Option<&'static str> {
    if let Some((_, format)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(format);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some("a tar archive");
    }
    if head.len() > 9 && head[8] == b'{' && head[6..8] == [0, 0] {
        return Some("a safetensors file");
    }
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    if ["<!doctype", "<html", "<head", "<?xml"].iter().any(|tag| text.starts_with(tag)) {
        return Some("a page of a website, such as a login page or a server's error");
    }
    None
}

/// The remedy for a file that [`identify`] knows.
fn remedy(format: &str, wanted: &str) -> String {
    if format.contains("Git LFS") { format!("{wanted}; `git lfs pull` fetches it") } else { wanted.into() }
}

/// An error that names the format of a file that should be `wanted`, if it is empty or of another format that is known.
pub(crate) fn other_format(path: &Path, head: &[u8], wanted: &str) -> Option<Error> {
    if head.is_empty() {
        return Some(Error::format(path, "it is empty, as after an interrupted download or on a full disk"));
    }
    let format = identify(&head[..head.len().min(HEAD)]).filter(|format| *format != wanted)?;
    Some(Error::NotRead { path: path.into(), found: format.into(), allowed: remedy(format, wanted) })
}
