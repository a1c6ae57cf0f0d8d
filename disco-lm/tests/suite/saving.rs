//! Saving: what a precision cannot hold, full disks, permissions, and folders that hold something of somebody else's.

use std::{fs, path::Path};

use disco_lm::{Error, Generation, LanguageModel, Lora, Precision, TokenModel};
use tempfile::TempDir;

use crate::{common::device, tiny};

fn embedded() -> LanguageModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny-shakespeare");
    LanguageModel::load(folder, &device(), Generation::default()).expect("loads")
}

/// A tiny model of which one weight, the last of the file, has this value.
fn with_weight(value: f32) -> TokenModel {
    let place = TempDir::new().expect("a folder");
    tiny::write(place.path(), 0);
    let path = place.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("readable");
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&value.to_le_bytes());
    fs::write(&path, bytes).expect("writable");
    TokenModel::load(place.path(), &device(), Generation { max_new_tokens: 4, ..Generation::default() })
        .expect("loads")
}

/// IEEE 754 half precision has nothing beyond 65504 (Tencent/ncnn#5799, tensorflow/tensorflow#43719).
#[test]
fn a_weight_that_half_precision_cannot_hold_is_named_and_nothing_is_written() {
    for value in [65504.0, -65519.0] {
        let place = TempDir::new().expect("a folder");
        with_weight(value).save_weights(place.path(), Precision::F16).expect("it fits");
    }
    for value in [65520.0f32, -1e6, f32::MAX] {
        let place = TempDir::new().expect("a folder");
        let error = with_weight(value).save_weights(place.path(), Precision::F16).expect_err("too large");
        let said = error.to_string();
        assert!(matches!(error, Error::Invalid { field: "precision", .. }), "{said}");
        assert!(
            said.contains("`model.norm.weight`") && said.contains("65504") && said.contains("f32"),
            "{said}"
        );
        assert!(said.contains(&format!("{value:e}")), "{said}");
        assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 0);
        with_weight(value).save_weights(place.path(), Precision::F32).expect("it fits");
    }
}

#[cfg(unix)]
#[test]
fn saved_files_have_the_permissions_of_any_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = TempDir::new().expect("a folder");
    let [model, adapter, plain] = ["model", "adapter", "plain"].map(|name| place.path().join(name));
    fs::create_dir(&plain).expect("made");
    fs::write(plain.join("file"), "").expect("written");
    let embedded = embedded();
    embedded.save(&model, Precision::F16).expect("saved");
    let lora = Lora { rank: 2, ..Lora::default() };
    embedded.with_lora(&lora).and_then(|model| model.save_adapter(&adapter)).expect("saved");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode();
    for folder in [&model, &adapter] {
        assert_eq!(mode(folder), mode(&plain));
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            assert_eq!(mode(&path), mode(&plain.join("file")), "{}", path.display());
        }
    }
}

#[test]
fn only_a_folder_that_was_saved_is_replaced() {
    let place = TempDir::new().expect("a folder");
    let [saved, downloaded] = ["saved", "downloaded"].map(|name| place.path().join(name));
    let model = embedded();
    for _ in 0..2 {
        model.save(&saved, Precision::F16).expect("saved");
        LanguageModel::add_file(&saved, "README.md", b"a card").expect("added");
    }
    // A model that somebody has downloaded looks the same, and is not ours.
    fs::create_dir(&downloaded).expect("made");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(saved.join(name), downloaded.join(name)).expect("copied");
    }
    fs::write(saved.join("notes.txt"), "mine").expect("written");
    for (folder, message) in
        [(&saved, "notes.txt: not in the manifest"), (&downloaded, "it has no manifest.json")]
    {
        let before = fs::read_dir(folder).expect("readable").count();
        for error in [
            model.save(folder, Precision::F16).expect_err(message),
            LanguageModel::check_folder(folder).expect_err(message),
        ] {
            assert!(error.to_string().contains(message), "{error}");
        }
        assert_eq!(fs::read_dir(folder).expect("readable").count(), before);
    }
}

/// Saves in a process of its own whose files may have 64 kB, which ends writing as a full disk does.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_called_so_and_leaves_what_was_there() {
    const CHILD: &str = "DISCO_FULL_DISK_TEST";
    if let Some(folder) = std::env::var_os(CHILD) {
        let error = embedded().save(&folder, Precision::F32).expect_err("no space");
        let said = error.to_string();
        assert!(matches!(error, Error::Io { .. }), "{said}");
        assert!(said.contains("model.safetensors: File too large"), "{said}");
        return;
    }
    let place = TempDir::new().expect("a folder");
    let folder = place.path().join("model");
    embedded().save(&folder, Precision::F16).expect("saved");
    let before = fs::read(folder.join("model.safetensors")).expect("readable");
    // Without the trap, the system would end the process.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact saving::a_full_disk_is_called_so_and_leaves_what_was_there";
    let mut child = std::process::Command::new("bash");
    child.args(["-c", script]).arg(std::env::current_exe().expect("this program")).env(CHILD, &folder);
    let output = child.output().expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(fs::read(folder.join("model.safetensors")).expect("readable"), before);
    assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 1, "nothing is left beside it");
}
