//! The files of a model on this machine: a Hugging Face folder, or a GGUF file that says the same.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Error, Result, Tokenizer,
    slots::slots,
    spec::Spec,
    weights::{self, SafetensorsFolder, TensorSource},
};

/// The files beside the weights that a model keeps, so that it has them when it is saved.
///
/// A language model needs the first two.
pub(crate) const BESIDE_WEIGHTS: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// What is read of a model before its weights.
pub(crate) struct ModelFiles {
    /// The folder or file.
    path: PathBuf,
    kept: BTreeMap<String, Vec<u8>>,
    #[cfg(feature = "gguf")]
    gguf: Option<crate::gguf::GgufFile>,
}

impl ModelFiles {
    /// Opens a folder or a GGUF file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_file() || is_gguf(path) { Self::open_gguf(path) } else { Self::open_folder(path) }
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        if !folder.exists() {
            return Err(Error::NoModel { path: folder.into() });
        }
        let mut kept = BTreeMap::new();
        for name in BESIDE_WEIGHTS {
            let path = folder.join(name);
            if path.exists() {
                kept.insert(name.into(), std::fs::read(&path).map_err(|source| Error::io(&path, source))?);
            }
        }
        Ok(Self {
            path: folder.into(),
            kept,
            #[cfg(feature = "gguf")]
            gguf: None,
        })
    }

    #[cfg(feature = "gguf")]
    fn open_gguf(path: &Path) -> Result<Self> {
        let file = crate::gguf::GgufFile::open(path)?;
        let config = file.config()?.to_string().into_bytes();
        let kept = [("config.json".to_string(), config)].into();
        Ok(Self { path: path.into(), kept, gguf: Some(file) })
    }

    #[cfg(not(feature = "gguf"))]
    fn open_gguf(path: &Path) -> Result<Self> {
        let what = format!("{} is not a folder, and GGUF files are not compiled in", path.display());
        Err(Error::Feature { what, feature: "gguf" })
    }

    /// The tokenizer. That of a GGUF file is made only now, and kept from then on as the files of a folder are.
    pub(crate) fn tokenizer(&mut self) -> Result<Tokenizer> {
        const NAME: &str = "tokenizer.json";
        #[cfg(feature = "gguf")]
        if let Some(file) = &self.gguf {
            let [tokenizer, config] = file.tokenizer()?.map(|json| json.to_string().into_bytes());
            self.kept.insert(NAME.into(), tokenizer);
            self.kept.insert("tokenizer_config.json".into(), config);
        }
        Tokenizer::from_json(self.kept(NAME)?, &self.path_of(NAME))
    }

    /// The ids that end a sequence: `generation_config.json` has the last word.
    fn end_tokens(&self, vocabulary: usize) -> Result<Vec<u32>> {
        for name in ["generation_config.json", "config.json"] {
            if self.kept.contains_key(name)
                && let Some(value) = self.json(name)?.get("eos_token_id")
            {
                return end_tokens(value, vocabulary, &self.path_of(name));
            }
        }
        Ok(Vec::new())
    }

    /// The architecture with its sizes, the ids that end a sequence, and the parameters.
    pub(crate) fn parameters(&self) -> Result<(Spec, Vec<u32>, Vec<Vec<f32>>)> {
        let spec = Spec::from_config(&self.json("config.json")?, &self.path_of("config.json"))?;
        let end_tokens = self.end_tokens(spec.vocabulary)?;
        #[cfg(feature = "gguf")]
        if let Some(file) = &self.gguf {
            let (spec, values) = self.read(spec, file)?;
            return Ok((spec, end_tokens, values));
        }
        let (spec, values) = self.read(spec, &SafetensorsFolder::open(&self.path)?)?;
        Ok((spec, end_tokens, values))
    }

    fn read(&self, spec: Spec, source: &dyn TensorSource) -> Result<(Spec, Vec<Vec<f32>>)> {
        spec.check_layers(source.shapes().len(), &self.path_of("config.json"))?;
        let spec = spec.for_weights(source)?;
        let values = weights::load(source, &slots(&spec), spec.tied, &self.path)?;
        Ok((spec, values))
    }

    /// The files beside the weights, by their name.
    pub(crate) fn into_kept(self) -> BTreeMap<String, Vec<u8>> {
        self.kept
    }

    /// What messages call a file: a GGUF file holds all of them.
    fn path_of(&self, name: &str) -> PathBuf {
        if self.path.is_dir() { self.path.join(name) } else { self.path.clone() }
    }

    fn kept(&self, name: &str) -> Result<&[u8]> {
        let missing = || Error::io(self.path.join(name), std::io::ErrorKind::NotFound.into());
        self.kept.get(name).map(Vec::as_slice).ok_or_else(missing)
    }

    fn json(&self, name: &str) -> Result<Value> {
        weights::json_object(self.kept(name)?, &self.path_of(name))
    }
}

/// Whether a path is named as GGUF files are.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// `eos_token_id` is an id, a list of ids, or null.
fn end_tokens(value: &Value, vocabulary: usize, path: &Path) -> Result<Vec<u32>> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.filter(|id| (*id as usize) < vocabulary)
    };
    let ids = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(values) => values.iter().map(id).collect(),
        single => id(single).map(|id| vec![id]),
    };
    ids.ok_or_else(|| Error::Config {
        path: path.into(),
        field: "eos_token_id".into(),
        value: value.to_string(),
        allowed: format!("a token id below the vocabulary's size, {vocabulary}, a list of them, or null"),
    })
}
