//! The settings of low-rank adapters (LoRA: Hu et al. 2021).

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    architecture::{
        modules::{Module, modules},
        parameters::Parameter,
    },
};

/// The name that stands for every matrix of every layer.
pub(crate) const ALL_LINEAR: &str = "all-linear";

/// Settings of a low-rank adapter: for each matrix `W` `[out, in]` that `target_modules` names, `x W^T` becomes
/// `x W^T + alpha / rank * (x A^T) B^T`, with `A` `[rank, in]` and `B` `[out, rank]` (Hu et al. 2021, equation 3).
///
/// At first `A` is drawn uniformly from `-1 / sqrt(in)` to `1 / sqrt(in)` (Kaiming's rule with `a = sqrt(5)`, as PEFT does) and
/// `B` is zero: an adapter changes nothing before its first training step.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `rank` | 8 | 1 to the longest side of the matrices |
/// | `alpha` | 16 | > 0 |
/// | `target_modules` | `["all-linear"]` | names of modules, or `"all-linear"` |
/// | `seed` | 0 | any |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// The rank of every low-rank update.
    pub rank: usize,
    /// The low-rank updates are multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Hugging Face names of modules: the last part (`q_proj`, `c_attn`) or more of the path; or `all-linear`,
    /// alone, for every matrix of every layer. Embeddings and the output matrix have no adapter.
    pub target_modules: Vec<String>,
    /// Seed of the random values of `A`.
    pub seed: u64,
}

impl Default for Lora {
    fn default() -> Self {
        Self { rank: 8, alpha: 16.0, target_modules: vec![ALL_LINEAR.into()], seed: 0 }
    }
}

impl Lora {
    /// Checks every field but the names of modules, which depend on the model.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::invalid("lora.rank", 0, "at least 1"));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(Error::invalid("lora.alpha", self.alpha, "positive and finite"));
        }
        if self.target_modules.is_empty() {
            return Err(Error::invalid("lora.target_modules", "[]", "at least one name, or all-linear"));
        }
        Ok(())
    }

    /// The factor of the low-rank updates, `alpha / rank`.
    pub(crate) fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// The modules of a model that get an adapter, in the order of its parameters.
    pub(crate) fn select(&self, parameters: &[Parameter]) -> Result<Vec<Module>> {
        self.validate()?;
        let all = modules(parameters);
        if self.target_modules == [ALL_LINEAR] {
            return Ok(all);
        }
        if let Some(name) =
            self.target_modules.iter().find(|name| !all.iter().any(|module| module.is_named(name)))
        {
            return Err(Error::invalid("lora.target_modules", name, allowed(&all)));
        }
        let named = |module: &Module| self.target_modules.iter().any(|name| module.is_named(name));
        Ok(all.into_iter().filter(named).collect())
    }
}

/// The last names of all modules, each once.
fn allowed(modules: &[Module]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for module in modules {
        if !names.contains(&module.name()) {
            names.push(module.name());
        }
    }
    format!("{}, or {ALL_LINEAR} alone", names.join(", "))
}
