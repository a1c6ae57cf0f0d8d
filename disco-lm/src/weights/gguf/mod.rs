//! GGUF, the file format of llama.cpp: weights (quantised or not), configuration and tokenizer in one file.
//!
//! Source: the format's specification, `docs/gguf.md` of ggml. Weights are dequantised to f32 once, on loading.

mod config;
mod end_tokens;
mod header;
mod iq4;
mod k_quants;
mod metadata;
mod pre_tokenizer;
mod quants;
#[cfg(test)]
mod tests;
mod tokenizer;
mod value;

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use disco_core::input::open_regular;
use serde_json::Value;

use crate::{
    Error, Result,
    architecture::{
        Gguf,
        parameters::{StoredTensor, parameters, parameters_named},
        read_config,
    },
    weights::{
        TensorSource, Unread,
        encoding::read_values,
        gguf::{
            header::{Header, TensorInfo},
            metadata::Metadata,
            tokenizer::Vocabulary,
        },
    },
};

/// The factors that Llama 3 divides its rotary frequencies by.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// An open GGUF file: its header, and the values of its tensors.
struct Container {
    path: PathBuf,
    file: File,
    header: Header,
}

impl Container {
    /// Opens a file and checks its header against its size.
    fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path).map_err(|source| Error::io(path, source))?;
        let header = Header::read(&file, path)?;
        Ok(Self { path: path.into(), file, header })
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata { header: &self.header, path: &self.path }
    }

    fn tensor(&self, name: &str) -> Result<&TensorInfo> {
        let missing = || Error::format(&self.path, format!("there is no tensor `{name}`"));
        self.header.tensors.get(name).ok_or_else(missing)
    }

    /// Writes the values of a tensor, as they are in the file, to `values`, which has their number.
    fn read(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let tensor = self.tensor(name)?;
        read_values(&self.file, tensor.offset, tensor.encoding, values)
            .map_err(|source| Error::io(&self.path, source))
    }
}

/// A language model in a GGUF file.
pub(crate) struct GgufFile {
    container: Container,
    architecture: &'static Gguf,
    /// The configuration, as a Hugging Face `config.json` has it.
    config: Value,
    /// The tensors of this file by the Hugging Face names of the tensors that they hold.
    tensors: BTreeMap<String, StoredTensor>,
}

impl GgufFile {
    /// Opens a file, checks its header against its size, and reads its configuration.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let container = Container::open(path)?;
        let metadata = container.metadata();
        if let Some(parts) = metadata.whole("split.count")?.filter(|parts| *parts > 1) {
            let part = metadata.whole("split.no")?.map_or(0, |part| part.saturating_add(1));
            let found = format!("part {part} of {parts} of a split GGUF file");
            let allowed = "one file, which llama.cpp's `llama-gguf-split --merge` makes of all parts".into();
            return Err(Error::NotRead { path: path.into(), found, allowed });
        }
        let (architecture, gguf) = config::architecture(&metadata)?;
        let factors = match container.header.tensors.get(ROPE_FACTORS) {
            None => None,
            Some(tensor) => {
                let mut factors = vec![0.0; tensor.shape.iter().product()];
                container.read(ROPE_FACTORS, &mut factors)?;
                Some(factors)
            }
        };
        let config = config::config(&metadata, architecture.model_type, gguf, factors.as_deref())?;
        let model = read_config(&config, path)?;
        model.check_layers(container.header.tensors.len(), path)?;
        let names = parameters(&model).into_iter().zip(parameters_named(&model, &gguf.tensors));
        let tensors = names.flat_map(|(parameter, here)| parameter.stored.into_iter().zip(here.stored));
        let tensors = tensors.map(|(tensor, here)| (tensor.name, here)).collect();
        Ok(Self { container, architecture: gguf, config, tensors })
    }

    /// The configuration, as a Hugging Face `config.json` has it.
    pub(crate) fn config(&self) -> &Value {
        &self.config
    }

    /// The tokenizer as a Hugging Face `tokenizer.json` and `tokenizer_config.json`.
    pub(crate) fn tokenizer(&self) -> Result<[Value; 2]> {
        let metadata = self.container.metadata();
        let vocabulary = Vocabulary::read(&metadata)?;
        Ok([vocabulary.to_json()?, vocabulary.config_json()?])
    }

    /// The heads whose rows llama.cpp has reordered: queries and keys of its build of Llama.
    fn reordered_heads(&self, name: &str) -> Result<Option<usize>> {
        if !self.architecture.reorders_heads {
            return Ok(None);
        }
        let metadata = self.container.metadata();
        let key = |name: &str| format!("{}.{name}", self.architecture.name);
        let queries = metadata.whole(&key("attention.head_count"))?;
        let heads = if name.contains(".attn_q.") {
            queries
        } else if name.contains(".attn_k.") {
            metadata.whole(&key("attention.head_count_kv"))?.or(queries)
        } else {
            None
        };
        Ok(heads.and_then(|heads| usize::try_from(heads).ok()))
    }
}

impl TensorSource for GgufFile {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let tensors = self.container.header.tensors.iter();
        tensors.map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
    }

    fn stored(&self, part: &StoredTensor) -> StoredTensor {
        self.tensors.get(&part.name).unwrap_or(part).clone()
    }

    fn unread(&self, name: &str, _tied: bool) -> Unread {
        if name == ROPE_FACTORS { Unread::Known } else { Unread::Unexpected }
    }

    fn file_of(&self, _: &str) -> &Path {
        &self.container.path
    }

    fn read(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let Some(heads) = self.reordered_heads(name)? else { return self.container.read(name, values) };
        let mut reordered = vec![0.0; values.len()];
        self.container.read(name, &mut reordered)?;
        restore_order(&reordered, self.container.tensor(name)?.shape[0], heads, values);
        Ok(())
    }
}

/// Undoes llama.cpp's order of the rows of queries and keys.
///
/// Rotary embedding rotates pairs of channels: in Hugging Face's order `i` and `i + width/2` of a head, in llama.cpp's order
/// neighbours. The width of a head, `rows / heads`, is a whole, even number.
fn restore_order(reordered: &[f32], rows: usize, heads: usize, values: &mut [f32]) {
    let [columns, width] = [values.len() / rows, rows / heads];
    for (row, values) in values.chunks_exact_mut(columns).enumerate() {
        let [head, channel] = [row / width, row % width];
        let from = head * width + channel % (width / 2) * 2 + channel / (width / 2);
        values.copy_from_slice(&reordered[from * columns..][..columns]);
    }
}
