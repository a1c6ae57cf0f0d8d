//! Weights in files, in and out: the tensors of a file become the parameters of a model.

mod encoding;
mod folder;
mod layout;
mod save;

use std::{collections::BTreeMap, path::Path};

use rayon::prelude::*;

use crate::{
    Error, Result,
    error::Misshapen,
    slots::{Part, Slot},
};

pub(crate) use encoding::{BF16, Encoding, F16, F32, read_values};
#[cfg(feature = "hub-http")]
pub(crate) use folder::{INDEX, SINGLE, shard_names};
pub(crate) use folder::{SafetensorsFolder, Shard, json_object, read_json};
pub(crate) use layout::{join, split};
pub use save::Precision;
pub(crate) use save::{save, write};

/// A source of named tensors: the seam for file formats.
pub(crate) trait TensorSource: Sync {
    /// The name and shape of every tensor, outermost dimension first.
    fn shapes(&self) -> BTreeMap<String, Vec<usize>>;

    /// The tensor that holds `part`: its name, shape and layout in this source.
    fn stored(&self, part: &Part) -> Part;

    /// Whether a tensor may be there without being a parameter of a model.
    fn is_redundant(&self, name: &str, tied: bool) -> bool;

    /// The file that a tensor is in, for messages.
    fn file_of(&self, name: &str) -> &Path;

    /// Writes a tensor's values in row-major order to `values`, which has their number.
    fn read(&self, name: &str, values: &mut [f32]) -> Result<()>;
}

/// Reads all parameters, in the order of `slots`, on all threads. All that does not fit is listed in one error.
///
/// Each tensor is read once, into its place in the parameter: nothing of the size of a tensor exists beside the
/// result, unless the file has it transposed.
pub(crate) fn load(
    source: &dyn TensorSource,
    slots: &[Slot],
    tied: bool,
    path: &Path,
) -> Result<Vec<Vec<f32>>> {
    check(source, slots, tied, path)?;
    slots.par_iter().map(|slot| fill(source, slot)).collect()
}

/// Checks that the tensors are those that `slots` ask for, before memory is taken for any of them.
fn check(source: &dyn TensorSource, slots: &[Slot], tied: bool, path: &Path) -> Result<()> {
    let mut shapes = source.shapes();
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for part in slots.iter().flat_map(|slot| &slot.parts) {
        let Part { name, shape: expected, .. } = source.stored(part);
        match shapes.remove(&name) {
            None => missing.push(name),
            Some(found) if found != expected => misshapen.push(Misshapen { name, expected, found }),
            Some(_) => {}
        }
    }
    let unexpected: Vec<String> =
        shapes.into_keys().filter(|name| !source.is_redundant(name, tied)).collect();
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        Ok(())
    } else {
        Err(Error::Weights { path: path.into(), missing, unexpected, misshapen })
    }
}

/// One parameter, from the tensors that hold it.
fn fill(source: &dyn TensorSource, slot: &Slot) -> Result<Vec<f32>> {
    let parts = slot.parts.iter().map(|part| source.stored(part)).collect();
    join(&Slot { parts, ..slot.clone() }, |part, values| {
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
