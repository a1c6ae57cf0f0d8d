//! The CI step that tests disco-tuner's observers with every feature, and with the programs that read their files; and `[log] mlflow` of a
//! run file.

use std::{env, ffi::OsString};

use super::{
    environment::environment,
    test_commands::{LANGUAGE_MODELS, tests},
};
use crate::{
    Backend, Result,
    process::{self, workspace_root},
};

/// The variables by which the tests are told of a Python that has TensorBoard, and of one that has MLflow.
const PYTHONS: [&str; 2] = ["DISCO_TENSORBOARD_PYTHON", "DISCO_MLFLOW_PYTHON"];

/// Compiles disco-tuner without features, and tests its observers with all of them: also against TensorBoard itself and an
/// MLflow server, from the Pythons that the environment names, or from one in `target/loggers` that is made here. The other
/// tests of disco-tuner do not depend on features. Then a run file logs to an MLflow server, with the units of the step `tests`.
///
/// # Errors
/// [`Error::Failed`](crate::Error::Failed) of a test, or of making that Python, which needs `python3` with its `venv`
/// and access to PyPI once.
pub(crate) fn run() -> Result<()> {
    let mut bare = process::cargo();
    bare.current_dir(workspace_root()).args(["check", "--package", "disco-tuner", "--no-default-features"]);
    process::run(bare)?;
    let mut observers = process::cargo();
    observers.current_dir(workspace_root()).args([
        "test",
        "--package",
        "disco-tuner",
        "--all-features",
        "--lib",
        "--test",
        "suite",
        "--",
        "observer",
        "mlflow",
    ]);
    let filter = ["--test", "suite", "--", "mlflow::"].map(str::to_owned);
    let mut run_file = tests(Backend::default(), LANGUAGE_MODELS, &filter)?;
    if PYTHONS.iter().any(|name| env::var_os(name).is_none()) {
        let folder = workspace_root().join("target").join("loggers");
        let python = environment(&folder, "mlflow, tensorboard", &["tensorboard", "mlflow"])?;
        for name in PYTHONS {
            let python = env::var_os(name).unwrap_or_else(|| OsString::from(&python));
            observers.env(name, &python);
            run_file.env(name, python);
        }
    }
    process::run(observers)?;
    process::run(run_file)
}
