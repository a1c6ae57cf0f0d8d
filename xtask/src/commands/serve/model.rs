//! A model over HTTP.

use std::sync::Arc;

use disco_lm::{Generation, LanguageModel, ServiceLimits};

use super::{Serving, size};
use crate::{
    Result,
    models::{ModelKind, device, folder_of},
    serving::{LanguageModelEngine, stop_on_signals},
};

/// Serves until a signal.
pub(super) fn run(serving: &Serving<'_>) -> Result<()> {
    let arguments = serving.arguments;
    let stop = stop_on_signals()?;
    let limits = ServiceLimits {
        waiting: size(arguments.max_waiting),
        max_new_tokens: size(arguments.max_tokens),
        sequences: size(arguments.max_completions),
    };
    let server = serving.bind()?;
    let engine = LanguageModelEngine::start(load(serving)?, limits)?;
    serving.serve(server, Arc::new(engine), &stop)
}

fn load(serving: &Serving<'_>) -> Result<LanguageModel> {
    let device = device(serving.arguments.backend)?;
    let folder = folder_of(&serving.model, ModelKind::LanguageModel)?;
    let adapter =
        serving.adapter.as_ref().map(|adapter| folder_of(adapter, ModelKind::Adapter)).transpose()?;
    // Requests bring their own lengths and decoding.
    let generation =
        Generation { max_new_tokens: 1, batch: size(serving.arguments.batch), ..Generation::default() };
    let model = LanguageModel::load(&folder, &device, generation)?;
    Ok(match adapter {
        Some(adapter) => model.with_adapter(&adapter)?,
        None => model,
    })
}
