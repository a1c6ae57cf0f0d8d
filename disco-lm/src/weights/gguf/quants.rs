//! The encodings of GGUF tensors.
//!
//! A quantised tensor is a sequence of blocks along its rows; a block holds small integers, and the scale (and minimum) that
//! turn them into values. The encodings with blocks of 32 values are here; the K-quants are in `k_quants.rs`.

use half::f16;

use crate::weights::{
    encoding::{BF16, Encoding, F16, F32},
    gguf::{
        iq4::{IQ4_NL, IQ4_XS},
        k_quants::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K},
    },
};

/// The supported encodings, by their code in the format.
static ENCODINGS: [(u32, Encoding); 15] = [
    (0, F32),
    (1, F16),
    (2, Encoding { name: "Q4_0", bytes: 18, values: 32, decode: q4_0 }),
    (3, Encoding { name: "Q4_1", bytes: 20, values: 32, decode: q4_1 }),
    (6, Encoding { name: "Q5_0", bytes: 22, values: 32, decode: q5_0 }),
    (7, Encoding { name: "Q5_1", bytes: 24, values: 32, decode: q5_1 }),
    (8, Encoding { name: "Q8_0", bytes: 34, values: 32, decode: q8_0 }),
    (10, Q2_K),
    (11, Q3_K),
    (12, Q4_K),
    (13, Q5_K),
    (14, Q6_K),
    (20, IQ4_NL),
    (23, IQ4_XS),
    (30, BF16),
];

/// The encoding with this code.
pub(crate) fn by_code(code: u32) -> Option<&'static Encoding> {
    ENCODINGS.iter().find(|(known, _)| *known == code).map(|(_, encoding)| encoding)
}

/// The names of the format's other types, by their code, for messages.
const OTHERS: [(u32, &str); 23] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

/// The name of a type of the format that is not supported.
pub(crate) fn unsupported(code: u32) -> Option<&'static str> {
    OTHERS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The names and codes of all encodings, for messages.
pub(crate) fn names() -> String {
    ENCODINGS
        .iter()
        .map(|(code, encoding)| format!("{} ({code})", encoding.name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The half-precision number at the beginning of `bytes`.
pub(crate) fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Applies `decode` to each block and its values.
pub(crate) fn each_block<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) {
    for (block, values) in bytes.as_chunks().0.iter().zip(values.as_chunks_mut().0) {
        decode(block, values);
    }
}

/// Decodes integers of four bits: the lower halves of 16 bytes hold the first 16, the upper halves the other 16. `decode` turns
/// the index and the integer into a value.
pub(crate) fn nibbles(bytes: &[u8], values: &mut [f32; 32], decode: impl Fn(usize, u8) -> f32) {
    for (index, byte) in bytes.iter().enumerate() {
        values[index] = decode(index, byte & 15);
        values[index + 16] = decode(index + 16, byte >> 4);
    }
}

/// A block has a scale; `scale * (q - 8)`.
fn q4_0(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 18], values| {
        let scale = half(block);
        nibbles(&block[2..], values, |_, low| scale * (f32::from(low) - 8.0));
    });
}

/// A block has a scale and a minimum; `scale * q + minimum`.
fn q4_1(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 20], values| {
        let [scale, minimum] = [half(block), half(&block[2..])];
        nibbles(&block[4..], values, |_, low| scale * f32::from(low) + minimum);
    });
}

/// The integer of five bits, as f32: the upper bits of 32 integers are in one word.
fn fifth(word: &[u8], index: usize, low: u8) -> f32 {
    f32::from(low | (word[index / 8] >> (index % 8) & 1) << 4)
}

/// A block has a scale and a word of fifth bits; `scale * (q - 16)`.
fn q5_0(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 22], values| {
        let scale = half(block);
        nibbles(&block[6..], values, |index, low| scale * (fifth(&block[2..6], index, low) - 16.0));
    });
}

/// A block has a scale, a minimum and a word of fifth bits; `scale * q + minimum`.
fn q5_1(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 24], values| {
        let [scale, minimum] = [half(block), half(&block[2..])];
        nibbles(&block[8..], values, |index, low| scale * fifth(&block[4..8], index, low) + minimum);
    });
}

/// A block has a scale and signed bytes; `scale * q`.
fn q8_0(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 34], values: &mut [f32; 32]| {
        let scale = half(block);
        for (byte, value) in block[2..].iter().zip(values) {
            *value = scale * f32::from(*byte as i8);
        }
    });
}
