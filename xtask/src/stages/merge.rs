//! Joining the files of shards to the file that one process would have written.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use disco_core::{Error as CoreError, input};

use super::stage_folder::{Inputs, inputs_beside};
use crate::{
    Result, StageError,
    results::OutputFile,
    samples::{is_sample_line, read_line_place},
};

/// Joins files of samples whose lines have an `index`: context by context, in the order of the first file, by index. The lines stay as
/// they are, byte for byte. Returns the number of lines.
///
/// # Errors
/// [`CoreError::Malformed`] with the line for one without an index, for an index that is there twice, and for one that is missing before
/// it; [`StageError::Shards`] for files of other inputs, or not all of the shards. Nothing is written then.
pub(crate) fn merge(files: &[PathBuf], out: &Path) -> Result<usize> {
    check_shards(files)?;
    let mut contexts: HashMap<String, usize> = HashMap::new();
    let mut lines: Vec<BTreeMap<usize, String>> = Vec::new();
    for path in files {
        for line in input::read_lines(path)? {
            let (number, line) = line?;
            if line.trim().is_empty() {
                continue;
            }
            let wrong = |problem: String| CoreError::Malformed {
                path: path.clone(),
                line: number,
                cause: problem.into(),
            };
            let (context, index) = read_line_place(&line).map_err(&wrong)?;
            let next = contexts.len();
            let context = *contexts.entry(context).or_insert(next);
            if context == lines.len() {
                lines.push(BTreeMap::new());
            }
            if lines[context].insert(index, line).is_some() {
                let problem = format!(
                    "the sample with index {index} of this context is there twice: the shards overlap"
                );
                return Err(wrong(problem).into());
            }
        }
    }
    for own in &lines {
        if let Some((expected, (index, _))) =
            own.iter().enumerate().find(|(expected, (index, _))| expected != *index)
        {
            let reason = format!(
                "a context has no sample with index {expected}, and one with index {index}: a shard is missing"
            );
            return Err(StageError::Shards { reason }.into());
        }
    }
    let mut file = OutputFile::prepare(out, is_sample_line)?;
    for line in lines.iter().flat_map(BTreeMap::values) {
        file.write(line.as_bytes())?;
    }
    file.finish()?;
    Ok(lines.iter().map(BTreeMap::len).sum())
}

/// Checks that files of which it is known are all shards of the same inputs.
fn check_shards(files: &[PathBuf]) -> Result<()> {
    let known: Vec<Inputs> = files.iter().filter_map(|file| inputs_beside(file)).collect();
    let Some(first) = known.first() else { return Ok(()) };
    let refused = |reason: String| Err(StageError::Shards { reason }.into());
    for (inputs, file) in known.iter().zip(files) {
        if !inputs.are_of_same_run(first) {
            return refused(format!(
                "{} was made of other inputs than {}",
                file.display(),
                files[0].display()
            ));
        }
    }
    if known.len() < files.len() {
        return Ok(());
    }
    match Inputs::missing_shard(&known) {
        Some(missing) => refused(format!("shard {missing} is missing, or another one is there twice")),
        None => Ok(()),
    }
}
