//! Joining the files of shards to the file that one process would have written.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use disco_core::{Error as CoreError, input};
use disco_tuner::SealedFolder;

use super::{
    MEASURED, SAMPLE,
    stage_folder::{Inputs, inputs_beside},
};
use crate::{
    Result, StageError,
    results::OutputFile,
    samples::{ShardEnd, ShardSum, begins_samples, is_shard_end, is_shard_line, read_line_place},
};

/// Joins files of samples. The lines stay as they are, byte for byte. Returns their number.
///
/// Shards of scored lines, and of samples of a target, are joined in the order of their numbers; all other files, whose lines need an
/// `index`, context by context, in the order of the first file (of the first shard, if they are known), by index.
///
/// # Errors
/// [`CoreError::Malformed`] with the line for one without an index, for an index that is there twice, and for one that is missing before
/// it; [`StageError::Shards`] for files of other inputs, or not all of the shards, and for one that is not as it was written.
/// Nothing is written then.
pub(crate) fn merge(files: &[PathBuf], out: &Path) -> Result<usize> {
    let known = files.iter().map(|file| first_line(file)).collect::<Result<Vec<Option<Inputs>>>>()?;
    let Some(some) = known.iter().flatten().next() else {
        check_folders(files)?;
        return by_index(files, out);
    };
    let is_by_index = some.stage == SAMPLE;
    let mut shards = Vec::new();
    for (inputs, file) in known.into_iter().zip(files) {
        let Some(inputs) = inputs else {
            let reason = format!("{} does not say which shard it is, and others do", file.display());
            return Err(StageError::Shards { reason }.into());
        };
        shards.push((inputs, file.clone()));
    }
    check_shards(&shards)?;
    shards.sort_by_key(|(inputs, _)| inputs.shard.index());
    let files: Vec<PathBuf> = shards.into_iter().map(|(_, file)| file).collect();
    if is_by_index { by_index(&files, out) } else { in_order(&files, out) }
}

/// The inputs and the shard that the first line of a file tells, if it does; the other lines are then those that its last line tells of.
fn first_line(file: &Path) -> Result<Option<Inputs>> {
    let mut lines = input::read_lines(file)?;
    let wrong =
        |line: usize, cause: String| CoreError::Malformed { path: file.into(), line, cause: cause.into() };
    let Some((_, first)) = lines.next().transpose()? else {
        return Err(wrong(1, "the file is empty".into()).into());
    };
    if !is_shard_line(first.as_bytes()) {
        check_sealed(file)?;
        return Ok(None);
    }
    let inputs: Inputs = serde_json::from_str(&first).map_err(|error| wrong(1, error.to_string()))?;
    let (mut sum, mut end, mut last) = (ShardSum::new(first.as_bytes()), None, 1);
    for line in lines {
        let (number, line) = line?;
        last = number;
        if end.is_some() {
            return Err(wrong(number, "there is a line behind the last one of the shard".into()).into());
        }
        end = serde_json::from_str::<ShardEnd>(&line).ok();
        if end.is_none() {
            sum.add(line.as_bytes());
        }
    }
    sum.check(end.as_ref()).map_err(|problem| wrong(last, problem))?;
    Ok(Some(inputs))
}

/// Checks a file of the stage "measure" against the list of its folder, if it is still there.
fn check_sealed(file: &Path) -> Result<()> {
    if let (Some(name), Some(_)) = (file.file_name(), inputs_beside(file)) {
        let folder = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        SealedFolder::open(folder)?.read(&name.to_string_lossy())?;
    }
    Ok(())
}

/// The lines of a file, less those that tell the shard.
fn lines_of(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String)>>> {
    let lines = input::read_lines(path)?;
    let is_line = |line: &disco_core::Result<(usize, String)>| match line {
        Ok((number, line)) => {
            let (is_first, line) = (*number == 1, line.trim().as_bytes());
            !(line.is_empty() || is_first && is_shard_line(line) || is_shard_end(line))
        }
        Err(_) => true,
    };
    Ok(lines.filter(is_line).map(|line| Ok(line?)))
}

/// Joins files one after the other.
fn in_order(files: &[PathBuf], out: &Path) -> Result<usize> {
    let mut file = OutputFile::prepare(out, begins_samples)?;
    let mut count = 0;
    for path in files {
        for line in lines_of(path)? {
            file.write(line?.1.as_bytes())?;
            count += 1;
        }
    }
    file.finish()?;
    Ok(count)
}

/// Joins files context by context, by index.
fn by_index(files: &[PathBuf], out: &Path) -> Result<usize> {
    let mut contexts: HashMap<String, usize> = HashMap::new();
    let mut lines: Vec<BTreeMap<usize, String>> = Vec::new();
    for path in files {
        for line in lines_of(path)? {
            let (number, line) = line?;
            let (context, index) = read_line_place(&line, path, number)?;
            let next = contexts.len();
            let context = *contexts.entry(context).or_insert(next);
            if context == lines.len() {
                lines.push(BTreeMap::new());
            }
            if lines[context].insert(index, line).is_some() {
                let problem = format!(
                    "the sample with index {index} of this context is there twice: the shards overlap"
                );
                let path = path.clone();
                return Err(CoreError::Malformed { path, line: number, cause: problem.into() }.into());
            }
        }
    }
    let most = lines.iter().map(BTreeMap::len).max().unwrap_or(0);
    for own in &lines {
        if let Some((expected, (index, _))) =
            own.iter().enumerate().find(|(expected, (index, _))| expected != *index)
        {
            let reason = format!(
                "a context has no sample with index {expected}, and one with index {index}: a shard is missing"
            );
            return Err(StageError::Shards { reason }.into());
        }
        if own.len() < most {
            let reason = format!(
                "a context has {} samples, and another one {most}: the end of a file, or a shard, is missing",
                own.len()
            );
            return Err(StageError::Shards { reason }.into());
        }
    }
    let mut file = OutputFile::prepare(out, begins_samples)?;
    for line in lines.iter().flat_map(BTreeMap::values) {
        file.write(line.as_bytes())?;
    }
    file.finish()?;
    Ok(lines.iter().map(BTreeMap::len).sum())
}

/// Checks that files in folders of the stage "measure" are all shards of the same inputs, as far as it is known.
fn check_folders(files: &[PathBuf]) -> Result<()> {
    let is_measured = |file: &PathBuf| file.file_name().is_some_and(|name| name == MEASURED);
    let beside = |file: &PathBuf| Some((inputs_beside(file)?, file.clone()));
    let known: Vec<_> = files.iter().filter(|file| is_measured(file)).filter_map(beside).collect();
    if known.len() == files.len() { check_shards(&known) } else { check_inputs(&known) }
}

fn check_inputs(known: &[(Inputs, PathBuf)]) -> Result<()> {
    let Some((first, named)) = known.first() else { return Ok(()) };
    match known.iter().find(|(inputs, _)| !inputs.are_of_same_run(first)) {
        Some((_, other)) => {
            let (other, named) = (other.display(), named.display());
            let reason =
                format!("{other} was made of other inputs than {named}: another run file, seed or version");
            Err(StageError::Shards { reason }.into())
        }
        None => Ok(()),
    }
}

/// Checks that files are all shards of the same inputs, each once.
fn check_shards(known: &[(Inputs, PathBuf)]) -> Result<()> {
    check_inputs(known)?;
    let refused = |reason: String| Err(StageError::Shards { reason }.into());
    let mut seen: BTreeMap<usize, &PathBuf> = BTreeMap::new();
    for (inputs, file) in known {
        if let Some(other) = seen.insert(inputs.shard.index(), file) {
            let (shard, other, file) = (inputs.shard, other.display(), file.display());
            return refused(format!("shard {shard} is there twice, in {other} and in {file}"));
        }
    }
    let mut all = known.iter().take(1).flat_map(|(inputs, _)| inputs.shard.all());
    match all.find(|shard| !seen.contains_key(&shard.index())) {
        Some(missing) => refused(format!("shard {missing} is missing")),
        None => Ok(()),
    }
}
