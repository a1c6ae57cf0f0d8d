//! `record.json`: the record of a run as the report needs it, so that the report can be rendered again.
//!
//! It has the first samples of each stage alone, as many as the report shows; all of them are in `samples.jsonl`.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use disco_tuner::SealedFolder;
use serde::{Deserialize, Serialize};

use super::{
    place::SUMMARY,
    record::{RunRecord, SampleRecord},
};
use crate::{Error, Result};

/// The file.
pub(super) const RECORD: &str = "record.json";

/// The version of the file's form.
const FORMAT: u32 = 1;

/// The fields of the file.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    format: u32,
    record: Cow<'a, RunRecord>,
    /// The first samples of each stage.
    samples: BTreeMap<Cow<'a, str>, Vec<SampleRecord>>,
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The record as JSON with a line end.
///
/// # Errors
/// [`Error::Json`].
pub(super) fn stored(record: &RunRecord) -> Result<Vec<u8>> {
    let shown = record.spec.sample.shown;
    let first = |samples: &[SampleRecord]| samples.iter().take(shown).cloned().collect();
    let samples = record.samples().into_iter().map(|stage| (stage.stage.into(), first(stage.samples)));
    let stored = Stored { format: FORMAT, samples: samples.collect(), record: Cow::Borrowed(record) };
    let mut bytes = serde_json::to_vec(&stored).map_err(Error::Json)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the record of a folder of results, with the samples that its report shows.
///
/// # Errors
/// [`Error::Record`] if the folder has no record, one of another version, or files that are not as they were written together.
pub fn read_record(folder: &Path) -> Result<RunRecord> {
    let refused = |problem: String| Error::Record { path: folder.into(), problem };
    if !folder.is_dir() {
        return Err(refused("it is no folder".into()));
    }
    let sealed = SealedFolder::open(folder).map_err(|error| match error {
        disco_tuner::Error::Damaged { difference, .. } if difference == "missing" => {
            refused("there is no manifest.json, so it is no folder of results".into())
        }
        error => refused(error.to_string()),
    })?;
    if !folder.join(RECORD).exists() {
        let problem =
            "there is no record.json: it is no folder of results, or an early version wrote it".to_owned();
        return Err(refused(problem));
    }
    let bytes = sealed.read(RECORD).map_err(|error| refused(error.to_string()))?;
    // A summary of another run beside it would tell of other numbers.
    sealed.read(SUMMARY).map_err(|error| refused(error.to_string()))?;
    let unreadable = |error: serde_json::Error| refused(format!("{RECORD}: {error}"));
    let Format { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if format != FORMAT {
        return Err(refused(format!("{RECORD} has the format {format}; allowed: {FORMAT}")));
    }
    let Stored { record, mut samples, .. } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let mut record = record.into_owned();
    let mut take = |stage: &str| samples.remove(stage).unwrap_or_default();
    if let Some(base) = &mut record.base {
        base.samples = take("base");
    }
    if let Some(policy) = &mut record.policy {
        policy.samples = take("tuned");
    }
    if let Some(qrs) = &mut record.qrs {
        qrs.samples = take("qrs");
    }
    Ok(record)
}
