//! From a model's name to its files, and from a backend's name to its device.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use disco_lm::{Device, Hub, HubModel, HubProblem, HubProgress};

use crate::{
    Backend, Error, Progress, ProgressTarget, Result, embedded::embedded_model, spec::ModelSource,
    terminal::say,
};

/// The device on which a backend computes.
pub(crate) fn device(backend: Backend) -> Result<Device> {
    Ok(backend.feature().parse::<disco_lm::Backend>()?.device()?)
}

/// A kind of model: it decides which files a hub is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ModelKind {
    LanguageModel,
    Classifier,
    Adapter,
}

/// The folder or file of a model. A model of a hub is downloaded if it is not in the cache.
///
/// # Errors
/// The errors of the hub; [`Error::File`] if the embedded model cannot be unpacked into the cache; [`Error::Server`] for a model that runs
/// on a server.
pub(crate) fn folder_of(source: &ModelSource, kind: ModelKind) -> Result<PathBuf> {
    let id: HubModel = match source {
        ModelSource::Embedded => return embedded_model(),
        ModelSource::Folder(folder) => return Ok(folder.clone()),
        ModelSource::Hub(id) => id.parse()?,
        ModelSource::Server(address) => {
            let problem = "this needs the model's weights here, and a server does not give them: name a folder or GGUF file of them, or their \
                           id on the hub";
            return Err(Error::Server { server: address.clone(), problem: problem.into() });
        }
    };
    // The user may have meant a folder.
    say(format_args!("{:<16} there is nothing called {id} here: it is the hub's", "model"));
    let hub = Hub::from_env()?.with_progress(download_progress(ProgressTarget::detect()));
    Ok(kind.find(&hub, &id)?)
}

impl ModelKind {
    /// The folder or file of a model of this kind, from the hub or its cache.
    fn find(self, hub: &Hub, id: &HubModel) -> disco_lm::Result<PathBuf> {
        match self {
            Self::LanguageModel => hub.language_model(id),
            Self::Classifier => hub.classifier(id),
            Self::Adapter => hub.adapter(id),
        }
    }
}

/// The source of a model without a hub: a model of one is the folder or file in its cache. `None` if it is not there; nothing is
/// downloaded.
///
/// # Errors
/// The errors of the cache.
pub(crate) fn without_download(source: &ModelSource, kind: ModelKind) -> Result<Option<ModelSource>> {
    let ModelSource::Hub(id) = source else { return Ok(Some(source.clone())) };
    match kind.find(&Hub::from_env()?.offline(), &id.parse()?) {
        Ok(path) => Ok(Some(ModelSource::Folder(path))),
        Err(disco_lm::Error::Hub { problem: HubProblem::Offline { .. }, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Shows the progress of downloads, file by file.
fn download_progress(target: ProgressTarget) -> impl Fn(&HubProgress<'_>) + Send + Sync {
    const UNIT: u64 = 1000;
    let shown: Mutex<Option<(String, u64, Progress)>> = Mutex::new(None);
    move |now| {
        // A panic elsewhere leaves a bar that can still be moved.
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(file, ..)| file != now.file) {
            let progress = Progress::new(target, "fetch", "kB", now.size.div_ceil(UNIT) as usize);
            *shown = Some((now.file.into(), 0, progress));
        }
        if let Some((file, before, progress)) = &mut *shown {
            let received = now.received.div_ceil(UNIT);
            // A server that cannot resume a download begins it anew.
            progress.advance(received.saturating_sub(*before) as usize, || file.clone());
            *before = received.max(*before);
        }
    }
}
