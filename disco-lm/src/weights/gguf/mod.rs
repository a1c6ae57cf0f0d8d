//! GGUF, the file format of llama.cpp: weights (quantised or not), configuration and tokenizer in one file.
//!
//! Source: the format's specification, `docs/gguf.md` of ggml. Weights are dequantised to f32 once, on loading.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Error, Result,
    architecture::parameters::StoredTensor,
    weights::{
        TensorSource,
        encoding::read_values,
        gguf::{
            header::{Header, TensorInfo},
            metadata::Metadata,
            tokenizer::Vocabulary,
        },
    },
};

mod config;

mod header;

mod k_quants;

mod metadata;

mod names;

mod pre_tokenizer;

mod quants;

#[cfg(test)]
mod tests;

mod tokenizer;

/// The factors that Llama 3 divides its rotary frequencies by.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// An open GGUF file.
pub(crate) struct GgufFile {
    path: PathBuf,
    file: File,
    header: Header,
}

impl GgufFile {
    /// Opens a file and checks its header against its size.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let header = Header::read(&file, path)?;
        Ok(Self { path: path.into(), file, header })
    }

    /// The configuration as a Hugging Face `config.json`.
    pub(crate) fn config(&self) -> Result<Value> {
        let factors = match self.header.tensors.get(ROPE_FACTORS) {
            None => None,
            Some(tensor) => {
                let mut factors = vec![0.0; tensor.shape.iter().product()];
                self.read_tensor(tensor, &mut factors)?;
                Some(factors)
            }
        };
        config::config(&self.metadata(), factors.as_deref())
    }

    /// The tokenizer as a Hugging Face `tokenizer.json` and `tokenizer_config.json`.
    pub(crate) fn tokenizer(&self) -> Result<[Value; 2]> {
        let metadata = self.metadata();
        let vocabulary = Vocabulary::read(&metadata)?;
        Ok([vocabulary.to_json()?, vocabulary.config_json()?])
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata { header: &self.header, path: &self.path }
    }

    fn read_tensor(&self, tensor: &TensorInfo, values: &mut [f32]) -> Result<()> {
        read_values(&self.file, tensor.offset, tensor.encoding, values)
            .map_err(|source| Error::io(&self.path, source))
    }

    /// The number of heads of a tensor whose rows llama.cpp has reordered: the query and key projections of its architecture
    /// `llama`. `None` for any other tensor.
    fn reordered_heads(&self, name: &str) -> Result<Option<usize>> {
        let metadata = self.metadata();
        if metadata.text("general.architecture")?.as_deref() != Some("llama") {
            return Ok(None);
        }
        let queries = metadata.whole("llama.attention.head_count")?;
        let heads = if name.contains(".attn_q.") {
            queries
        } else if name.contains(".attn_k.") {
            metadata.whole("llama.attention.head_count_kv")?.or(queries)
        } else {
            None
        };
        Ok(heads.and_then(|heads| usize::try_from(heads).ok()))
    }
}

impl TensorSource for GgufFile {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.header.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
    }

    /// Every linear layer is stored as `[out, in]`, GPT-2's too.
    fn stored(&self, part: &StoredTensor) -> StoredTensor {
        let mut stored = part.clone();
        stored.name = names::gguf_name(&part.name).unwrap_or(stored.name);
        let is_linear_of_gpt2 = part.shape.len() == 2 && part.name.contains(".c_");
        if is_linear_of_gpt2 && part.transposed {
            stored.shape.reverse();
            stored.transposed = false;
        }
        stored
    }

    fn is_redundant(&self, name: &str, _tied: bool) -> bool {
        name == ROPE_FACTORS
    }

    fn file_of(&self, _: &str) -> &Path {
        &self.path
    }

    fn read(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let missing = || Error::format(&self.path, format!("there is no tensor `{name}`"));
        let tensor = self.header.tensors.get(name).ok_or_else(missing)?;
        match self.reordered_heads(name)? {
            None => self.read_tensor(tensor, values),
            Some(heads) => {
                let mut reordered = vec![0.0; values.len()];
                self.read_tensor(tensor, &mut reordered)?;
                restore_order(&reordered, tensor.shape[0], heads, values);
                Ok(())
            }
        }
    }
}

/// Undoes llama.cpp's order of the rows of the query and key projections.
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
