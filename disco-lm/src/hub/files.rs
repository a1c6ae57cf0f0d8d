//! Which files a model consists of.

use std::{collections::BTreeSet, path::Path};

use super::HubProblem;
use crate::{Result, files::BESIDE_WEIGHTS, weights};

/// How many files of a repository a message lists.
const LISTED: usize = 12;

/// What a kind of model consists of.
pub(super) struct Kind {
    /// What must be there beside the weights.
    required: &'static [&'static str],
    /// What is taken if it is there.
    pub(super) optional: &'static [&'static str],
    /// The one file that all weights are in.
    single: &'static str,
    /// The file that names several, in its place.
    index: Option<&'static str>,
}

/// What a language model needs of them, and what it takes if it is there.
const BESIDE: (&[&str], &[&str]) = BESIDE_WEIGHTS.split_at(2);

/// A language model and its tokenizer.
pub(super) const LANGUAGE_MODEL: Kind =
    Kind { required: BESIDE.0, optional: BESIDE.1, single: weights::SINGLE, index: Some(weights::INDEX) };

/// A classifier and its tokenizer.
pub(super) const CLASSIFIER: Kind = Kind { optional: &[], ..LANGUAGE_MODEL };

/// An adapter.
pub(super) const ADAPTER: Kind =
    Kind { required: &[crate::peft::CONFIG], optional: &[], single: crate::peft::WEIGHTS, index: None };

impl Kind {
    /// What is needed of a model of which nothing is known.
    pub(super) fn at_least(&self) -> Vec<String> {
        self.required.iter().copied().chain([self.single]).map(String::from).collect()
    }

    /// What a folder lacks to be such a model.
    pub(super) fn lacking(&self, folder: &Path) -> Result<Vec<String>> {
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
    pub(super) fn present(
        &self,
        files: &BTreeSet<String>,
    ) -> std::result::Result<Vec<&'static str>, HubProblem> {
        let is_there = |name: &&str| files.contains(*name);
        let lacking = |wanted: String| {
            let mut present: Vec<String> = files.iter().take(LISTED).cloned().collect();
            present.extend((files.len() > LISTED).then(|| "...".into()));
            HubProblem::NoFile { wanted, present }
        };
        if let Some(name) = self.required.iter().find(|name| !is_there(name)) {
            return Err(lacking(format!("`{name}`")));
        }
        let weights = [Some(self.single), self.index];
        let Some(weights) = weights.into_iter().flatten().find(is_there) else {
            let names: Vec<_> = weights.into_iter().flatten().map(|name| format!("`{name}`")).collect();
            return Err(lacking(names.join(" or ")));
        };
        let optional = self.optional.iter().copied().filter(is_there);
        // The weights last: what is wrong with a model is more often seen in its other files.
        Ok(self.required.iter().copied().chain(optional).chain([weights]).collect())
    }

    /// The shards that the index in a folder names; none where there is a single file, or no index.
    pub(super) fn shards(&self, folder: &Path) -> Result<Vec<String>> {
        match self.index.map(|index| folder.join(index)) {
            Some(index) if index.exists() && !folder.join(self.single).exists() => {
                weights::shard_names(&index)
            }
            _ => Ok(Vec::new()),
        }
    }
}
