//! The encodings of tensor values in files, and reading them as f32.

use std::{fs::File, io};

use half::{bf16, f16, slice::HalfFloatSliceExt};

/// An encoding of values: blocks of `bytes` bytes that hold `values` values each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    /// Its name in the file format.
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    pub(crate) values: usize,
    /// Decodes whole blocks into the values that they hold.
    pub(crate) decode: fn(&[u8], &mut [f32]),
}

/// IEEE 754 single precision.
pub(crate) const F32: Encoding = Encoding { name: "F32", bytes: 4, values: 1, decode: decode_f32 };

/// IEEE 754 half precision.
pub(crate) const F16: Encoding = Encoding { name: "F16", bytes: 2, values: 1, decode: decode_f16 };

/// bfloat16: the upper 16 bits of IEEE 754 single precision.
pub(crate) const BF16: Encoding = Encoding { name: "BF16", bytes: 2, values: 1, decode: decode_bf16 };

/// IEEE 754 double precision, rounded to single precision.
pub(crate) const F64: Encoding = Encoding { name: "F64", bytes: 8, values: 1, decode: decode_f64 };

/// The number of bytes that are read and decoded at once: few enough to stay in the CPU's cache.
const CHUNK: usize = 1 << 17;

/// Reads `values` from `offset` on; their number must be a multiple of the values of a block.
///
/// The bytes go through a small buffer rather than a memory map: it costs the same, needs no unsafe code, and a file that
/// is truncated meanwhile gives an error instead of ending the process.
pub(crate) fn read_values(
    file: &File,
    mut offset: u64,
    encoding: &Encoding,
    values: &mut [f32],
) -> io::Result<()> {
    let blocks = (CHUNK / encoding.bytes).min(values.len() / encoding.values).max(1);
    let mut buffer = vec![0; blocks * encoding.bytes];
    for values in values.chunks_mut(blocks * encoding.values) {
        let bytes = &mut buffer[..values.len() / encoding.values * encoding.bytes];
        read_at(file, bytes, offset)?;
        (encoding.decode)(bytes, values);
        offset += bytes.len() as u64;
    }
    Ok(())
}

/// Fills `bytes` from `offset` on, without moving the file's position, since threads share the file.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` from `offset` on; every read gives its own position, since threads share the file.
#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = &mut bytes[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn decode_f32(bytes: &[u8], values: &mut [f32]) {
    for (bytes, value) in bytes.as_chunks().0.iter().zip(values) {
        *value = f32::from_le_bytes(*bytes);
    }
}

fn decode_f64(bytes: &[u8], values: &mut [f32]) {
    for (bytes, value) in bytes.as_chunks().0.iter().zip(values) {
        *value = f64::from_le_bytes(*bytes) as f32;
    }
}

/// The number of values converted at once: the conversion checks the processor's features once per run.
const RUN: usize = 256;

fn decode_f16(bytes: &[u8], values: &mut [f32]) {
    let mut run = [f16::ZERO; RUN];
    for (bytes, values) in bytes.chunks(2 * RUN).zip(values.chunks_mut(RUN)) {
        let run = &mut run[..values.len()];
        run.iter_mut().zip(bytes.as_chunks().0).for_each(|(half, bytes)| *half = f16::from_le_bytes(*bytes));
        run.convert_to_f32_slice(values);
    }
}

fn decode_bf16(bytes: &[u8], values: &mut [f32]) {
    for (bytes, value) in bytes.as_chunks().0.iter().zip(values) {
        *value = bf16::from_le_bytes(*bytes).to_f32();
    }
}
