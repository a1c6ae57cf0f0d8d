//! A feature whose values a program gives, as a spec file describes it.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use disco_core::input::open_regular;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Allowed, FeatureKind, FeatureSpec,
    allowed::{SOME_TEXT, TEXTS},
    document::{Conflict, feature_path},
    section::Section,
};
use crate::hex::hex;

/// A feature whose values a program gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// The program and its arguments; no shell is involved. Never empty.
    pub run: Vec<String>,
    /// The feature that is asked of the program.
    pub feature: String,
    /// Whether its values are 0 and 1.
    pub binary: bool,
    /// The SHA-256 of files, by their names in the run file: a run with other files than these is another run.
    pub files: BTreeMap<String, String>,
    /// The folder of the run file, in which the program runs. Where a run file is changes nothing about the program.
    #[serde(skip)]
    pub folder: PathBuf,
    /// How it is asked. Its values do not depend on it.
    pub asking: CommandAsking,
}

/// How a program is asked. Features of the same program are asked together, so that it is enough if one of them says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommandAsking {
    /// The number of processes that are kept alive.
    pub workers: Option<usize>,
    /// The largest number of samples that are asked at a time.
    pub batch: Option<usize>,
    /// The time within which a batch has to be answered, in seconds.
    pub timeout: Option<f64>,
    /// The time within which a process has to answer for the first time, in seconds.
    pub start_timeout: Option<f64>,
    /// How often a batch that failed is asked of a new process: 0 or 1.
    pub retry: Option<usize>,
}

/// The fields of a feature of this kind, beside those of all kinds.
pub(super) const COMMAND_FIELDS: &[&str] =
    &["run", "feature", "binary", "files", "workers", "batch", "timeout", "start_timeout", "retry"];

pub(super) const WORKERS: Allowed<u64> =
    Allowed { words: "a whole number from 1 to 256", holds: |count| (1..=256).contains(count) };
pub(super) const BATCH: Allowed<u64> =
    Allowed { words: "a whole number from 1 to 10000", holds: |count| (1..=10_000).contains(count) };
pub(super) const SECONDS: Allowed<f64> = Allowed {
    words: "a number of seconds from 0.001 to 86400",
    holds: |seconds| (0.001..=86_400.0).contains(seconds),
};
const RETRY: Allowed<u64> = Allowed { words: "0 or 1", holds: |retry| *retry <= 1 };
const RUN: &str = "the program (in PATH, or a path seen from the folder of this file) and its arguments, a string each: [\"python3\", \
                   \"scorers.py\"]";
const WORDS: Allowed<Vec<String>> = Allowed {
    words: RUN,
    holds: |words| {
        words.first().is_some_and(|program| !program.is_empty())
            && !words.iter().any(|word| word.contains('\0'))
    },
};

/// Endings of scripts.
const SCRIPTS: [&str; 3] = [".py", ".sh", ".js"];

/// Whether a word of a command names a script.
pub(crate) fn is_script(word: &str) -> bool {
    !word.starts_with('-') && SCRIPTS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending))
}

impl CommandSpec {
    /// The program: its file, or its name to be looked for in `PATH`.
    pub(crate) fn program(&self) -> PathBuf {
        match self.run.first() {
            Some(word) if is_path(word) => self.folder.join(word),
            word => word.map(PathBuf::from).unwrap_or_default(),
        }
    }

    /// Whether both ask the same program.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        (&self.run, &self.folder) == (&other.run, &other.folder)
    }
}

impl CommandAsking {
    /// These settings, and where they say nothing, those of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            workers: self.workers.or(other.workers),
            batch: self.batch.or(other.batch),
            timeout: self.timeout.or(other.timeout),
            start_timeout: self.start_timeout.or(other.start_timeout),
            retry: self.retry.or(other.retry),
        }
    }

    /// The fields that both settings have, with different values.
    fn differences(self, other: Self) -> Vec<(&'static str, String, String)> {
        let whole = |number: Option<usize>| number.map(|number| number as f64);
        let fields = [
            ("workers", whole(self.workers), whole(other.workers)),
            ("batch", whole(self.batch), whole(other.batch)),
            ("timeout", self.timeout, other.timeout),
            ("start_timeout", self.start_timeout, other.start_timeout),
            ("retry", whole(self.retry), whole(other.retry)),
        ];
        let both = fields.into_iter().filter_map(|(field, one, other)| Some((field, one?, other?)));
        both.filter(|(_, one, other)| one != other)
            .map(|(field, one, other)| (field, one.to_string(), other.to_string()))
            .collect()
    }
}

/// Reads the fields of a feature of this kind.
pub(super) fn read_command(section: &Section<'_>, folder: &Path) -> CommandSpec {
    // A program that runs in another folder does not see paths that are relative to this one. The empty path is this one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    section.require("run", RUN);
    let run = section.strings("run", &WORDS).unwrap_or_default();
    if let [program, arguments @ ..] = &run[..] {
        let scripts = arguments.iter().enumerate().filter(|(_, word)| is_script(word));
        let is_there = |word: &str| open_regular(folder.join(word)).map(drop);
        let problem = find_program(program, &folder).err().map(|problem| (0, problem)).or_else(|| {
            scripts.into_iter().find_map(|(index, word)| {
                let cause = is_there(word).err()?;
                Some((index + 1, format!("cannot be read: {}: {cause}", folder.join(word).display())))
            })
        });
        if let Some((index, problem)) = problem {
            section.wrong_entry("run", index, &problem, RUN);
        }
    }
    let mut files = BTreeMap::new();
    for (index, name) in section.strings("files", &TEXTS).unwrap_or_default().into_iter().enumerate() {
        match sha256(&folder.join(&name)) {
            Ok(hash) => drop(files.insert(name, hash)),
            Err(problem) => {
                section.wrong_entry("files", index, &problem, "files, seen from the run file's folder");
                break;
            }
        }
    }
    let count = |field, allowed| section.integer(field, allowed).map(|count| count as usize);
    CommandSpec {
        run,
        feature: asked_name(section),
        binary: section.boolean("binary").unwrap_or(false),
        files,
        folder,
        asking: CommandAsking {
            workers: count("workers", &WORKERS),
            batch: count("batch", &BATCH),
            timeout: section.number("timeout", &SECONDS),
            start_timeout: section.number("start_timeout", &SECONDS),
            retry: count("retry", &RETRY),
        },
    }
}

/// The name that a feature has in the program: the field `feature`, or its own name.
pub(super) fn asked_name(section: &Section<'_>) -> String {
    let own = || if section.is_doubtful("name") { None } else { section.string("name", &SOME_TEXT) };
    section.string("feature", &SOME_TEXT).or_else(own).unwrap_or_default()
}

/// Features that ask the same program, of which both say how, and not the same.
pub(super) fn command_conflicts(features: &[FeatureSpec], found: &mut Vec<Conflict>) {
    let commands = features.iter().enumerate().filter_map(|(index, feature)| match &feature.kind {
        FeatureKind::Command(command) => Some((index, command)),
        _ => None,
    });
    let commands: Vec<_> = commands.collect();
    for (number, (index, command)) in commands.iter().enumerate() {
        for (earlier, other) in &commands[..number] {
            if !command.asks_the_same(other) {
                continue;
            }
            for (field, value, before) in command.asking.differences(other.asking) {
                let fields = [feature_path(*index, field), feature_path(*earlier, field)];
                let message = format!("is {value}, and {before} for a feature that asks the same program");
                let allowed = "one value for all features of a program; it is enough if one of them has it";
                found.push(Conflict::new(fields, message, allowed));
            }
        }
    }
}

/// Whether a word names a file rather than a program that is looked for in `PATH`.
fn is_path(word: &str) -> bool {
    word.contains('/') || (cfg!(windows) && word.contains('\\'))
}

/// Looks for a program.
///
/// # Errors
/// The problem, as the end of a sentence that begins with its name.
fn find_program(word: &str, folder: &Path) -> Result<(), String> {
    if is_path(word) {
        let path = folder.join(word);
        return match fs::metadata(&path) {
            Err(cause) => Err(format!("cannot be found: {}: {cause}", path.display())),
            Ok(file) if !file.is_file() => Err(format!("is no file: {}", path.display())),
            Ok(file) if !is_executable(&file) => {
                Err(format!("may not be executed (chmod +x would allow it): {}", path.display()))
            }
            Ok(_) => Ok(()),
        };
    }
    if cfg!(windows) {
        // Windows looks in further places, and for further endings: the program is found when it is started.
        return Ok(());
    }
    let places = env::var_os("PATH").unwrap_or_default();
    let is_there = |place: PathBuf| {
        fs::metadata(place.join(word)).is_ok_and(|file| file.is_file() && is_executable(&file))
    };
    if env::split_paths(&places).any(is_there) {
        return Ok(());
    }
    let hint = if word.contains(char::is_whitespace) {
        "; no shell is involved, each argument is a string of its own"
    } else if folder.join(word).is_file() {
        "; a file beside the run file is named with ./ before it"
    } else {
        ""
    };
    Err(format!("is no program in PATH{hint}"))
}

#[cfg(unix)]
fn is_executable(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    true
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// The problem, as the end of a sentence that begins with the file's name.
fn sha256(path: &Path) -> Result<String, String> {
    let hash = || -> io::Result<_> {
        let mut hasher = Sha256::new();
        io::copy(&mut open_regular(path)?, &mut hasher)?;
        Ok(hasher.finalize())
    };
    let hash = hash().map_err(|cause| format!("cannot be read: {}: {cause}", path.display()))?;
    Ok(hex(&hash))
}
