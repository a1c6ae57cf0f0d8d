//! Programs and libraries of this machine.

use std::process::Command;

use serde::Serialize;

use crate::{Error, prerequisites::Libtorch, process::output};

/// A program or library that this machine may have.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Software {
    /// The version or place that was found.
    pub(super) found: Option<String>,
    /// The reason why none was found.
    pub(super) problem: Option<String>,
}

impl Software {
    fn new(found: std::result::Result<String, String>) -> Self {
        match found {
            Ok(found) => Self { found: Some(found), problem: None },
            Err(problem) => Self { found: None, problem: Some(problem) },
        }
    }

    /// The Python that scorers start with.
    pub(super) fn python() -> Self {
        let mut command = Command::new("python3");
        command.arg("--version");
        Self::new(output(command).map(|text| text.trim().to_owned()).map_err(|error| error.to_string()))
    }

    /// The libtorch with which the backend tch is built, and runs.
    pub(super) fn libtorch() -> Self {
        Self::new(match Libtorch::find() {
            Ok(found) => Ok(found.root().display().to_string()),
            Err(Error::Libtorch { tried }) => Err(format!(
                "{tried}; the backend tch alone needs it: `pip install torch==2.9.0`, or LIBTORCH with the folder of libtorch 2.9.0"
            )),
            Err(error) => Err(error.to_string()),
        })
    }

    /// The finding, or the problem.
    pub(super) fn text(&self) -> String {
        self.found.clone().or_else(|| Some(format!("none: {}", self.problem.as_deref()?))).unwrap_or_default()
    }
}
