//! Where the gradients of parameters are added up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::{
    kernels::{add, add_matmul},
    layers::low_rank::{LowRank, LowRankLayout},
};

/// The sums of a batch whose parts go back side by side, each on threads of its own.
///
/// The way back has *stages*: the output layer, then layer after layer. In each a part waits until those before it have added what
/// they have to, so that a sum does not depend on who was first.
pub(crate) struct SharedGradient<'a> {
    /// The layout of the adapter that is tuned; `None` if the weights themselves are.
    adapter: Option<&'a LowRankLayout>,
    // One per trained parameter.
    gradient: Vec<Mutex<Option<Tensor<2>>>>,
    /// How many stages each part has finished.
    finished: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl<'a> SharedGradient<'a> {
    /// Those of a model's batch in `parts` parts, which are added to what there is.
    pub(crate) fn new(adapter: Option<&'a LowRankLayout>, gradient: Gradient, parts: usize) -> Self {
        Self {
            adapter,
            gradient: gradient.into_iter().map(Mutex::new).collect(),
            finished: Mutex::new(vec![0; parts]),
            changed: Condvar::new(),
        }
    }

    /// The sums.
    pub(crate) fn into_gradient(self) -> Gradient {
        let gradients = self.gradient.into_iter();
        gradients.map(|sum| sum.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Where one of the parts adds. Once that is dropped, none waits for it any more.
    pub(crate) fn part(&self, part: usize) -> GradientAccumulator<'_> {
        GradientAccumulator { shared: self, part, stage: 0 }
    }

    /// What is behind the lock is a count: a panic elsewhere leaves it right.
    fn finished(&self) -> MutexGuard<'_, Vec<usize>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sums of all parts, as one of them sees them.
pub(crate) struct GradientAccumulator<'a> {
    shared: &'a SharedGradient<'a>,
    part: usize,
    stage: usize,
}

impl GradientAccumulator<'_> {
    /// Whether the weights themselves are tuned, and not an adapter beside them.
    pub(crate) fn wants_weights(&self) -> bool {
        self.shared.adapter.is_none()
    }

    /// To be called when nothing more is added in a stage.
    pub(crate) fn end_stage(&mut self) {
        self.stage += 1;
        self.finish(self.stage);
    }

    fn finish(&self, stages: usize) {
        self.shared.finished()[self.part] = stages;
        self.shared.changed.notify_all();
    }

    /// Changes a sum when it is this part's turn.
    fn change(&self, parameter: usize, change: impl FnOnce(&mut Option<Tensor<2>>)) {
        let mut finished = self.shared.finished();
        // Of all before it: the one just before may have nothing to add.
        while finished[..self.part].iter().any(|stages| *stages <= self.stage) {
            finished = self.shared.changed.wait(finished).unwrap_or_else(PoisonError::into_inner);
        }
        drop(finished);
        let mut sum = self.shared.gradient[parameter].lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sum);
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add(&mut self, parameter: usize, part: Tensor<2>) {
        self.change(parameter, |sum| add(sum, Some(part)));
    }

    /// Adds the product `x w` to the gradient of a parameter, if weights are tuned.
    pub(crate) fn add_matmul(&mut self, parameter: usize, x: Tensor<2>, w: Tensor<2>) {
        if self.wants_weights() {
            self.change(parameter, |sum| add_matmul(sum, x, w));
        }
    }

    /// Adds to some rows of the gradient of a parameter of the given shape.
    pub(crate) fn add_rows(
        &mut self,
        parameter: usize,
        rows: Tensor<1, Int>,
        part: Tensor<2>,
        shape: [usize; 2],
    ) {
        self.change(parameter, |sum| {
            let old = sum.take().unwrap_or_else(|| Tensor::zeros(shape, &part.device()));
            *sum = Some(old.select_assign(0, rows, part, IndexingUpdateOp::Add));
        });
    }

    /// Adds the gradient of the products beside a frozen matrix to those of the adapter's factors.
    pub(crate) fn add_low_rank(&mut self, parameter: usize, grad_low_rank: LowRank) {
        let Some(adapter) = self.shared.adapter else { return };
        for (at, part) in adapter.split_gradient(parameter, grad_low_rank) {
            self.add(at, part);
        }
    }
}

impl Drop for GradientAccumulator<'_> {
    fn drop(&mut self) {
        self.finish(usize::MAX);
    }
}

/// One gradient per parameter; none is zero.
pub(crate) type Gradient = Vec<Option<Tensor<2>>>;
