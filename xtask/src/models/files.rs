//! From a model's name to its files, and from a backend's name to its device.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use disco_lm::{Device, Hub, HubProgress};

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
    let id = match source {
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
    Ok(match kind {
        ModelKind::LanguageModel => hub.language_model(&id),
        ModelKind::Classifier => hub.classifier(&id),
        ModelKind::Adapter => hub.adapter(&id),
    }?)
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
