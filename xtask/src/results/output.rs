//! The files of a record.

use serde::Serialize;

use super::{
    folder::OutputFolder,
    place::SUMMARY,
    record::{RunRecord, SampleRecord},
    report::{FileLinks, REPORT, render_report_with},
    stored::{RECORD, stored},
    summary::summary,
};
use crate::{Error, Result};

/// The complete run file in a folder of results.
pub(crate) const RUN_FILE: &str = "run.toml";

/// A line of `samples.jsonl`.
#[derive(Serialize)]
struct SampleLine<'a> {
    stage: &'static str,
    #[serde(flatten)]
    sample: &'a SampleRecord,
}

/// The samples, one line each.
const SAMPLES: &str = "samples.jsonl";

/// Writes `report.html`, `summary.json`, `record.json`, `samples.jsonl`, and the run file `run.toml`, after all other files of the folder: the report links to them.
///
/// # Errors
/// [`Error::File`].
pub fn write_outputs(folder: &OutputFolder, record: &RunRecord) -> Result<()> {
    folder.write(SUMMARY, &summary(record)?)?;
    let mut lines = Vec::new();
    for stage in record.samples() {
        for sample in stage.samples {
            serde_json::to_writer(&mut lines, &SampleLine { stage: stage.stage, sample })
                .map_err(Error::Json)?;
            lines.push(b'\n');
        }
    }
    folder.write(SAMPLES, &lines)?;
    folder.write(RUN_FILE, record.spec.written.as_bytes())?;
    folder.write(RECORD, &stored(record)?)?;
    let links = FileLinks::beside(folder.path())?;
    folder.write(REPORT, render_report_with(record, &links).as_bytes())
}
