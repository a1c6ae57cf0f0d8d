//! The report of `disco doctor`, as lines and as JSON.

use std::{env, thread};

use clap::ValueEnum;
use serde::Serialize;

#[cfg(feature = "lm")]
use super::hub::HubState;
use super::{folders::Folder, software::Software};
use crate::{
    Backend, Result,
    embedded::cache_folder,
    process::{memory_limit, system_memory, workspace},
};

/// The state of this program and of this machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    system: String,
    /// Whether disco's own debug assertions are on, as they are where `cargo xtask` builds.
    debug_assertions: bool,
    /// Whether models are downloaded over https.
    hub_compiled: bool,
    backends: Vec<BackendState>,
    processors: Option<usize>,
    memory: Memory,
    libtorch: Software,
    python: Software,
    /// disco's own cache, or the reason why it has none.
    cache: Looked<Folder>,
    /// The current folder, where results go by default.
    here: Option<Folder>,
    /// The hub, or the reason why it was not looked at.
    #[cfg(feature = "lm")]
    hub: Looked<HubState>,
}

/// Something that was looked at, or the reason why it could not be.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Looked<T> {
    Found(T),
    Not { problem: String },
}

impl<T> From<Result<T>> for Looked<T> {
    fn from(found: Result<T>) -> Self {
        match found {
            Ok(found) => Self::Found(found),
            Err(error) => Self::Not { problem: error.to_string() },
        }
    }
}

impl<T> Looked<T> {
    fn text(&self, of: impl Fn(&T) -> String) -> String {
        match self {
            Self::Found(found) => of(found),
            Self::Not { problem } => format!("none: {problem}"),
        }
    }
}

/// A backend in this program.
#[derive(Clone, Debug, Serialize)]
struct BackendState {
    name: &'static str,
    compiled: bool,
    device: Option<String>,
    problem: Option<String>,
}

/// The memory of this machine, in bytes.
#[derive(Clone, Debug, Serialize)]
struct Memory {
    total: Option<u64>,
    available: Option<u64>,
    /// The memory that this process may take.
    limit: Option<u64>,
    limited_by: Option<&'static str>,
}

impl Report {
    /// Looks at everything.
    pub(super) fn gather() -> Self {
        let (memory, limit) = (system_memory(), memory_limit());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            system: format!("{} on {}", env::consts::OS, env::consts::ARCH),
            debug_assertions: cfg!(debug_assertions),
            hub_compiled: cfg!(feature = "hub"),
            backends: Backend::value_variants().iter().copied().map(BackendState::look).collect(),
            processors: thread::available_parallelism().ok().map(usize::from),
            memory: Memory {
                total: memory.map(|(total, _)| total),
                available: memory.map(|(_, available)| available),
                limit: limit.map(|(bytes, _)| bytes),
                limited_by: limit.map(|(_, name)| name),
            },
            libtorch: Software::libtorch(),
            python: Software::python(),
            cache: cache_folder().map(|path| Folder::cache(&path)).into(),
            here: env::current_dir().ok().map(|path| Folder::place(&path)),
            #[cfg(feature = "lm")]
            hub: HubState::look().into(),
        }
    }

    /// The report in lines: a name, and the state behind it.
    pub(super) fn text(&self) -> String {
        let assertions = if self.debug_assertions { ", with debug assertions" } else { "" };
        let mut lines = vec![("disco", format!("{} for {}{assertions}", self.version, self.system))];
        for backend in &self.backends {
            lines.push(("backend", backend.text()));
        }
        if self.backends.iter().all(|backend| !backend.compiled) {
            let how = match workspace() {
                Some(_) => "`cargo xtask` builds the one that a command asks for, once",
                None => "this program can run no language model; see above",
            };
            lines.push(("", format!("no backend is compiled in: {how}")));
        }
        let processors = self.processors.map_or("not known".to_owned(), |count| count.to_string());
        lines.extend([
            ("processors", processors),
            ("memory", self.memory.text()),
            ("libtorch", self.libtorch.text()),
            ("python", self.python.text()),
            ("cache", self.cache.text(Folder::text)),
        ]);
        #[cfg(feature = "lm")]
        {
            lines.push(("hub", self.hub.text(HubState::text)));
            if let Looked::Found(hub) = &self.hub {
                lines.push(("hub's cache", hub.cache.text()));
            }
        }
        lines.extend(self.here.as_ref().map(|here| ("this folder", here.text())));
        lines.iter().map(|(name, text)| format!("{name:<16} {text}\n")).collect()
    }
}

impl BackendState {
    fn look(backend: Backend) -> Self {
        let (name, compiled) = (backend.feature(), backend.is_compiled());
        #[cfg(feature = "lm")]
        if compiled {
            return match crate::models::device(backend) {
                Ok(device) => Self { name, compiled, device: Some(format!("{device:?}")), problem: None },
                Err(error) => Self { name, compiled, device: None, problem: Some(error.to_string()) },
            };
        }
        Self { name, compiled, device: None, problem: None }
    }

    fn text(&self) -> String {
        let name = self.name;
        let state = match (&self.device, &self.problem) {
            (Some(device), _) => format!("on {device}"),
            (None, Some(problem)) => format!("no device: {problem}"),
            (None, None) => {
                format!(
                    "not compiled in (`cargo install --path xtask --bin disco --locked --features {name}`)"
                )
            }
        };
        format!("{name:<7} {state}")
    }
}

impl Memory {
    fn text(&self) -> String {
        let installed = match (self.total, self.available) {
            (Some(total), Some(available)) => format!("{}, {} available", size(total), size(available)),
            _ => "not known".to_owned(),
        };
        match (self.limit, self.limited_by) {
            (Some(limit), Some(name)) => format!("{installed}; {name} allows {}", size(limit)),
            _ => installed,
        }
    }
}

impl Folder {
    /// The folder, its size and its room in words.
    pub(super) fn text(&self) -> String {
        let bytes = self.bytes.map(|bytes| format!("{} in it", size(bytes)));
        let free = self.free_bytes.map(|bytes| format!("{} free", size(bytes)));
        let facts: Vec<String> = bytes.into_iter().chain(free).collect();
        format!(
            "{} ({})",
            self.path.display(),
            if facts.is_empty() { "room not known".into() } else { facts.join(", ") }
        )
    }
}

/// A number of bytes, for readers.
fn size(bytes: u64) -> String {
    match bytes as f64 / 1e9 {
        gigabytes if gigabytes >= 1.0 => format!("{gigabytes:.1} GB"),
        gigabytes => format!("{:.1} MB", gigabytes * 1e3),
    }
}
