//! The low-rank products beside a model's frozen matrices.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::Tensor;

use crate::{
    Lora, TokenModel,
    layer::Side,
    slots::{Part, Role, Slot},
};

/// A matrix of a file that may have an adapter: some rows of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its Hugging Face path: the name of its weight without `.weight`.
    pub(crate) path: String,
    /// The index of its slot.
    pub(crate) slot: usize,
    /// Its first column in the slot.
    pub(crate) start: usize,
    /// The width of its input.
    pub(crate) inputs: usize,
    /// The width of its output, which is how many rows of the slot are its own.
    pub(crate) outputs: usize,
    /// Whether its file stores it as `[in, out]`, for which PEFT's word is `fan_in_fan_out`.
    pub(crate) fan_in_fan_out: bool,
}

impl Module {
    /// The last part of its path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// Whether `name` is the end of its path, in whole parts.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Its two factors, as parameters under their names in PEFT's files. Their layout there is the one in
    /// memory, whatever that of the module's own weight.
    pub(crate) fn factors(&self, rank: usize) -> [Slot; 2] {
        [("lora_A", [rank, self.inputs]), ("lora_B", [self.outputs, rank])].map(|(factor, shape)| {
            let name = format!("base_model.model.{}.{factor}.weight", self.path);
            let part = Part { name: name.clone(), shape: shape.to_vec(), transposed: false };
            Slot { name, shape, role: Role::Matrix, parts: vec![part] }
        })
    }
}

/// The matrices of the layers, in the order of the slots.
pub(crate) fn modules(slots: &[Slot]) -> Vec<Module> {
    let mut modules = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        if !slot.role.is_matrix() || !slot.is_in_layer() {
            continue;
        }
        let inputs = slot.shape[1];
        let mut start = 0;
        for part in &slot.parts {
            let outputs = part.numbers() / inputs;
            modules.push(Module {
                path: part.name.strip_suffix(".weight").unwrap_or(&part.name).into(),
                slot: index,
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

/// An adapter: two matrices per module.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(crate) lora: Lora,
    pub(crate) modules: Arc<Vec<Module>>,
    /// Two per module, `A` then `B`: as parameters of their own, under their names in PEFT's files.
    pub(crate) slots: Arc<Vec<Slot>>,
    // Invariant: one tensor per slot, of the slot's shape.
    pub(crate) tensors: Vec<Tensor<2>>,
}

impl Adapter {
    pub(crate) fn new(lora: Lora, modules: Vec<Module>, tensors: Vec<Tensor<2>>) -> Self {
        let slots = modules.iter().flat_map(|module| module.factors(lora.rank)).collect();
        Self { lora, modules: Arc::new(modules), slots: Arc::new(slots), tensors }
    }

    /// The products, by index of their slot, from `tensors` in the place of the adapter's own.
    ///
    /// Modules of one slot share its input: their `A` are stacked, and each `B` stands in its own rows and
    /// columns of a matrix that is zero elsewhere, so that a module's product reaches its own outputs only.
    pub(crate) fn sides(&self, slots: &[Slot], tensors: &[Tensor<2>]) -> BTreeMap<usize, Side> {
        let scale = self.lora.scale();
        let mut sides = BTreeMap::new();
        for (modules, tensors) in self.by_slot(tensors) {
            let slot = modules[0].slot;
            let [height, _] = slots[slot].shape;
            let rank = self.lora.rank;
            let width = rank * modules.len();
            let downs = tensors.iter().step_by(2).cloned().collect();
            let mut rows = Vec::new();
            let mut filled = 0;
            for (index, (module, up)) in modules.iter().zip(tensors.iter().skip(1).step_by(2)).enumerate() {
                let zeros = |rows: usize, columns: usize| Tensor::zeros([rows, columns], &up.device());
                rows.extend((module.start > filled).then(|| zeros(module.start - filled, width)));
                let [before, after] = [rank * index, rank * (modules.len() - index - 1)];
                let mut row = Vec::new();
                row.extend((before > 0).then(|| zeros(module.outputs, before)));
                row.push(up.clone().mul_scalar(scale));
                row.extend((after > 0).then(|| zeros(module.outputs, after)));
                rows.push(joined(row, 1));
                filled = module.start + module.outputs;
            }
            let last = tensors[1].device();
            rows.extend((height > filled).then(|| Tensor::zeros([height - filled, width], &last)));
            sides.insert(slot, Side { down: joined(downs, 0), up: joined(rows, 0) });
        }
        sides
    }

    /// What the gradient of the products beside the matrix of `slot` says of each of the adapter's tensors, by index: the
    /// inverse of [`sides`](Self::sides).
    pub(crate) fn parts(&self, slot: usize, of_side: Side) -> Vec<(usize, Tensor<2>)> {
        let rank = self.lora.rank;
        let modules = self.modules.iter().enumerate().filter(|(_, module)| module.slot == slot);
        let parts = modules.enumerate().flat_map(|(index, (at, module))| {
            let down = of_side.down.clone().narrow(0, rank * index, rank);
            let up = of_side.up.clone().narrow(0, module.start, module.outputs).narrow(1, rank * index, rank);
            [(2 * at, down), (2 * at + 1, up.mul_scalar(self.lora.scale()))]
        });
        parts.collect()
    }

    /// The modules of each slot, and their tensors.
    fn by_slot<'a>(
        &'a self,
        tensors: &'a [Tensor<2>],
    ) -> impl Iterator<Item = (&'a [Module], &'a [Tensor<2>])> {
        let mut start = 0;
        self.modules.chunk_by(|one, other| one.slot == other.slot).map(move |modules| {
            let end = start + 2 * modules.len();
            (modules, &tensors[std::mem::replace(&mut start, end)..end])
        })
    }
}

fn joined(mut parts: Vec<Tensor<2>>, dim: usize) -> Tensor<2> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, dim) }
}

impl TokenModel {
    /// The adapter's settings, if the model has one.
    pub fn lora(&self) -> Option<&Lora> {
        self.adapter.as_ref().map(|adapter| &adapter.lora)
    }

    /// The same distribution without an adapter: its products are added to the weights, those of `W` becoming
    /// `W + alpha / rank * B A`. Weights without a product are shared, the others copied.
    pub fn merged(&self) -> Self {
        let Some(adapter) = &self.adapter else { return self.clone() };
        let mut tensors = self.tensors.clone();
        for (slot, side) in adapter.sides(&self.frame.slots, &adapter.tensors) {
            tensors[slot] = tensors[slot].clone() + side.up.matmul(side.down);
        }
        Self { tensors, adapter: None, ..self.clone() }
    }

    /// What tuning moves: the adapter if there is one, else every weight.
    pub(crate) fn trained(&self) -> (&[Slot], &[Tensor<2>]) {
        match &self.adapter {
            Some(adapter) => (&adapter.slots, &adapter.tensors),
            None => (&self.frame.slots, &self.tensors),
        }
    }

    /// The same, to be replaced.
    pub(crate) fn trained_mut(&mut self) -> (Arc<Vec<Slot>>, &mut Vec<Tensor<2>>) {
        match &mut self.adapter {
            Some(adapter) => (adapter.slots.clone(), &mut adapter.tensors),
            None => (self.frame.slots.clone(), &mut self.tensors),
        }
    }
}
