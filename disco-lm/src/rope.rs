//! Rotary position embedding (Su et al. 2021), in the rotate-half layout of Hugging Face models.

use std::sync::{Arc, PoisonError, RwLock};

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    Result, host,
    spec::{Fields, Positions, Spec},
};

/// The widest head that is believed before the weights are seen.
const WIDEST: usize = 1 << 16;

/// How many places a table has at first.
const FIRST: usize = 512;

/// The angle per position of each pair of channels: `theta^(-2i/d)`, scaled as the model was trained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies(Vec<f64>);

impl Frequencies {
    /// Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
    pub(crate) fn from_config(fields: &Fields<'_>, head_width: usize) -> Result<Self> {
        let scaling = match fields.section("rope_parameters")? {
            None => fields.section("rope_scaling")?,
            parameters => parameters,
        };
        let theta = fields.number("rope_theta", Some(10_000.0))?;
        Self::scaled(fields, scaling.as_ref(), theta, head_width)
    }

    /// Those of `theta`, or of what `scaling` says instead.
    pub(crate) fn scaled(
        fields: &Fields<'_>,
        scaling: Option<&Fields<'_>>,
        mut theta: f64,
        head_width: usize,
    ) -> Result<Self> {
        let mut kind = "default".to_string();
        if let Some(scaling) = scaling {
            theta = scaling.number("rope_theta", Some(theta))?;
            let older = scaling.text("type", Some(kind))?;
            kind = scaling.text("rope_type", Some(older))?;
        }
        if !(theta > 0.0) {
            return Err(fields.refused("rope_theta", theta, "positive"));
        }
        if head_width > WIDEST {
            return Err(fields.refused("head_dim", head_width, format!("at most {WIDEST}")));
        }
        let pairs = head_width / 2;
        let mut frequencies: Vec<f64> =
            (0..pairs).map(|pair| theta.powf(-2.0 * pair as f64 / head_width as f64)).collect();
        match (kind.as_str(), scaling) {
            ("default", _) => {}
            ("linear", Some(scaling)) => {
                let factor = scaling.positive("factor")?;
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            ("llama3", Some(scaling)) => llama3(&mut frequencies, scaling)?,
            (other, _) => return Err(fields.refused("rope_type", other, "default, linear, llama3")),
        }
        Ok(Self(frequencies))
    }

    /// The tables of cosines and sines: `[positions, head_width]` each. The sine of the first half is
    /// negative, so that rotating is `x * cos + swap_halves(x) * sin`.
    fn tables(&self, positions: usize, device: &Device) -> [Tensor<2>; 2] {
        let pairs = self.0.len();
        let mut cosines = Vec::with_capacity(positions * 2 * pairs);
        let mut sines = Vec::with_capacity(positions * 2 * pairs);
        for position in 0..positions {
            let angles = self.0.iter().map(|frequency| position as f64 * frequency);
            let (sine, cosine): (Vec<f32>, Vec<f32>) =
                angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
            cosines.extend(cosine.iter().chain(&cosine));
            sines.extend(sine.iter().map(|sine| -sine));
            sines.extend(sine);
        }
        [cosines, sines]
            .map(|table| Tensor::from_data(TensorData::new(table, [positions, 2 * pairs]), device))
    }
}

/// The cosines and sines of places, for layers without a window and for those with one.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    everywhere: Arc<Tables>,
    windowed: Option<Arc<Tables>>,
}

/// The cosines and sines of the places that have been asked for, `[places, head_width]` each.
///
/// They grow with what is asked: a configuration can promise more positions than there is memory for, and no weight of such a
/// model has their number as its size.
#[derive(Debug)]
struct Tables {
    frequencies: Frequencies,
    positions: usize,
    device: Device,
    made: RwLock<[Tensor<2>; 2]>,
}

impl Tables {
    fn new(frequencies: &Frequencies, positions: usize, device: &Device) -> Self {
        let made = RwLock::new(frequencies.tables(positions.min(FIRST), device));
        Self { frequencies: frequencies.clone(), positions, device: device.clone(), made }
    }

    /// Tables that hold the place `last`.
    fn reaching(&self, last: usize) -> [Tensor<2>; 2] {
        let long_enough = |made: &[Tensor<2>; 2]| last < made[0].dims()[0];
        // What is behind the lock is replaced as a whole: a panic elsewhere leaves it as it was.
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner).clone();
        if long_enough(&made) {
            return made;
        }
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        if !long_enough(&made) {
            let rows = (last + 1).next_power_of_two().min(self.positions);
            *made = self.frequencies.tables(rows, &self.device);
        }
        made.clone()
    }
}

/// Those of the places of some tokens, `[tokens, 1, head_width]` each: the same for every head.
#[derive(Clone, Debug)]
pub(crate) struct Angles {
    everywhere: [Tensor<3>; 2],
    windowed: Option<[Tensor<3>; 2]>,
}

impl Rotary {
    /// Nothing for a model that does not rotate.
    pub(crate) fn new(spec: &Spec, device: &Device) -> Option<Self> {
        let Positions::Rotary(frequencies) = &spec.positions else { return None };
        let tables =
            |frequencies: &Frequencies| Arc::new(Tables::new(frequencies, spec.max_positions, device));
        let windowed = spec.window.as_ref().and_then(|window| window.frequencies.as_ref());
        Some(Self { everywhere: tables(frequencies), windowed: windowed.map(tables) })
    }

    /// The angles of `places`, of which `last` is the largest.
    pub(crate) fn at(&self, places: &Tensor<1, Int>, last: usize) -> Angles {
        let rows = |tables: &Arc<Tables>| {
            tables.reaching(last).map(|table| table.select(0, places.clone()).unsqueeze_dim::<3>(1))
        };
        Angles { everywhere: rows(&self.everywhere), windowed: self.windowed.as_ref().map(rows) }
    }
}

impl Angles {
    /// Rotates the heads of some tokens, `[tokens, heads, head_width]`, in a layer with or without a window.
    pub(crate) fn rotate(&self, x: Tensor<3>, windowed: bool) -> Tensor<3> {
        let [cos, sin] = match &self.windowed {
            Some(angles) if windowed => angles,
            _ => &self.everywhere,
        };
        rotate(x, cos, sin)
    }

    /// Rotates by the same angles the other way: what the gradient of a rotation is.
    pub(crate) fn rotate_back(&self, x: Tensor<3>, windowed: bool) -> Tensor<3> {
        let back = |[cos, sin]: &[Tensor<3>; 2]| [cos.clone(), sin.clone().neg()];
        let back = Self { everywhere: back(&self.everywhere), windowed: self.windowed.as_ref().map(back) };
        back.rotate(x, windowed)
    }
}

/// Llama 3's scaling: long wavelengths are stretched by `factor`, short ones kept, those between blended.
fn llama3(frequencies: &mut [f64], scaling: &Fields<'_>) -> Result<()> {
    let factor = scaling.positive("factor")?;
    let low = scaling.positive("low_freq_factor")?;
    let high = scaling.number("high_freq_factor", None)?;
    let original = scaling.positive("original_max_position_embeddings")?;
    if !(high > low) {
        return Err(scaling.refused("high_freq_factor", high, format!("above low_freq_factor, {low}")));
    }
    for frequency in frequencies {
        let wavelength = std::f64::consts::TAU / *frequency;
        let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        *frequency *= smooth + (1.0 - smooth) / factor;
    }
    Ok(())
}

/// Rotates `x`, `[tokens, heads, head_width]`, by `cos` and `sin`, `[tokens, 1, head_width]`.
fn rotate(x: Tensor<3>, cos: &Tensor<3>, sin: &Tensor<3>) -> Tensor<3> {
    if host::holds(&x) {
        return host::rotate(x, cos, sin);
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
    fn tables_grow_with_what_is_asked_and_stay_the_same() {
        let frequencies = Frequencies(vec![1.0, 0.1]);
        let device = crate::Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).expect("one");
        let values = |table: &Tensor<2>| crate::token_model::download(table.clone()).expect("read");
        // More than there is memory for.
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
