//! The contents of the files that travel inside of the program.

/// A file inside of the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EmbeddedFile {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its content.
    pub(crate) bytes: &'static [u8],
}

/// The files of a folder of the repository.
macro_rules! files_of {
    ($folder:literal, $($name:literal),+ $(,)?) => {
        [$(EmbeddedFile {
            name: $name,
            bytes: include_bytes!(concat!("../../../", $folder, "/", $name)),
        }),+]
    };
}

/// The embedded model, a folder in Hugging Face's format.
#[cfg(feature = "lm")]
pub(super) const MODEL: [EmbeddedFile; 7] = files_of!(
    "models/tiny-shakespeare",
    "README.md",
    "config.json",
    "generation_config.json",
    "manifest.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
);

/// The example run files, and the tables that they read.
pub(crate) const SPECS: [EmbeddedFile; 14] = files_of!(
    "xtask/specs",
    "category.toml",
    "choices.toml",
    "command.toml",
    "demo.toml",
    "given.toml",
    "grammar.toml",
    "http.toml",
    "json.toml",
    "per_context.toml",
    "professions.jsonl",
    "professions.toml",
    "reward.toml",
    "speakers.jsonl",
    "words.toml",
);

/// The programs and the server of the examples, and the Python module that they import.
pub(crate) const SCORERS: [EmbeddedFile; 3] =
    files_of!("xtask/scorers", "disco_scorer.py", "server.py", "shakespeare.py");

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;
    use crate::process::workspace_root;

    /// The names of the files in a folder of the workspace, but for tests of Python and its caches.
    fn listed(folder: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(workspace_root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("test_") && !name.starts_with("__")).collect()
    }

    fn named(files: &[EmbeddedFile]) -> BTreeSet<String> {
        files.iter().map(|file| file.name.to_owned()).collect()
    }

    #[test]
    fn every_file_of_the_folders_travels_inside_of_the_program() {
        assert_eq!(named(&SPECS), listed("xtask/specs"));
        assert_eq!(named(&SCORERS), listed("xtask/scorers"));
        #[cfg(feature = "lm")]
        assert_eq!(named(&MODEL), listed("models/tiny-shakespeare"));
    }
}
