//! The place of a folder of results: which places are allowed, and what is there.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use disco_tuner::SealedFolder;

use crate::{
    Error, Result,
    process::model_in_workspace,
    spec::{FeatureKind, ModelSource, Spec},
};

/// The file with everything that is known of a run. Results are told from other sealed folders by it.
pub(crate) const SUMMARY: &str = "summary.json";

/// Something that may be replaced by results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    EmptyFolder,
    /// The results of an earlier run: each file is on their list and as it was written.
    EarlierResults,
}

/// The place that `out` names, without links and `..`.
///
/// # Errors
/// [`Error::Place`] for a place that no folder of results can have.
pub(crate) fn resolve(out: &Path) -> Result<PathBuf> {
    let refused = |reason: &str| Err(Error::Place { path: out.into(), reason: reason.into() });
    let path = std::path::absolute(out).map_err(|source| Error::read(out, source))?;
    // Without a slash at its end, with which a link or a file would be looked through.
    let path: PathBuf = path.components().collect();
    if path.file_name().is_none() {
        return refused("it names no folder of its own; give the folder's name");
    }
    let resolved = match existing(&path)? {
        None => path,
        Some(above) => {
            let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
            if rest.components().any(|part| part == Component::ParentDir) {
                return refused("a folder in front of `..` does not exist");
            }
            match fs::canonicalize(above) {
                Ok(found) => found.components().chain(rest.components()).collect(),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let link = above.display();
                    return refused(&format!("{link} is a link to something that does not exist"));
                }
                Err(source) => return Err(Error::read(above, source)),
            }
        }
    };
    if resolved.file_name().is_none() {
        return refused("it is the root of the file system");
    }
    let here = std::env::current_dir().and_then(fs::canonicalize);
    if here.is_ok_and(|here| here.starts_with(&resolved)) {
        return refused(
            "the command runs in this folder, which results would replace; name a folder inside it",
        );
    }
    Ok(resolved)
}

/// Refuses a place in the way of a model that a run reads, of the model of this repository, or of a log of the run.
///
/// # Errors
/// [`Error::Place`].
pub(crate) fn keep_apart(out: &Path, spec: &Spec) -> Result<()> {
    let place = resolve(out)?;
    let classifiers = spec.features.iter().filter_map(|feature| match &feature.kind {
        FeatureKind::Classifier(classifier) => Some(&classifier.model),
        _ => None,
    });
    let folders = classifiers.chain([&spec.model.source]).filter_map(|source| match source {
        ModelSource::Folder(folder) => Some(("the run reads a model from", folder.clone())),
        // The one is protected in every run, a hub's is in the cache, and a server's is elsewhere.
        ModelSource::Embedded | ModelSource::Hub(_) | ModelSource::Server(_) => None,
    });
    for log in spec.log.places() {
        // A log is written while the run goes on, and results come at its end.
        let Ok(log) = resolve(log) else { continue };
        if place.starts_with(&log) || log.starts_with(&place) {
            let reason = format!("the run writes its log to {}; name a place apart from it", log.display());
            return Err(Error::Place { path: out.into(), reason });
        }
    }
    let source = model_in_workspace().map(|folder| ("the embedded model is in", folder));
    for (what, model) in folders.chain(source) {
        // A model that is not there has an error of its own.
        let Ok(model) = fs::canonicalize(&model) else { continue };
        if place.starts_with(&model) || model.starts_with(&place) {
            let reason = format!(
                "{what} {}, and results replace the whole folder that they go to; name a folder apart from it",
                model.display()
            );
            return Err(Error::Place { path: out.into(), reason });
        }
    }
    Ok(())
}

/// The nearest of a path and the folders above it that is there, if only as a link.
fn existing(path: &Path) -> Result<Option<&Path>> {
    for above in path.ancestors() {
        match above.symlink_metadata() {
            Ok(_) => return Ok(Some(above)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(source) => return Err(Error::read(above, source)),
        }
    }
    Ok(None)
}

/// Looks at what is at a place.
///
/// # Errors
/// [`Error::Occupied`] for something that results may not replace.
pub(super) fn look(place: &Path) -> Result<Found> {
    let occupied = |found: String| Err(Error::Occupied { path: place.into(), found });
    match place.symlink_metadata() {
        Ok(there) if there.is_dir() => {}
        Ok(there) if there.is_symlink() => return occupied("it is a link".into()),
        Ok(_) => return occupied("it is a file".into()),
        // If a folder above it is a file, making this folder will fail.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        Err(source) => return Err(Error::read(place, source)),
    }
    if fs::read_dir(place).map_err(|source| Error::read(place, source))?.next().is_none() {
        return Ok(Found::EmptyFolder);
    }
    match SealedFolder::open(place).and_then(|folder| folder.check_strangers()) {
        // Models and checkpoints are sealed too.
        Ok(()) if !place.join(SUMMARY).is_file() => occupied(format!(
            "there is no {SUMMARY}, so it is a model or a checkpoint, or holds a part of results"
        )),
        Ok(()) => Ok(Found::EarlierResults),
        Err(disco_tuner::Error::Damaged { path, difference, .. }) => {
            occupied(stranger(place, &path, &difference))
        }
        Err(error) => Err(error.into()),
    }
}

/// The entry of a folder that is not of earlier results, in words.
pub(crate) fn stranger(folder: &Path, path: &Path, difference: &str) -> String {
    let name = path.strip_prefix(folder).unwrap_or(path).display();
    if difference == "missing" {
        return format!("{name} is missing, which lists the files of results; an early version wrote none");
    }
    format!("{name}: {difference}")
}

/// The name of a hidden file or folder beside a place: `.NAME` and `ending`.
pub(super) fn hidden(place: &Path, ending: &str) -> OsString {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(ending);
    name
}

/// Gives something the first free name beside a place: `NAME.kept`, then `NAME.kept-2` and so on.
///
/// # Errors
/// The errors of renaming.
pub(super) fn keep_beside(made: &Path, place: &Path) -> std::io::Result<PathBuf> {
    for number in 1_u64.. {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(if number == 1 { ".kept".to_owned() } else { format!(".kept-{number}") });
        let free = place.with_file_name(name);
        if free.symlink_metadata().is_ok() {
            continue;
        }
        match fs::rename(made, &free) {
            Ok(()) => return Ok(free),
            // Something has taken the name meanwhile.
            Err(_) if free.symlink_metadata().is_ok() => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::read_spec;

    #[test]
    fn the_model_of_this_repository_is_no_place_for_results() {
        let spec = include_str!("../../specs/demo.toml");
        let spec = read_spec("demo.toml", spec, Path::new("")).unwrap();
        let model = model_in_workspace().unwrap();
        let models = model.parent().unwrap().to_path_buf();
        for out in [model.clone(), model.join("x"), models.join(".").join("tiny-shakespeare"), models] {
            let error = keep_apart(&out, &spec).unwrap_err();
            assert!(error.to_string().contains("the embedded model is in "), "{error}");
        }
        keep_apart(&model.with_file_name("other"), &spec).unwrap();
    }
}
