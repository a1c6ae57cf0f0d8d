//! Where the gradients of parameters are added up.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::{
    TokenModel,
    adapter::Adapter,
    host,
    layer::Side,
    optimizer::{Gradient, add},
};

/// The sums of a batch whose parts go back side by side, each on threads of its own.
///
/// The way back has *stages*: the output layer, then layer after layer. In each a part waits until those before it have added what
/// they have to, so that a sum does not depend on who was first.
pub(crate) struct Shared<'a> {
    adapter: Option<&'a Adapter>,
    // One per trained slot.
    gradient: Vec<Mutex<Option<Tensor<2>>>>,
    /// How many stages each part has finished.
    finished: Mutex<Vec<usize>>,
    changed: Condvar,
}

impl<'a> Shared<'a> {
    /// Those of a model's batch in `parts` parts, which are added to what there is.
    pub(crate) fn new(model: &'a TokenModel, gradient: Gradient, parts: usize) -> Self {
        Self {
            adapter: model.adapter.as_ref(),
            gradient: gradient.into_iter().map(Mutex::new).collect(),
            finished: Mutex::new(vec![0; parts]),
            changed: Condvar::new(),
        }
    }

    /// The sums.
    pub(crate) fn into_gradient(self) -> Gradient {
        let sums = self.gradient.into_iter();
        sums.map(|sum| sum.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// Where one of the parts adds. Once that is dropped, none waits for it any more.
    pub(crate) fn part(&self, part: usize) -> Sums<'_> {
        Sums { shared: self, part, stage: 0 }
    }

    /// What is behind the lock is a count: a panic elsewhere leaves it right.
    fn finished(&self) -> MutexGuard<'_, Vec<usize>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sums of all parts, as one of them sees them.
pub(crate) struct Sums<'a> {
    shared: &'a Shared<'a>,
    part: usize,
    stage: usize,
}

impl Sums<'_> {
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
    fn change(&self, slot: usize, change: impl FnOnce(&mut Option<Tensor<2>>)) {
        let mut finished = self.shared.finished();
        // Of all before it: the one just before may have nothing to add.
        while finished[..self.part].iter().any(|stages| *stages <= self.stage) {
            finished = self.shared.changed.wait(finished).unwrap_or_else(PoisonError::into_inner);
        }
        drop(finished);
        let mut sum = self.shared.gradient[slot].lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sum);
    }

    /// Adds to the gradient of a slot.
    pub(crate) fn add(&mut self, slot: usize, part: Tensor<2>) {
        self.change(slot, |sum| add(sum, Some(part)));
    }

    /// Adds the product `x w` to the gradient of a slot, if weights are tuned.
    pub(crate) fn add_product(&mut self, slot: usize, x: Tensor<2>, w: Tensor<2>) {
        if self.wants_weights() {
            self.change(slot, |sum| host::add_product(sum, x, w));
        }
    }

    /// Adds to some rows of the gradient of a slot that has the shape of `like`.
    pub(crate) fn add_rows(&mut self, slot: usize, rows: Tensor<1, Int>, part: Tensor<2>, like: &Tensor<2>) {
        self.change(slot, |sum| {
            let old = sum.take().unwrap_or_else(|| like.zeros_like());
            *sum = Some(old.select_assign(0, rows, part, IndexingUpdateOp::Add));
        });
    }

    /// Adds the gradient of the products beside a frozen matrix to those of the adapter's factors.
    pub(crate) fn add_side(&mut self, slot: usize, of_side: Side) {
        let Some(adapter) = self.shared.adapter else { return };
        for (at, part) in adapter.parts(slot, of_side) {
            self.add(at, part);
        }
    }
}

impl Drop for Sums<'_> {
    fn drop(&mut self) {
        self.finish(usize::MAX);
    }
}
