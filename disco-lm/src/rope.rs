//! Rotary position embedding (Su et al. 2021), in the rotate-half layout of Hugging Face models.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::{
    Result, host,
    spec::{Fields, Positions, Spec},
};

/// The angle per position of each pair of channels: `theta^(-2i/d)`, scaled as the model was trained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies(Vec<f64>);

impl Frequencies {
    /// Reads `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before).
    pub(crate) fn from_config(fields: &Fields<'_>, head_width: usize) -> Result<Self> {
        let scaling = fields.section("rope_parameters").or_else(|| fields.section("rope_scaling"));
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
        let pairs = head_width / 2;
        let mut frequencies: Vec<f64> =
            (0..pairs).map(|pair| theta.powf(-2.0 * pair as f64 / head_width as f64)).collect();
        match (kind.as_str(), scaling) {
            ("default", _) => {}
            ("linear", Some(scaling)) => {
                let factor = scaling.number("factor", None)?;
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

/// The cosines and sines of all places, for layers without a window and for those with one. `[positions, head_width]`
/// each.
#[derive(Clone, Debug)]
pub(crate) struct Rotary {
    everywhere: [Tensor<2>; 2],
    windowed: Option<[Tensor<2>; 2]>,
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
        let tables = |frequencies: &Frequencies| frequencies.tables(spec.max_positions, device);
        let windowed = spec.window.as_ref().and_then(|window| window.frequencies.as_ref());
        Some(Self { everywhere: tables(frequencies), windowed: windowed.map(tables) })
    }

    pub(crate) fn at(&self, places: &Tensor<1, Int>) -> Angles {
        let rows = |tables: &[Tensor<2>; 2]| {
            tables.each_ref().map(|table| table.clone().select(0, places.clone()).unsqueeze_dim::<3>(1))
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
    let factor = scaling.number("factor", None)?;
    let low = scaling.number("low_freq_factor", None)?;
    let high = scaling.number("high_freq_factor", None)?;
    let original = scaling.number("original_max_position_embeddings", None)?;
    if !(high > low && factor > 0.0) {
        return Err(scaling.refused("high_freq_factor", high, "above low_freq_factor, with factor positive"));
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
