//! `disco doctor`: the state of this program and of this machine, and advice about what is missing.

mod folders;
#[cfg(feature = "lm")]
mod hub;
mod report;
mod software;

use clap::Args;

use self::report::Report;
use crate::{
    Backend, Error, Result,
    launch::{Requirements, with_language_model},
    process::workspace,
    terminal::{print, print_json},
};

/// The arguments of `disco doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Fail unless this backend is compiled in and has a device on this machine.
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Print one object of JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the report. It takes seconds: the hub is given three, and caches are walked through to add up their sizes.
///
/// # Errors
/// [`Error::Uncompiled`] if the backend that is asked for is missing in the program `disco` (`cargo xtask` builds it first), and the error
/// of disco-lm if this machine has no device for it. The report is printed before either.
pub(crate) fn run(options: &DoctorOptions) -> Result<()> {
    match options.backend {
        Some(backend) if !backend.is_compiled() && workspace().is_some() => {
            with_language_model(Requirements::of(backend), || examine(options))
        }
        _ => examine(options),
    }
}

fn examine(options: &DoctorOptions) -> Result<()> {
    let report = Report::gather();
    if options.json {
        print_json(&serde_json::to_string(&report).map_err(Error::Json)?)?;
    } else {
        print(report.text().trim_end())?;
    }
    match options.backend {
        Some(backend) if !backend.is_compiled() => {
            Err(Error::Uncompiled { missing: vec![backend.feature()] })
        }
        #[cfg(feature = "lm")]
        Some(backend) => crate::models::device(backend).map(drop),
        _ => Ok(()),
    }
}
