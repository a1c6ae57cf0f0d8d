//! A model that is downloaded from a hub is the same as the model in the folder from which the hub serves it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use disco_core::{Distribution, Streams};
use disco_lm::{Error, Generation, Hub, LanguageModel};
use tempfile::TempDir;

use crate::{common::device, hub_server::HubServer};

const NAMES: [&str; 4] = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"];

fn embedded() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare"))
}

fn load(folder: &Path) -> Result<LanguageModel, Error> {
    LanguageModel::load(folder, &device(), Generation { max_new_tokens: 8, ..Generation::default() })
}

#[test]
fn a_fetched_model_draws_what_the_folder_draws() {
    let server = HubServer::of_folder("org/tiny-shakespeare", embedded(), NAMES);
    let cache = TempDir::new().expect("a folder");
    let hub = Hub::new(&server.endpoint, cache.path()).expect("valid");
    let folder = hub.language_model(&"org/tiny-shakespeare".parse().expect("valid")).expect("fetched");
    let [fetched, local] = [&folder, embedded()].map(|folder: &Path| {
        let model = load(folder).expect("loads");
        model.sample(&"ROMEO:\n".to_string(), &Streams::new(7, 4)).expect("drawn")
    });
    assert_eq!(fetched, local);
}

#[test]
fn a_fetched_gguf_file_is_the_model_that_the_file_is() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference"));
    let server = HubServer::of_folder("org/tiny", folder, ["gguf-sentencepiece.gguf"]);
    let cache = TempDir::new().expect("a folder");
    let hub = Hub::new(&server.endpoint, cache.path()).expect("valid");
    let file = hub.language_model(&"org/tiny".parse().expect("valid")).expect("fetched");
    let [fetched, local] = [&file, &folder.join("gguf-sentencepiece.gguf")].map(|path: &PathBuf| {
        let model = load(path).expect("loads");
        model.sample(&"the king".to_string(), &Streams::new(7, 4)).expect("drawn")
    });
    assert_eq!(fetched, local);
}

#[test]
fn an_id_in_the_place_of_a_folder_says_how_to_fetch_it() {
    let error = load(Path::new("org/no-such-folder")).expect_err("no folder").to_string();
    assert!(error.contains("org/no-such-folder") && error.contains("Hub::language_model"), "{error}");
    let error = load(Path::new("/no/such/folder")).expect_err("no folder").to_string();
    assert!(error.contains("/no/such/folder") && !error.contains("Hub"), "{error}");
}

/// Python's huggingface_hub finds files that this crate has downloaded, and this crate finds its files.
#[test]
fn the_cache_is_the_one_of_huggingface_hub() {
    let Some(python) = std::env::var_os("DISCO_HF_PYTHON") else {
        eprintln!("skipped: DISCO_HF_PYTHON names no Python that has huggingface_hub");
        return;
    };
    let server = HubServer::of_folder("org/tiny-shakespeare", embedded(), NAMES);
    let model = "org/tiny-shakespeare".parse().expect("valid");
    let run = |cache: &TempDir, offline: &str| {
        let script = "from huggingface_hub import hf_hub_download as get\n\
                      for name in ['config.json', 'generation_config.json', 'tokenizer.json', 'model.safetensors']:\n\
                      \x20   print(get('org/tiny-shakespeare', name))";
        let mut command = Command::new(&python);
        command.args(["-c", script]).env("HF_ENDPOINT", &server.endpoint).env("HF_HUB_OFFLINE", offline);
        command.env("HF_HUB_CACHE", cache.path()).env("HF_HUB_DISABLE_XET", "1").env_remove("HF_TOKEN");
        let output = command.output().expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let ours = TempDir::new().expect("a folder");
    let folder =
        Hub::new(&server.endpoint, ours.path()).expect("valid").language_model(&model).expect("fetched");
    let paths = run(&ours, "1");
    assert_eq!(paths.lines().count(), NAMES.len());
    assert!(paths.lines().all(|path| Path::new(path).parent() == Some(&folder)), "{paths}");

    let theirs = TempDir::new().expect("a folder");
    let paths = run(&theirs, "0");
    server.requests();
    let hub = Hub::new(&server.endpoint, theirs.path()).expect("valid").offline();
    let folder = hub.language_model(&model).expect("found");
    assert!(paths.lines().all(|path| Path::new(path).parent() == Some(&folder)), "{paths}");
    assert_eq!(server.requests(), Vec::<String>::new());
}
