//! Rotary position embedding (Su et al. 2021), in the rotate-half layout of Hugging Face models.

use std::sync::{Arc, PoisonError, RwLock};

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    architecture::{
        model_config::{ModelConfig, Positions},
        rope_frequencies::Frequencies,
    },
    device::host::is_in_cpu_memory,
    kernels,
};

/// How many positions a new table has at most.
const FIRST: usize = 512;

/// The cosines and sines of positions, for layers without a window and for layers with one.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    everywhere: Arc<Tables>,
    windowed: Option<Arc<Tables>>,
}

/// The cosines and sines of the positions that have been asked for, `[positions, head_dim]` each.
///
/// The tables grow on demand: a configuration can claim more positions than there is memory for, and no weight of a model with
/// rotary positions has a size that shows whether the claim is true.
#[derive(Debug)]
struct Tables {
    frequencies: Frequencies,
    positions: usize,
    device: Device,
    current: RwLock<[Tensor<2>; 2]>,
}

impl Tables {
    fn new(frequencies: &Frequencies, positions: usize, device: &Device) -> Self {
        let current = RwLock::new(tables(frequencies, positions.min(FIRST), device));
        Self { frequencies: frequencies.clone(), positions, device: device.clone(), current }
    }

    /// The cosines and the sines of the positions 0 to `last`, or of more.
    fn reaching(&self, last: usize) -> [Tensor<2>; 2] {
        let long_enough = |tables: &[Tensor<2>; 2]| last < tables[0].dims()[0];
        // A poisoned lock is used all the same: tables are only replaced as a whole, so that a panic in another thread leaves them
        // valid.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if long_enough(&current) {
            return current;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !long_enough(&current) {
            let rows = (last + 1).next_power_of_two().min(self.positions);
            *current = tables(&self.frequencies, rows, &self.device);
        }
        current.clone()
    }
}

/// The cosines and sines of the positions of some tokens, `[tokens, 1, head_dim]` each: every head has the same.
#[derive(Clone, Debug)]
pub(crate) struct Angles {
    everywhere: [Tensor<3>; 2],
    windowed: Option<[Tensor<3>; 2]>,
}

impl Rotary {
    /// `None` for a model without rotary positions.
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Option<Self> {
        let Positions::Rotary(frequencies) = &config.positions else { return None };
        let tables =
            |frequencies: &Frequencies| Arc::new(Tables::new(frequencies, config.max_positions, device));
        let windowed = config.window.as_ref().and_then(|window| window.frequencies.as_ref());
        Some(Self { everywhere: tables(frequencies), windowed: windowed.map(tables) })
    }

    /// The angles of `positions`, of which `last` is the largest.
    pub(crate) fn at(&self, positions: &Tensor<1, Int>, last: usize) -> Angles {
        let rows = |tables: &Arc<Tables>| {
            tables.reaching(last).map(|table| table.select(0, positions.clone()).unsqueeze_dim::<3>(1))
        };
        Angles { everywhere: rows(&self.everywhere), windowed: self.windowed.as_ref().map(rows) }
    }
}

impl Angles {
    /// Rotates the heads of some tokens, `[tokens, heads, head_dim]`, in a layer with or without a window.
    pub(crate) fn rotate(&self, x: Tensor<3>, windowed: bool) -> Tensor<3> {
        let [cos, sin] = match &self.windowed {
            Some(angles) if windowed => angles,
            _ => &self.everywhere,
        };
        rotate(x, cos, sin)
    }

    /// Backward pass of [`rotate`](Self::rotate): rotates the gradient of its output by the negative angles, with the same scale.
    pub(crate) fn rotate_backward(&self, x: Tensor<3>, windowed: bool) -> Tensor<3> {
        let negated = |[cos, sin]: &[Tensor<3>; 2]| [cos.clone(), sin.clone().neg()];
        let negative =
            Self { everywhere: negated(&self.everywhere), windowed: self.windowed.as_ref().map(negated) };
        negative.rotate(x, windowed)
    }
}

/// The tables of cosines and sines: `[positions, head_dim]` each. The sine of the first half is
/// negative, so that rotating is `x * cos + swap_halves(x) * sin`.
fn tables(frequencies: &Frequencies, positions: usize, device: &Device) -> [Tensor<2>; 2] {
    let pairs = frequencies.angles.len();
    let scale = frequencies.scale;
    let mut cosines = Vec::with_capacity(positions * 2 * pairs);
    let mut sines = Vec::with_capacity(positions * 2 * pairs);
    for position in 0..positions {
        let angles = frequencies.angles.iter().map(|frequency| position as f64 * frequency);
        let (sine, cosine): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| ((scale * angle.sin()) as f32, (scale * angle.cos()) as f32)).unzip();
        cosines.extend(cosine.iter().chain(&cosine));
        sines.extend(sine.iter().map(|sine| -sine));
        sines.extend(sine);
    }
    [cosines, sines].map(|table| Tensor::from_data(TensorData::new(table, [positions, 2 * pairs]), device))
}

/// Rotates `x`, `[tokens, heads, head_dim]`, by `cos` and `sin`, `[tokens, 1, head_dim]`.
fn rotate(x: Tensor<3>, cos: &Tensor<3>, sin: &Tensor<3>) -> Tensor<3> {
    if is_in_cpu_memory(&x) {
        return kernels::rotate(x, cos, sin);
    }
    let half = x.dims()[2] / 2;
    let first = x.clone().narrow(2, 0, half);
    let second = x.clone().narrow(2, half, half);
    let swapped = Tensor::cat(vec![second, first], 2);
    x * cos.clone() + swapped * sin.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_grow_on_demand_without_changing() {
        let frequencies = Frequencies { angles: vec![1.0, 0.1], scale: 1.0 };
        let device = crate::Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).expect("one");
        let values = |table: &Tensor<2>| crate::device::transfer::download(table.clone()).expect("read");
        // More positions than there is memory for.
        let tables = Tables::new(&frequencies, usize::MAX / 2, &device);
        assert_eq!(tables.reaching(3)[0].dims(), [FIRST, 4]);
        let few = tables.reaching(FIRST - 1).each_ref().map(values);
        let more = tables.reaching(FIRST);
        assert_eq!(more[0].dims(), [2 * FIRST, 4]);
        for (few, more) in few.iter().zip(more.each_ref().map(values)) {
            assert_eq!(few[..], more[..few.len()]);
        }
        assert_eq!(Tables::new(&frequencies, 600, &device).reaching(599)[1].dims(), [600, 4]);
    }
}
