//! The header of a GGUF file: metadata, and shape, encoding and offset of every tensor.
//!
//! Every length is checked against the rest of the file before memory is allocated for it, counts are bounded, and arrays
//! are stored as the bytes of the file until they are asked for.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::{
    Error, Result,
    weights::{
        encoding::Encoding,
        gguf::{
            quants,
            value::{ARRAY, Array, TEXT, Value, WIDTHS, scalar},
        },
        identify::{HEAD, other_format},
    },
};

/// The upper bound on metadata entries and on tensors: more than any model has.
const MOST_ENTRIES: u64 = 1 << 16;

/// Tensors begin at multiples of this many bytes, unless `general.alignment` gives another number.
const DEFAULT_ALIGNMENT: u64 = 32;

/// Shape, encoding and offset of a tensor.
#[derive(Clone, Debug)]
pub(crate) struct TensorInfo {
    /// Outermost dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) encoding: &'static Encoding,
    /// In bytes from the beginning of the file.
    pub(crate) offset: u64,
}

/// The parsed header: everything before the tensors' data.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, Value>,
    // Invariant: every tensor lies within the file, and its rows are whole blocks.
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    pub(crate) fn read(file: &File, path: &Path) -> Result<Self> {
        let size = file.metadata().map_err(|source| Error::io(path, source))?.len();
        let mut reader = Reader { input: BufReader::new(file), position: 0, size, path };
        let head = reader.bytes(size.min(HEAD as u64))?;
        if !head.starts_with(b"GGUF") {
            let begin = head[..head.len().min(4)].escape_ascii().to_string();
            return Err(other_format(path, &head, "a GGUF file")
                .unwrap_or_else(|| reader.refused(format!("it begins with `{begin}` and not with `GGUF`"))));
        }
        reader.restart(4)?;
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            let found = match version.swap_bytes() {
                swapped @ 1..=3 => format!("a GGUF file in big-endian byte order, of version {swapped}"),
                _ => format!("a GGUF file of version {version}"),
            };
            let allowed = "2, 3 (little-endian)".into();
            return Err(Error::NotRead { path: path.into(), found, allowed });
        }
        let [tensors, entries] = [reader.count()?, reader.count()?];
        let metadata = reader.metadata(entries)?;
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() => *alignment,
            Some(other) => {
                let shown = other.shown();
                return Err(reader.refused(format!("`general.alignment` is {shown}; allowed: a power of 2")));
            }
        };
        let tensors = reader.tensors(tensors, alignment)?;
        Ok(Self { metadata, tensors })
    }
}

/// Reads a file from its beginning.
struct Reader<'a> {
    input: BufReader<&'a File>,
    position: u64,
    size: u64,
    path: &'a Path,
}

impl Reader<'_> {
    fn refused(&self, reason: impl ToString) -> Error {
        Error::format(self.path, reason)
    }

    /// Goes on at `position`.
    fn restart(&mut self, position: u64) -> Result<()> {
        self.input.seek(SeekFrom::Start(position)).map_err(|source| Error::io(self.path, source))?;
        self.position = position;
        Ok(())
    }

    /// The next `length` bytes, if the file has them.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.append(length, &mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, length: u64, to: &mut Vec<u8>) -> Result<()> {
        if length > self.size - self.position {
            return Err(self.refused(format!(
                "its {} bytes end before {length} that byte {} announces",
                self.size, self.position
            )));
        }
        let start = to.len();
        to.resize(start + length as usize, 0);
        self.input.read_exact(&mut to[start..]).map_err(|source| Error::io(self.path, source))?;
        self.position += length;
        Ok(())
    }

    fn word<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N as u64)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.word()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.word()?))
    }

    fn count(&mut self) -> Result<u64> {
        let count = self.u64()?;
        if count > MOST_ENTRIES {
            return Err(
                self.refused(format!("it announces {count} entries; allowed: at most {MOST_ENTRIES}"))
            );
        }
        Ok(count)
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u64()?;
        let bytes = self.bytes(length)?;
        String::from_utf8(bytes).map_err(|_| self.refused("a name or text is not UTF-8"))
    }

    fn metadata(&mut self, entries: u64) -> Result<BTreeMap<String, Value>> {
        let mut metadata = BTreeMap::new();
        for _ in 0..entries {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            metadata.insert(key, value);
        }
        Ok(metadata)
    }

    fn value(&mut self, kind: u32) -> Result<Value> {
        match kind {
            TEXT => Ok(Value::Text(self.text()?)),
            ARRAY => self.array(),
            kind => {
                let width = self.width(kind)?;
                let bytes = self.bytes(width)?;
                Ok(scalar(kind, &bytes))
            }
        }
    }

    fn array(&mut self) -> Result<Value> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let mut bytes = Vec::new();
        if kind == TEXT {
            for _ in 0..count {
                let length = self.u64()?;
                bytes.extend(length.to_le_bytes());
                self.append(length, &mut bytes)?;
            }
        } else {
            let length = self.width(kind)?.checked_mul(count);
            let length = length.ok_or_else(|| self.refused(format!("an array has {count} elements")))?;
            self.append(length, &mut bytes)?;
        }
        Ok(Value::Array(Array { kind, bytes }))
    }

    /// The number of bytes of a number of this type.
    fn width(&self, kind: u32) -> Result<u64> {
        WIDTHS.iter().find(|(known, _)| *known == kind).map(|(_, width)| *width).ok_or_else(|| {
            self.refused(format!("a metadata value at byte {} is of unknown type {kind}", self.position))
        })
    }

    fn tensors(&mut self, count: u64, alignment: u64) -> Result<BTreeMap<String, TensorInfo>> {
        let mut tensors = BTreeMap::new();
        for _ in 0..count {
            let name = self.text()?;
            let dimensions = self.u32()?;
            if !(1..=4).contains(&dimensions) {
                return Err(self.refused(format!("`{name}` has {dimensions} dimensions; allowed: 1 to 4")));
            }
            let mut shape = Vec::new();
            for _ in 0..dimensions {
                shape.push(usize::try_from(self.u64()?).unwrap_or(usize::MAX));
            }
            shape.reverse();
            let kind = self.u32()?;
            let encoding = quants::by_code(kind).ok_or_else(|| match quants::unsupported(kind) {
                Some(known) => Error::NotRead {
                    path: self.path.into(),
                    found: format!(
                        "a file in an encoding that is not supported: `{name}` is of type {known} ({kind})"
                    ),
                    allowed: quants::names(),
                },
                None => self.refused(format!("`{name}` is of type {kind}; allowed: {}", quants::names())),
            })?;
            let offset = self.u64()?;
            if tensors.insert(name.clone(), TensorInfo { shape, encoding, offset }).is_some() {
                return Err(self.refused(format!("`{name}` is there twice")));
            }
        }
        let start = self.position.next_multiple_of(alignment);
        let mut taken = Vec::with_capacity(tensors.len());
        for (name, tensor) in &mut tensors {
            let length = tensor_bytes(tensor)
                .map_err(|problem| self.refused(format!("`{name}` of shape {:?} {problem}", tensor.shape)))?;
            if !tensor.offset.is_multiple_of(alignment) {
                let reason = format!("`{name}` begins at {}", tensor.offset);
                return Err(self.refused(format!("{reason}; allowed: multiples of {alignment}")));
            }
            tensor.offset = tensor.offset.saturating_add(start);
            if tensor.offset.saturating_add(length) > self.size {
                return Err(self.refused(format!("its {} bytes end before those of `{name}`", self.size)));
            }
            taken.push((tensor.offset, length, name));
        }
        // Tensors that share bytes could take far more memory than the size of the file.
        taken.sort_unstable();
        for pair in taken.windows(2) {
            let [(offset, length, name), (next, _, other)] = pair else { continue };
            if offset + length > *next {
                return Err(self.refused(format!("`{name}` and `{other}` share bytes")));
            }
        }
        Ok(tensors)
    }
}

/// The number of bytes of a tensor, or the reason why it is not valid, as the end of a message that names tensor and shape.
fn tensor_bytes(TensorInfo { shape, encoding, .. }: &TensorInfo) -> std::result::Result<u64, String> {
    if !shape.last().is_some_and(|row| row.is_multiple_of(encoding.values)) {
        return Err(format!("is not whole blocks of {} {} values", encoding.values, encoding.name));
    }
    // The decoded values, for which memory is allocated, must also have a size that can be counted.
    let values = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let values = values.filter(|values| values.checked_mul(4).is_some());
    let bytes = values.and_then(|values| (values / encoding.values).checked_mul(encoding.bytes));
    bytes.map(|bytes| bytes as u64).ok_or_else(|| "has more values than can be counted".into())
}
