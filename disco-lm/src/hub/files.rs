//! The files of a model: which of them are required, and which are optional.

use std::{collections::BTreeSet, path::Path};

use crate::{
    Error, HubProblem, Result,
    hub::{content::unsound, model::is_file_name},
    model::model_files::{SIDECAR_FILES, is_gguf},
    text::vocabulary_files::FILES as VOCABULARIES,
    weights,
};

/// The most files of a repository that a message lists.
const LISTED: usize = 12;

/// The files of one kind of model.
pub(crate) struct Kind<'a> {
    /// Required files, apart from the tokenizer and the weights.
    required: &'a [&'a str],
    /// Whether a tokenizer is required, in one of the forms of [`TOKENIZERS`].
    has_tokenizer: bool,
    /// Files that are downloaded if the repository has them.
    pub(crate) optional: &'a [&'a str],
    /// The file that holds all weights.
    single: &'a str,
    /// The index that names several files with the weights, instead of the single one.
    index: Option<&'a str>,
    /// Whether a GGUF file can replace all of these files.
    or_gguf: bool,
}

/// The files of a tokenizer, in each form that is read; the first form that a repository has is downloaded.
const TOKENIZERS: [&[&str]; 3] =
    [&["tokenizer.json"], VOCABULARIES.split_at(2).0, VOCABULARIES.split_at(2).1];

/// The sidecar files of a language model, after its configuration and its tokenizer.
const OPTIONAL: &[&str] = SIDECAR_FILES.split_at(2).1;

/// A language model and its tokenizer.
pub(crate) const LANGUAGE_MODEL: Kind<'static> = Kind {
    required: &["config.json"],
    has_tokenizer: true,
    optional: OPTIONAL,
    single: weights::SINGLE,
    index: Some(weights::INDEX),
    or_gguf: true,
};

/// A classifier and its tokenizer.
pub(crate) const CLASSIFIER: Kind<'static> = Kind {
    optional: &["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"],
    or_gguf: false,
    ..LANGUAGE_MODEL
};

/// An adapter in the layout of PEFT.
pub(crate) const ADAPTER: Kind<'static> =
    Kind { required: &[crate::lora::peft::CONFIG], single: crate::lora::peft::WEIGHTS, ..Kind::of_file("") };

impl<'a> Kind<'a> {
    /// A model that is one file.
    pub(crate) const fn of_file(name: &'a str) -> Self {
        Self { required: &[], has_tokenizer: false, optional: &[], single: name, index: None, or_gguf: false }
    }

    /// The files that a model needs at least, if nothing of it is in the cache.
    pub(crate) fn at_least(&self) -> Vec<String> {
        let tokenizer = if self.has_tokenizer { TOKENIZERS[0] } else { &[] };
        self.required.iter().chain(tokenizer).copied().chain([self.single]).map(String::from).collect()
    }

    /// The files that a folder lacks to be such a model. Files that cannot be what their names say come with the reason.
    pub(crate) fn lacking(&self, folder: &Path) -> Result<Vec<String>> {
        let lacks = |name: &str| {
            let path = folder.join(name);
            if path.exists() {
                unsound(&path, name).map(|reason| format!("{name} ({reason})"))
            } else {
                Some(name.to_string())
            }
        };
        let mut lacking: Vec<String> = self.required.iter().copied().filter_map(lacks).collect();
        let is_whole = |files: &&[&str]| files.iter().all(|name| lacks(name).is_none());
        if self.has_tokenizer && !TOKENIZERS.iter().any(is_whole) {
            lacking.extend(TOKENIZERS[0].iter().copied().filter_map(lacks));
        }
        if let Some(single) = lacks(self.single) {
            match self.index.filter(|index| lacks(index).is_none() && !folder.join(self.single).exists()) {
                Some(_) => lacking.extend(self.shards(folder)?.iter().filter_map(|name| lacks(name))),
                None => lacking.push(single),
            }
        }
        Ok(lacking)
    }

    /// The files to download from a repository that has `files`, without the shards that an index names.
    pub(crate) fn present(&self, files: &BTreeSet<String>) -> std::result::Result<Vec<&'a str>, HubProblem> {
        let is_there = |name: &&str| files.contains(*name);
        let lacking = |wanted: String| {
            let mut present: Vec<String> = files.iter().take(LISTED).map(|name| shown(name)).collect();
            present.extend((files.len() > LISTED).then(|| "...".into()));
            HubProblem::NoFile { wanted, present }
        };
        let weights = [Some(self.single), self.index];
        let found = weights.into_iter().flatten().find(is_there);
        if self.or_gguf && found.is_none() {
            let is_model = |name: &&String| is_file_name(name) && is_gguf(name.as_ref());
            let files: Vec<String> = files.iter().filter(is_model).cloned().collect();
            if !files.is_empty() {
                return Err(HubProblem::GgufFiles { files });
            }
        }
        if let Some(name) = self.required.iter().find(|name| !is_there(name)) {
            return Err(lacking(format!("`{name}`")));
        }
        let tokenizer = TOKENIZERS.into_iter().find(|names| names.iter().all(is_there));
        let tokenizer = match (self.has_tokenizer, tokenizer) {
            (false, _) => &[],
            (true, Some(names)) => names,
            (true, None) => return Err(lacking(format!("`{}`", TOKENIZERS[0][0]))),
        };
        let Some(weights) = found else {
            let names: Vec<_> = weights.into_iter().flatten().map(|name| format!("`{name}`")).collect();
            return Err(lacking(names.join(" or ")));
        };
        let optional = self.optional.iter().copied().filter(is_there);
        // The weights come last: problems of a model show more often in its other files.
        Ok(self.required.iter().chain(tokenizer).copied().chain(optional).chain([weights]).collect())
    }

    /// The shards that the index in a folder names; empty if there is a single file, or no index.
    pub(crate) fn shards(&self, folder: &Path) -> Result<Vec<String>> {
        let Some(index) = self.index.map(|index| folder.join(index)) else { return Ok(Vec::new()) };
        if !index.exists() || folder.join(self.single).exists() {
            return Ok(Vec::new());
        }
        let names = weights::shard_names(&index)?;
        let mut known = BTreeSet::new();
        for name in &names {
            let refused = |problem: &str| Error::format(&index, format!("shard {} {problem}", shown(name)));
            if !is_file_name(name) || !name.ends_with(".safetensors") {
                return Err(refused("is no safetensors file of the same folder"));
            }
            // On file systems that ignore case, two such names are one file.
            if !known.insert(name.to_ascii_lowercase()) {
                return Err(refused("differs from another one in upper and lower case alone"));
            }
        }
        Ok(names)
    }
}

/// A name from a hub as a message shows it: without signs that a terminal obeys, and not longer than a name should be.
fn shown(name: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = name.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if name.chars().count() > LONGEST {
        shown.push_str("...");
    }
    shown
}
