//! The safetensors files of a Hugging Face folder, single or sharded.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use disco_core::input;
use safetensors::{Dtype, tensor::TensorInfo};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::{
    Error, Result,
    architecture::parameters::StoredTensor,
    weights::{
        TensorSource,
        encoding::{BF16, Encoding, F16, F32, read_values},
    },
};

/// The file that holds all weights.
pub(crate) const SINGLE: &str = "model.safetensors";

/// The file that names the shards, if the weights are in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The most bytes of a header, as in the reference implementation.
const LONGEST_HEADER: u64 = 100_000_000;

/// The most bytes of a file that is read as a whole: four times the largest tokenizer.json. Parsed JSON takes up to twenty
/// times as much memory as its text.
const LONGEST_TEXT: u64 = 1 << 27;

/// The open safetensors files of a Hugging Face folder. Headers are read on opening, each tensor on request.
pub(crate) struct SafetensorsFolder {
    shards: Vec<Shard>,
    // Invariant: every index is below shards.len(), and that shard holds the tensor.
    location: BTreeMap<String, usize>,
    /// Whether it is a GPT-2 checkpoint of the transformer alone, whose tensor names lack the prefix `transformer.`.
    bare: bool,
}

/// One safetensors file.
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    file: File,
    /// The offset of the tensors' data: after the length and the header.
    data_start: u64,
    // Invariant: all offsets lie within the file, and span what shape and type imply.
    tensors: BTreeMap<String, TensorInfo>,
}

impl SafetensorsFolder {
    /// Opens `model.safetensors`, or if there is none, the shards that `model.safetensors.index.json` names.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        let sharded = index.symlink_metadata().is_ok() && !folder.join(SINGLE).exists();
        let names = if sharded { shard_names(&index)? } else { vec![SINGLE.into()] };
        let shards =
            names.into_iter().map(|name| Shard::open(folder.join(name))).collect::<Result<Vec<_>>>()?;
        let mut location = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.tensors.keys() {
                if let Some(other) = location.insert(name.clone(), index) {
                    let reason = format!("`{name}` is also in {}", shards[other].path.display());
                    return Err(Error::format(&shard.path, reason));
                }
            }
        }
        let bare =
            !location.keys().any(|name| name.starts_with("transformer.") || name.starts_with("model."));
        Ok(Self { shards, location, bare })
    }
}

impl TensorSource for SafetensorsFolder {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.shards.iter().flat_map(Shard::shapes).collect()
    }

    fn stored(&self, part: &StoredTensor) -> StoredTensor {
        let bare = part.name.strip_prefix("transformer.").filter(|_| self.bare);
        StoredTensor { name: bare.unwrap_or(&part.name).into(), ..part.clone() }
    }

    /// Masks, position ids and rotary tables of older checkpoints, embeddings and a tied head that are stored twice, and
    /// the pooler that RoBERTa's classifiers do not use.
    fn is_redundant(&self, name: &str, tied: bool) -> bool {
        name.ends_with(".attn.bias")
            || name.ends_with(".attn.masked_bias")
            || name.ends_with("rotary_emb.inv_freq")
            || name.ends_with(".embeddings.position_ids")
            || name.starts_with("roberta.pooler.")
            || ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"].contains(&name)
            || (tied && name == "lm_head.weight")
    }

    fn file_of(&self, name: &str) -> &Path {
        self.location.get(name).map_or(Path::new(SINGLE), |shard| &self.shards[*shard].path)
    }

    fn read(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let missing = || Error::format(SINGLE, format!("there is no tensor `{name}`"));
        self.shards[*self.location.get(name).ok_or_else(missing)?].read_into(name, values)
    }
}

impl Shard {
    /// Opens a file and checks its header against its size.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let failed = |source| Error::io(&path, source);
        let refused = |reason: String| Error::format(&path, reason);
        let mut file = input::open_regular(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let cut_short = || refused(format!("its {size} bytes end before its header or its tensors"));
        let mut length = [0; 8];
        if size < 8 {
            return Err(cut_short());
        }
        file.read_exact(&mut length).map_err(failed)?;
        let header_size = u64::from_le_bytes(length);
        let data_start = header_size.checked_add(8).filter(|start| *start <= size).ok_or_else(cut_short)?;
        if header_size > LONGEST_HEADER {
            let reason = format!("its header has {header_size} bytes; allowed: at most {LONGEST_HEADER}");
            return Err(refused(reason));
        }
        // At most the size of the file: a false header cannot ask for more memory than that.
        let mut header = vec![0; header_size as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let Header(tensors) = serde_json::from_slice(&header).map_err(|error| refused(error.to_string()))?;
        let end = check(&tensors).map_err(refused)?;
        match end.cmp(&(size - data_start)) {
            std::cmp::Ordering::Greater => Err(cut_short()),
            std::cmp::Ordering::Less => {
                Err(refused(format!("its {size} bytes go on after the {end} of its tensors")))
            }
            std::cmp::Ordering::Equal => Ok(Self { path, file, data_start, tensors }),
        }
    }

    /// The name and shape of every tensor.
    pub(crate) fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.tensors.iter().map(|(name, info)| (name.clone(), info.shape.clone())).collect()
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor's values.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.tensor(name)?.shape.iter().product()];
        self.read_into(name, &mut values)?;
        Ok(values)
    }

    /// The values of a matrix that must have this shape.
    pub(crate) fn read_shaped(&self, name: &str, shape: [usize; 2]) -> Result<Vec<f32>> {
        let found = &self.tensor(name)?.shape;
        if found[..] != shape {
            return Err(Error::format(&self.path, format!("`{name}` is {found:?}, not {shape:?}")));
        }
        self.read(name)
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let missing = || Error::format(&self.path, format!("there is no tensor `{name}`"));
        self.tensors.get(name).ok_or_else(missing)
    }

    /// Writes a tensor's values to `values`, which has one element per value.
    pub(crate) fn read_into(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let info = self.tensor(name)?;
        let encoding: &Encoding = match info.dtype {
            Dtype::F32 => &F32,
            Dtype::F16 => &F16,
            Dtype::BF16 => &BF16,
            other => {
                let allowed = [F32, F16, BF16].map(|encoding| encoding.name).join(", ");
                let reason = format!("`{name}` is {other:?}; allowed: {allowed}");
                return Err(Error::format(&self.path, reason));
            }
        };
        let offset = self.data_start + info.data_offsets.0 as u64;
        read_values(&self.file, offset, encoding, values).map_err(|source| match source.kind() {
            // Its size was checked when it was opened.
            io::ErrorKind::UnexpectedEof => Error::format(&self.path, "it was cut short while it was read"),
            _ => Error::io(&self.path, source),
        })
    }
}

/// The tensors of a header. A tensor that is there twice is an error: JSON itself would take the last one.
struct Header(BTreeMap<String, TensorInfo>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut tensors = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    match tensors.entry(name) {
                        Entry::Vacant(entry) => drop(entry.insert(map.next_value()?)),
                        Entry::Occupied(entry) => {
                            return Err(A::Error::custom(format_args!("`{}` is there twice", entry.key())));
                        }
                    }
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

/// Checks that each tensor spans what its shape implies, and that tensors follow each other without gaps, as in the reference
/// implementation: tensors that share bytes could take far more memory than the size of the file. Returns where they end.
fn check(tensors: &BTreeMap<String, TensorInfo>) -> std::result::Result<u64, String> {
    let mut in_order: Vec<_> = tensors.iter().map(|(name, info)| (info.data_offsets, name, info)).collect();
    in_order.sort_unstable_by_key(|(offsets, name, _)| (*offsets, *name));
    let mut end = 0;
    for ((start, next), name, info) in in_order {
        let elements = info.shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        // The values in memory are f32, whose size must be countable as well.
        let elements = elements.filter(|elements| elements.checked_mul(4).is_some());
        let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
        if bits.is_none() || next.checked_sub(start).and_then(|bytes| bytes.checked_mul(8)) != bits {
            return Err(format!("`{name}` does not span what its shape implies"));
        }
        if start != end {
            return Err(format!(
                "`{name}` begins at byte {start} of the tensors, and the one before it ends at {end}"
            ));
        }
        end = next;
    }
    Ok(end as u64)
}

/// The shards that an index names. They must be files of its own folder.
pub(crate) fn shard_names(index: &Path) -> Result<Vec<String>> {
    let index_json = read_json(index)?;
    let map = index_json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::format(index, "no object `weight_map`"))?;
    let names: Option<BTreeSet<&str>> = map.values().map(Value::as_str).collect();
    let names =
        names.ok_or_else(|| Error::format(index, "`weight_map` holds something that is not a file name"))?;
    let is_inside = |name: &str| !["", ".", ".."].contains(&name) && !name.contains(['/', '\\', '\0']);
    if let Some(outside) = names.iter().find(|name| !is_inside(name)) {
        return Err(Error::format(index, format!("shard {outside:?} is not a file of the same folder")));
    }
    Ok(names.into_iter().map(String::from).collect())
}

/// Reads a JSON file that must hold an object.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    json_object(&read_file(path)?, path)
}

/// The content of a regular file that is not larger than any file of this kind needs to be.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::io(path, source);
    let file = input::open_regular(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > LONGEST_TEXT {
        return Err(Error::format(path, format!("it has {size} bytes; allowed: at most {LONGEST_TEXT}")));
    }
    let mut content = Vec::new();
    // A file that grows meanwhile is read no further.
    file.take(size).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// The JSON object in the content of a file. Any other value is an error: it would look like an object without fields.
pub(crate) fn json_object(content: &[u8], path: &Path) -> Result<Value> {
    let found = match serde_json::from_slice::<Value>(content).map_err(|error| Error::format(path, error))? {
        object @ Value::Object(_) => return Ok(object),
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
    };
    Err(Error::format(path, format!("it holds {found}; allowed: a JSON object")))
}
