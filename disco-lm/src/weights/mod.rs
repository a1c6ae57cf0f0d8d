//! How do tensors get from a file into memory, and back? Loading and saving the weights of a model.

pub(crate) mod atomic_folder;
pub(crate) mod encoding;
pub(crate) mod folder;
#[cfg(feature = "gguf")]
pub(crate) mod gguf;
pub(crate) mod identify;
pub(crate) mod json;
pub(crate) mod layout;
pub(crate) mod safetensors;
pub(crate) mod save;

use std::{collections::BTreeMap, path::Path};

use rayon::prelude::*;

use crate::{
    Error, Result,
    architecture::{
        parameters::{Parameter, StoredTensor},
        unread::is_quantised,
    },
    error::Misshapen,
};

pub(crate) use atomic_folder::{add_file, check_folder, replace_folder};
pub(crate) use json::{json_object, read_file, read_json, without_mark};
pub(crate) use layout::{join, split};
#[cfg(feature = "hub-http")]
pub(crate) use safetensors::{INDEX, SINGLE, shard_names};
pub(crate) use safetensors::{ModelKind, SafetensorsFolder, Shard};
pub use save::Precision;
pub(crate) use save::{check_finite, save, write};

/// A file format's source of named tensors.
pub(crate) trait TensorSource: Sync {
    /// The name and shape of every tensor, outermost dimension first.
    fn shapes(&self) -> BTreeMap<String, Vec<usize>>;

    /// The tensor of this source that holds `part`, with its name, shape and layout in the source.
    fn stored(&self, part: &StoredTensor) -> StoredTensor;

    /// The meaning of a tensor that is in the source without being a parameter of the model.
    fn unread(&self, name: &str, tied: bool) -> Unread;

    /// The file that holds a tensor, for messages.
    fn file_of(&self, name: &str) -> &Path;

    /// Writes a tensor's values in row-major order to `values`, which has one element per value.
    fn read(&self, name: &str, values: &mut [f32]) -> Result<()>;
}

/// The meaning of a tensor that no parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is read in another way, or is the copy of one that is.
    Known,
    /// It changes nothing, as in the reference.
    Idle,
    /// It could change a probability.
    Unexpected,
}

/// The elements of a model's parameters.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// One vector per parameter.
    pub(crate) values: Vec<Vec<f32>>,
    /// The names of the tensors that no model of this kind reads.
    pub(crate) ignored: Vec<String>,
}

/// Reads all parameters, in the order of `parameters`, on all threads. One error lists all tensors that do not fit.
///
/// Each tensor is read once, directly into its rows of the parameter: no buffer of the size of a tensor is allocated besides
/// the result, unless the file stores the tensor transposed.
pub(crate) fn load(
    source: &dyn TensorSource,
    parameters: &[Parameter],
    tied: bool,
    path: &Path,
) -> Result<Loaded> {
    let ignored = check(source, parameters, tied, path)?;
    let values = parameters.par_iter().map(|parameter| fill(source, parameter)).collect::<Result<_>>()?;
    Ok(Loaded { values, ignored })
}

/// Checks that the tensors are exactly those of `parameters`, before memory is allocated for any of them. Returns the names of
/// others that change nothing.
fn check(
    source: &dyn TensorSource,
    parameters: &[Parameter],
    tied: bool,
    path: &Path,
) -> Result<Vec<String>> {
    let mut shapes = source.shapes();
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for part in parameters.iter().flat_map(|parameter| &parameter.stored) {
        let StoredTensor { name, shape: expected, .. } = source.stored(part);
        match shapes.remove(&name) {
            None => missing.push(name),
            Some(found) if found != expected => misshapen.push(Misshapen { name, expected, found }),
            Some(_) => {}
        }
    }
    let [mut ignored, mut unexpected] = [Vec::new(), Vec::new()];
    for name in shapes.into_keys() {
        match source.unread(&name, tied) {
            Unread::Known => {}
            Unread::Idle => ignored.push(name),
            Unread::Unexpected => unexpected.push(name),
        }
    }
    if let Some(name) = unexpected.iter().find(|name| is_quantised(name)) {
        let found = format!("weights that another library has quantised (`{name}`)");
        let allowed = "weights in f32, f16 or bf16, or a GGUF file".into();
        return Err(Error::NotRead { path: source.file_of(name).into(), found, allowed });
    }
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        Ok(ignored)
    } else {
        Err(Error::Weights { path: path.into(), missing, unexpected, misshapen })
    }
}

/// Reads one parameter from the tensors that hold it.
fn fill(source: &dyn TensorSource, parameter: &Parameter) -> Result<Vec<f32>> {
    let stored = parameter.stored.iter().map(|part| source.stored(part)).collect();
    join(&Parameter { stored, ..parameter.clone() }, |part, values| {
        source.read(&part.name, values)?;
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => {
                let path = source.file_of(&part.name).into();
                Err(Error::NotFiniteWeight { path, tensor: part.name.clone(), value })
            }
        }
    })
}
