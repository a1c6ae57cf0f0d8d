//! Modules: the matrices of linear layers as a file stores them, each of which may have an adapter.

use crate::architecture::parameters::{Parameter, ParameterKind, StoredTensor};

/// A matrix of a file that may have an adapter: some rows of a parameter, under its Hugging Face path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its Hugging Face path: the name of its weight without `.weight`.
    pub(crate) path: String,
    /// The index of its parameter.
    pub(crate) parameter: usize,
    /// Its first row in the parameter.
    pub(crate) start: usize,
    /// The width of its input.
    pub(crate) inputs: usize,
    /// The width of its output, which is the number of its rows in the parameter.
    pub(crate) outputs: usize,
    /// Whether the file stores it as `[in, out]`; PEFT calls this `fan_in_fan_out`.
    pub(crate) fan_in_fan_out: bool,
}

impl Module {
    /// The last part of its path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// Whether `name` is the end of its path: one or more whole parts of it.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The two factors `A` and `B` of its low-rank update, as parameters with their names in PEFT's files. Files store the
    /// factors in the layout that they have in memory, even if they store the module's own weight transposed.
    pub(crate) fn factors(&self, rank: usize) -> [Parameter; 2] {
        [("lora_A", [rank, self.inputs]), ("lora_B", [self.outputs, rank])].map(|(factor, shape)| {
            let name = format!("base_model.model.{}.{factor}.weight", self.path);
            let part = StoredTensor { name: name.clone(), shape: shape.to_vec(), transposed: false };
            Parameter { name, shape, kind: ParameterKind::Matrix, stored: vec![part] }
        })
    }
}

/// The matrices of the layers, in the order of the parameters.
pub(crate) fn modules(parameters: &[Parameter]) -> Vec<Module> {
    let mut modules = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        if !parameter.kind.is_matrix() || !parameter.is_in_layer() {
            continue;
        }
        let inputs = parameter.shape[1];
        let mut start = 0;
        for part in &parameter.stored {
            let outputs = part.elements() / inputs;
            modules.push(Module {
                path: part.name.strip_suffix(".weight").unwrap_or(&part.name).into(),
                parameter: index,
                start,
                inputs,
                outputs,
                fan_in_fan_out: part.transposed,
            });
            start += outputs;
        }
    }
    modules
}
