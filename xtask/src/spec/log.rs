//! The table `[log]`: where the steps of tuning are written while they are made.

use std::path::{Path, PathBuf};

use disco_tuner::Mlflow;
use serde::{Deserialize, Serialize};

use super::{
    allowed::SOME_TEXT,
    console::{CONSOLE, ConsoleSpec, read_console},
    fields::Fields,
    section::Section,
};

pub(super) const LOG: &[&str] = &["console", "jsonl", "csv", "tensorboard", "mlflow"];
const MLFLOW: &[&str] = &["address", "experiment", "name"];

/// Where the steps of tuning are written while they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// Lines on the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleSpec>,
    /// A file with a line of JSON per step.
    pub jsonl: Option<PathBuf>,
    /// A file with a row per step and metric.
    pub csv: Option<PathBuf>,
    /// A folder that TensorBoard reads.
    pub tensorboard: Option<PathBuf>,
    /// A server of MLflow.
    pub mlflow: Option<MlflowSpec>,
}

/// A run on a server of MLflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MlflowSpec {
    /// Its address, without user and password.
    pub address: String,
    /// The name of the experiment.
    pub experiment: String,
    /// The name of the run.
    pub name: String,
}

impl LogSpec {
    /// The files and folders that are written to.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Path> {
        [&self.jsonl, &self.csv, &self.tensorboard].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Whether nothing is logged.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `[log]`. A run on a server is called `title`, unless it has a name.
pub(super) fn read_log(log: &Section<'_>, folder: &Path, title: &str) -> LogSpec {
    let path = |field| log.string(field, &SOME_TEXT).map(|path| folder.join(path));
    LogSpec {
        console: log.has("console").then(|| log.table("console", |_| Fields::of(CONSOLE), read_console)),
        jsonl: path("jsonl"),
        csv: path("csv"),
        tensorboard: path("tensorboard"),
        mlflow: log
            .has("mlflow")
            .then(|| log.table("mlflow", |_| Fields::of(MLFLOW), |mlflow| read_mlflow(mlflow, title))),
    }
}

fn read_mlflow(mlflow: &Section<'_>, title: &str) -> MlflowSpec {
    const ADDRESS: &str = "http://HOST[:PORT][/PATH]; user and password in the environment variables MLFLOW_TRACKING_USERNAME and \
                           MLFLOW_TRACKING_PASSWORD, a token in MLFLOW_TRACKING_TOKEN";
    let text = |field, default: &str| mlflow.string(field, &SOME_TEXT).unwrap_or_else(|| default.to_owned());
    mlflow.require("address", ADDRESS);
    let read = MlflowSpec {
        address: text("address", ""),
        experiment: text("experiment", "disco"),
        name: text("name", title),
    };
    // The address is in the record of the run, where no password belongs.
    if read.address.contains('@') {
        mlflow.wrong("address", "has a user or a password", ADDRESS);
    } else if mlflow.has("address")
        && !mlflow.is_doubtful("address")
        && let Err(error) = Mlflow::new(&read.address, "", "")
    {
        mlflow.wrong("address", &format!("cannot be used: {error}"), ADDRESS);
    }
    read
}
