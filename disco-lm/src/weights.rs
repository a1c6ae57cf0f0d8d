//! Weights in files: Hugging Face safetensors, single or sharded, in and out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo, TensorView},
};
use serde_json::Value;

use crate::{
    Error, Result,
    error::Misshapen,
    slots::{Part, Slot},
};

/// A source of named tensors: the seam for other file formats.
pub(crate) trait TensorSource {
    /// The name and shape of every tensor.
    fn shapes(&self) -> BTreeMap<String, Vec<usize>>;

    /// A tensor's values in row-major order, as f32.
    fn read(&self, name: &str) -> Result<Vec<f32>>;
}

/// The safetensors files of a Hugging Face folder. Headers are read at once, each tensor when asked for.
///
/// Tensors are read at their offset rather than memory-mapped: it costs the same, needs no unsafe code, and
/// a file that is cut short meanwhile is an error instead of the end of the process.
pub(crate) struct SafetensorsFolder {
    shards: Vec<Shard>,
    // Invariant: every index is below shards.len(), and that shard holds the tensor.
    location: BTreeMap<String, usize>,
}

/// One safetensors file.
pub(crate) struct Shard {
    path: PathBuf,
    file: File,
    /// Where the tensors begin: after the length and the header.
    data_start: u64,
    // Invariant: all offsets lie within the file, and span what shape and type imply.
    tensors: BTreeMap<String, TensorInfo>,
}

impl SafetensorsFolder {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let index = folder.join("model.safetensors.index.json");
        let paths = if index.exists() {
            shard_paths(folder, &index)?
        } else {
            vec![folder.join("model.safetensors")]
        };
        let shards = paths.into_iter().map(Shard::open).collect::<Result<Vec<_>>>()?;
        let location = shards
            .iter()
            .enumerate()
            .flat_map(|(index, shard)| shard.tensors.keys().map(move |name| (name.clone(), index)))
            .collect();
        Ok(Self { shards, location })
    }
}

impl TensorSource for SafetensorsFolder {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let tensors = self.shards.iter().flat_map(|shard| &shard.tensors);
        tensors.map(|(name, info)| (name.clone(), info.shape.clone())).collect()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>> {
        let missing = || Error::format("model.safetensors", format!("there is no tensor `{name}`"));
        self.shards[*self.location.get(name).ok_or_else(missing)?].read(name)
    }
}

impl Shard {
    /// Opens a file and checks its header against its size.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let mut file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let size = file.metadata().map_err(|source| Error::io(&path, source))?.len();
        let cut_short =
            || Error::format(&path, format!("its {size} bytes end before its header or its tensors"));
        let mut length = [0; 8];
        if size < 8 {
            return Err(cut_short());
        }
        file.read_exact(&mut length).map_err(|source| Error::io(&path, source))?;
        let header_size = u64::from_le_bytes(length);
        let data_start = header_size.checked_add(8).filter(|start| *start <= size).ok_or_else(cut_short)?;
        // At most the size of the file: a lying header cannot ask for more memory than that.
        let mut header = vec![0; header_size as usize];
        file.read_exact(&mut header).map_err(|source| Error::io(&path, source))?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| Error::format(&path, error))?;
        let mut tensors = BTreeMap::new();
        for (name, info) in header.tensors() {
            let (start, end) = info.data_offsets;
            let elements = info.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
            let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
            if end as u64 > size - data_start {
                return Err(cut_short());
            }
            if bits.is_none() || end.checked_sub(start).and_then(|bytes| bytes.checked_mul(8)) != bits {
                return Err(Error::format(&path, format!("`{name}` does not span what its shape implies")));
            }
            tensors.insert(name, info.clone());
        }
        Ok(Self { path, file, data_start, tensors })
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's values.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>> {
        let missing = || Error::format(&self.path, format!("there is no tensor `{name}`"));
        let info = self.tensors.get(name).ok_or_else(missing)?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| Error::io(&self.path, source))?;
        match info.dtype {
            Dtype::F32 => Ok(words(&bytes, f32::from_le_bytes)),
            Dtype::F16 => Ok(words(&bytes, |word| f16::from_le_bytes(word).to_f32())),
            Dtype::BF16 => Ok(words(&bytes, |word| bf16::from_le_bytes(word).to_f32())),
            other => {
                Err(Error::format(&self.path, format!("`{name}` is {other:?}; allowed: F32, F16, BF16")))
            }
        }
    }
}

fn words<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| convert(*chunk)).collect()
}

fn shard_paths(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let index_json = read_json(index)?;
    let map = index_json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::format(index, "no object `weight_map`"))?;
    let names: Option<BTreeSet<&str>> = map.values().map(Value::as_str).collect();
    let names =
        names.ok_or_else(|| Error::format(index, "`weight_map` holds something that is not a file name"))?;
    if let Some(outside) = names.iter().find(|name| name.contains(['/', '\\'])) {
        return Err(Error::format(index, format!("shard {outside:?} is not a file of the same folder")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
    serde_json::from_str(&text).map_err(|error| Error::format(path, error))
}

/// Names that files may hold besides the parameters: masks and rotary tables of older checkpoints, and a
/// tied head stored twice.
fn is_redundant(name: &str, tied: bool) -> bool {
    name.ends_with(".attn.bias")
        || name.ends_with(".attn.masked_bias")
        || name.ends_with("rotary_emb.inv_freq")
        || (tied && name == "lm_head.weight")
}

/// Reads all parameters, in the order of `slots`. All that does not fit is listed in one error.
pub(crate) fn load(
    source: &dyn TensorSource,
    slots: &[Slot],
    tied: bool,
    path: &Path,
) -> Result<Vec<Vec<f32>>> {
    let mut shapes = source.shapes();
    // GPT-2 checkpoints of the bare transformer leave out the prefix.
    let bare = !shapes.keys().any(|name| name.starts_with("transformer.") || name.starts_with("model."));
    let stored = |part: &Part| match part.name.strip_prefix("transformer.") {
        Some(rest) if bare => rest.to_string(),
        _ => part.name.clone(),
    };
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for part in slots.iter().flat_map(|slot| &slot.parts) {
        match shapes.remove(&stored(part)) {
            None => missing.push(part.name.clone()),
            Some(found) if found != part.shape => {
                misshapen.push(Misshapen { name: part.name.clone(), expected: part.shape.clone(), found });
            }
            Some(_) => {}
        }
    }
    let unexpected: Vec<String> = shapes.into_keys().filter(|name| !is_redundant(name, tied)).collect();
    if !(missing.is_empty() && misshapen.is_empty() && unexpected.is_empty()) {
        return Err(Error::Weights { path: path.into(), missing, unexpected, misshapen });
    }
    slots
        .iter()
        .map(|slot| {
            join(slot, |part| {
                let values = source.read(&stored(part))?;
                match values.iter().find(|value| !value.is_finite()) {
                    None => Ok(values),
                    Some(value) => Err(Error::NotFinite {
                        what: format!("a weight of `{}`", part.name),
                        value: f64::from(*value),
                    }),
                }
            })
        })
        .collect()
}

/// `[n / columns, columns]` to `[columns, n / columns]`.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// The number format of saved weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes a weight, exact.
    F32,
    /// Two bytes a weight; 11 bits of precision.
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

/// The values of a parameter, as the tensors of the file: under their Hugging Face names, in their layout.
pub(crate) fn split(slot: &Slot, values: &[f32]) -> Vec<(Part, Vec<f32>)> {
    let columns = if slot.role.is_matrix() { slot.shape[1] } else { 1 };
    let mut rest = values;
    let parts = slot.parts.iter().map(|part| {
        let (mine, others) = rest.split_at(part.rows * columns);
        rest = others;
        (part.clone(), if part.transposed { transpose(mine, columns) } else { mine.to_vec() })
    });
    parts.collect()
}

/// The inverse of [`split`]: `read` gives a tensor of the file by its part.
pub(crate) fn join<E>(
    slot: &Slot,
    mut read: impl FnMut(&Part) -> std::result::Result<Vec<f32>, E>,
) -> std::result::Result<Vec<f32>, E> {
    let mut values = Vec::with_capacity(slot.shape[0] * slot.shape[1]);
    for part in &slot.parts {
        let mine = read(part)?;
        if part.transposed { values.extend(transpose(&mine, part.rows)) } else { values.extend(mine) }
    }
    Ok(values)
}

/// Writes parameters as `model.safetensors` of `folder`, under their Hugging Face names.
pub(crate) fn save(folder: &Path, slots: &[Slot], values: &[Vec<f32>], precision: Precision) -> Result<()> {
    let parts = slots.iter().zip(values).flat_map(|(slot, values)| split(slot, values));
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
