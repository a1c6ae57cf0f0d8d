//! Files of adapters, as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Value, json};

use crate::{
    Result,
    architecture::{config_reader::ConfigReader, modules::Module, parameters::StoredTensor},
    lora::{adapter::Adapter, config::ALL_LINEAR},
    weights::{Shard, TensorSource, Unread},
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

    fn unread(&self, _: &str, _: bool) -> Unread {
        Unread::Unexpected
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

/// Whether a tensor of an adapter stands beside an embedding or the output matrix, which have none here.
pub(crate) fn is_elsewhere(name: &str) -> bool {
    name.contains(".lora_embedding_")
        || [".lm_head.", ".embed_tokens.", ".wte.", ".shared."].iter().any(|module| name.contains(module))
}

/// Fields that change nothing: of training, of formats, and settings of features that are switched off by other fields.
const IDLE: [&str; 17] = [
    "task_type",
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "auto_mapping",
    "inference_mode",
    "lora_dropout",
    "runtime_config",
    "megatron_core",
    "qalora_group_size",
    "ensure_weight_tying",
    // Each module's matrix is stored in a known layout.
    "fan_in_fan_out",
    // Settings of ways to begin that `init_lora_weights` does not name.
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    // The file names its layers itself.
    "layers_pattern",
];

/// Fields that [`read_config`] and [`Targets`] read.
const HONOURED: [&str; 9] = [
    "peft_type",
    "bias",
    "r",
    "lora_alpha",
    "use_rslora",
    "init_lora_weights",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
];

/// The rank, and the alpha that gives the adapter's scale when it is divided by the rank. Every field that neither is read nor changes
/// nothing is refused, unless it is null, false or empty.
pub(crate) fn read_config(reader: &ConfigReader<'_>) -> Result<(usize, f64)> {
    reader.only("peft_type", "LORA", &["LORA"])?;
    reader.only("bias", "none", &["none"])?;
    for field in reader.config.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !HONOURED.contains(&field.as_str()) && !IDLE.contains(&field.as_str()) {
            reader.refuse_non_empty(field)?;
        }
    }
    check_beginning(reader)?;
    let rank = reader.size("r", Some(8))?;
    if rank == 0 {
        return Err(reader.refused("r", rank, "at least 1"));
    }
    let alpha = reader.number("lora_alpha", Some(8.0))?;
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(reader.refused("lora_alpha", alpha, "positive and finite"));
    }
    // Rank-stabilised: alpha / sqrt(rank).
    let stabilised = reader.flag("use_rslora", false)?;
    Ok((rank, if stabilised { alpha * (rank as f64).sqrt() } else { alpha }))
}

/// Refuses an adapter whose beginning changes the matrices that it stands beside: PEFT takes its first product off them (PiSSA, OLoRA,
/// CorDA, LoRA-GA) or quantises them (LoftQ).
fn check_beginning(reader: &ConfigReader<'_>) -> Result<()> {
    const ALLOWED: [&str; 3] = ["gaussian", "orthogonal", "eva"];
    match reader.get("init_lora_weights") {
        None | Some(Value::Bool(_)) => Ok(()),
        Some(Value::String(name)) if ALLOWED.contains(&name.as_str()) => Ok(()),
        Some(other) => {
            let allowed = "true, false, gaussian, orthogonal, eva; others change the weights of the model, and PEFT's \
                           `save_pretrained` with `path_initial_model_for_weight_conversion` makes a plain adapter of them";
            Err(reader.refused("init_lora_weights", other, allowed))
        }
    }
}

/// The modules that an adapter's configuration names, as PEFT selects them.
pub(crate) struct Targets {
    /// `None` for the matrices of all layers.
    names: Option<Vec<String>>,
    excluded: Vec<String>,
    layers: Option<Vec<u64>>,
}

impl Targets {
    /// Reads `target_modules`, `exclude_modules` and `layers_to_transform`.
    pub(crate) fn read(reader: &ConfigReader<'_>) -> Result<Self> {
        let texts = |field: &str, value: &Value| -> Result<Vec<String>> {
            let list = value
                .as_array()
                .and_then(|list| list.iter().map(|it| it.as_str().map(String::from)).collect());
            list.ok_or_else(|| reader.refused(field, value, "a list of names of modules"))
        };
        let names = match reader.get("target_modules") {
            Some(Value::String(all)) if all == ALL_LINEAR => None,
            // Without it, PEFT chooses modules by the architecture.
            None => return Err(reader.refused("target_modules", "missing", "a list of names of modules")),
            Some(value) => Some(texts("target_modules", value)?),
        };
        let excluded =
            reader.get("exclude_modules").map_or(Ok(Vec::new()), |value| texts("exclude_modules", value))?;
        let layers = match reader.get("layers_to_transform") {
            None => None,
            Some(Value::Array(list)) if list.is_empty() => None,
            Some(value) => {
                let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                let layers: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
                let refused = || reader.refused("layers_to_transform", value, "numbers of layers");
                Some(layers.ok_or_else(refused)?)
            }
        };
        Ok(Self { names, excluded, layers })
    }

    /// Refuses an adapter's file with a module that its configuration does not name: PEFT would leave it out.
    pub(crate) fn check(&self, reader: &ConfigReader<'_>, selected: &[Module]) -> Result<()> {
        for module in selected {
            let is_in = |names: &[String]| names.iter().any(|name| module.is_named(name));
            let refused = |field: &str| {
                let value = format!("without `{}`, which {WEIGHTS} holds", module.path);
                Err(reader.refused(field, value, "all modules of the file"))
            };
            if self.names.as_ref().is_some_and(|names| !is_in(names)) {
                return refused("target_modules");
            }
            if is_in(&self.excluded) {
                return refused("exclude_modules");
            }
            let layer = module.path.split('.').find_map(|part| part.parse::<u64>().ok());
            if let Some(layers) = &self.layers
                && layer.is_none_or(|layer| !layers.contains(&layer))
            {
                return refused("layers_to_transform");
            }
        }
        Ok(())
    }
}
