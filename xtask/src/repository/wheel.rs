//! The CI step that builds the program `disco` as a wheel, and tries it where there is neither cargo nor a checkout.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::environment::environment;
use crate::{
    Backend, Error, Result,
    process::{self, without_package, workspace_root},
};

/// A run of a second, with every stage.
const SPEC: &str = "title = \"Half of the speeches say my\"\n\
    [model]\nsource = \"embedded\"\nmax_new_tokens = 8\n\
    [contexts]\nlist = [\"ROMEO:\\n\"]\n\
    [[features]]\nname = \"my\"\nkind = \"contains\"\ntext = \"my\"\nmean = 0.3\n\
    [fit]\nsamples = 512\n\
    [tune]\nsteps = 2\nsamples_per_step = 32\n\
    [sample]\ncount = 128\nacceptance_rate = 0.5\n";

/// Builds the wheel from the units that `cargo xtask test` has built, installs it into a fresh Python environment, and runs `disco` in an
/// empty folder, with an empty home folder, and with that environment alone on the path.
///
/// # Errors
/// [`Error::Failed`] of a command; [`Error::Answer`] if it leaves something out.
pub(super) fn run() -> Result<()> {
    let folder = workspace_root().join("target").join("wheel");
    let maturin = environment(&folder.join("maturin"), "maturin", &["maturin>=1.9,<2"])?;
    let place = tempfile::tempdir_in(&folder).map_err(|cause| Error::write(&folder, cause))?;
    let wheel = build(&maturin, place.path())?;

    let python = environment(&place.path().join("python"), "pip", &[])?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--no-index"]).arg(wheel);
    process::run(install)?;

    // Not below the workspace, of which nothing is to be found.
    let elsewhere = tempfile::tempdir().map_err(|cause| Error::write(&env::temp_dir(), cause))?;
    let (home, here) = (elsewhere.path().join("home"), elsewhere.path().join("here"));
    for folder in [&home, &here] {
        fs::create_dir(folder).map_err(|cause| Error::write(folder, cause))?;
    }
    let spec = here.join("small.toml");
    fs::write(&spec, SPEC).map_err(|cause| Error::write(&spec, cause))?;
    for arguments in [
        &["--help"][..],
        &["demo", "--help"],
        &["doctor", "--backend", "flex"],
        &["examples", "--out", "examples"],
        &["run", "small.toml"],
        &["sample", "--model", "runs/small", "--count", "2"],
    ] {
        let mut disco = Command::new(python.with_file_name("disco"));
        disco.args(arguments).current_dir(&here).env_clear();
        disco.env("HOME", &home).env("HF_HUB_OFFLINE", "1").envs(python.parent().map(|bin| ("PATH", bin)));
        process::run(disco)?;
    }
    let report = here.join("runs").join("small").join("report.html");
    fs::metadata(&report).map_err(|cause| Error::read(&report, cause))?;
    Ok(())
}

/// The wheel, built with the profile and the features of the tests.
fn build(maturin: &Path, out: &Path) -> Result<PathBuf> {
    let mut build = without_package(Command::new(maturin));
    build.args(["-m", "maturin", "build", "--profile", "dev", "--compatibility", "linux"]);
    build.args(["--features", Backend::default().feature(), "--out"]).arg(out);
    build.arg("--manifest-path").arg(workspace_root().join("xtask").join("Cargo.toml"));
    process::run(build)?;
    let entries = fs::read_dir(out).map_err(|cause| Error::read(out, cause))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    found.ok_or_else(|| Error::answer("maturin build", "it made no wheel"))
}
