//! Samples of the base that are kept for the next process: those that could not be fitted, and those that were drawn so far.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use disco_core::{Sampled, input};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{drawn::Drawn, kept_chain::KeptChain, plan::Seeds};
use crate::{Error, Result, hex::hex, results::OutputFile, spec::Spec, terminal::say};

/// A file of samples of the base. A process with the same model, contexts, seed and numbers of samples reads them instead of drawing them
/// again.
///
/// `OUT.measured.jsonl` is that of a run whose targets could not be had; `OUT.drawn.jsonl` grows while the stage "measure" draws, and is
/// gone when it is done.
#[derive(Clone, Debug)]
pub(crate) struct KeptSamples {
    path: PathBuf,
    fingerprint: String,
    /// The numbers of the samples in each context.
    numbers: Range<usize>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    /// The SHA-256 of all that the samples depend on.
    measured: String,
}

impl KeptSamples {
    /// The kept samples at `path`, of a spec, with these numbers in each context.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub(crate) fn new(path: PathBuf, spec: &Spec, numbers: Range<usize>) -> Result<Self> {
        let of = (&spec.model, &spec.contexts, Seeds::new(spec.seed).base, &numbers);
        let digest = Sha256::digest(serde_json::to_vec(&of).map_err(Error::Json)?);
        Ok(Self { path, fingerprint: hex(&digest), numbers })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The samples of an earlier run; `None` if there are none, or those of another run, or if the file is not as that run wrote it, which
    /// is said.
    ///
    /// # Errors
    /// [`disco_core::Error`] for a file that cannot be read.
    pub(super) fn read<X: DeserializeOwned + Clone>(&self, contexts: usize) -> Result<Option<Vec<Drawn<X>>>> {
        if !self.is_of_these_inputs() {
            return Ok(None);
        }
        let mut chain = self.chain(contexts);
        let mut samples: Vec<Vec<Sampled<X>>> = (0..contexts).map(|_| Vec::new()).collect();
        let mut wrong = None;
        for line in input::read_lines(&self.path)?.skip(1) {
            let (number, line) = line?;
            match chain.read(&line) {
                Some((context, sample)) => samples[context].push(sample),
                None => {
                    wrong = Some(format!("line {number} is not as it was written"));
                    break;
                }
            }
        }
        let cut = || (!chain.is_whole()).then(|| "samples are missing".to_owned());
        let place = self.path.display();
        if let Some(problem) = wrong.or_else(cut) {
            say(format_args!(
                "{:<16} {place} is not used: {problem}; its samples are drawn again",
                "measure base"
            ));
            return Ok(None);
        }
        say(format_args!("{:<16} samples of an earlier run: {place}", "measure base"));
        Ok(Some(samples.into_iter().map(Drawn::new).collect()))
    }

    fn chain(&self, contexts: usize) -> KeptChain {
        KeptChain::new(&self.fingerprint, &self.numbers, contexts)
    }

    /// Keeps samples.
    ///
    /// # Errors
    /// As [`OutputFile`]: what no run wrote is never replaced.
    pub(super) fn write<X: Serialize + Clone>(&self, drawn: &[Drawn<X>]) -> Result<()> {
        self.write_samples(drawn.len(), drawn.iter().map(Drawn::sampled)).map(drop)
    }

    /// Writes the file; returns its lines, behind which others may come.
    fn write_samples<X: Serialize>(
        &self,
        contexts: usize,
        drawn: impl IntoIterator<Item = impl IntoIterator<Item = Sampled<X>>>,
    ) -> Result<KeptChain> {
        let is_ours = |line: &[u8]| serde_json::from_slice::<Header>(line).is_ok();
        let mut file = OutputFile::prepare(&self.path, is_ours)?;
        let header = Header { measured: self.fingerprint.clone() };
        file.write(&serde_json::to_vec(&header).map_err(Error::Json)?)?;
        let mut chain = self.chain(contexts);
        for (context, drawn) in drawn.into_iter().enumerate() {
            for Sampled { value, log_prob } in drawn {
                file.write(chain.write(context, &value, log_prob)?.as_bytes())?;
            }
        }
        file.finish()?;
        Ok(chain)
    }

    /// Removes the samples, which are in results now.
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
            // A line that is not as it was written, and all behind it, is drawn again.
            let mut chain = self.chain(contexts);
            let whole = input::read_lines(&self.path)?.skip(1);
            whole
                .map_while(|line| chain.read(&line.ok()?.1))
                .for_each(|(context, sample)| samples[context].push(sample));
            let each = samples.iter().map(Vec::len).min().unwrap_or(0);
            samples.iter_mut().for_each(|own| own.truncate(each));
        }
        let chain = self.write_samples(contexts, samples.iter().map(|own| own.iter().cloned()))?;
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
        Ok((samples, GrowingSamples { of: self, file: BufWriter::new(file), chain, count }))
    }
}

/// A file of samples that grows while they are drawn.
#[derive(Debug)]
pub(crate) struct GrowingSamples<'a> {
    of: &'a KeptSamples,
    file: BufWriter<File>,
    chain: KeptChain,
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
                let line = self.chain.write(context, value, *log_prob)? + "\n";
                self.file.write_all(line.as_bytes()).map_err(failed)?;
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
