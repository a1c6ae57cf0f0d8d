//! The files of a model on this machine: a Hugging Face folder, or a GGUF file that says the same.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Error, Result, Tokenizer,
    architecture::{model_config::ModelConfig, parameters::parameters, read_config},
    weights::{self, SafetensorsFolder, TensorSource},
};

/// The files beside the weights that a model keeps, so that it has them when it is saved.
///
/// A language model needs the first two.
pub(crate) const SIDECAR_FILES: [&str; 6] = [
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
    gguf: Option<crate::weights::gguf::GgufFile>,
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
        for name in SIDECAR_FILES {
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
        let file = crate::weights::gguf::GgufFile::open(path)?;
        let config = file.config().to_string().into_bytes();
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
    pub(crate) fn parameters(&self) -> Result<(ModelConfig, Vec<u32>, Vec<Vec<f32>>)> {
        let config = read_config(&self.json("config.json")?, &self.path_of("config.json"))?;
        let end_tokens = self.end_tokens(config.vocabulary)?;
        #[cfg(feature = "gguf")]
        if let Some(file) = &self.gguf {
            let (config, values) = self.read(config, file)?;
            return Ok((config, end_tokens, values));
        }
        let (config, values) = self.read(config, &SafetensorsFolder::open(&self.path)?)?;
        Ok((config, end_tokens, values))
    }

    fn read(&self, config: ModelConfig, source: &dyn TensorSource) -> Result<(ModelConfig, Vec<Vec<f32>>)> {
        config.check_layers(source.shapes().len(), &self.path_of("config.json"))?;
        let config = with_tying_of(config, source)?;
        let values = weights::load(source, &parameters(&config), config.tied, &self.path)?;
        Ok((config, values))
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

/// The configuration of T5 with `tied` as its weights have it: untied if they hold an output matrix that is not the embedding. Newer
/// configurations say of all T5 models that they are tied. Other configurations are returned as they are.
fn with_tying_of(config: ModelConfig, source: &dyn TensorSource) -> Result<ModelConfig> {
    let stored = source.shapes();
    if config.encoder.is_none() {
        return Ok(config);
    }
    let names = [config.names.head, config.names.embedding].map(|stem| format!("{stem}.weight"));
    let [Some(head), Some(embedding)] = names.each_ref().map(|name| stored.get(name)) else {
        return Ok(config);
    };
    let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
        let mut values = vec![0.0; shape.iter().product()];
        source.read(name, &mut values)?;
        Ok(values)
    };
    let tied = head == embedding && read(&names[0], head)? == read(&names[1], embedding)?;
    Ok(ModelConfig { tied, ..config })
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
