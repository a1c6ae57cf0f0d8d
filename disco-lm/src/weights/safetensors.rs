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
    architecture::{
        parameters::StoredTensor,
        unread::{HEAD, T5_COPIES, is_idle, other_names},
    },
    weights::{
        TensorSource, Unread,
        encoding::{BF16, Encoding, F16, F32, F64, read_values},
        folder::without_weights,
        identify::{self, other_format},
        json::read_json,
    },
};

/// The file that holds all weights.
pub(crate) const SINGLE: &str = "model.safetensors";

/// The file that names the shards, if the weights are in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// The kind of file that holds weights, for messages.
const WANTED: &str = "a safetensors file";

/// The most bytes of a header, as in the reference implementation.
const LONGEST_HEADER: u64 = 100_000_000;

/// The open safetensors files of a Hugging Face folder. Headers are read on opening, each tensor on request.
pub(crate) struct SafetensorsFolder {
    shards: Vec<Shard>,
    // Invariant: every index is below shards.len(), and that shard holds the tensor.
    location: BTreeMap<String, usize>,
    kind: ModelKind,
}

/// The model that a folder should hold, as far as the names of its tensors depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelKind {
    /// The name of the embedding, without `.weight`.
    pub(crate) embedding: &'static str,
    /// Whether the configuration says that the embedding is also the output matrix.
    pub(crate) tied: bool,
    pub(crate) classifier: bool,
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
    pub(crate) fn open(folder: &Path, kind: ModelKind) -> Result<Self> {
        let index = folder.join(INDEX);
        let names = if folder.join(SINGLE).symlink_metadata().is_ok() {
            vec![SINGLE.into()]
        } else if index.symlink_metadata().is_ok() {
            let names = shard_names(&index)?;
            check_shards(folder, &index, &names)?;
            names
        } else {
            return Err(without_weights(folder, SINGLE));
        };
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
        Ok(Self { shards, location, kind })
    }

    /// The name in this folder of the tensor that transformers calls `name`; `name` itself if there is none.
    fn named(&self, name: &str) -> String {
        let found =
            other_names(name, self.kind.embedding).into_iter().find(|name| self.location.contains_key(name));
        found.unwrap_or_else(|| name.into())
    }

    /// Whether the folder has a tensor that transformers calls `name`.
    fn has(&self, name: &str) -> bool {
        self.location.contains_key(&self.named(name))
    }
}

impl TensorSource for SafetensorsFolder {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.shards.iter().flat_map(Shard::shapes).collect()
    }

    fn stored(&self, part: &StoredTensor) -> StoredTensor {
        let embedding = part.name.strip_suffix(".weight") == Some(self.kind.embedding);
        // A tied tensor may be stored under any of its names.
        let tied = T5_COPIES.into_iter().chain([HEAD]).filter(|_| embedding && self.kind.tied);
        let name = [part.name.as_str()].into_iter().chain(tied).find(|name| self.has(name));
        StoredTensor { name: self.named(name.unwrap_or(&part.name)), ..part.clone() }
    }

    fn unread(&self, name: &str, tied: bool) -> Unread {
        let copies = T5_COPIES.into_iter().chain([HEAD].into_iter().filter(|_| tied));
        if self.kind.tied && copies.map(|copy| self.named(copy)).any(|copy| copy == name) {
            Unread::Known
        } else if is_idle(name, self.kind.classifier) {
            Unread::Idle
        } else {
            Unread::Unexpected
        }
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
            let mut head = Vec::new();
            file.read_to_end(&mut head).map_err(|source| Error::io(&path, source))?;
            return Err(other_format(&path, &head, WANTED).unwrap_or_else(cut_short));
        }
        file.read_exact(&mut length).map_err(failed)?;
        let header_size = u64::from_le_bytes(length);
        let Some(data_start) = header_size.checked_add(8).filter(|start| *start <= size) else {
            let mut head = length.to_vec();
            file.take(identify::HEAD as u64).read_to_end(&mut head).map_err(failed)?;
            return Err(other_format(&path, &head, WANTED).unwrap_or_else(cut_short));
        };
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

    /// The names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
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
            Dtype::F64 => &F64,
            other => {
                let allowed = [F32, F16, BF16, F64].map(|encoding| encoding.name).join(", ");
                let found = format!("a file with numbers of another kind: `{name}` is {other:?}");
                return Err(Error::NotRead { path: self.path.clone(), found, allowed });
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

/// Refuses an index whose shards are not all there.
fn check_shards(folder: &Path, index: &Path, names: &[String]) -> Result<()> {
    // A link to nothing is there, and an error of its own when it is opened.
    let is_missing = |name: &&String| folder.join(name).symlink_metadata().is_err();
    let missing: Vec<&str> = names.iter().filter(is_missing).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let found = format!(
        "an index of {} files of which {} are not there: {}",
        names.len(),
        missing.len(),
        missing.join(", ")
    );
    let allowed = "all of them beside it; was a download interrupted?".into();
    Err(Error::NotRead { path: index.into(), found, allowed })
}
