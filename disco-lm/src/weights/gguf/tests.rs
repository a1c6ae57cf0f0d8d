//! Every encoding of GGUF agrees with gguf-py (`tests/suite/reference/gguf_files.py` made the file and the values).

use std::path::Path;

use serde_json::Value;

use crate::weights::gguf::*;

#[test]
fn every_kind_is_dequantised_as_gguf_py_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/reference");
    let file = Container::open(&folder.join("gguf-kinds.gguf")).expect("opens");
    let text = std::fs::read_to_string(folder.join("gguf-kinds.json")).expect("readable");
    let reference: Value = serde_json::from_str(&text).expect("JSON");
    let shape: Vec<usize> = serde_json::from_value(reference["shape"].clone()).expect("a shape");
    let kinds = reference["values"].as_object().expect("an object");
    assert_eq!(kinds.len(), 15);
    for (kind, values) in kinds {
        assert_eq!(file.header.tensors[kind].shape, shape);
        assert_eq!(file.header.tensors[kind].encoding.name, kind);
        let digits = values.as_str().expect("hexadecimal digits").as_bytes();
        let expected = digits.chunks(8).map(|word| {
            let word = std::str::from_utf8(word).expect("digits");
            f32::from_bits(u32::from_str_radix(word, 16).expect("hexadecimal"))
        });
        let mut found = vec![f32::NAN; shape.iter().product()];
        file.read(kind, &mut found).expect("reads");
        assert_eq!(digits.len(), 8 * found.len());
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found.to_bits(), expected.to_bits(), "{kind}[{index}]: {found} and not {expected}");
        }
    }
}

#[test]
fn rows_that_were_reordered_are_put_back() {
    // Two heads of four channels, one column: llama.cpp stores channels 0 and 2, and 1 and 3, side by side.
    let mut restored = [0.0; 8];
    restore_order(&[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0], 8, 2, &mut restored);
    assert_eq!(restored, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}
