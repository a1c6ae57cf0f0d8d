//! Files that are damaged, forged, or no files at all: each is refused or read, and none ends the process, makes it wait for ever,
//! or makes it take memory for a size that only the file claims.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use disco_lm::{Error, Generation, LanguageModel, Lora, TokenModel};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use tempfile::TempDir;

use crate::{
    common::{device, folder},
    file_damage::{damage, mend_length},
    tiny,
};

const SEED: u64 = 20_261_127;

/// The time that loading one tiny model may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// The most virtual memory that loading tiny models may add to the process.
#[cfg(target_os = "linux")]
const MOST_MEMORY: u64 = 4 << 30;

/// A model whose files are damaged one at a time.
struct Subject {
    place: TempDir,
    /// The file that is damaged.
    file: PathBuf,
    content: Vec<u8>,
    /// The number of bytes at its beginning where most of the damage is done.
    head: usize,
    load: fn(&Path) -> Result<TokenModel, Error>,
}

impl Subject {
    fn new(place: TempDir, name: &str, load: fn(&Path) -> Result<TokenModel, Error>) -> Self {
        let file = place.path().join(name);
        let content = fs::read(&file).expect("readable");
        let header = content.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize + 8);
        let head = if name.ends_with(".safetensors") { header } else { content.len().min(1 << 14) };
        Self { place, file, content, head, load }
    }

    fn is_safetensors(&self) -> bool {
        self.file.extension().is_some_and(|extension| extension == "safetensors")
    }

    /// The fault of reading a damaged file; `None` if it is refused or loaded.
    fn fault(&self, bytes: &[u8]) -> Option<String> {
        fs::write(&self.file, bytes).expect("writable");
        let started = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| match (self.load)(self.place.path()) {
            // A model that was loaded must also compute, or say why not.
            Ok(model) => drop(model.logits(&[1, 2, 3])),
            Err(error) => assert!(!error.to_string().is_empty()),
        }));
        let time = started.elapsed();
        match done {
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                Some(said.or(panic.downcast_ref::<&str>().map(|said| said.to_string())).unwrap_or_default())
            }
            Ok(()) => (time > LONGEST).then(|| format!("{time:?}")),
        }
    }
}

fn load(folder: &Path) -> Result<TokenModel, Error> {
    TokenModel::load(folder, &device(), Generation { max_new_tokens: 4, ..Generation::default() })
}

fn load_gguf(folder: &Path) -> Result<TokenModel, Error> {
    load(&folder.join("model.gguf"))
}

fn load_text(folder: &Path) -> Result<TokenModel, Error> {
    let generation = Generation { max_new_tokens: 4, ..Generation::default() };
    Ok(LanguageModel::load(folder.join("model.gguf"), &device(), generation)?.tokens().clone())
}

fn load_adapter(folder: &Path) -> Result<TokenModel, Error> {
    load(folder)?.with_adapter(folder.join("adapter"))
}

fn tiny_folder(write: fn(&Path, u64)) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    write(folder.path(), 0);
    fs::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": [0, 3], "do_sample": true}"#)
        .expect("writable");
    folder
}

fn with_adapter() -> TempDir {
    let folder = tiny_folder(tiny::write);
    let lora = Lora { rank: 2, ..Lora::default() };
    let model = load(folder.path()).and_then(|model| model.with_lora(&lora)).expect("an adapter");
    model.save_adapter(folder.path().join("adapter")).expect("saved");
    folder
}

fn in_shards() -> TempDir {
    let folder = tiny_folder(tiny::write);
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("readable");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
    let map: serde_json::Map<_, _> =
        tensors.names().into_iter().map(|name| (name.into(), "one.safetensors".into())).collect();
    let index = serde_json::json!({"metadata": {"total_size": bytes.len()}, "weight_map": map});
    fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).expect("writable");
    fs::rename(path, folder.path().join("one.safetensors")).expect("renamed");
    folder
}

fn gguf(name: &str) -> TempDir {
    let place = TempDir::new().expect("a folder");
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/reference");
    fs::copy(reference.join(name), place.path().join("model.gguf")).expect("copied");
    place
}

fn golden(name: &str) -> TempDir {
    let place = TempDir::new().expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder(name).join(file), place.path().join(file)).expect("copied");
    }
    place
}

/// All subjects, each with its share of the damage.
fn subjects() -> Vec<(u64, Subject)> {
    let gguf_file = |name, load| Subject::new(gguf(name), "model.gguf", load);
    vec![
        (25, Subject::new(tiny_folder(tiny::write), "model.safetensors", load)),
        (12, Subject::new(tiny_folder(tiny::write), "config.json", load)),
        (6, Subject::new(tiny_folder(tiny::write_windowed), "config.json", load)),
        (6, Subject::new(tiny_folder(tiny::write_t5), "config.json", load)),
        (6, Subject::new(golden("gpt2"), "config.json", load)),
        (4, Subject::new(tiny_folder(tiny::write), "generation_config.json", load)),
        (6, Subject::new(in_shards(), "model.safetensors.index.json", load)),
        (5, Subject::new(with_adapter(), "adapter/adapter_config.json", load_adapter)),
        (5, Subject::new(with_adapter(), "adapter/adapter_model.safetensors", load_adapter)),
        (15, gguf_file("gguf-llama-gqa-tied.gguf", load_gguf as fn(&Path) -> _)),
        (10, gguf_file("gguf-sentencepiece.gguf", load_text)),
    ]
}

/// Damages files `hundredths` times for each hundredth of the whole.
fn check_damage(hundredths: u64) {
    let mut faults = Vec::new();
    for (share, subject) in subjects() {
        let whole = (subject.load)(subject.place.path());
        whole.unwrap_or_else(|error| panic!("before any damage: {error}"));
        for case in 0..share * hundredths {
            let mut random = ChaCha8Rng::seed_from_u64(SEED ^ share << 48 ^ case);
            let mut bytes = subject.content.clone();
            damage(&mut random, &mut bytes, subject.head);
            if subject.is_safetensors() && random.random_range(0..2) == 0 {
                let removed = subject.content.len() as isize - bytes.len() as isize;
                mend_length(&mut bytes, removed);
            }
            if let Some(fault) = subject.fault(&bytes) {
                faults.push(format!("{}, case {case}: {fault}", subject.file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(20)]);
}

#[test]
fn damaged_files_are_refused_or_read() {
    check_damage(6);
}

#[test]
#[ignore = "sweep: 100,000 damaged model files, half a minute"]
fn sweep_damaged_files() {
    #[cfg(target_os = "linux")]
    let before = peak_memory();
    check_damage(1000);
    #[cfg(target_os = "linux")]
    assert!(peak_memory() - before < MOST_MEMORY, "{} bytes more", peak_memory() - before);
}

/// The most virtual memory that this process ever had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).expect("there");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Everything that can have the name of a file and is none.
#[cfg(unix)]
#[test]
fn pipes_folders_sockets_and_devices_are_refused_by_name() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    type Plant = fn(&Path);
    let plants: [(Plant, &str); 5] = [
        (
            |path| {
                let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo starts");
                assert!(made.success());
            },
            "a named pipe (FIFO)",
        ),
        (|path| fs::create_dir(path).expect("made"), "a directory"),
        (|path| drop(UnixListener::bind(path).expect("bound")), "a socket"),
        (|path| symlink("/dev/zero", path).expect("linked"), "a character device"),
        (
            |path| symlink("nowhere", path).expect("linked"),
            "a symbolic link to nowhere, which does not exist",
        ),
    ];
    for (plant, what) in plants {
        let check = |file: PathBuf, load: &dyn Fn() -> Result<(), Error>| {
            let _ = fs::remove_file(&file);
            plant(&file);
            let said = load().expect_err(what).to_string();
            assert!(said.contains(what) && said.contains(&*file.to_string_lossy()), "{said}");
        };
        for name in [
            "config.json",
            "generation_config.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "chat_template.jinja",
            "model.safetensors",
        ] {
            let place = tiny_folder(tiny::write);
            check(place.path().join(name), &|| load(place.path()).map(drop));
        }
        let place = golden_text();
        check(place.path().join("tokenizer.json"), &|| {
            LanguageModel::load(place.path(), &device(), Generation::default()).map(drop)
        });
        check(place.path().join("alone.json"), &|| {
            disco_lm::Tokenizer::load(place.path().join("alone.json")).map(drop)
        });
        for name in ["model.safetensors.index.json", "one.safetensors"] {
            let place = in_shards();
            check(place.path().join(name), &|| load(place.path()).map(drop));
        }
        for name in ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"] {
            let place = with_adapter();
            check(place.path().join(name), &|| load_adapter(place.path()).map(drop));
        }
        let place = TempDir::new().expect("a folder");
        check(place.path().join("model.gguf"), &|| load_gguf(place.path()).map(drop));
    }
}

/// The language model of this repository.
fn golden_text() -> TempDir {
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny-shakespeare");
    let place = TempDir::new().expect("a folder");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(embedded.join(name), place.path().join(name)).expect("copied");
    }
    place
}

/// A safetensors file with this header, and as many bytes of data.
fn forged(header: &str, data: usize) -> TempDir {
    let place = tiny_folder(tiny::write);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(place.path().join("model.safetensors"), bytes).expect("writable");
    place
}

/// Damage that safetensors 0.8 refuses as well, but for the tensor that is there twice.
#[test]
fn forged_headers_of_safetensors_are_refused() {
    let tensor =
        |shape: &str, offsets: &str| format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#);
    let one = tensor("[2]", "[0,8]");
    for (header, data, message) in [
        (format!(r#"{{"a":{one},"b":{one}}}"#), 8, "`b` begins at byte 0"),
        (format!(r#"{{"a":{one},"b":{}}}"#, tensor("[2]", "[4,12]")), 12, "`b` begins at byte 4"),
        (format!(r#"{{"a":{one},"b":{}}}"#, tensor("[2]", "[16,24]")), 24, "`b` begins at byte 16"),
        (format!(r#"{{"a":{one},"a":{one}}}"#), 8, "`a` is there twice"),
        (format!(r#"{{"a":{}}}"#, tensor("[2]", "[8,0]")), 8, "does not span"),
        (format!(r#"{{"a":{}}}"#, tensor("[3]", "[0,8]")), 8, "does not span"),
        (format!(r#"{{"a":{}}}"#, tensor("[4611686018427387904,4]", "[0,0]")), 0, "does not span"),
        (format!(r#"{{"a":{}}}"#, tensor("[9223372036854775807]", "[0,8]")), 8, "does not span"),
        (format!(r#"{{"a":{one}}}"#), 9, "go on after the 8 of its tensors"),
        (format!(r#"{{"a":{one}}}"#), 7, "end before its header or its tensors"),
        (format!(r#"{{"a":{}}}"#, tensor("[-1]", "[0,8]")), 8, "invalid value"),
        (format!(r#"{{"a":{}}}"#, one.replace("F32", "F33")), 8, "F33"),
        ("[".repeat(100_000), 0, "damaged or not of its format"),
        (format!(r#"{{"a":{}}}"#, "[".repeat(100_000)), 0, "damaged or not of its format"),
        ("[]".into(), 0, "an object of tensors"),
    ] {
        let place = forged(&header, data);
        let said = load(place.path()).expect_err(message).to_string();
        assert!(said.contains(message), "{said}");
    }
    // A header that is longer than any: the file has no such bytes on disk.
    let place = forged("{}", 0);
    let file = fs::File::options().write(true).open(place.path().join("model.safetensors")).expect("opened");
    file.set_len(1 << 36).expect("a sparse file");
    std::io::Write::write_all(&mut &file, &(1u64 << 35).to_le_bytes()).expect("written");
    let said = load(place.path()).expect_err("too long").to_string();
    assert!(said.contains("allowed: at most 100000000"), "{said}");
    fs::File::options()
        .write(true)
        .open(place.path().join("config.json"))
        .and_then(|file| file.set_len(1 << 36))
        .expect("sparse");
    let said = load(place.path()).expect_err("too long").to_string();
    assert!(said.contains("config.json") && said.contains("allowed: at most 134217728"), "{said}");
}
