//! Samples of the base that could not be fitted, kept for the next run.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use disco_core::{Sampled, input};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{RunPlan, drawn::Drawn};
use crate::{Error, Result, results::OutputFile, terminal::say};

/// The file `OUT.measured.jsonl`: the samples of the base of a run whose targets could not be had. A run with the same model,
/// contexts, seed and number of samples reads them instead of drawing them again.
#[derive(Clone, Debug)]
pub(super) struct KeptSamples {
    path: PathBuf,
    fingerprint: String,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The SHA-256 of all that the samples depend on.
    measured: String,
}

/// A sample.
#[derive(Serialize, Deserialize)]
struct Line<X> {
    context: usize,
    sample: X,
    log_prob: f64,
}

impl KeptSamples {
    /// The kept samples at `path`, for the run of a plan.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub(super) fn new(path: PathBuf, plan: &RunPlan<'_>) -> Result<Self> {
        let spec = plan.spec;
        let of = (&spec.model, &spec.contexts, plan.seeds.base, spec.per_context(spec.fit.samples));
        let digest = Sha256::digest(serde_json::to_vec(&of).map_err(Error::Json)?);
        let mut fingerprint = String::new();
        for byte in digest {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Ok(Self { path, fingerprint })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The samples of an earlier run; `None` if there are none, or those of another run.
    ///
    /// # Errors
    /// The problem with a file of this run: [`disco_core::Error`].
    pub(super) fn read<X: DeserializeOwned + Clone>(&self, contexts: usize) -> Result<Option<Vec<Drawn<X>>>> {
        if !self.path.is_file() {
            return Ok(None);
        }
        let mut lines = input::read_lines(&self.path)?;
        let first = lines.next().transpose()?.map(|(_, line)| line).unwrap_or_default();
        match serde_json::from_str::<Header>(&first) {
            Ok(header) if header.measured == self.fingerprint => {}
            _ => return Ok(None),
        }
        let mut samples: Vec<Vec<Sampled<X>>> = (0..contexts).map(|_| Vec::new()).collect();
        for line in lines {
            let (number, line) = line?;
            let wrong = |reason: String| {
                let path = self.path.clone();
                disco_core::Error::Malformed { path, line: number, cause: reason.into() }
            };
            let Line { context, sample, log_prob } =
                serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
            let own =
                samples.get_mut(context).ok_or_else(|| wrong(format!("there is no context {context}")))?;
            own.push(Sampled { value: sample, log_prob });
        }
        say(format_args!("{:<16} samples of an earlier run: {}", "measure base", self.path.display()));
        Ok(Some(samples.into_iter().map(Drawn::new).collect()))
    }

    /// Keeps samples.
    ///
    /// # Errors
    /// As [`OutputFile`]: what no run wrote is never replaced.
    pub(super) fn write<X: Serialize + Clone>(&self, drawn: &[Drawn<X>]) -> Result<()> {
        let is_ours = |line: &[u8]| serde_json::from_slice::<Header>(line).is_ok();
        let mut file = OutputFile::prepare(&self.path, is_ours)?;
        let header = Header { measured: self.fingerprint.clone() };
        file.write(&serde_json::to_vec(&header).map_err(Error::Json)?)?;
        for (context, drawn) in drawn.iter().enumerate() {
            for Sampled { value, log_prob } in drawn.sampled() {
                let line = Line { context, sample: value, log_prob };
                file.write(&serde_json::to_vec(&line).map_err(Error::Json)?)?;
            }
        }
        file.finish()
    }

    /// Removes the samples of an earlier run of this plan, which has been fitted.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|cause| Error::write(&self.path, cause))
    }
}
