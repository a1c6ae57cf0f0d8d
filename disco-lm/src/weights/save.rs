//! Saving weights as safetensors that Hugging Face transformers loads.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use half::f16;
use rayon::prelude::*;
use safetensors::{Dtype, tensor::TensorInfo};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    architecture::parameters::Parameter,
    weights::{layout::split, safetensors::SINGLE},
};

/// The number format of saved weights.
///
/// A tensor that f16 cannot hold is refused before anything is written: one with a value beyond 65504, which would become
/// infinite, or one whose values are so small that f16 keeps fewer than 8 bits of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// IEEE 754 single precision: four bytes per weight, exact.
    F32,
    /// IEEE 754 half precision: two bytes per weight, 11 bits of precision.
    F16,
}

/// A tensor to be saved: its name, its shape, and its values.
pub(crate) type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// The largest share of a tensor, as a relative error of its norm, that may be lost in f16: all but 8 bits.
const MOST_LOST: f64 = 1.0 / 256.0;

/// The number of values that are encoded at once.
const CHUNK: usize = 1 << 15;

impl Precision {
    /// Its name in a `config.json`.
    pub(crate) fn dtype(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }

    fn safetensors_dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
        }
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        }
    }

    /// Checks that this precision can hold a tensor's values.
    fn check(self, name: &str, values: &[f32]) -> Result<()> {
        if self == Self::F32 {
            return Ok(());
        }
        let refused = |problem: String| {
            Error::invalid("precision", "f16", format!("f32, since the tensor `{name}` holds {problem}"))
        };
        let is_beyond = |value: &&f32| value.is_finite() && f16::from_f32(**value).is_infinite();
        if let Some(value) = values.iter().find(is_beyond) {
            return Err(refused(format!("{value:e}, and f16 holds no number beyond {}", f16::MAX)));
        }
        let (mut norm, mut lost, mut largest) = (0.0, 0.0, 0.0f32);
        for value in values.iter().filter(|value| value.is_finite()) {
            let error = f64::from(f16::from_f32(*value).to_f32()) - f64::from(*value);
            norm += f64::from(*value).powi(2);
            lost += error.powi(2);
            largest = largest.max(value.abs());
        }
        if lost > norm * MOST_LOST.powi(2) {
            let problem =
                format!("no number beyond {largest:e}, and f16 keeps fewer than 8 bits of such small ones");
            return Err(refused(problem));
        }
        Ok(())
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
    let tensors: Vec<_> = parts.map(|(part, values)| (part.name, part.shape, values)).collect();
    let path = folder.join(SINGLE);
    check_finite(&path, &tensors)?;
    write(&path, tensors, precision)
}

/// Checks that weights are finite: a file with others could not be loaded.
pub(crate) fn check_finite(path: &Path, tensors: &[NamedTensor]) -> Result<()> {
    tensors.par_iter().try_for_each(|(name, _, values)| {
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(&value) => Err(Error::NotFiniteWeight { path: path.into(), tensor: name.clone(), value }),
        }
    })
}

/// Writes named tensors of f32 values as a safetensors file. Its permissions are those of any new file.
///
/// # Errors
/// [`Error::Invalid`] for values that the precision cannot hold, before anything is written; [`Error::Io`], for a full disk as
/// well, after which there is no file.
pub(crate) fn write(path: &Path, mut tensors: Vec<NamedTensor>, precision: Precision) -> Result<()> {
    tensors.par_iter().try_for_each(|(name, _, values)| precision.check(name, values))?;
    tensors.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let header = header(&tensors, precision).map_err(|error| Error::format(path, error))?;
    let written = write_file(path, &header, &tensors, precision);
    written.map_err(|source| {
        // The error of writing is the one to tell.
        let _ = std::fs::remove_file(path);
        Error::io(path, source)
    })
}

/// The header, in the order of the tensors, which safetensors' own writer sorts by name as well.
fn header(tensors: &[NamedTensor], precision: Precision) -> serde_json::Result<Vec<u8>> {
    let mut end = 0;
    // transformers refuses a file that does not say it holds PyTorch tensors.
    let mut text = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    for (name, shape, values) in tensors {
        let start = end;
        end += precision.safetensors_dtype().bitsize() / 8 * values.len();
        let (dtype, shape) = (precision.safetensors_dtype(), shape.clone());
        let info = TensorInfo { dtype, shape, data_offsets: (start, end) };
        text += &format!(",{}:{}", serde_json::to_string(name)?, serde_json::to_string(&info)?);
    }
    text.push('}');
    let mut bytes = text.into_bytes();
    // The data begin at a multiple of 8 bytes, so that they can be mapped into memory.
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

fn write_file(path: &Path, header: &[u8], tensors: &[NamedTensor], precision: Precision) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header)?;
    for values in tensors.iter().flat_map(|(_, _, values)| values.chunks(CHUNK)) {
        file.write_all(&precision.bytes(values))?;
    }
    // Some file systems tell only now that they are full.
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn saved(values: Vec<f32>, precision: Precision) -> Result<Vec<u8>> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.safetensors");
        let tensors =
            vec![("b".into(), vec![values.len()], values), ("a \"q\"".into(), vec![1, 1], vec![0.5])];
        let written = write(&path, tensors, precision);
        assert_eq!(path.exists(), written.is_ok());
        written.map(|()| std::fs::read(&path).unwrap())
    }

    #[test]
    fn the_file_is_the_one_that_safetensors_writes() {
        let bytes: Vec<u8> = [1.0f32, -2.5, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let half = 0.5f32.to_le_bytes();
        let views = [
            ("b", TensorView::new(Dtype::F32, vec![3], &bytes).unwrap()),
            ("a \"q\"", TensorView::new(Dtype::F32, vec![1, 1], &half).unwrap()),
        ];
        let metadata = [("format".to_string(), "pt".to_string())].into();
        let theirs = safetensors::serialize(views, Some(metadata)).unwrap();
        assert_eq!(saved(vec![1.0, -2.5, 0.0], Precision::F32).unwrap(), theirs);
    }

    /// IEEE 754 half precision: the largest number is 65504, and from 65520 on, half of the next step, numbers round to infinity.
    #[test]
    fn what_half_precision_cannot_hold_is_refused() {
        for fits in [65504.0, -65504.0, 65519.99, 6.2e-5, 0.0, -0.0] {
            assert!(saved(vec![fits, 0.0], Precision::F16).is_ok(), "{fits}");
        }
        // Tiny values beside larger ones lose nothing that counts, and a tensor that was f16 before loses nothing at all.
        assert!(saved(vec![1e-9, 0.01], Precision::F16).is_ok());
        assert!(saved(vec![2f32.powi(-24), 2f32.powi(-20)], Precision::F16).is_ok());
        for beyond in [65520.0, -65520.0, 1e5, f32::MAX] {
            let error = saved(vec![0.1, beyond], Precision::F16).unwrap_err().to_string();
            assert!(error.contains("`b`") && error.contains("65504") && error.contains("f32"), "{error}");
            assert!(error.contains(&format!("{beyond:e}")), "{error}");
        }
        for small in [1e-8, 5e-8, 1e-7, 1e-38] {
            let error = saved(vec![0.0, small], Precision::F16).unwrap_err().to_string();
            assert!(error.contains("`b`") && error.contains("fewer than 8 bits"), "{error}");
        }
        for value in [1e-45, 1e-8, 65520.0, f32::MAX, f32::INFINITY] {
            assert!(saved(vec![value], Precision::F32).is_ok(), "{value}");
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_not_saved() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let tensors = [("w".to_string(), vec![2], vec![1.0, value])];
            let error = check_finite(Path::new("x.safetensors"), &tensors).unwrap_err();
            assert!(error.to_string().contains("`w` is"), "{error}");
        }
    }
}
