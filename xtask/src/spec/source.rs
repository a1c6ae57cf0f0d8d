//! The source of a model, as a file or command line names it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::server::server_address;
use crate::Error;

/// The folder of the tuned weights, inside of the results of a run.
pub const WEIGHTS: &str = "model";

/// The name of the model in this repository.
const EMBEDDED: &str = "embedded";

/// The source of a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// The model in this repository.
    Embedded,
    /// A folder in Hugging Face's format, or a GGUF file.
    Folder(PathBuf),
    /// A hub, by the model's id: `organisation/name` or `organisation/name@revision`, with `:FILE.gguf` behind it for such a file.
    Hub(String),
    /// A server, by its address: `http://HOST:PORT/v1`.
    Server(String),
}

impl ModelSource {
    /// Whether both name the same model, in the same or in another way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(other)) if one != other => {
                let places = (one.canonicalize(), other.canonicalize());
                matches!(places, (Ok(one), Ok(other)) if one == other)
            }
            _ => self == other,
        }
    }

    /// The sources that [`ModelSource::find`] knows, in words.
    pub(crate) const ALLOWED: &str = "\"embedded\", a folder in Hugging Face's format, the results of a run, a GGUF file, or an id of the hub such \
         as \"HuggingFaceTB/SmolLM2-135M\" or \"HuggingFaceTB/SmolLM2-135M@main\", with \":FILE.gguf\" behind it for a GGUF file there; or a server's address: \
         \"http://HOST:PORT/v1\"";

    /// The language model that `text` names, seen from `folder`. A server's address takes precedence over a local path, and that over a
    /// hub id.
    ///
    /// # Errors
    /// The problem with it, as the end of a sentence that begins with `text`.
    pub(crate) fn find(text: &str, folder: &Path) -> Result<Self, String> {
        if text == EMBEDDED {
            return Ok(Self::Embedded);
        }
        if let Some(address) = server_address(text) {
            return address.map(Self::Server);
        }
        Self::find_with(text, folder, "config.json")
    }

    /// The model of some kind that `text` names, whose folder holds the file `config`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(crate) fn find_with(text: &str, folder: &Path, config: &str) -> Result<Self, String> {
        let path = folder.join(text);
        // The results of a run have the tuned model inside.
        let inside = path.join(WEIGHTS);
        if path.is_file() || path.join(config).is_file() {
            Ok(Self::Folder(path))
        } else if inside.join(config).is_file() {
            Ok(Self::Folder(inside))
        } else if path.is_dir() {
            let found = if path.join(config).exists() { "whose {} is no file" } else { "without {}" };
            Err(format!("names a folder {}: {}", found.replace("{}", config), path.display()))
        } else if path.exists() {
            Err(format!("names neither a file nor a folder, but a pipe or a device: {}", path.display()))
        } else if is_hub_id(text) {
            Ok(Self::Hub(text.into()))
        } else {
            Err(format!("names nothing that is there: {}", path.display()))
        }
    }

    /// The language model that an argument of the command line names, seen from the current folder.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such model.
    pub(crate) fn from_argument(flag: &'static str, text: &str) -> crate::Result<Self> {
        Self::find(text, Path::new("")).map_err(|problem| Error::Argument {
            flag,
            problem: format!("\"{text}\" {problem}"),
            allowed: Self::ALLOWED.into(),
        })
    }

    /// The adapter that an argument of the command line names, seen from the current folder.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such adapter.
    pub(crate) fn adapter_from_argument(flag: &'static str, text: &str) -> crate::Result<Self> {
        Self::find_with(text, Path::new(""), "adapter_config.json").map_err(|problem| Error::Argument {
            flag,
            problem: format!("\"{text}\" {problem}"),
            allowed: "a folder in the layout of PEFT, or the id of one on the hub".into(),
        })
    }

    /// Its name in a report.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => EMBEDDED.into(),
            Self::Folder(folder) => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Hub(name) | Self::Server(name) => name.clone(),
        }
    }
}

/// Whether `text` looks like an id of the hub rather than a path. The hub itself decides which characters are allowed.
fn is_hub_id(text: &str) -> bool {
    let (model, file) = text.split_once(':').unwrap_or((text, "model.gguf"));
    let (repository, revision) = model.split_once('@').unwrap_or((model, "main"));
    let is_name =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ' ', '~', ':']);
    repository.split('/').count() == 2
        && repository.split('/').all(is_name)
        && !revision.is_empty()
        && !repository.ends_with(".gguf")
        && file.ends_with(".gguf")
        && !file.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_path_takes_precedence_over_a_hub_id() {
        let place = tempfile::tempdir().unwrap();
        let find = |text: &str| ModelSource::find(text, place.path());
        assert_eq!(find("embedded"), Ok(ModelSource::Embedded));
        assert_eq!(find("http://host:8000/v1/"), Ok(ModelSource::Server("http://host:8000/v1".into())));
        assert!(find("http://host:port/v1").unwrap_err().contains("no number up to 65535"));
        assert!(find("http://host/v1?key=1").unwrap_err().contains("query"));
        assert_eq!(find("https://host/v1").is_ok(), cfg!(feature = "tls"));
        assert_eq!(find("org/name@v1"), Ok(ModelSource::Hub("org/name@v1".into())));
        assert_eq!(find("org/name@v1:m.gguf"), Ok(ModelSource::Hub("org/name@v1:m.gguf".into())));
        let folder = place.path().join("org").join("name");
        std::fs::create_dir_all(folder.join(WEIGHTS)).unwrap();
        assert!(find("org/name").unwrap_err().contains("without config.json"));
        std::fs::write(folder.join(WEIGHTS).join("config.json"), "{}").unwrap();
        assert_eq!(find("org/name"), Ok(ModelSource::Folder(folder.join(WEIGHTS))));
        std::fs::write(folder.join("config.json"), "{}").unwrap();
        assert_eq!(find("org/name"), Ok(ModelSource::Folder(folder)));
        std::fs::create_dir_all(place.path().join("odd").join("config.json")).unwrap();
        assert!(find("odd").unwrap_err().contains("whose config.json is no file"));
        #[cfg(unix)]
        assert!(find("/dev/null").unwrap_err().contains("a pipe or a device"));
        std::fs::write(place.path().join("m.gguf"), "").unwrap();
        assert_eq!(find("m.gguf"), Ok(ModelSource::Folder(place.path().join("m.gguf"))));
        for nothing in [
            "name",
            "./org/other",
            "../org/name2",
            "a/b/c",
            "org/other@",
            "/org/other",
            "models/x.gguf",
            "org/x:y",
            "org/x:y/m.gguf",
            "org:m.gguf",
        ] {
            assert!(find(nothing).unwrap_err().contains("nothing that is there"), "{nothing}");
        }
    }
}
