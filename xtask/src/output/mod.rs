//! What a run leaves behind: a folder with report, summary, samples, target and weights.

mod folder;
mod table;
mod workplace;

use serde::Serialize;

pub use folder::OutputFolder;
pub(crate) use folder::SUMMARY;
pub use table::terminal_table;

use crate::{
    Error, Result,
    record::{RunRecord, SampleRecord, Samples},
    report::render_report,
};

/// A line of `samples.jsonl`.
#[derive(Serialize)]
struct SampleLine<'a> {
    stage: &'static str,
    #[serde(flatten)]
    sample: &'a SampleRecord,
}

/// Writes `report.html`, `summary.json` and `samples.jsonl`.
///
/// # Errors
/// [`Error::File`].
pub fn write_outputs(folder: &OutputFolder, record: &RunRecord) -> Result<()> {
    folder.write(SUMMARY, &json(record)?)?;
    let mut lines = Vec::new();
    let Samples { base, tuned, qrs } = &record.samples;
    for (stage, samples) in [("base", base), ("tuned", tuned), ("qrs", qrs)] {
        for sample in samples {
            lines.extend(serde_json::to_vec(&SampleLine { stage, sample }).map_err(Error::Json)?);
            lines.push(b'\n');
        }
    }
    folder.write("samples.jsonl", &lines)?;
    folder.write("report.html", render_report(record).as_bytes())
}

/// Indented JSON with a line end.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(Error::Json)?;
    bytes.push(b'\n');
    Ok(bytes)
}
