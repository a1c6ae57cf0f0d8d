//! Features whose values a program gives.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    ExternalScorer, ScoredSample,
    external_scorer::{BatchSource, Rows},
    line_process::LineProcess,
    protocol::{self, BatchFault},
};
use crate::{Result, http::Secrets};

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
    /// The process of each connection, once it is started.
    running: Vec<Mutex<Option<Running>>>,
}

/// A process, and the id of the next line that it is asked.
#[derive(Debug)]
struct Running {
    process: LineProcess,
    next_id: u64,
}

impl Processes {
    fn new(settings: CommandSettings) -> Self {
        let name = name(&settings.run);
        let running = (0..settings.workers.max(1)).map(|_| Mutex::new(None)).collect();
        Self { settings, name, running }
    }

    /// Asks the process of a connection, which is started if it does not run, and has ended after an error.
    fn ask_once(
        &self,
        connection: usize,
        features: &[String],
        samples: &[ScoredSample<'_>],
    ) -> std::result::Result<Rows, BatchFault> {
        let mut place = self.running[connection].lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = match place.take() {
            Some(running) => running,
            None => self.start(features)?,
        };
        let rows = match samples {
            [] => Rows::new(),
            _ => running.ask(features, samples, self.settings.timeout)?,
        };
        *place = Some(running);
        Ok(rows)
    }

    /// Starts a process, and waits until it answers.
    fn start(&self, features: &[String]) -> std::result::Result<Running, BatchFault> {
        let process = LineProcess::start(self.command(), &self.name);
        let process = process.map_err(|fault| BatchFault::from(fault.to_string()))?;
        let mut running = Running { process, next_id: 0 };
        running.ask(features, &[], self.settings.start_timeout)?;
        Ok(running)
    }

    fn command(&self) -> Command {
        let CommandSettings { run, program, folder, environment, .. } = &self.settings;
        let mut command = Command::new(program);
        command.args(run.iter().skip(1)).current_dir(folder).envs(environment);
        command
    }
}

impl Running {
    fn ask(
        &mut self,
        features: &[String],
        samples: &[ScoredSample<'_>],
        limit: Duration,
    ) -> std::result::Result<Rows, BatchFault> {
        let id = self.next_id;
        self.next_id += 1;
        let answer = self.process.ask(protocol::request(id, features, samples), limit);
        protocol::rows(
            &answer.map_err(|fault| BatchFault::from(fault.to_string()))?,
            id,
            features,
            samples.len(),
            &Secrets::default(),
        )
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
        for again in 1..=self.settings.retries {
            outcome = match outcome {
                Ok(rows) => return Ok(rows),
                Err(_) => self.ask_once(connection, features, samples).map_err(|fault| {
                    let problem = format!("{} (after {again} retry)", fault.problem);
                    BatchFault { problem, ..fault }
                }),
            };
        }
        outcome
    }
}

impl Drop for Processes {
    /// Closes the input of all processes before any is waited for, so that they end at the same time.
    fn drop(&mut self) {
        for place in &mut self.running {
            if let Some(running) = place.get_mut().unwrap_or_else(PoisonError::into_inner) {
                running.process.close();
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
