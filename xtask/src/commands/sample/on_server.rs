//! Completions of a model on a server: it can only be drawn from.

use super::{Decoder, Sampling};
use crate::{Error, Result, spec::ModelSource};

/// The number of completions of a context and their seed, if the model runs on a server.
///
/// # Errors
/// [`Error::Argument`] for what a model on a server cannot do.
pub(super) fn draws_on_server(sampling: &Sampling) -> Result<Option<(usize, u64)>> {
    const HERE: &str = "a model that runs here";
    let ModelSource::Server(address) = &sampling.model.source else { return Ok(None) };
    let refused = |flag, allowed: &str| {
        let problem = format!("is not for a model on a server, `{address}`");
        Err(Error::Argument { flag, problem, allowed: allowed.into() })
    };
    match &sampling.decoder {
        _ if sampling.adapter.is_some() => refused("--adapter", HERE),
        _ if sampling.chat => refused(
            "--chat",
            "contexts that hold the text of the chat template already, or a model that runs here",
        ),
        Decoder::Greedy => refused("--greedy", HERE),
        Decoder::Beam { .. } => refused("--beam", HERE),
        Decoder::Draw { count, seed } => Ok(Some((*count, *seed))),
    }
}
