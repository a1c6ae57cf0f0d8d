//! The K-quants: blocks of 256 values, in groups of 16 or 32 that each have their own scale.

use crate::weights::{
    encoding::Encoding,
    gguf::quants::{each_block, half},
};

/// The number of values of a block.
const BLOCK: usize = 256;

/// Two bits per value; scale and minimum of four bits per 16 values.
pub(crate) const Q2_K: Encoding = Encoding { name: "Q2_K", bytes: 84, values: BLOCK, decode: q2_k };

/// Three bits per value; a scale of six bits per 16 values.
pub(crate) const Q3_K: Encoding = Encoding { name: "Q3_K", bytes: 110, values: BLOCK, decode: q3_k };

/// Four bits per value; scale and minimum of six bits per 32 values.
pub(crate) const Q4_K: Encoding = Encoding { name: "Q4_K", bytes: 144, values: BLOCK, decode: q4_k };

/// Five bits per value; scale and minimum of six bits per 32 values.
pub(crate) const Q5_K: Encoding = Encoding { name: "Q5_K", bytes: 176, values: BLOCK, decode: q5_k };

/// Six bits per value; a scale of eight bits per 16 values.
pub(crate) const Q6_K: Encoding = Encoding { name: "Q6_K", bytes: 210, values: BLOCK, decode: q6_k };

/// Unpacks an integer of two bits: each run of 32 bytes holds four runs of 32 integers, the first in the lowest bits.
fn pair(bytes: &[u8], index: usize) -> u8 {
    bytes[index / 128 * 32 + index % 32] >> (index % 128 / 32 * 2) & 3
}

/// Unpacks an integer of four bits: each run of 32 bytes holds two runs of 32 integers, the first in the lower bits.
fn nibble(bytes: &[u8], index: usize) -> u8 {
    bytes[index / 64 * 32 + index % 32] >> (index % 64 / 32 * 4) & 15
}

/// Unpacks a single bit: byte `i` holds the bits of the integers `i`, `32 + i`, and so on, from the lowest bit up.
fn bit(bytes: &[u8], index: usize) -> u8 {
    bytes[index % 32] >> (index / 32) & 1
}

fn q2_k(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 84], values: &mut [f32; BLOCK]| {
        let (scales, rest) = block.split_at(16);
        let [scale, minimum] = [half(&rest[64..]), half(&rest[66..])];
        for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let step = scale * f32::from(scales[group] & 15);
            let shift = minimum * f32::from(scales[group] >> 4);
            for (index, value) in values.iter_mut().enumerate() {
                *value = step * f32::from(pair(rest, 16 * group + index)) - shift;
            }
        }
    });
}

fn q3_k(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 110], values: &mut [f32; BLOCK]| {
        let (upper, rest) = block.split_at(32);
        let (lower, rest) = rest.split_at(64);
        let (scales, scale) = rest.split_at(12);
        let scale = half(scale);
        for (group, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            // A scale has four lower bits in a half byte, and two upper bits in one of the last four bytes.
            let low = scales[group % 8] >> (group / 8 * 4) & 15;
            let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
            let step = scale * (f32::from(low | high << 4) - 32.0);
            for (index, value) in values.iter_mut().enumerate() {
                let index = 16 * group + index;
                // An upper bit that is not set subtracts four.
                *value = step * (f32::from(pair(lower, index) | bit(upper, index) << 2) - 4.0);
            }
        }
    });
}

/// Scale and minimum of a group of 32: six bits each, eight pairs in twelve bytes. The first four pairs are in the lower bits
/// of the first eight bytes. The last four pairs have their lower four bits in the last four bytes, and their upper two bits
/// in the upper bits of the first eight bytes.
fn scale_and_minimum(scales: &[u8], group: usize) -> [f32; 2] {
    let [scale, minimum] = if group < 4 {
        [scales[group] & 63, scales[group + 4] & 63]
    } else {
        let both = scales[group + 4];
        [both & 15 | scales[group - 4] >> 6 << 4, both >> 4 | scales[group] >> 6 << 4]
    };
    [f32::from(scale), f32::from(minimum)]
}

/// Decodes a block of Q4_K or Q5_K: `scale * number - minimum`. The formats differ only in how `number` is unpacked.
fn scaled_and_shifted(block: &[u8], values: &mut [f32; BLOCK], number: impl Fn(usize) -> u8) {
    let [scale, minimum] = [half(block), half(&block[2..])];
    for (group, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let [group_scale, group_minimum] = scale_and_minimum(&block[4..16], group);
        let [step, shift] = [scale * group_scale, minimum * group_minimum];
        for (index, value) in values.iter_mut().enumerate() {
            *value = step * f32::from(number(32 * group + index)) - shift;
        }
    }
}

fn q4_k(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 144], values| {
        scaled_and_shifted(block, values, |index| nibble(&block[16..], index));
    });
}

fn q5_k(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 176], values| {
        let number = |index| nibble(&block[48..], index) | bit(&block[16..48], index) << 4;
        scaled_and_shifted(block, values, number);
    });
}

fn q6_k(bytes: &[u8], values: &mut [f32]) {
    each_block(bytes, values, |block: &[u8; 210], values: &mut [f32; BLOCK]| {
        let (lower, rest) = block.split_at(128);
        let (upper, rest) = rest.split_at(64);
        let (scales, scale) = rest.split_at(16);
        let scale = half(scale);
        for (index, value) in values.iter_mut().enumerate() {
            // The lower four bits: each run of 64 bytes holds two runs of 64 integers.
            let low = lower[index / 128 * 64 + index % 64] >> (index % 128 / 64 * 4) & 15;
            let number = f32::from(low | pair(upper, index) << 4) - 32.0;
            *value = scale * f32::from(scales[index / 16] as i8) * number;
        }
    });
}
