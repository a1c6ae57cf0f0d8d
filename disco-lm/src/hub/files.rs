//! Which files a model consists of.

use std::{collections::BTreeSet, path::Path};

use crate::{
    HubProblem, Result,
    hub::model::is_name,
    model::model_files::{SIDECAR_FILES, is_gguf},
    weights,
};

/// How many files of a repository a message lists.
const LISTED: usize = 12;

/// What a kind of model consists of.
pub(crate) struct Kind<'a> {
    /// What must be there beside the weights.
    required: &'a [&'a str],
    /// What is taken if it is there.
    pub(crate) optional: &'a [&'a str],
    /// The one file that all weights are in.
    single: &'a str,
    /// The file that names several, in its place.
    index: Option<&'a str>,
    /// Whether a GGUF file can be in the place of all of it.
    or_gguf: bool,
}

/// What a language model needs of them, and what it takes if it is there.
const BESIDE: (&[&str], &[&str]) = SIDECAR_FILES.split_at(2);

/// A language model and its tokenizer.
pub(crate) const LANGUAGE_MODEL: Kind<'static> = Kind {
    required: BESIDE.0,
    optional: BESIDE.1,
    single: weights::SINGLE,
    index: Some(weights::INDEX),
    or_gguf: true,
};

/// A classifier and its tokenizer.
pub(crate) const CLASSIFIER: Kind<'static> = Kind { optional: &[], or_gguf: false, ..LANGUAGE_MODEL };

/// An adapter.
pub(crate) const ADAPTER: Kind<'static> =
    Kind { required: &[crate::lora::peft::CONFIG], single: crate::lora::peft::WEIGHTS, ..Kind::of_file("") };

impl<'a> Kind<'a> {
    /// A model that is one file.
    pub(crate) const fn of_file(name: &'a str) -> Self {
        Self { required: &[], optional: &[], single: name, index: None, or_gguf: false }
    }

    /// What is needed of a model of which nothing is known.
    pub(crate) fn at_least(&self) -> Vec<String> {
        self.required.iter().copied().chain([self.single]).map(String::from).collect()
    }

    /// What a folder lacks to be such a model.
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

    /// What is to be had of a repository that has these files, but for the shards that an index names.
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
        // The weights last: what is wrong with a model is more often seen in its other files.
        Ok(self.required.iter().copied().chain(optional).chain([weights]).collect())
    }

    /// The shards that the index in a folder names; none where there is a single file, or no index.
    pub(crate) fn shards(&self, folder: &Path) -> Result<Vec<String>> {
        match self.index.map(|index| folder.join(index)) {
            Some(index) if index.exists() && !folder.join(self.single).exists() => {
                weights::shard_names(&index)
            }
            _ => Ok(Vec::new()),
        }
    }
}
