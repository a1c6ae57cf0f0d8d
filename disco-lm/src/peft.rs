//! Adapters in files, in the layout of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    Error, LanguageModel, Lora, Precision, Result, TokenModel,
    adapter::{Adapter, Module, modules},
    folder::replace_folder,
    slots::{Part, Slot},
    spec::Fields,
    token_model::{download, upload},
    weights::{self, Shard, TensorSource},
};

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

impl TokenModel {
    /// Writes the adapter as a folder that PEFT loads onto the same base. An existing folder is replaced at once,
    /// when all is written.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the model has no adapter; [`Error::Io`] or [`Error::Format`], naming the file.
    pub fn save_adapter(&self, folder: &Path) -> Result<()> {
        let Some(adapter) = &self.adapter else {
            return Err(Error::invalid("adapter", "none", "a model with an adapter"));
        };
        let mut tensors = Vec::new();
        for (slot, tensor) in adapter.slots.iter().zip(&adapter.tensors) {
            tensors.push((slot.name.clone(), slot.shape.to_vec(), download(tensor.clone())?));
        }
        let config = adapter.config(&modules(&self.frame.slots)).to_string();
        replace_folder(folder, CONFIG, |new| {
            let path = new.join(CONFIG);
            std::fs::write(&path, config).map_err(|source| Error::io(&path, source))?;
            weights::write(&new.join(WEIGHTS), tensors, Precision::F32)
        })
    }

    /// The same model with an adapter that PEFT or [`save_adapter`](Self::save_adapter) wrote. It may be on some
    /// layers only. The frozen weights are shared.
    ///
    /// # Errors
    /// [`Error::Config`] for a kind of adapter that is not supported (DoRA, biases, ranks that differ);
    /// [`Error::Weights`] listing all tensors that do not fit the model; [`Error::Io`] or [`Error::Format`], naming
    /// the file; [`Error::Invalid`] if the model has an adapter already.
    pub fn with_adapter(&self, folder: &Path) -> Result<Self> {
        if self.adapter.is_some() {
            return Err(Error::invalid("adapter", "a second one", "a model without an adapter"));
        }
        let path = folder.join(CONFIG);
        let config = weights::read_json(&path)?;
        let (rank, alpha) = read_config(&Fields { config: &config, path: &path })?;
        let file = AdapterFile(Shard::open(folder.join(WEIGHTS))?);
        let all = modules(&self.frame.slots);
        let holds =
            |module: &&Module| module.factors(rank).iter().any(|factor| file.0.contains(&factor.name));
        let selected: Vec<Module> = all.iter().filter(holds).cloned().collect();
        let slots: Vec<Slot> = selected.iter().flat_map(|module| module.factors(rank)).collect();
        let values = weights::load(&file, &slots, false, folder)?;
        if slots.is_empty() {
            return Err(Error::format(folder.join(WEIGHTS), "it holds no adapter"));
        }
        let lora = Lora { rank, alpha, target_modules: names(&selected, &all), seed: 0 };
        let tensors = slots.iter().zip(values);
        let tensors = tensors.map(|(slot, values)| upload(values, slot.shape, &self.frame.device)).collect();
        Ok(Self { adapter: Some(Adapter::new(lora, selected, tensors)), ..self.clone() })
    }
}

/// The weights of an adapter: nothing but its factors.
struct AdapterFile(Shard);

impl TensorSource for AdapterFile {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.0.shapes()
    }

    fn stored(&self, part: &Part) -> Part {
        part.clone()
    }

    fn is_redundant(&self, _: &str, _: bool) -> bool {
        false
    }

    fn file_of(&self, _: &str) -> &Path {
        &self.0.path
    }

    fn read(&self, name: &str, values: &mut [f32]) -> Result<()> {
        self.0.read_into(name, values)
    }
}

impl Adapter {
    /// What PEFT has to know.
    fn config(&self, all: &[Module]) -> Value {
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": null,
            "r": self.lora.rank,
            "lora_alpha": self.lora.alpha,
            "lora_dropout": 0.0,
            "target_modules": names(&self.modules, all),
            "fan_in_fan_out": self.modules.iter().any(|module| module.fan_in_fan_out),
            "bias": "none",
            "use_rslora": false,
            "use_dora": false,
            "init_lora_weights": true,
            "inference_mode": true,
        })
    }
}

/// What names `selected` among `all`: the last names, if they mean the same modules, else whole paths.
fn names(selected: &[Module], all: &[Module]) -> Vec<String> {
    let last: BTreeSet<&str> = selected.iter().map(Module::name).collect();
    if all.iter().filter(|module| last.contains(module.name())).count() == selected.len() {
        last.into_iter().map(String::from).collect()
    } else {
        selected.iter().map(|module| module.path.clone()).collect()
    }
}

/// The rank, and the alpha that gives the adapter's scale when it is divided by the rank.
fn read_config(fields: &Fields<'_>) -> Result<(usize, f64)> {
    fields.only("peft_type", "LORA", &["LORA"])?;
    fields.only("bias", "none", &["none"])?;
    for field in ["use_dora", "use_qalora", "lora_bias"] {
        fields.off(field)?;
    }
    for field in
        ["modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication", "alora_invocation_tokens"]
    {
        fields.empty(field)?;
    }
    let rank = fields.size("r", None)?;
    if rank == 0 {
        return Err(fields.refused("r", rank, "at least 1"));
    }
    let alpha = fields.number("lora_alpha", None)?;
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(fields.refused("lora_alpha", alpha, "positive and finite"));
    }
    // Rank-stabilised: alpha / sqrt(rank).
    let stabilised = fields.flag("use_rslora", false)?;
    Ok((rank, if stabilised { alpha * (rank as f64).sqrt() } else { alpha }))
}

impl LanguageModel {
    /// The same model with a new adapter, which changes nothing yet: see [`TokenModel::with_lora`].
    ///
    /// # Errors
    /// As [`TokenModel::with_lora`].
    pub fn with_lora(&self, lora: &Lora) -> Result<Self> {
        Ok(self.with_tokens(self.tokens().with_lora(lora)?))
    }

    /// The same model with an adapter from a PEFT folder: see [`TokenModel::with_adapter`].
    ///
    /// # Errors
    /// As [`TokenModel::with_adapter`].
    pub fn with_adapter(&self, folder: &Path) -> Result<Self> {
        Ok(self.with_tokens(self.tokens().with_adapter(folder)?))
    }

    /// The same distribution, its adapter added to the weights: see [`TokenModel::merged`].
    pub fn merged(&self) -> Self {
        self.with_tokens(self.tokens().merged())
    }

    /// Writes the adapter as a PEFT folder: see [`TokenModel::save_adapter`].
    ///
    /// # Errors
    /// As [`TokenModel::save_adapter`].
    pub fn save_adapter(&self, folder: &Path) -> Result<()> {
        self.tokens().save_adapter(folder)
    }
}
