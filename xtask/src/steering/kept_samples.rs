//! Samples of the base that are kept for the next process: those that could not be fitted, and those that were drawn so far.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use disco_core::{Sampled, input};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{drawn::Drawn, plan::Seeds};
use crate::{Error, Result, results::OutputFile, spec::Spec, terminal::say};

/// A file of samples of the base. A process with the same model, contexts, seed and numbers of samples reads them instead of drawing them
/// again.
///
/// `OUT.measured.jsonl` is that of a run whose targets could not be had; `OUT.drawn.jsonl` grows while the stage "measure" draws, and is
/// gone when it is done.
#[derive(Clone, Debug)]
pub(crate) struct KeptSamples {
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
    /// The kept samples at `path`, of a spec, with these numbers in each context.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub(crate) fn new(path: PathBuf, spec: &Spec, numbers: Range<usize>) -> Result<Self> {
        let of = (&spec.model, &spec.contexts, Seeds::new(spec.seed).base, numbers);
        let digest = Sha256::digest(serde_json::to_vec(&of).map_err(Error::Json)?);
        let mut fingerprint = String::new();
        for byte in digest {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Ok(Self { path, fingerprint })
    }

    pub(crate) fn path(&self) -> &Path {
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
        self.write_samples(drawn.iter().map(Drawn::sampled))
    }

    fn write_samples<X: Serialize>(
        &self,
        drawn: impl IntoIterator<Item = impl IntoIterator<Item = Sampled<X>>>,
    ) -> Result<()> {
        let is_ours = |line: &[u8]| serde_json::from_slice::<Header>(line).is_ok();
        let mut file = OutputFile::prepare(&self.path, is_ours)?;
        let header = Header { measured: self.fingerprint.clone() };
        file.write(&serde_json::to_vec(&header).map_err(Error::Json)?)?;
        for (context, drawn) in drawn.into_iter().enumerate() {
            for Sampled { value, log_prob } in drawn {
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
    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|cause| Error::write(&self.path, cause))
    }

    /// Removes the file if it has samples of these inputs.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn remove_if_there(&self) -> Result<()> {
        if self.is_of_these_inputs() { self.remove() } else { Ok(()) }
    }

    fn is_of_these_inputs(&self) -> bool {
        let first = || input::read_lines(&self.path).ok()?.next()?.ok();
        let header = first().and_then(|(_, line)| serde_json::from_str::<Header>(&line).ok());
        header.is_some_and(|header| header.measured == self.fingerprint)
    }

    /// The samples that an earlier process drew before it died, equally many in each context: none of them if it was of other inputs, or
    /// if all are to be drawn again. The file then has these, and takes others at its end.
    ///
    /// # Errors
    /// As [`OutputFile`]: what no process of ours wrote is never replaced. [`Error::File`].
    pub(crate) fn go_on<X: Serialize + DeserializeOwned + Clone>(
        &self,
        contexts: usize,
        from_the_beginning: bool,
    ) -> Result<(Vec<Vec<Sampled<X>>>, GrowingSamples<'_>)> {
        let mut samples: Vec<Vec<Sampled<X>>> = (0..contexts).map(|_| Vec::new()).collect();
        if !from_the_beginning && self.is_of_these_inputs() {
            // A line that is not whole, and all behind it, is drawn again.
            let whole = input::read_lines(&self.path)?.skip(1).map_while(|line| {
                let Line { context, sample, log_prob } = serde_json::from_str(&line.ok()?.1).ok()?;
                (context < contexts).then_some((context, Sampled { value: sample, log_prob }))
            });
            whole.for_each(|(context, sample)| samples[context].push(sample));
            let each = samples.iter().map(Vec::len).min().unwrap_or(0);
            samples.iter_mut().for_each(|own| own.truncate(each));
        }
        self.write_samples(samples.iter().map(|own| own.iter().cloned()))?;
        let count = samples.iter().map(Vec::len).sum();
        if count > 0 {
            say(format_args!(
                "{:<16} {count} samples of an earlier process: {}",
                "measure base",
                self.path.display()
            ));
        }
        let file = File::options().append(true).open(&self.path);
        let file = file.map_err(|cause| Error::write(&self.path, cause))?;
        Ok((samples, GrowingSamples { of: self, file: BufWriter::new(file), count }))
    }
}

/// A file of samples that grows while they are drawn.
#[derive(Debug)]
pub(crate) struct GrowingSamples<'a> {
    of: &'a KeptSamples,
    file: BufWriter<File>,
    count: usize,
}

impl GrowingSamples<'_> {
    /// Adds samples, by context. They survive the end of this process, however that ends.
    ///
    /// # Errors
    /// [`Error::Json`]; [`Error::File`].
    pub(crate) fn add<X: Serialize>(&mut self, drawn: &[Vec<Sampled<X>>]) -> Result<()> {
        let failed = |cause| Error::write(&self.of.path, cause);
        for (context, drawn) in drawn.iter().enumerate() {
            for Sampled { value, log_prob } in drawn {
                let line = Line { context, sample: value, log_prob: *log_prob };
                let line = serde_json::to_vec(&line).map_err(Error::Json)?;
                self.file.write_all(&line).and_then(|()| self.file.write_all(b"\n")).map_err(failed)?;
            }
            self.count += drawn.len();
        }
        self.file.flush().map_err(failed)
    }

    /// Says that the samples stay, since the stage could not be done; removes the file if it has none.
    pub(crate) fn stay(self) {
        let path = &self.of.path;
        match self.count {
            // The error of the stage is the one to report.
            0 => drop(fs::remove_file(path)),
            count => say(format_args!(
                "{:<16} {count} samples stay in {}: the same command goes on from there",
                "measure base",
                path.display()
            )),
        }
    }
}
