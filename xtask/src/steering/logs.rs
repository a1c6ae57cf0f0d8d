//! The logs that a run file asks for: observers beside the one that records the run.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use disco_tuner::{
    Background, Csv, JsonLines, Mlflow, Observer, ObserverError, Outcome, StepReport, TensorBoard,
    TunerConfig,
};

use super::console::Console;
use crate::{Error, Result, process::check_writable, spec::LogSpec};

/// The number of reports that wait for a server.
const WAITING: usize = 1000;

/// The logs of a run.
#[derive(Default)]
pub(super) struct Logs(Vec<Log>);

struct Log {
    /// The file, folder or address.
    place: String,
    observer: Box<dyn Observer>,
    /// The first step that could not be written, and why. The run goes on: it is more than its log.
    failure: Option<(u64, String)>,
}

impl Logs {
    /// Opens the logs; files and folders that are not there are made.
    ///
    /// # Errors
    /// Those of the observers: a file or folder that cannot be written.
    pub(super) fn open(spec: &LogSpec) -> Result<Self> {
        let mut logs = Vec::new();
        let mut add = |place: String, observer| logs.push(Log { place, observer, failure: None });
        let shown = |path: &Path| path.display().to_string();
        if let Some(path) = &spec.jsonl {
            add(shown(path), Box::new(JsonLines::new(path)?) as Box<dyn Observer>);
        }
        if let Some(path) = &spec.csv {
            add(shown(path), Box::new(Csv::new(path)?));
        }
        if let Some(path) = &spec.tensorboard {
            add(shown(path), Box::new(TensorBoard::new(path)?));
        }
        if let Some(server) = &spec.mlflow {
            let observer = Mlflow::new(&server.address, &server.experiment, &server.name)?;
            // A server that is slow or gone does not hold up the run.
            add(server.address.clone(), Box::new(Background::new(observer, WAITING)));
        }
        Ok(Self(logs))
    }

    /// The same logs, and lines on the terminal.
    #[must_use]
    pub(super) fn with_console(mut self, console: Option<Console>) -> Self {
        let log = |console| Log { place: "console".into(), observer: Box::new(console), failure: None };
        self.0.extend(console.map(log));
        self
    }

    /// The run begins, with `step` steps done.
    ///
    /// # Errors
    /// The first log that cannot be written, by its place.
    pub(super) fn start(
        &mut self,
        config: &TunerConfig,
        step: u64,
    ) -> std::result::Result<(), ObserverError> {
        for log in &mut self.0 {
            let named = |error| ObserverError::from(format!("the log {}: {error}", log.place));
            log.observer.start(config, step).map_err(named)?;
        }
        Ok(())
    }

    /// Writes a step.
    pub(super) fn step(&mut self, report: &StepReport) {
        self.each(report.step, |observer| observer.step(report).map(drop));
    }

    /// The run is over.
    pub(super) fn finish(&mut self, outcome: &Outcome) {
        self.each(outcome.step, |observer| observer.finish(outcome));
    }

    /// The run has failed.
    pub(super) fn fail(&mut self, step: u64, error: &str) {
        self.each(step, |observer| observer.fail(step, error));
    }

    fn each(
        &mut self,
        step: u64,
        mut write: impl FnMut(&mut dyn Observer) -> std::result::Result<(), ObserverError>,
    ) {
        for log in &mut self.0 {
            if let Err(error) = write(&mut *log.observer) {
                log.failure.get_or_insert_with(|| (step, error.to_string()));
            }
        }
    }

    /// A sentence for each log that lacks something.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|log| {
            let (step, error) = log.failure.as_ref()?;
            Some(format!(
                "The log {} is not complete: step {step} could not be written ({error}).",
                log.place
            ))
        })
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|log| &log.place)).finish()
    }
}

/// Checks that files and folders can be written, before anything is computed. They are made.
///
/// # Errors
/// As [`Logs::open`].
pub(super) fn check_logs(spec: &LogSpec) -> Result<()> {
    // Each event file that is opened is a new one.
    if let Some(folder) = &spec.tensorboard {
        fs::create_dir_all(folder).map_err(|cause| Error::write(folder, cause))?;
    }
    Logs::open(&LogSpec { tensorboard: None, ..spec.clone() }).map(drop)
}

/// As [`check_logs`], without making anything.
///
/// # Errors
/// As [`check_logs`].
pub(super) fn check_log_places(spec: &LogSpec) -> Result<()> {
    for file in [&spec.jsonl, &spec.csv].into_iter().flatten() {
        can_append(file).map_err(|cause| disco_tuner::Error::Io { path: file.clone(), cause })?;
    }
    let folder = spec.tensorboard.as_ref();
    folder.map_or(Ok(()), |folder| check_writable(folder).map_err(|cause| Error::write(folder, cause)))
}

/// Whether lines can be appended to a file, or the file be made in its folder.
fn can_append(file: &Path) -> io::Result<()> {
    match file.metadata() {
        Ok(_) => OpenOptions::new().append(true).open(file).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            folder.metadata().and_then(|_| check_writable(folder))
        }
        Err(error) => Err(error),
    }
}
