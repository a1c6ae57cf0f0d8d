//! Links from a page to the files of a folder of results.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Component, Path, PathBuf},
};

use super::html::escape;
use crate::{Error, Result};

/// The report of a run, in its folder.
pub(crate) const REPORT: &str = "report.html";

/// The files of a folder of results, as a page links to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLinks {
    /// The address of the folder, with a slash at its end, as seen from the page; empty for a page in the folder.
    address: String,
    /// The files and folders in it, sorted, folders with a slash at the end.
    names: Vec<String>,
}

impl FileLinks {
    /// The links of a page in the folder itself, whose other files are there already.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn beside(folder: &Path) -> Result<Self> {
        let failed = |source| Error::read(folder, source);
        // The folder is sealed after its report was written.
        let mut names = BTreeSet::from(["manifest.json".to_owned()]);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().map_err(failed)?.is_dir();
            if name != REPORT && !name.starts_with('.') {
                names.insert(if is_folder { format!("{name}/") } else { name });
            }
        }
        Ok(Self { address: String::new(), names: names.into_iter().collect() })
    }

    /// The links of the page `page` to the files of `folder`.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn from_page(page: &Path, folder: &Path) -> Result<Self> {
        let canonical = |path: &Path| fs::canonicalize(path).map_err(|source| Error::read(path, source));
        let parent = page.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let address = address(&canonical(parent)?, &canonical(folder)?);
        Ok(Self { address, ..Self::beside(folder)? })
    }

    /// The links as a list; nothing where there is no file.
    pub(super) fn html(&self) -> String {
        if self.names.is_empty() {
            return String::new();
        }
        let mut html = r#"<ul class="files">"#.to_owned();
        for name in &self.names {
            let (address, shown) = (escape(&format!("{}{}", self.address, encoded(name))), escape(name));
            let _ = write!(html, r#"<li><a href="{address}">{shown}</a> {}</li>"#, escape(about(name)));
        }
        html + "</ul>"
    }

    /// The link to the report of the folder, around some HTML.
    pub(super) fn to_report(&self, html: &str) -> String {
        format!(r#"<a href="{}">{html}</a>"#, escape(&format!("{}{REPORT}", self.address)))
    }
}

/// A few words on a file of results.
fn about(name: &str) -> &'static str {
    match name {
        "manifest.json" => "all files with their checksums",
        "model/" => "the weights of the tuned policy",
        "record.json" => "the data of this page",
        "run.toml" => "the run file with all settings",
        "samples.jsonl" => "every sample with its features",
        "summary.json" => "every number",
        "target.json" => "the fitted target",
        _ => "",
    }
}

/// The way from one folder to another, both without links, as a relative address.
fn address(from: &Path, to: &Path) -> String {
    let [from, to] = [from, to].map(|path| path.components().collect::<Vec<Component<'_>>>());
    let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let mut way: PathBuf = from[shared..].iter().map(|_| Component::ParentDir).collect();
    way.extend(&to[shared..]);
    let mut address = String::new();
    for part in way.components() {
        address.push_str(&encoded(&part.as_os_str().to_string_lossy()));
        address.push('/');
    }
    address
}

/// A name in an address: all but letters, digits and a few signs as `%` and two digits.
fn encoded(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_from_one_folder_to_another() {
        let way = |from: &str, to: &str| address(Path::new(from), Path::new(to));
        assert_eq!(way("/a/b", "/a/b"), "");
        assert_eq!(way("/a", "/a/b/c"), "b/c/");
        assert_eq!(way("/a/x/y", "/a/b"), "../../b/");
        assert_eq!(way("/", "/a b/100%\"<"), "a%20b/100%25%22%3C/");
    }
}
