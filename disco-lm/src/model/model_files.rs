//! The files of a model on this machine: a Hugging Face folder, or a GGUF file, which holds the content of such a folder.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use disco_core::input::open_regular;
use serde_json::Value;

use crate::{
    Error, Result, Tokenizer,
    architecture::{
        config_reader::ConfigReader,
        model_config::ModelConfig,
        parameters::{StoredTensor, parameters},
        read_config,
        unread::{HEAD, T5_COPIES},
    },
    text::{tokenizer_settings::TokenizerSettings, vocabulary_files},
    weights::{
        self, Loaded, ModelKind, SafetensorsFolder, TensorSource,
        folder::{must_be_folder, other_weights, without_config},
        identify::other_format,
    },
};

/// The sidecars: the files beside the weights. A model stores their content when it is loaded, and writes it when it is saved.
///
/// A language model needs the first; the second is made where a tokenizer has another form.
pub(crate) const SIDECAR_FILES: [&str; 8] = [
    "config.json",
    "tokenizer.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// Files of tokenizers that are not read.
const OTHER_TOKENIZERS: [&str; 7] = [
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tiktoken.model",
    "tekken.json",
    "merges.txt",
    "vocab.bpe",
];

/// A model on disk, whose sidecars have been read and whose weights have not.
pub(crate) struct ModelFiles {
    /// The folder or file.
    path: PathBuf,
    /// The content of the sidecars that there are, by file name.
    sidecars: BTreeMap<String, Vec<u8>>,
    #[cfg(feature = "gguf")]
    gguf: Option<crate::weights::gguf::GgufFile>,
}

impl ModelFiles {
    /// Opens a folder or a GGUF file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let has_files = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        let is_folder = path.is_dir() && (!is_gguf(path) || has_files());
        if is_folder || !(path.exists() || is_gguf(path)) {
            return Self::open_folder(path);
        }
        if path.is_file() && !is_gguf(path) && !begins_as_gguf(path)? {
            must_be_folder(path, "the folder of a model, or a GGUF file")?;
        }
        Self::open_gguf(path)
    }

    fn open_folder(folder: &Path) -> Result<Self> {
        if !folder.exists() {
            return Err(Error::NoModel { path: folder.into() });
        }
        let mut sidecars = BTreeMap::new();
        for name in SIDECAR_FILES {
            let path = folder.join(name);
            // A link to nothing is an error: without it, the model would be another one.
            if path.symlink_metadata().is_ok() {
                let content = weights::read_file(&path)?;
                if !name.ends_with(".json") {
                    sidecars.insert(name.into(), content);
                    continue;
                }
                if let Some(error) = other_format(&path, &content, "a file in JSON") {
                    return Err(error);
                }
                sidecars.insert(name.into(), weights::without_mark(&content).to_vec());
            }
        }
        if !sidecars.contains_key("config.json")
            && let Some(error) = without_config(folder)
        {
            return Err(error);
        }
        // Before the tokenizer, whose absence is less of a cause.
        if let Some(error) = other_weights(folder) {
            return Err(error);
        }
        Ok(Self {
            path: folder.into(),
            sidecars,
            #[cfg(feature = "gguf")]
            gguf: None,
        })
    }

    #[cfg(feature = "gguf")]
    fn open_gguf(path: &Path) -> Result<Self> {
        let file = crate::weights::gguf::GgufFile::open(path)?;
        let config = file.config().to_string().into_bytes();
        let sidecars = [("config.json".to_string(), config)].into();
        Ok(Self { path: path.into(), sidecars, gguf: Some(file) })
    }

    #[cfg(not(feature = "gguf"))]
    fn open_gguf(path: &Path) -> Result<Self> {
        let what = format!("{} is not a folder, and GGUF files are not compiled in", path.display());
        Err(Error::Feature { what, feature: "gguf" })
    }

    /// The tokenizer. For a GGUF file it is built only by this call, which stores it among the sidecars.
    pub(crate) fn tokenizer(&mut self) -> Result<Tokenizer> {
        const NAME: &str = "tokenizer.json";
        #[cfg(feature = "gguf")]
        if let Some(file) = &self.gguf {
            let [tokenizer, config] = file.tokenizer()?.map(|json| json.to_string().into_bytes());
            self.sidecars.insert(NAME.into(), tokenizer);
            self.sidecars.insert("tokenizer_config.json".into(), config);
        }
        let settings = self.tokenizer_settings()?;
        if !self.sidecars.contains_key(NAME)
            && let Some(json) = self.tokenizer_of_vocabulary(&settings)?
        {
            self.sidecars.insert(NAME.into(), json.to_string().into_bytes());
        }
        Tokenizer::from_json(self.sidecar(NAME)?, &self.path_of(NAME), Some(&settings))
    }

    /// The `tokenizer.json` for a folder that has only the vocabulary of its tokenizer.
    fn tokenizer_of_vocabulary(&self, settings: &TokenizerSettings) -> Result<Option<Value>> {
        let read = |name: &str| {
            let path = self.path.join(name);
            if path.exists() { Ok(Some(disco_core::input::read_text(&path)?)) } else { Ok(None) }
        };
        let json = vocabulary_files::tokenizer_json(&self.path, settings, read)?;
        let other = OTHER_TOKENIZERS.into_iter().find(|name| self.path.join(name).exists());
        match other.filter(|_| json.is_none()) {
            Some(found) => Err(Error::NoTokenizer { folder: self.path.clone(), found: found.into() }),
            None => Ok(json),
        }
    }

    /// The files beside `tokenizer.json`.
    fn tokenizer_settings(&self) -> Result<TokenizerSettings> {
        let json = |name: &str| match self.sidecars.contains_key(name) {
            true => self.json(name),
            false => Ok(Value::Null),
        };
        Ok(TokenizerSettings {
            path: self.path_of("tokenizer_config.json"),
            config: json("tokenizer_config.json")?,
            special_tokens_map: json("special_tokens_map.json")?,
            added_tokens: json("added_tokens.json")?,
            model: json("config.json")?,
        })
    }

    /// The ids that end a sequence: from `generation_config.json` if it names them, else from `config.json`.
    fn end_tokens(&self, vocabulary: usize) -> Result<Vec<u32>> {
        for name in ["generation_config.json", "config.json"] {
            if self.sidecars.contains_key(name)
                && let Some(value) = self.json(name)?.get("eos_token_id")
            {
                return end_tokens(value, vocabulary, &self.path_of(name));
            }
        }
        Ok(Vec::new())
    }

    /// The architecture with its sizes, the ids that end a sequence, and the parameters.
    pub(crate) fn parameters(&self) -> Result<(ModelConfig, Vec<u32>, Loaded)> {
        let config = read_config(&self.json("config.json")?, &self.path_of("config.json"))?;
        self.check_start(&config)?;
        let end_tokens = self.end_tokens(config.vocabulary)?;
        #[cfg(feature = "gguf")]
        if let Some(file) = &self.gguf {
            let (config, loaded) = self.read_parameters(config, file)?;
            return Ok((config, end_tokens, loaded));
        }
        let kind = ModelKind { embedding: config.names.embedding, tied: config.tied, classifier: false };
        let (config, loaded) = self.read_parameters(config, &SafetensorsFolder::open(&self.path, kind)?)?;
        Ok((config, end_tokens, loaded))
    }

    /// Refuses a start token in `generation_config.json` other than the configuration's: transformers scores with the one, and
    /// generates with the other.
    fn check_start(&self, config: &ModelConfig) -> Result<()> {
        const NAME: &str = "generation_config.json";
        let Some(encoder) = config.encoder.filter(|_| self.sidecars.contains_key(NAME)) else {
            return Ok(());
        };
        let generation = self.json(NAME)?;
        let reader = ConfigReader { config: &generation, path: &self.path_of(NAME) };
        match reader.get("decoder_start_token_id") {
            Some(value) if value.as_u64() != Some(u64::from(encoder.start)) => {
                let allowed = format!("{}, as in config.json", encoder.start);
                Err(reader.refused("decoder_start_token_id", value, allowed))
            }
            _ => Ok(()),
        }
    }

    fn read_parameters(
        &self,
        config: ModelConfig,
        source: &dyn TensorSource,
    ) -> Result<(ModelConfig, Loaded)> {
        config.check_layers(source.shapes().len(), &self.path_of("config.json"))?;
        let config = with_tying_of(config, source)?;
        let loaded = weights::load(source, &parameters(&config), config.tied, &self.path)?;
        Ok((config, loaded))
    }

    /// The content of the sidecars, by file name.
    pub(crate) fn into_sidecars(self) -> BTreeMap<String, Vec<u8>> {
        self.sidecars
    }

    /// The path of a file for messages: the path of the GGUF file, if that holds all of them.
    fn path_of(&self, name: &str) -> PathBuf {
        if self.path.is_dir() { self.path.join(name) } else { self.path.clone() }
    }

    /// The content of a sidecar.
    fn sidecar(&self, name: &str) -> Result<&[u8]> {
        let missing = || Error::io(self.path.join(name), std::io::ErrorKind::NotFound.into());
        self.sidecars.get(name).map(Vec::as_slice).ok_or_else(missing)
    }

    fn json(&self, name: &str) -> Result<Value> {
        weights::json_object(self.sidecar(name)?, &self.path_of(name))
    }
}

/// The configuration with `tied` taken from the weights: untied if they hold an output matrix that differs from the embedding, as in
/// transformers 5. A configuration that says that the output matrix is not tied is returned as it is.
fn with_tying_of(config: ModelConfig, source: &dyn TensorSource) -> Result<ModelConfig> {
    if !config.tied {
        return Ok(config);
    }
    let shapes = source.shapes();
    let stored = |name: String| {
        let part = StoredTensor { name, shape: Vec::new(), transposed: false };
        let name = source.stored(&part).name;
        shapes.get(&name).map(|shape| (name, shape))
    };
    let Some(embedding) = stored(format!("{}.weight", config.names.embedding)) else { return Ok(config) };
    let values = |(name, shape): &(String, &Vec<usize>)| -> Result<Vec<f32>> {
        let mut values = vec![0.0; shape.iter().product()];
        source.read(name, &mut values)?;
        Ok(values)
    };
    // Read once, whatever it is compared with.
    let embedded = OnceCell::new();
    let differs = |other: &(String, &Vec<usize>)| -> Result<bool> {
        if other.0 == embedding.0 || other.1 != embedding.1 {
            return Ok(other.0 != embedding.0);
        }
        let embedded = match embedded.get() {
            Some(known) => known,
            None => {
                let read = values(&embedding)?;
                embedded.get_or_init(|| read)
            }
        };
        Ok(*embedded != values(other)?)
    };
    for copy in T5_COPIES.into_iter().filter_map(|copy| stored(copy.into())) {
        if differs(&copy)? {
            let found = format!("a model with two embeddings, `{}` and `{}`", embedding.0, copy.0);
            let path = source.file_of(&copy.0).into();
            return Err(Error::NotRead { path, found, allowed: "one embedding for both stacks".into() });
        }
    }
    let tied = match stored(HEAD.into()) {
        Some(head) => !differs(&head)?,
        None => true,
    };
    Ok(ModelConfig { tied, ..config })
}

/// Whether a file's first bytes are those of GGUF.
fn begins_as_gguf(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let file = open_regular(path).map_err(|source| Error::io(path, source))?;
    file.take(4).read_to_end(&mut head).map_err(|source| Error::io(path, source))?;
    Ok(head.starts_with(b"GGUF"))
}

/// Whether the name of a path ends as the names of GGUF files do.
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
