//! Frequencies of the rotary position embedding (Su et al. 2021), and their scalings, as transformers'
//! `modeling_rope_utils.py` computes them.

use crate::{Result, architecture::config_reader::ConfigReader};

/// The widest head that is accepted before the weights are read.
const WIDEST: usize = 1 << 16;

/// How the positions of a model are rotated.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frequencies {
    /// The angle per position of each pair of channels: `theta^(-2i/d)`, scaled as the model was trained.
    pub(crate) angles: Vec<f64>,
    /// Rotated queries and keys are multiplied by it.
    pub(crate) scale: f64,
}

/// The sizes on which the frequencies depend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RotarySizes {
    pub(crate) head_dim: usize,
    pub(crate) max_positions: usize,
}

impl Frequencies {
    /// Reads `rope_scaling` and `rope_theta`, or else `rope_parameters` (transformers 5).
    pub(crate) fn from_config(reader: &ConfigReader<'_>, sizes: RotarySizes) -> Result<Self> {
        let section = rope_section(reader)?;
        refuse_partial(reader)?;
        let theta = reader.number("rope_theta", Some(10_000.0))?;
        // Where it stands beside the section, transformers takes it from there.
        let outer = match reader.config.get("original_max_position_embeddings") {
            Some(_) => Some(reader.positive("original_max_position_embeddings")?),
            None => None,
        };
        Self::scaled(reader, section.as_ref(), theta, outer, sizes)
    }

    /// The frequencies of base `theta`, with the base and the scaling that `section` gives, if any. `original` is the number of
    /// positions before scaling where it is not the section's own.
    pub(crate) fn scaled(
        reader: &ConfigReader<'_>,
        section: Option<&ConfigReader<'_>>,
        mut theta: f64,
        original: Option<f64>,
        sizes: RotarySizes,
    ) -> Result<Self> {
        let mut kind = "default".to_string();
        if let Some(section) = section {
            refuse_partial(section)?;
            let fields = section.config.as_object().into_iter().flatten();
            if let Some((field, value)) = fields.into_iter().find(|(_, value)| value.is_object()) {
                return Err(section.refused(field, value, "a number or a text: one scaling for all layers"));
            }
            theta = section.number("rope_theta", Some(theta))?;
            let older = section.text("type", Some(kind))?;
            kind = section.text("rope_type", Some(older))?;
        }
        if !(theta > 0.0) {
            return Err(reader.refused("rope_theta", theta, "positive"));
        }
        if sizes.head_dim > WIDEST {
            return Err(reader.refused("head_dim", sizes.head_dim, format!("at most {WIDEST}")));
        }
        let plain = Self { angles: angles(theta, sizes.head_dim), scale: 1.0 };
        let original = |section: &ConfigReader<'_>| match original {
            Some(original) => Ok(original),
            None if section.config.get(ORIGINAL).is_some() => section.positive(ORIGINAL),
            None => Ok(sizes.max_positions as f64),
        };
        let scaled = match (kind.as_str(), section) {
            ("default", _) => plain,
            ("linear", Some(section)) => plain.divided(section.positive("factor")?),
            // It changes texts only that are longer than the model's positions, which are refused.
            ("dynamic", Some(section)) if sizes.head_dim > 2 => {
                section.positive("factor")?;
                plain
            }
            ("llama3", Some(section)) => plain.llama3(section, original(section)?)?,
            ("yarn", Some(section)) => plain.yarn(section, theta, original(section)?, sizes)?,
            (other, _) => {
                return Err(reader.refused("rope_type", other, "default, linear, dynamic, llama3, yarn"));
            }
        };
        let infinite =
            scaled.angles.iter().chain([&scaled.scale]).copied().find(|number| !number.is_finite());
        match infinite {
            None => Ok(scaled),
            Some(number) => {
                Err(reader.refused("rope_type", format!("{kind}, which gives {number}"), "finite angles"))
            }
        }
    }

    /// Linear scaling: as if all positions were `factor` times nearer to each other.
    fn divided(mut self, factor: f64) -> Self {
        self.angles.iter_mut().for_each(|angle| *angle /= factor);
        self
    }

    /// Llama 3's scaling: long wavelengths are stretched by `factor`, short ones stay unchanged, and those between are blended.
    fn llama3(mut self, section: &ConfigReader<'_>, original: f64) -> Result<Self> {
        let factor = section.positive("factor")?;
        let low = section.positive("low_freq_factor")?;
        let high = section.number("high_freq_factor", None)?;
        if !(high > low) {
            return Err(section.refused("high_freq_factor", high, format!("above low_freq_factor, {low}")));
        }
        for angle in &mut self.angles {
            let wavelength = std::f64::consts::TAU / *angle;
            let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
            *angle *= smooth + (1.0 - smooth) / factor;
        }
        Ok(self)
    }

    /// YaRN (Peng et al. 2023): pairs that turn more than `beta_fast` times over the original positions stay unchanged, those that
    /// turn less than `beta_slow` times are stretched by `factor`, and those between are blended.
    fn yarn(
        mut self,
        section: &ConfigReader<'_>,
        theta: f64,
        original: f64,
        sizes: RotarySizes,
    ) -> Result<Self> {
        let factor = match section.get("factor") {
            None if section.config.get("factor").is_some() => sizes.max_positions as f64 / original,
            _ => section.positive("factor")?,
        };
        let number = |field: &str| -> Result<Option<f64>> {
            section.get(field).map(|_| section.number(field, None)).transpose()
        };
        let non_zero = |field: &str| -> Result<Option<f64>> { Ok(number(field)?.filter(|it| *it != 0.0)) };
        let growth = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        self.scale = match number("attention_factor")? {
            Some(scale) => scale,
            None => match (non_zero("mscale")?, non_zero("mscale_all_dim")?) {
                (Some(numerator), Some(denominator)) => growth(numerator) / growth(denominator),
                _ => growth(1.0),
            },
        };
        let [fast, slow] = [non_zero("beta_fast")?.unwrap_or(32.0), non_zero("beta_slow")?.unwrap_or(1.0)];
        let width = sizes.head_dim as f64;
        // The index of the pair that turns `turns` times over the original positions.
        let pair =
            |turns: f64| width * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
        let [mut first, mut last] = [pair(fast), pair(slow)];
        if section.flag("truncate", true)? {
            [first, last] = [first.floor(), last.ceil()];
        }
        [first, last] = [first.max(0.0), last.min(width - 1.0)];
        if first == last {
            last += 0.001;
        }
        for (index, angle) in self.angles.iter_mut().enumerate() {
            let stretched = ((index as f64 - first) / (last - first)).clamp(0.0, 1.0);
            *angle *= (1.0 - stretched) + stretched / factor;
        }
        Ok(self)
    }
}

const ORIGINAL: &str = "original_max_position_embeddings";

/// The section that says how rotary positions are scaled: `rope_scaling`, unless it is empty, takes precedence over
/// `rope_parameters`, as in transformers.
fn rope_section<'a>(reader: &ConfigReader<'a>) -> Result<Option<ConfigReader<'a>>> {
    let is_empty = |section: &ConfigReader<'_>| section.config.as_object().is_some_and(|it| it.is_empty());
    match reader.section("rope_scaling")? {
        Some(section) if !is_empty(&section) => Ok(Some(section)),
        _ => reader.section("rope_parameters"),
    }
}

/// Refuses models that rotate a part of each head only (Phi-4-mini).
fn refuse_partial(reader: &ConfigReader<'_>) -> Result<()> {
    let rotated = reader.number("partial_rotary_factor", Some(1.0))?;
    if rotated == 1.0 { Ok(()) } else { Err(reader.refused("partial_rotary_factor", rotated, "1")) }
}

fn angles(theta: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|pair| theta.powf(-2.0 * pair as f64 / head_dim as f64)).collect()
}
