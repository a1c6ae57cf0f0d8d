//! Low-rank updates (LoRA) beside frozen matrices: how they are computed, and how their parameters are laid out.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::{
    architecture::{modules::Module, parameters::Parameter},
    kernels::matmul,
};

/// A low-rank update beside a frozen matrix: `x down^T up^T` is added to `x weight^T`. Neither a forward nor a backward pass
/// forms the dense matrix `up down`.
///
/// - down: `[rank, in]`
/// - up: `[out, rank]`
#[derive(Clone, Debug)]
pub(crate) struct LowRank {
    pub(crate) down: Tensor<2>,
    pub(crate) up: Tensor<2>,
}

impl LowRank {
    /// `x down^T up^T`: `[n, in]` to `[n, out]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        matmul(matmul(x, self.down.clone().transpose()), self.up.clone().transpose())
    }

    /// The gradient of the input `x`, `[n, in]`, from `grad_y`, the gradient of the output, `[n, out]`.
    pub(super) fn backward_input(&self, grad_y: Tensor<2>) -> Tensor<2> {
        matmul(matmul(grad_y, self.up.clone()), self.down.clone())
    }

    /// The gradients of `down` and `up`, from the input `x`, `[n, in]`, and the gradient of the output, `[n, out]`.
    pub(super) fn gradient(&self, x: Tensor<2>, grad_y: Tensor<2>) -> Self {
        let projected = matmul(x.clone(), self.down.clone().transpose());
        let grad_projected = matmul(grad_y.clone(), self.up.clone());
        Self { down: matmul(grad_projected.transpose(), x), up: matmul(grad_y.transpose(), projected) }
    }
}

/// The layout of an adapter's tensors: two matrices per module, `A` `[rank, in]` and `B` `[out, rank]`.
#[derive(Clone, Debug)]
pub(crate) struct LowRankLayout {
    /// In the order of the model's parameters.
    pub(crate) modules: Vec<Module>,
    pub(crate) rank: usize,
    /// The low-rank update is multiplied by it: `alpha / rank`.
    pub(crate) scale: f64,
}

impl LowRankLayout {
    /// The low-rank updates, by the index of the parameter that each stands beside, built from `tensors`: two per module,
    /// `A` then `B`.
    ///
    /// Modules of one parameter share its input: their `A` are stacked, and each `B` stands in its own rows and
    /// columns of a matrix that is zero elsewhere, so that a module's update reaches its own outputs only.
    pub(crate) fn updates(
        &self,
        parameters: &[Parameter],
        tensors: &[Tensor<2>],
    ) -> BTreeMap<usize, LowRank> {
        let scale = self.scale;
        let mut updates = BTreeMap::new();
        for (modules, tensors) in self.by_parameter(tensors) {
            let parameter = modules[0].parameter;
            let [height, _] = parameters[parameter].shape;
            let rank = self.rank;
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
            let device = tensors[1].device();
            rows.extend((height > filled).then(|| Tensor::zeros([height - filled, width], &device)));
            updates.insert(parameter, LowRank { down: joined(downs, 0), up: joined(rows, 0) });
        }
        updates
    }

    /// The gradients of an adapter's tensors, by their index, from the gradient of the low-rank update beside `parameter`: the
    /// transpose of [`updates`](Self::updates).
    pub(crate) fn split_gradient(&self, parameter: usize, gradient: LowRank) -> Vec<(usize, Tensor<2>)> {
        let rank = self.rank;
        let modules = self.modules.iter().enumerate().filter(|(_, module)| module.parameter == parameter);
        let parts = modules.enumerate().flat_map(|(index, (at, module))| {
            let down = gradient.down.clone().narrow(0, rank * index, rank);
            let up =
                gradient.up.clone().narrow(0, module.start, module.outputs).narrow(1, rank * index, rank);
            [(2 * at, down), (2 * at + 1, up.mul_scalar(self.scale))]
        });
        parts.collect()
    }

    /// The modules of each parameter, and their tensors.
    fn by_parameter<'a>(
        &'a self,
        tensors: &'a [Tensor<2>],
    ) -> impl Iterator<Item = (&'a [Module], &'a [Tensor<2>])> {
        let mut start = 0;
        self.modules.chunk_by(|one, other| one.parameter == other.parameter).map(move |modules| {
            let end = start + 2 * modules.len();
            (modules, &tensors[std::mem::replace(&mut start, end)..end])
        })
    }
}

fn joined(mut parts: Vec<Tensor<2>>, dim: usize) -> Tensor<2> {
    if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(parts, dim) }
}
