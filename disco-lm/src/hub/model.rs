//! The name of a model on a hub.

use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// What a revision is where none is named.
const MAIN: &str = "main";

/// A model on a hub: `organisation/name`, or `organisation/name@revision` with a branch, tag or commit.
///
/// ```
/// # fn main() -> Result<(), disco_lm::Error> {
/// let model: disco_lm::HubModel = "HuggingFaceTB/SmolLM2-135M@v1".parse()?;
/// assert_eq!((model.repository(), model.revision()), ("HuggingFaceTB/SmolLM2-135M", "v1"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubModel {
    // Invariant: one or two parts that can be the name of a folder, since the cache has them in one.
    repository: String,
    // Invariant: parts that can be the name of a folder.
    revision: String,
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
}

impl FromStr for HubModel {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`].
    fn from_str(text: &str) -> Result<Self> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let short = repository.split('/').count() <= 2;
        if short && is_path(repository) && is_path(revision) {
            Ok(Self { repository: repository.into(), revision: revision.into() })
        } else {
            let allowed =
                "organisation/name or organisation/name@revision, of letters, digits, `.`, `_` and `-`";
            Err(Error::invalid("model of a hub", format!("{text:?}"), allowed))
        }
    }
}

impl fmt::Display for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Whether each part is a name, and none leads out of the folder that it is to be in.
fn is_path(text: &str) -> bool {
    text.split('/').all(is_name)
}

/// Whether this can be the name of a file or folder in the cache.
pub(super) fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in ["gpt2", "org/name", "org/name.v1_2-x", "org/name@refs/pr/1", "org/name@0123abc"] {
            assert_eq!(text.parse::<HubModel>().expect(text).to_string(), text);
        }
        assert_eq!("org/name@main".parse::<HubModel>().expect("valid").to_string(), "org/name");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in
            ["", "/", "a/b/c", "a/", "/b", "../b", "a/..", "a/b@", "a/b@../x", "a/b@/x", "a b/c", "a/b@c@d"]
        {
            let error = text.parse::<HubModel>().expect_err(text).to_string();
            assert!(error.contains("organisation/name"), "{error}");
        }
    }
}
