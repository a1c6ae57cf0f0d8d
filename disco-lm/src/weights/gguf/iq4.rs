//! The encodings IQ4_NL and IQ4_XS: integers of four bits that index a table of 16 levels, nearer to each other around zero.
//!
//! Source: `gguf/quants.py` of gguf-py.

use crate::weights::{
    encoding::Encoding,
    gguf::quants::{each_block, half, nibbles},
};

/// Blocks of 32 values with a scale.
pub(crate) const IQ4_NL: Encoding = Encoding { name: "IQ4_NL", bytes: 18, values: 32, decode: iq4_nl };

/// Blocks of 256 values with a scale; 32 values each have a scale of six bits.
pub(crate) const IQ4_XS: Encoding = Encoding { name: "IQ4_XS", bytes: 136, values: 256, decode: iq4_xs };

/// The levels.
const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

fn level(index: u8) -> f32 {
    f32::from(LEVELS[usize::from(index)])
}

fn iq4_nl(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 18], values| {
        let scale = half(block);
        nibbles(&block[2..], values, |_, index| scale * level(index));
    });
}

fn iq4_xs(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 136], values: &mut [f32; 256]| {
        let scale = half(block);
        let high = u16::from_le_bytes([block[2], block[3]]);
        let (low, indices) = block[4..].split_at(4);
        for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            // Four lower bits in a half byte, and two upper bits in the word.
            let bits = u16::from(low[group / 2] >> (group % 2 * 4) & 15) | (high >> (2 * group) & 3) << 4;
            let step = scale * (f32::from(bits) - 32.0);
            nibbles(&indices[16 * group..][..16], values, |_, index| step * level(index));
        }
    });
}
