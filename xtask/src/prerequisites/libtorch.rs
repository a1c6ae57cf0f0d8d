//! libtorch: its place on this machine, and the settings for building and running with it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::python;
use crate::{Error, Result};

/// The version that Burn's `tch` was written for: its C++ sources do not compile with others.
const VERSION: &str = "2.9.0";

/// Prints the folder of a Python's torch, without importing it: that takes seconds.
const FIND: &str = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')";

/// The search path of shared libraries.
const LIBRARY_PATH: &str = if cfg!(target_os = "macos") {
    "DYLD_LIBRARY_PATH"
} else if cfg!(windows) {
    "PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// A libtorch of the right version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Libtorch {
    /// The folder with `include` and `lib`.
    root: PathBuf,
}

impl Libtorch {
    /// The libtorch that `LIBTORCH` names, else that of the first Python with torch 2.9.0: `DISCO_TORCH_PYTHON`, the
    /// active environment, the environment that xtask has made, `python3`.
    ///
    /// # Errors
    /// [`Error::Libtorch`] with every place that was searched, and how to get libtorch.
    pub(crate) fn find() -> Result<Self> {
        if let Some(root) = env::var_os("LIBTORCH") {
            let root = PathBuf::from(root);
            return Self::at(root)
                .map_err(|problem| Error::Libtorch { tried: format!("LIBTORCH: {problem}") });
        }
        if let Some(python) = env::var_os("DISCO_TORCH_PYTHON") {
            let found = Self::of_python(Path::new(&python));
            return found
                .map_err(|problem| Error::Libtorch { tried: format!("DISCO_TORCH_PYTHON: {problem}") });
        }
        let mut tried = Vec::new();
        for python in python::candidates() {
            match Self::of_python(&python) {
                Ok(found) => return Ok(found),
                Err(problem) => tried.push(problem),
            }
        }
        Err(Error::Libtorch { tried: tried.join("; ") })
    }

    /// The torch that a Python has installed.
    fn of_python(python: &Path) -> std::result::Result<Self, String> {
        let shown = python.display();
        let output = Command::new(python).args(["-c", FIND]).output();
        let output = output.map_err(|error| format!("{shown} does not start ({error})"))?;
        let origin = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match Path::new(&origin).parent() {
            Some(root) if output.status.success() && !origin.is_empty() => {
                Self::at(root.to_path_buf()).map_err(|problem| format!("{shown}: {problem}"))
            }
            _ => Err(format!("{shown} has no torch")),
        }
    }

    /// The libtorch in a folder: an unpacked download, or the package `torch` of a Python.
    fn at(root: PathBuf) -> std::result::Result<Self, String> {
        let shown = root.display();
        if !(root.join("lib").is_dir() && root.join("include").is_dir()) {
            return Err(format!("{shown} has no folders `lib` and `include`"));
        }
        let version = version(&root).ok_or_else(|| format!("{shown} does not say which version it is"))?;
        // `2.9.0+cu128` is 2.9.0 built for CUDA 12.8.
        if version.split('+').next() != Some(VERSION) {
            return Err(format!("{shown} is version {version}"));
        }
        Ok(Self { root })
    }

    /// The folder with `include` and `lib`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes `command` build and run with this libtorch.
    pub(crate) fn apply(&self, command: &mut Command) {
        // A Python environment's torch has the layout of a download, so `LIBTORCH` serves for both, and no build script has
        // to start Python. Wheels of 2.9 and downloads alike have the C++11 ABI, as build scripts assume.
        command.env("LIBTORCH", &self.root).env_remove("LIBTORCH_USE_PYTORCH");
        command.env(LIBRARY_PATH, self.library_path(env::var_os(LIBRARY_PATH)));
    }

    /// The search path: the libraries of torch, the CUDA libraries that its wheel needs, and the earlier search path.
    fn library_path(&self, before: Option<OsString>) -> OsString {
        let mut folders = vec![self.root.join("lib")];
        let packages = self.root.parent().map(|packages| packages.join("nvidia"));
        let mut nvidia: Vec<PathBuf> = packages
            .and_then(|packages| fs::read_dir(packages).ok())
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("lib")))
            .filter(|folder| folder.is_dir())
            .collect();
        nvidia.sort();
        folders.append(&mut nvidia);
        folders.extend(before.iter().flat_map(env::split_paths));
        // No folder's name holds the separator: each came from a listing or from such a path.
        env::join_paths(folders).unwrap_or_else(|_| self.root.join("lib").into())
    }
}

/// The version of a libtorch: a download has it in `build-version`, a wheel in `version.py`.
fn version(root: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for name in ["torch/lib", "torch/include", "nvidia/cublas/lib", "nvidia/cudnn/lib", "nvidia/empty"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for (name, text) in files {
            fs::write(folder.path().join("torch").join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_version_is_read_from_a_download_and_from_a_wheel() {
        for files in
            [("build-version", "2.9.0+cpu\n"), ("version.py", "debug = False\n__version__ = '2.9.0'\n")]
        {
            let folder = folder(&[files]);
            Libtorch::at(folder.path().join("torch")).unwrap();
        }
    }

    #[test]
    fn what_is_no_libtorch_is_named() {
        let problem = |files: &[(&str, &str)]| {
            Libtorch::at(folder(files).path().join("torch")).expect_err("not the right one")
        };
        assert!(problem(&[]).ends_with("does not say which version it is"));
        assert!(problem(&[("build-version", "2.15.0+cpu")]).ends_with("is version 2.15.0+cpu"));
        let empty = TempDir::new().unwrap();
        let problem = Libtorch::at(empty.path().to_path_buf()).unwrap_err();
        assert!(problem.ends_with("has no folders `lib` and `include`"), "{problem}");
    }

    #[test]
    fn the_libraries_of_cuda_are_found_beside_torch() {
        let folder = folder(&[("build-version", VERSION)]);
        let found = Libtorch::at(folder.path().join("torch")).unwrap();
        let path = found.library_path(Some(env::join_paths(["before"]).unwrap()));
        let expected =
            ["torch/lib", "nvidia/cublas/lib", "nvidia/cudnn/lib"].map(|name| folder.path().join(name));
        let expected = expected.into_iter().chain(["before".into()]);
        assert_eq!(env::split_paths(&path).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
