//! The checksum of checkpoints, of results and of TensorBoard's records.

use std::io::{self, Read};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4): reflected polynomial 0x82f63b78.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !extended(!0, bytes)
}

/// The number of bytes of a file and their CRC-32C.
pub(crate) fn crc32c_of(file: &mut impl Read) -> io::Result<(u64, u32)> {
    let (mut size, mut crc, mut chunk) = (0, !0, vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok((size, !crc)),
            Ok(count) => {
                size += count as u64;
                crc = extended(crc, &chunk[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn extended(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| (crc >> 8) ^ TABLE[usize::from((crc as u8) ^ byte)])
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{CHUNK, crc32c, crc32c_of};

    #[test]
    fn the_examples_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let long: Vec<u8> = (0..3 * CHUNK + 7).map(|at| at as u8).collect();
        assert_eq!(crc32c_of(&mut &long[..]).unwrap(), (long.len() as u64, crc32c(&long)));
    }
}
