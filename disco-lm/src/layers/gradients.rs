//! The gradient accumulator: adds up the gradients of the parameters over the micro-batches of a batch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::{
    kernels::{add, add_matmul},
    layers::low_rank::{LowRank, LowRankLayout},
};

/// The gradient of a batch whose micro-batches run their backward passes at the same time, each on a worker of its own.
///
/// A backward pass has *stages*: the output layer is the first stage, and each layer, from the last to the first, is one more.
/// Before a micro-batch adds to the gradient in a stage, it waits until all micro-batches before it have finished that stage.
/// So the order of the additions, and with it every bit of the gradient, does not depend on which worker is faster.
pub(crate) struct SharedGradient<'a> {
    /// The layout of the adapter that is tuned; `None` if the weights themselves are.
    adapter: Option<&'a LowRankLayout>,
    // One entry per trained parameter.
    gradient: Vec<Mutex<Option<Tensor<2>>>>,
    /// How many stages each micro-batch has finished.
    finished: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl<'a> SharedGradient<'a> {
    /// Starts from `gradient`, to which the gradients of `micro_batches` micro-batches are added.
    pub(crate) fn new(adapter: Option<&'a LowRankLayout>, gradient: Gradient, micro_batches: usize) -> Self {
        Self {
            adapter,
            gradient: gradient.into_iter().map(Mutex::new).collect(),
            finished: Mutex::new(vec![0; micro_batches]),
            changed: Condvar::new(),
        }
    }

    /// The gradient, with all that was added to it.
    pub(crate) fn into_gradient(self) -> Gradient {
        let entries = self.gradient.into_iter();
        entries.map(|entry| entry.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// The accumulator through which micro-batch number `micro_batch` adds. Once it is dropped, no other micro-batch waits for
    /// this one any more.
    pub(crate) fn accumulator(&self, micro_batch: usize) -> GradientAccumulator<'_> {
        GradientAccumulator { shared: self, micro_batch, stage: 0 }
    }

    /// A poisoned lock is used all the same: it guards counts only, which are right even after a panic in another thread.
    fn finished(&self) -> MutexGuard<'_, Vec<usize>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the gradients of one micro-batch to the shared gradient, in the order that [`SharedGradient`] describes.
pub(crate) struct GradientAccumulator<'a> {
    shared: &'a SharedGradient<'a>,
    micro_batch: usize,
    /// The stage in progress, from 0.
    stage: usize,
}

impl GradientAccumulator<'_> {
    /// Whether the weights themselves are tuned, and not an adapter beside them.
    pub(crate) fn wants_weights(&self) -> bool {
        self.shared.adapter.is_none()
    }

    /// Ends the stage in progress: called when this micro-batch adds nothing more in it.
    pub(crate) fn end_stage(&mut self) {
        self.stage += 1;
        self.finish(self.stage);
    }

    fn finish(&self, stages: usize) {
        self.shared.finished()[self.micro_batch] = stages;
        self.shared.changed.notify_all();
    }

    /// Changes the gradient of a parameter when it is this micro-batch's turn.
    fn change(&self, parameter: usize, change: impl FnOnce(&mut Option<Tensor<2>>)) {
        let mut finished = self.shared.finished();
        // It waits for all micro-batches before it, not only for the last of them, which may have had nothing to add.
        while finished[..self.micro_batch].iter().any(|stages| *stages <= self.stage) {
            finished = self.shared.changed.wait(finished).unwrap_or_else(PoisonError::into_inner);
        }
        drop(finished);
        let mut gradient = self.shared.gradient[parameter].lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut gradient);
    }

    /// Adds `summand` to the gradient of a parameter.
    pub(crate) fn add(&mut self, parameter: usize, summand: Tensor<2>) {
        self.change(parameter, |gradient| add(gradient, Some(summand)));
    }

    /// Adds the matmul `x w` to the gradient of a parameter, if the weights themselves are tuned.
    pub(crate) fn add_matmul(&mut self, parameter: usize, x: Tensor<2>, w: Tensor<2>) {
        if self.wants_weights() {
            self.change(parameter, |gradient| add_matmul(gradient, x, w));
        }
    }

    /// Adds the rows of `summand` to the rows `rows` of the gradient of a parameter of the given shape.
    pub(crate) fn add_rows(
        &mut self,
        parameter: usize,
        rows: Tensor<1, Int>,
        summand: Tensor<2>,
        shape: [usize; 2],
    ) {
        self.change(parameter, |gradient| {
            let old = gradient.take().unwrap_or_else(|| Tensor::zeros(shape, &summand.device()));
            *gradient = Some(old.select_assign(0, rows, summand, IndexingUpdateOp::Add));
        });
    }

    /// Adds the gradient of the low-rank update beside a frozen matrix to the gradients of the adapter's tensors.
    pub(crate) fn add_low_rank(&mut self, parameter: usize, grad_low_rank: LowRank) {
        let Some(adapter) = self.shared.adapter else { return };
        for (index, summand) in adapter.split_gradient(parameter, grad_low_rank) {
            self.add(index, summand);
        }
    }
}

impl Drop for GradientAccumulator<'_> {
    fn drop(&mut self) {
        self.finish(usize::MAX);
    }
}

/// One gradient per trained parameter; `None` counts as zero.
pub(crate) type Gradient = Vec<Option<Tensor<2>>>;
