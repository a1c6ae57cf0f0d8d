//! Drawing and searching completions, and writing them as JSON lines.

use std::{
    io::{self, Write},
    path::Path,
};

use disco_lm::{BeamSearch, Completion, LanguageModel};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{Decoder, Sampling};
use crate::{
    Error, Progress, ProgressTarget, Result,
    models::{ModelKind, device, folder_of, generation},
    steering::draw,
    terminal::failed,
};

/// A line. `disco_core::Empirical::<String, Completion>::from_json_lines` reads it.
#[derive(Serialize)]
struct Line<'a> {
    context: &'a str,
    sample: &'a Completion,
    /// Under the model as it is decoded, in nats.
    log_prob: f64,
    /// The score by which a beam search ranked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

/// The output: a file that gets its name at the end, or standard output.
enum Lines<'a> {
    File(NamedTempFile, &'a Path),
    Output(io::Stdout),
}

pub(super) fn run(sampling: &Sampling) -> Result<()> {
    let mut lines = Lines::open(sampling.out.as_deref())?;
    let model = load(sampling)?;
    let contexts: Vec<&str> = sampling.contexts.iter().map(String::as_str).collect();
    let target = ProgressTarget::detect();
    match sampling.decoder {
        Decoder::Draw { count, seed } => {
            let mut progress = Progress::new(target, "sample", "samples", count * contexts.len());
            let drawn = draw(&model, &sampling.contexts, count, seed, &mut progress)?;
            for (context, drawn) in contexts.iter().zip(&drawn) {
                for sample in drawn {
                    lines.write(context, &sample.value, sample.log_prob, None)?;
                }
            }
        }
        Decoder::Greedy => {
            for (context, found) in contexts.iter().zip(model.greedy(&contexts)?) {
                lines.write(context, &found.value, found.log_prob, None)?;
            }
        }
        Decoder::Beam { count, width, length_penalty } => {
            let search = BeamSearch { width, returned: count, length_penalty, ..BeamSearch::default() };
            for (context, found) in contexts.iter().zip(model.beam_search(&contexts, &search)?) {
                for found in found {
                    lines.write(context, &found.value, found.log_prob, Some(found.score))?;
                }
            }
        }
    }
    lines.finish()
}

fn load(sampling: &Sampling) -> Result<LanguageModel> {
    let device = device(sampling.backend)?;
    let folder = folder_of(&sampling.model.source, ModelKind::LanguageModel)?;
    let adapter =
        sampling.adapter.as_ref().map(|adapter| folder_of(adapter, ModelKind::Adapter)).transpose()?;
    let mut model = LanguageModel::load(&folder, &device, generation(&sampling.model))?;
    if let Some(adapter) = adapter {
        model = model.with_adapter(&adapter)?;
    }
    if sampling.chat { Ok(model.answering(sampling.system.as_deref())?) } else { Ok(model) }
}

impl<'a> Lines<'a> {
    /// Opens the output. A file is made now, so that a place that cannot be written to is found before the model is loaded.
    fn open(out: Option<&'a Path>) -> Result<Self> {
        let Some(path) = out else { return Ok(Self::Output(io::stdout())) };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A regular file in its place is replaced; a folder, a device or a link is not ours to replace.
        let mut builder = tempfile::Builder::new();
        builder.prefix(".sampling.");
        let file = match path.symlink_metadata() {
            Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => Err(io::Error::other("it is neither new nor a regular file")),
            // The new file gets the permissions of the file that it replaces.
            Ok(there) => builder.tempfile_in(parent).and_then(|file| {
                file.as_file().set_permissions(there.permissions())?;
                Ok(file)
            }),
            Err(_) => {
                as_any_new_file(&mut builder);
                builder.tempfile_in(parent)
            }
        };
        Ok(Self::File(file.map_err(|source| Error::write(path, source))?, path))
    }

    fn write(&mut self, context: &str, sample: &Completion, log_prob: f64, score: Option<f64>) -> Result<()> {
        let mut line = serde_json::to_vec(&Line { context, sample, log_prob, score }).map_err(Error::Json)?;
        line.push(b'\n');
        match self {
            Self::File(file, path) => file.write_all(&line).map_err(|source| Error::write(path, source)),
            Self::Output(output) => output.write_all(&line).map_err(failed),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::File(file, path) => {
                let written = file.as_file().sync_all().and_then(|()| Ok(file.persist(path)?));
                written.map(drop).map_err(|source| Error::write(path, source))
            }
            Self::Output(mut output) => output.flush().map_err(failed),
        }
    }
}

/// Gives a temporary file, which only its owner could read, the permissions of any new file.
#[cfg(unix)]
fn as_any_new_file(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    // The system takes away what the process's mask forbids.
    builder.permissions(std::fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn as_any_new_file(_: &mut tempfile::Builder<'_, '_>) {}
