//! `cargo xtask report`: the report of a finished run again, or one page that compares several runs.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    Result,
    results::{
        FileLinks, OutputFile, RunRecord, is_report, keep_file_apart, read_record, render_comparison,
        render_report_with,
    },
    terminal::{print, visible_line},
};

/// The arguments of the command.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArguments {
    /// The folders of results: one for the report of that run, several for a page that compares them.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The file for the page; an earlier page of this command is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Renders the page from the records of the folders. Nothing is computed, and no model is loaded.
///
/// # Errors
/// [`crate::Error::Record`] for a folder without a record that can be shown; [`crate::Error::Place`] for a page in a folder whose files are listed with
/// their checksums; [`crate::Error::File`].
pub(crate) fn run(arguments: &ReportArguments) -> Result<()> {
    let ReportArguments { folders, out } = arguments;
    keep_file_apart(out, folders)?;
    let mut runs: Vec<(String, FileLinks, RunRecord)> = Vec::with_capacity(folders.len());
    for folder in folders {
        let record = read_record(folder)?;
        runs.push((name_of(folder), FileLinks::from_page(out, folder)?, record));
    }
    let page = match &runs[..] {
        [(_, links, record)] => render_report_with(record, links),
        _ => {
            distinguish(&mut runs, folders);
            render_comparison(&runs)
        }
    };
    let mut file = OutputFile::prepare(out, is_report)?;
    file.write(page.trim_end_matches('\n').as_bytes())?;
    file.finish()?;
    print(visible_line(&out.to_string_lossy()))
}

/// The last part of a folder's path.
fn name_of(folder: &Path) -> String {
    let name = folder.components().next_back().map(|part| part.as_os_str().to_string_lossy().into_owned());
    name.unwrap_or_else(|| folder.display().to_string())
}

/// Runs of the same name have their whole path instead.
fn distinguish(runs: &mut [(String, FileLinks, RunRecord)], folders: &[PathBuf]) {
    let names: Vec<String> = runs.iter().map(|run| run.0.clone()).collect();
    for (run, folder) in runs.iter_mut().zip(folders) {
        if names.iter().filter(|name| **name == run.0).count() > 1 {
            run.0 = folder.display().to_string();
        }
    }
}
