//! The files of a record.

use serde::Serialize;

use super::{
    folder::OutputFolder,
    place::SUMMARY,
    record::{RunRecord, SampleRecord},
    report::render_report,
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

/// Writes `report.html`, `summary.json`, `samples.jsonl`, and the run file `run.toml`.
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
    folder.write("samples.jsonl", &lines)?;
    folder.write(RUN_FILE, record.spec.written.as_bytes())?;
    folder.write("report.html", render_report(record).as_bytes())
}
