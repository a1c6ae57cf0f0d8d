//! The files of a model: which of them are required, and which are optional.

use std::{collections::BTreeSet, path::Path};

use crate::{
    HubProblem, Result,
    hub::model::is_name,
    model::model_files::{SIDECAR_FILES, is_gguf},
    weights,
};

/// The most files of a repository that a message lists.
const LISTED: usize = 12;

/// The files of one kind of model.
pub(crate) struct Kind<'a> {
    /// Required files, apart from the weights.
    required: &'a [&'a str],
    /// Files that are downloaded if the repository has them.
    pub(crate) optional: &'a [&'a str],
    /// The file that holds all weights.
    single: &'a str,
    /// The index that names several files with the weights, instead of the single one.
    index: Option<&'a str>,
    /// Whether a GGUF file can replace all of these files.
    or_gguf: bool,
}

/// The sidecar files of a language model, required and optional: only the first two are required.
const SIDECARS: (&[&str], &[&str]) = SIDECAR_FILES.split_at(2);

/// A language model and its tokenizer.
pub(crate) const LANGUAGE_MODEL: Kind<'static> = Kind {
    required: SIDECARS.0,
    optional: SIDECARS.1,
    single: weights::SINGLE,
    index: Some(weights::INDEX),
    or_gguf: true,
};

/// A classifier and its tokenizer.
pub(crate) const CLASSIFIER: Kind<'static> = Kind { or_gguf: false, ..LANGUAGE_MODEL };

/// An adapter in the layout of PEFT.
pub(crate) const ADAPTER: Kind<'static> =
    Kind { required: &[crate::lora::peft::CONFIG], single: crate::lora::peft::WEIGHTS, ..Kind::of_file("") };

impl<'a> Kind<'a> {
    /// A model that is one file.
    pub(crate) const fn of_file(name: &'a str) -> Self {
        Self { required: &[], optional: &[], single: name, index: None, or_gguf: false }
    }

    /// The files that a model needs at least, if nothing of it is in the cache.
    pub(crate) fn at_least(&self) -> Vec<String> {
        self.required.iter().copied().chain([self.single]).map(String::from).collect()
    }

    /// The files that a folder lacks to be such a model.
    pub(crate) fn lacking(&self, folder: &Path) -> Result<Vec<String>> {
        let is_lacking = |name: &&str| !folder.join(name).exists();
        let mut lacking: Vec<String> =
            self.required.iter().copied().filter(is_lacking).map(String::from).collect();
        if is_lacking(&self.single) {
            match self.index.filter(|index| !is_lacking(index)) {
                Some(_) => {
                    lacking.extend(self.shards(folder)?.into_iter().filter(|name| is_lacking(&name.as_str())))
                }
                None => lacking.push(self.single.into()),
            }
        }
        Ok(lacking)
    }

    /// The files to download from a repository that has `files`, without the shards that an index names.
    pub(crate) fn present(&self, files: &BTreeSet<String>) -> std::result::Result<Vec<&'a str>, HubProblem> {
        let is_there = |name: &&str| files.contains(*name);
        let lacking = |wanted: String| {
            let mut present: Vec<String> = files.iter().take(LISTED).cloned().collect();
            present.extend((files.len() > LISTED).then(|| "...".into()));
            HubProblem::NoFile { wanted, present }
        };
        let weights = [Some(self.single), self.index];
        let found = weights.into_iter().flatten().find(is_there);
        if self.or_gguf && found.is_none() {
            let is_model = |name: &&String| is_name(name) && is_gguf(name.as_ref());
            let files: Vec<String> = files.iter().filter(is_model).cloned().collect();
            if !files.is_empty() {
                return Err(HubProblem::GgufFiles { files });
            }
        }
        if let Some(name) = self.required.iter().find(|name| !is_there(name)) {
            return Err(lacking(format!("`{name}`")));
        }
        let Some(weights) = found else {
            let names: Vec<_> = weights.into_iter().flatten().map(|name| format!("`{name}`")).collect();
            return Err(lacking(names.join(" or ")));
        };
        let optional = self.optional.iter().copied().filter(is_there);
        // The weights come last: problems of a model show more often in its other files.
        Ok(self.required.iter().copied().chain(optional).chain([weights]).collect())
    }

    /// The shards that the index in a folder names; empty if there is a single file, or no index.
    pub(crate) fn shards(&self, folder: &Path) -> Result<Vec<String>> {
        match self.index.map(|index| folder.join(index)) {
            Some(index) if index.exists() && !folder.join(self.single).exists() => {
                weights::shard_names(&index)
            }
            _ => Ok(Vec::new()),
        }
    }
}
