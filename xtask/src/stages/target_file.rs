//! A saved target and the run file of its features.

use std::path::{Path, PathBuf};

use disco_core::input;
use disco_ebm::SavedTarget;

use crate::{
    Error, Result,
    features::TextScorers,
    results::RUN_FILE,
    scorers::external_scorers,
    spec::{Spec, read_spec},
};

/// A saved target, with the spec that says how its features are computed.
#[derive(Clone, Debug)]
pub(crate) struct TargetFile {
    pub(crate) saved: SavedTarget,
    pub(crate) spec: Spec,
}

impl TargetFile {
    /// Reads a target, and the run file `spec`, or else the file `run.toml` beside the target.
    ///
    /// # Errors
    /// Those of the files; [`Error::Argument`] if there is no run file, or one that lacks a feature of the target.
    pub(crate) fn read(path: &Path, spec: Option<&Path>) -> Result<Self> {
        let saved = SavedTarget::load(path)?;
        let beside: PathBuf = path.with_file_name(RUN_FILE);
        let file = spec.unwrap_or(&beside);
        if spec.is_none() && !file.is_file() {
            let problem = format!(
                "\"{}\" has no {RUN_FILE} beside it, which says how its features are computed",
                path.display()
            );
            let allowed = "a target in the results of a run or of `fit`, or `--spec FILE` beside it".into();
            return Err(Error::Argument { flag: "--target", problem, allowed });
        }
        let text = input::read_text(file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let spec = read_spec(&file.display().to_string(), &text, folder)?;
        Ok(Self { saved, spec })
    }

    /// The text scorers of the features: those whose values a file has, and the programs and servers of the others, which are started.
    ///
    /// # Errors
    /// Those of a program that cannot be started, and of a server that does not answer.
    pub(super) fn scorers(&self, recorded: &TextScorers) -> Result<TextScorers> {
        let asked = self.spec.features.iter().filter(|feature| !recorded.contains_key(&feature.name));
        let mut scorers = external_scorers(asked)?;
        scorers.extend(recorded.clone());
        Ok(scorers)
    }
}
