//! Folders that lack a file: what they have in its place, so that a message names the cause.

use std::path::Path;

use disco_core::input::open_regular;

use crate::{Error, Result};

/// Files that hold weights of other programs: the ends of their names, and what they are.
const OTHERS: [(&[&str], &str); 8] = [
    (&[".incomplete", ".part", ".crdownload"], "a download that was interrupted"),
    (&[".gguf"], "a GGUF file, which is given by its own path"),
    (&[".bin", ".bin.index.json", ".pt", ".pth", ".ckpt"], "PyTorch's format, a pickle, which can run code"),
    (&[".h5"], "TensorFlow's format"),
    (&[".msgpack"], "Flax's format"),
    (&[".onnx"], "ONNX"),
    (&[".npz"], "NumPy's format"),
    (&[".safetensors"], "safetensors of another name"),
];

/// Files that a training leaves beside the weights.
const OF_TRAINING: [&str; 6] =
    ["training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth"];

/// The error for a folder without the weights `wanted`. It names the files of other formats that are there.
pub(crate) fn without_weights(folder: &Path, wanted: &str) -> Error {
    let path = folder.join(wanted);
    // Something has the name, such as a link to nothing: the error of opening it says so.
    if path.symlink_metadata().is_ok()
        && let Err(source) = open_regular(&path)
    {
        return Error::io(path, source);
    }
    let missing = || Error::io(path.clone(), std::io::ErrorKind::NotFound.into());
    let names = names(folder);
    let is_adapter = wanted.starts_with("adapter");
    if !is_adapter && names.iter().any(|name| name == "adapter_model.safetensors") {
        return not_read(
            folder,
            "an adapter, without the weights of a model",
            "a model, to which an adapter is added",
        );
    }
    let is_of = |name: &str, ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let known = OTHERS.iter().find(|(ends, _)| names.iter().any(|name| is_of(name, ends)));
    let Some((ends, format)) = known else { return missing() };
    let there: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| is_of(name, ends)).take(3).collect();
    let found = format!("without {wanted}; it has {} ({format})", there.join(", "));
    let remedy = if is_adapter {
        format!("{wanted}; `save_pretrained` of PEFT writes it")
    } else {
        format!("{wanted}, or an index of shards; `save_pretrained` of transformers writes them")
    };
    not_read(folder, &found, &remedy)
}

/// The error for a folder of a model whose weights are of other formats only.
pub(crate) fn other_weights(folder: &Path) -> Option<Error> {
    let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
    if has("model.safetensors") || has("model.safetensors.index.json") {
        return None;
    }
    Some(without_weights(folder, "model.safetensors")).filter(|error| matches!(error, Error::NotRead { .. }))
}

/// The error for a folder without `config.json`, if what it has tells what it is.
pub(crate) fn without_config(folder: &Path) -> Option<Error> {
    let names = names(folder);
    let has = |name: &str| names.iter().any(|there| there == name);
    if let Some(file) = names.iter().find(|name| name.ends_with(".gguf")) {
        let found = format!("a folder without config.json; it has {file}");
        return Some(not_read(folder, &found, "the path of the GGUF file itself"));
    }
    let [found, allowed] = if has("adapter_config.json") {
        ["an adapter, without a config.json", "the model, to which the adapter is added"]
    } else if has("params.json") {
        [
            "a folder without config.json; its params.json is of Meta's or Mistral's own format",
            "transformers' format",
        ]
    } else if has("model_index.json") {
        ["a pipeline of diffusers", "a language model"]
    } else {
        return None;
    };
    Some(not_read(folder, found, allowed))
}

/// Refuses the path of a file in the place of its folder.
pub(crate) fn must_be_folder(path: &Path, what: &str) -> Result<()> {
    if path.is_file() {
        let allowed = format!("{what}: the folder that the file is in");
        return Err(not_read(path, "a single file", &allowed));
    }
    Ok(())
}

fn not_read(path: &Path, found: &str, allowed: &str) -> Error {
    Error::NotRead { path: path.into(), found: found.into(), allowed: allowed.into() }
}

/// The names of the files in a folder that are not of a training, sorted; none for a folder that cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !OF_TRAINING.contains(&name.as_str()));
    names.sort();
    names
}
