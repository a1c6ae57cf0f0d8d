//! The CI step that looks at the report in a browser.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::test_commands::{WORKSPACE, tests};
use crate::{Backend, Error, Result, process};

/// The variable by which the tests are told of the browser.
const BROWSER: &str = "DISCO_CHROMIUM";

/// The names under which systems have Chromium.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Runs the tests of the report that need a browser: the one that the environment names, one that is installed, or Debian's, which is
/// installed here.
///
/// # Errors
/// [`Error::Failed`] of a test; [`Error::Start`] or [`Error::Failed`] of apt-get, which needs to be root.
pub(crate) fn run() -> Result<()> {
    let mut command =
        tests(Backend::default(), WORKSPACE, &["--test", "suite", "--", "browser_"].map(str::to_owned))?;
    command.env(BROWSER, browser()?);
    process::run(command)
}

fn browser() -> Result<PathBuf> {
    if let Some(named) = env::var_os(BROWSER) {
        return Ok(named.into());
    }
    if let Some(installed) = installed() {
        return Ok(installed);
    }
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(command)
    };
    apt_get(&["update", "--quiet"])?;
    apt_get(&["install", "--yes", "--quiet", "--no-install-recommends", "chromium"])?;
    installed().ok_or_else(|| Error::answer("apt-get install chromium", "there is no `chromium` afterwards"))
}

/// The first browser in the folders of `PATH`.
fn installed() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let find = |name: &str| {
        folders.iter().map(|folder| folder.join(name)).find(|file: &PathBuf| Path::is_file(file))
    };
    NAMES.iter().find_map(|name| find(name))
}
