//! Features whose values a program gives.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    ExternalScorer, ScoredSample,
    external_scorer::{BatchSource, Rows},
    line_process::LineProcess,
    protocol::{self, BatchFault},
};
use crate::Result;

/// A program that gives the values of features, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSettings {
    /// The program and its arguments, for messages; no shell is involved.
    pub run: Vec<String>,
    /// The program's file, or its name to be looked for in `PATH`.
    pub program: PathBuf,
    /// The folder in which it runs.
    pub folder: PathBuf,
    /// Variables that are set in its environment, beside those of this process.
    pub environment: BTreeMap<String, OsString>,
    /// The number of processes that are kept alive, at least one.
    pub workers: usize,
    /// The largest number of samples of a line, at least one.
    pub batch: usize,
    /// The time within which a batch has to be answered.
    pub timeout: Duration,
    /// The time within which a process has to answer its first line, which has no samples: it may load a model before.
    pub start_timeout: Duration,
    /// How often a batch that failed is asked of a new process.
    pub retries: usize,
}

impl ExternalScorer {
    /// A scorer that asks a program, of which one or more processes are kept alive. They are started here, and each is asked for the
    /// values of no samples: a program that cannot be started, or does not answer as the protocol says, is found at once. After an
    /// error the process that it concerns has ended.
    ///
    /// # Errors
    /// [`Error::Scorer`](crate::Error::Scorer).
    pub fn from_command(features: Vec<String>, settings: CommandSettings) -> Result<Self> {
        let (name, workers, batch) = (settings.run.join(" "), settings.workers, settings.batch);
        let scorer = Self::new(name, features, Box::new(Processes::new(settings)), workers, batch);
        scorer.probe()?;
        Ok(scorer)
    }
}

/// The processes of a program.
#[derive(Debug)]
struct Processes {
    settings: CommandSettings,
    /// The name before the lines of its standard error.
    name: String,
    /// A process of each connection, once it is started.
    running: Vec<Mutex<Option<LineProcess>>>,
    next_id: AtomicU64,
}

impl Processes {
    fn new(settings: CommandSettings) -> Self {
        let name = name(&settings.run);
        let running = (0..settings.workers.max(1)).map(|_| Mutex::new(None)).collect();
        Self { settings, name, running, next_id: AtomicU64::new(0) }
    }

    /// Asks the process of a connection, which is started if it does not run, and has ended after an error.
    fn ask_once(
        &self,
        connection: usize,
        features: &[String],
        samples: &[ScoredSample<'_>],
    ) -> std::result::Result<Rows, BatchFault> {
        let mut place = self.running[connection].lock().unwrap_or_else(PoisonError::into_inner);
        let mut process = match place.take() {
            Some(process) => process,
            None => self.start(features)?,
        };
        let rows = match samples {
            [] => Rows::new(),
            _ => self.exchange(&mut process, features, samples, self.settings.timeout)?,
        };
        *place = Some(process);
        Ok(rows)
    }

    /// Starts a process, and waits until it answers.
    fn start(&self, features: &[String]) -> std::result::Result<LineProcess, BatchFault> {
        let mut process = LineProcess::start(self.command(), &self.name)
            .map_err(|fault| BatchFault::from(fault.to_string()))?;
        self.exchange(&mut process, features, &[], self.settings.start_timeout)?;
        Ok(process)
    }

    fn exchange(
        &self,
        process: &mut LineProcess,
        features: &[String],
        samples: &[ScoredSample<'_>],
        limit: Duration,
    ) -> std::result::Result<Rows, BatchFault> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let answer = process.ask(protocol::request(id, features, samples), limit);
        protocol::rows(
            &answer.map_err(|fault| BatchFault::from(fault.to_string()))?,
            id,
            features,
            samples.len(),
        )
    }

    fn command(&self) -> Command {
        let CommandSettings { run, program, folder, environment, .. } = &self.settings;
        let mut command = Command::new(program);
        command.args(run.iter().skip(1)).current_dir(folder).envs(environment);
        command
    }
}

impl BatchSource for Processes {
    fn ask(
        &self,
        connection: usize,
        features: &[String],
        samples: &[ScoredSample<'_>],
    ) -> std::result::Result<Rows, BatchFault> {
        let mut outcome = self.ask_once(connection, features, samples);
        for _ in 0..self.settings.retries {
            if outcome.is_ok() {
                break;
            }
            outcome = self.ask_once(connection, features, samples);
        }
        outcome
    }
}

impl Drop for Processes {
    /// Closes the input of all processes before any is waited for, so that they end at the same time.
    fn drop(&mut self) {
        for place in &mut self.running {
            if let Some(process) = place.get_mut().unwrap_or_else(PoisonError::into_inner) {
                process.close();
            }
        }
    }
}

/// A program's name before the lines of its standard error: its script, if it has one, else the program.
fn name(run: &[String]) -> String {
    let script = run.iter().find(|word| crate::spec::is_script(word)).or(run.first());
    let file = script.and_then(|word| Path::new(word).file_name());
    file.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
