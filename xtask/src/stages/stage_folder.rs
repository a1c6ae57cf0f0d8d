//! The folder of results of one stage, and the file in it that says of which inputs they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use disco_core::input;
use disco_tuner::SealedFolder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    hex::hex,
    results::{OutputFolder, SUMMARY},
    samples::Shard,
    terminal::say,
};

/// The stage "sample", whose lines have an index.
pub(crate) const SAMPLE: &str = "sample";

/// The file that tells the stage and its inputs.
const STAGE: &str = "stage.json";

/// The inputs of a stage: two stages with the same inputs have the same results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    /// The name of the stage.
    pub(super) stage: String,
    /// The version of disco.
    version: String,
    /// The SHA-256 of everything else.
    inputs: String,
    /// The part of the samples that it drew.
    #[serde(default, skip_serializing_if = "is_all")]
    pub(super) shard: Shard,
}

fn is_all(shard: &Shard) -> bool {
    !shard.is_part()
}

impl Inputs {
    /// The inputs of a stage: a spec, files, and other settings.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read; [`Error::Json`].
    pub(crate) fn new(
        stage: &str,
        spec: &impl Serialize,
        files: &[PathBuf],
        others: impl Serialize,
    ) -> Result<Self> {
        let read = |file: &PathBuf| input::read_bytes(file).map_err(|source| Error::read(file, source));
        let files = files.iter().map(read).collect::<Result<Vec<_>>>()?;
        Self::of_bytes(stage, spec, files.iter().map(Vec::as_slice), others)
    }

    /// As [`new`](Self::new), of files whose bytes have been read.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub(crate) fn of_bytes<'b>(
        stage: &str,
        spec: &impl Serialize,
        files: impl IntoIterator<Item = &'b [u8]>,
        others: impl Serialize,
    ) -> Result<Self> {
        let mut digest = Sha256::new();
        // The place of the run file changes nothing; the files that it names are read into the spec.
        digest.update(serde_json::to_vec(&(spec, others)).map_err(Error::Json)?);
        for file in files {
            digest.update((file.len() as u64).to_le_bytes());
            digest.update(file);
        }
        let inputs = hex(&digest.finalize());
        let version = env!("CARGO_PKG_VERSION").into();
        Ok(Self { stage: stage.into(), version, inputs, shard: Shard::default() })
    }

    /// The same inputs, of which only a shard is done.
    #[must_use]
    pub(crate) fn of_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// Whether these are the same inputs, cut into as many shards, but for the shard.
    pub(super) fn are_of_same_run(&self, other: &Self) -> bool {
        *self == Self { shard: self.shard, ..other.clone() } && self.shard.count() == other.shard.count()
    }

    /// Writes the file that tells them.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn write(&self, folder: &OutputFolder) -> Result<()> {
        folder.write(STAGE, &serde_json::to_vec_pretty(self).map_err(Error::Json)?)
    }
}

/// The inputs that the folder of a file tells.
pub(super) fn inputs_beside(file: &Path) -> Option<Inputs> {
    serde_json::from_slice(&fs::read(file.with_file_name(STAGE)).ok()?).ok()
}

/// Whether the folder `out` has the results of these inputs, as they were written. Says so.
pub(crate) fn is_done(out: &Path, inputs: &Inputs) -> bool {
    let is_whole =
        || SealedFolder::open(out).and_then(|folder| folder.check_strangers().map(|()| folder)).is_ok();
    let is_done = inputs_beside(&out.join(STAGE)).as_ref() == Some(inputs) && is_whole();
    if is_done {
        let place = out.display();
        say(format_args!(
            "{:<16} nothing to do: {place} has the results of these inputs; `--force` makes them again",
            inputs.stage
        ));
    }
    is_done
}

/// Refuses a place with results of another stage than this one, or of a run; `None` is a run. A stage replaces its own results alone.
///
/// # Errors
/// [`Error::Place`].
pub(crate) fn keep_results(out: &Path, stage: Option<&str>) -> Result<()> {
    if !out.join(SUMMARY).is_file() {
        return Ok(());
    }
    let of = |stage: Option<&str>| stage.map_or("a run".into(), |stage| format!("the stage `{stage}`"));
    let there = inputs_beside(&out.join(STAGE)).map(|inputs| inputs.stage);
    if there.as_deref() == stage {
        return Ok(());
    }
    let (there, own) = (of(there.as_deref()), of(stage));
    let reason = format!(
        "it has the results of {there}, which {own} does not replace, not even with `--force`; name another folder"
    );
    Err(Error::Place { path: out.into(), reason })
}
