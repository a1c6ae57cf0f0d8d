//! The id of a model on a hub: repository, revision and file.

use std::{fmt, str::FromStr};

use crate::{Error, Result, model::model_files::is_gguf};

/// The revision if none is named.
const MAIN: &str = "main";

/// The id of a model on a hub: `organisation/name`, or `organisation/name@revision` with a branch, tag or commit. The name of a
/// GGUF file may follow: `organisation/name:FILE.gguf`.
///
/// ```
/// # fn main() -> Result<(), disco_lm::Error> {
/// let model: disco_lm::HubModel = "HuggingFaceTB/SmolLM2-135M@v1".parse()?;
/// assert_eq!((model.repository(), model.revision()), ("HuggingFaceTB/SmolLM2-135M", "v1"));
/// let model: disco_lm::HubModel = "org/name-GGUF:name.Q8_0.gguf".parse()?;
/// assert_eq!(model.file(), Some("name.Q8_0.gguf"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubModel {
    // Invariant: one or two parts, each of which can be the name of a folder, since the cache joins them to one.
    repository: String,
    // Invariant: parts that can each be the name of a folder.
    revision: String,
    // Invariant: a valid name of a file.
    file: Option<String>,
}

impl HubModel {
    /// The repository, without its revision.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit; `main` where none was named.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The GGUF file, if one was named.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The id of a file of this repository and revision.
    pub(crate) fn with_file(&self, file: &str) -> Self {
        Self { file: Some(file.into()), ..self.clone() }
    }
}

impl FromStr for HubModel {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for a text that is not an id.
    fn from_str(text: &str) -> Result<Self> {
        let (model, file) = text.split_once(':').map_or((text, None), |(model, file)| (model, Some(file)));
        let (repository, revision) = model.split_once('@').unwrap_or((model, MAIN));
        let short = repository.split('/').count() <= 2;
        let is_file = file.is_none_or(|file| is_file_name(file) && is_gguf(file.as_ref()));
        if short && is_repository(repository) && is_path(revision) && is_file {
            Ok(Self {
                repository: repository.into(),
                revision: revision.into(),
                file: file.map(String::from),
            })
        } else {
            let allowed = "organisation/name or organisation/name@revision, and behind that :FILE.gguf for one in its top folder; \
                           of letters, digits, `.`, `_` and `-`, without `--` and `..` in the id";
            Err(Error::invalid("model of a hub", format!("{text:?}"), allowed))
        }
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ":{file}"))
    }
}

/// Whether each part of a path is a name, so that the path cannot lead out of its folder.
fn is_path(text: &str) -> bool {
    text.split('/').all(is_name)
}

/// As huggingface_hub's `validate_repo_id`: the cache joins the parts of an id by `--`, so that no part may have it.
fn is_repository(text: &str) -> bool {
    is_path(text) && !text.contains("--") && !text.contains("..")
}

/// Whether `text` can be the name of a file in the cache: also on Windows, where some names stand for devices.
pub(crate) fn is_file_name(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_port = ["COM", "LPT"].iter().any(|port| {
        stem.strip_prefix(port)
            .is_some_and(|digit| digit.len() == 1 && digit.chars().all(|c| c.is_ascii_digit()))
    });
    is_name(text)
        && !text.ends_with('.')
        && !["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
        && !is_port
}

/// Whether `text` can be the name of a file or folder in the cache.
pub(crate) fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed_and_displayed() {
        for text in [
            "gpt2",
            "org/name",
            "org/name.v1_2-x",
            "org/name@refs/pr/1",
            "org/name@0123abc",
            "org/name@v1:m.Q4_K_M.gguf",
        ] {
            assert_eq!(text.parse::<HubModel>().expect(text).to_string(), text);
        }
        assert_eq!("org/name@main".parse::<HubModel>().expect("valid").to_string(), "org/name");
    }

    #[test]
    fn invalid_ids_are_refused() {
        for text in [
            "",
            "/",
            "a/b/c",
            "a/",
            "/b",
            "../b",
            "a/..",
            "a/b@",
            "a/b@../x",
            "a/b@/x",
            "a b/c",
            "a/b@c@d",
            "a/b:",
            "a/b:m.bin",
            "a/b:x/m.gguf",
            "a/b:.gguf",
            "a--b/c",
            "a/b--c",
            "a/b..c",
            "a/b:nul.gguf",
            "a/b:Com1.x.gguf",
            "a/b\0",
            "a/b\u{1b}[2J",
            "a\\b",
            "C:/b",
        ] {
            let error = text.parse::<HubModel>().expect_err(text).to_string();
            assert!(error.contains("organisation/name"), "{error}");
        }
    }
}
