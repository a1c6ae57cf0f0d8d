//! Frequencies of the rotary position embedding (Su et al. 2021), and their scalings.

use crate::{Result, architecture::config_reader::ConfigReader};

/// The widest head that is accepted before the weights are read.
const WIDEST: usize = 1 << 16;

/// The angle per position of each pair of channels: `theta^(-2i/d)`, scaled as the model was trained.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies(pub(crate) Vec<f64>);

impl Frequencies {
    /// Reads `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` (older versions).
    pub(crate) fn from_config(reader: &ConfigReader<'_>, head_dim: usize) -> Result<Self> {
        let scaling = match reader.section("rope_parameters")? {
            None => reader.section("rope_scaling")?,
            parameters => parameters,
        };
        let theta = reader.number("rope_theta", Some(10_000.0))?;
        Self::scaled(reader, scaling.as_ref(), theta, head_dim)
    }

    /// The frequencies of base `theta`, with the base and the scaling that `scaling` gives, if any.
    pub(crate) fn scaled(
        reader: &ConfigReader<'_>,
        scaling: Option<&ConfigReader<'_>>,
        mut theta: f64,
        head_dim: usize,
    ) -> Result<Self> {
        let mut kind = "default".to_string();
        if let Some(scaling) = scaling {
            theta = scaling.number("rope_theta", Some(theta))?;
            let older = scaling.text("type", Some(kind))?;
            kind = scaling.text("rope_type", Some(older))?;
        }
        if !(theta > 0.0) {
            return Err(reader.refused("rope_theta", theta, "positive"));
        }
        if head_dim > WIDEST {
            return Err(reader.refused("head_dim", head_dim, format!("at most {WIDEST}")));
        }
        let pairs = head_dim / 2;
        let mut frequencies: Vec<f64> =
            (0..pairs).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64)).collect();
        match (kind.as_str(), scaling) {
            ("default", _) => {}
            ("linear", Some(scaling)) => {
                let factor = scaling.positive("factor")?;
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            ("llama3", Some(scaling)) => llama3(&mut frequencies, scaling)?,
            (other, _) => return Err(reader.refused("rope_type", other, "default, linear, llama3")),
        }
        Ok(Self(frequencies))
    }
}

/// Llama 3's scaling: long wavelengths are stretched by `factor`, short ones stay unchanged, and those between are blended.
fn llama3(frequencies: &mut [f64], scaling: &ConfigReader<'_>) -> Result<()> {
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
