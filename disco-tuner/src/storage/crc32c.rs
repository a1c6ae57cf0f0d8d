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

/// Eight bytes at a time, since checksums of weights are of gigabytes ("slicing by 8": M. Kounavis and F. Berry 2008).
fn extended(crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let of_words = words.iter().fold(crc, |crc, word| {
        let mixed = u64::from_le_bytes(*word) ^ u64::from(crc);
        let tables = TABLES.iter().rev().zip(mixed.to_le_bytes());
        tables.fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)])
    });
    rest.iter().fold(of_words, |crc, byte| (crc >> 8) ^ TABLES[0][usize::from((crc as u8) ^ byte)])
}

/// `TABLES[k][byte]`: the remainder of `byte` with `k` zero bytes behind it.
static TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
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
