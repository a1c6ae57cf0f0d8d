//! Saving weights as safetensors that Hugging Face transformers loads.

use std::path::Path;

use half::f16;
use safetensors::{Dtype, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, architecture::parameters::Parameter, weights::layout::split};

/// The number format of saved weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// IEEE 754 single precision: four bytes per weight, exact.
    F32,
    /// IEEE 754 half precision: two bytes per weight, 11 bits of precision.
    F16,
}

impl Precision {
    /// Its name in a `config.json`.
    pub(crate) fn dtype(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        }
    }
}

/// Writes parameters to `model.safetensors` in `folder`, under their Hugging Face names.
pub(crate) fn save(
    folder: &Path,
    parameters: &[Parameter],
    values: &[Vec<f32>],
    precision: Precision,
) -> Result<()> {
    let parts = parameters.iter().zip(values).flat_map(|(parameter, values)| split(parameter, values));
    let tensors = parts.map(|(part, values)| (part.name, part.shape, values)).collect();
    write(&folder.join("model.safetensors"), tensors, precision)
}

/// Writes named tensors of f32 values as a safetensors file.
pub(crate) fn write(
    path: &Path,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    precision: Precision,
) -> Result<()> {
    let dtype = match precision {
        Precision::F32 => Dtype::F32,
        Precision::F16 => Dtype::F16,
    };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, values)| precision.bytes(values)).collect();
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            TensorView::new(dtype, shape.clone(), bytes)
                .map(|view| (name.as_str(), view))
                .map_err(|error| Error::format(path, error))
        })
        .collect::<Result<_>>()?;
    // transformers refuses a file that does not say it holds PyTorch tensors.
    let metadata = [("format".to_string(), "pt".to_string())].into();
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| Error::format(path, error))
}
