//! `disco examples`: the annotated spec files that travel inside of the program.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    Error, Result,
    embedded::{EmbeddedFile, SCORERS, SPECS},
    terminal::print,
};

/// The arguments of `disco examples`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExampleOptions {
    /// The example to print, such as `demo`, in which every field is explained. Without it, all are listed.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// A new folder for all examples, and for the tables and programs that they read.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    out: Option<PathBuf>,
}

/// Prints an example, lists all of them, or writes them to a folder.
///
/// # Errors
/// [`Error::Argument`] for a name that no example has; [`Error::File`] for a folder that holds something, or cannot be written.
pub(crate) fn run(options: &ExampleOptions) -> Result<()> {
    match (&options.name, &options.out) {
        (Some(name), _) => {
            let (_, text) = examples().find(|(known, _)| known == name).ok_or_else(|| Error::Argument {
                flag: "examples",
                problem: format!("has none that is called \"{name}\""),
                allowed: examples().map(|(name, _)| name).collect::<Vec<_>>().join(", "),
            })?;
            print(text.trim_end())
        }
        (None, Some(folder)) => {
            write_all(folder).map_err(|cause| Error::write(folder, cause))?;
            print(folder.display())
        }
        (None, None) => {
            examples().try_for_each(|(name, text)| print(format_args!("{name:<16} {}", title(text))))
        }
    }
}

/// The names of the examples, with their texts.
fn examples() -> impl Iterator<Item = (&'static str, &'static str)> {
    SPECS.iter().filter_map(|file| Some((file.name.strip_suffix(".toml")?, str::from_utf8(file.bytes).ok()?)))
}

/// The title in a spec file.
fn title(text: &str) -> String {
    let title = |spec: toml::Table| Some(spec.get("title")?.as_str()?.to_owned());
    text.parse().ok().and_then(title).unwrap_or_default()
}

/// Writes all examples into a folder that appears whole: spec files name the programs beside them as `../scorers`.
fn write_all(folder: &Path) -> io::Result<()> {
    let folder: PathBuf = std::path::absolute(folder)?.components().collect();
    let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(parent)?;
    let staging = tempfile::Builder::new().prefix(".disco-examples-").tempdir_in(parent)?;
    let made = staging.path().join("examples");
    let parts: [(&str, &[EmbeddedFile]); 2] = [("specs", &SPECS), ("scorers", &SCORERS)];
    for (name, files) in parts {
        let part = made.join(name);
        fs::create_dir_all(&part)?;
        for file in files {
            fs::write(part.join(file.name), file.bytes)?;
        }
    }
    // Renaming replaces an empty folder, and nothing else.
    fs::rename(&made, &folder)
}
