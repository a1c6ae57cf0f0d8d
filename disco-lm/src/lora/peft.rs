//! Files of adapters, as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    Result,
    architecture::{config_reader::ConfigReader, modules::Module, parameters::StoredTensor},
    lora::adapter::Adapter,
    weights::{Shard, TensorSource},
};

pub(crate) const CONFIG: &str = "adapter_config.json";

pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";

/// The weight file of an adapter; every tensor in it is a factor of a low-rank update.
pub(crate) struct AdapterFile(pub(crate) Shard);

impl TensorSource for AdapterFile {
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.0.shapes()
    }

    fn stored(&self, part: &StoredTensor) -> StoredTensor {
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
    /// The content of `adapter_config.json`. `all` are the modules of the model.
    pub(crate) fn config(&self, all: &[Module]) -> Value {
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": null,
            "r": self.lora.rank,
            "lora_alpha": self.lora.alpha,
            "lora_dropout": 0.0,
            "target_modules": names(&self.layout.modules, all),
            "fan_in_fan_out": self.layout.modules.iter().any(|module| module.fan_in_fan_out),
            "bias": "none",
            "use_rslora": false,
            "use_dora": false,
            "init_lora_weights": true,
            "inference_mode": true,
        })
    }
}

/// Names that select `selected` among `all`: the last parts of the paths, if no other module has them, else whole paths.
pub(crate) fn names(selected: &[Module], all: &[Module]) -> Vec<String> {
    let last: BTreeSet<&str> = selected.iter().map(Module::name).collect();
    if all.iter().filter(|module| last.contains(module.name())).count() == selected.len() {
        last.into_iter().map(String::from).collect()
    } else {
        selected.iter().map(|module| module.path.clone()).collect()
    }
}

/// The rank, and the alpha that gives the adapter's scale when it is divided by the rank.
pub(crate) fn read_config(reader: &ConfigReader<'_>) -> Result<(usize, f64)> {
    reader.only("peft_type", "LORA", &["LORA"])?;
    reader.only("bias", "none", &["none"])?;
    for field in ["use_dora", "use_qalora", "lora_bias"] {
        reader.refuse_true(field)?;
    }
    for field in
        ["modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication", "alora_invocation_tokens"]
    {
        reader.refuse_non_empty(field)?;
    }
    let rank = reader.size("r", None)?;
    if rank == 0 {
        return Err(reader.refused("r", rank, "at least 1"));
    }
    let alpha = reader.number("lora_alpha", None)?;
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(reader.refused("lora_alpha", alpha, "positive and finite"));
    }
    // Rank-stabilised: alpha / sqrt(rank).
    let stabilised = reader.flag("use_rslora", false)?;
    Ok((rank, if stabilised { alpha * (rank as f64).sqrt() } else { alpha }))
}
