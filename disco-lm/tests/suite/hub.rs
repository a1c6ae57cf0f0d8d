//! Models are downloaded by their id, from a hub on the loopback interface.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use disco_lm::{Error, Hub, HubModel, HubProblem};
use tempfile::TempDir;

use crate::hub_server::{BRANCH, COMMIT, Faults, HubServer};

pub(crate) const NAME: &str = "org/tiny";

/// Bytes that stand for the weights, enough of them to be in the storage server.
pub(crate) fn weights() -> Vec<u8> {
    (0..20_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(crate) fn json() -> Vec<u8> {
    b"{}".to_vec()
}

/// A hub with a language model, and with files that do not belong to it.
pub(crate) fn server() -> HubServer {
    let files = [
        ("config.json", json()),
        ("generation_config.json", json()),
        ("tokenizer.json", json()),
        ("tokenizer_config.json", json()),
        ("model.safetensors", weights()),
        ("model.safetensors.index.json", json()),
        ("pytorch_model.bin", weights()),
        ("README.md", json()),
    ];
    HubServer::new(NAME, files)
}

pub(crate) fn model(text: &str) -> HubModel {
    text.parse().expect("a valid name")
}

pub(crate) fn hub(server: &HubServer, cache: &TempDir) -> Hub {
    Hub::new(&server.endpoint, cache.path()).expect("valid")
}

/// The problem of a call that must fail.
#[track_caller]
pub(crate) fn problem(fetched: Result<PathBuf, Error>) -> HubProblem {
    let error = fetched.expect_err("refused");
    let said = error.to_string();
    match error {
        Error::Hub { endpoint, model, problem } => {
            assert!(said.contains(&endpoint) && said.contains(&model), "whom, and what for: {said}");
            problem
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect()
}

pub(crate) fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}

/// The cache's folder of contents.
pub(crate) fn blobs(cache: &TempDir) -> PathBuf {
    cache.path().join("models--org--tiny").join("blobs")
}

#[test]
fn what_a_model_needs_is_fetched_once_and_found_without_a_hub() {
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    let folder = hub.language_model(&model(NAME)).expect("fetched");
    let wanted = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&folder), set(wanted));
    assert_eq!(fs::read(folder.join("model.safetensors")).expect("readable"), weights());
    let requests = server.requests();
    assert!(
        requests.iter().all(|request| !request.contains("bin") && !request.contains("index")),
        "{requests:?}"
    );
    // Files are in the cache, or known to be absent, under every name of the revision: the hub is not asked again.
    for (name, revision) in [(NAME, "main"), ("org/tiny@main", "main"), (&format!("{NAME}@{COMMIT}"), COMMIT)]
    {
        assert_eq!(hub.language_model(&model(name)).expect("found"), folder, "{revision}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
    let nobody = Hub::new("http://127.0.0.1:1", cache.path()).expect("valid");
    assert_eq!(nobody.language_model(&model(NAME)).expect("found"), folder);
    assert_eq!(nobody.offline().language_model(&model(NAME)).expect("found"), folder);
}

#[test]
fn the_cache_is_the_one_of_hf_hub() {
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    let folder = hub(&server, &cache).language_model(&model(NAME)).expect("fetched");
    let theirs = hf_hub::Cache::new(cache.path().into());
    for name in names(&folder) {
        assert_eq!(theirs.model(NAME.into()).get(&name), Some(folder.join(name)));
    }
    // A cache that hf-hub has written is found, too.
    let cache = TempDir::new().expect("a folder");
    let repository = hf_hub::Cache::new(cache.path().into()).model(NAME.into());
    repository.create_ref("fedcba").expect("written");
    let folder = repository.pointer_path("fedcba");
    fs::create_dir_all(&folder).expect("made");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::write(folder.join(name), "{}").expect("written");
    }
    let offline = Hub::new("http://127.0.0.1:1", cache.path()).expect("valid").offline();
    assert_eq!(offline.language_model(&model(NAME)).expect("found"), folder);
}

#[test]
fn shards_come_with_their_index_and_nothing_else_does() {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;
    let files = [
        ("config.json", json()),
        ("tokenizer.json", json()),
        ("model.safetensors.index.json", index.into()),
        ("model-1.safetensors", weights()),
        ("model-2.safetensors", weights()[1..].to_vec()),
        ("model-3.safetensors", weights()[2..].to_vec()),
    ];
    let (server, cache) = (HubServer::new(NAME, files), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    server.misbehave(Faults { truncated: Some(("model-2.safetensors", 10, 99)), ..Faults::default() });
    assert!(matches!(problem(hub.language_model(&model(NAME))), HubProblem::Interrupted { .. }));
    let lacking = |hub: &Hub| match problem(hub.clone().offline().language_model(&model(NAME))) {
        HubProblem::Offline { lacking, .. } => lacking,
        other => panic!("{other}"),
    };
    // No reference has been written yet, so that the files of the first attempt are not taken for a model.
    assert_eq!(lacking(&hub).len(), 3);
    server.misbehave(Faults::default());
    let folder = hub.language_model(&model(NAME)).expect("fetched");
    assert!(folder.join("model-1.safetensors").exists() && folder.join("model-2.safetensors").exists());
    assert!(!folder.join("model-3.safetensors").exists());
    fs::remove_file(folder.join("model-2.safetensors")).expect("removed");
    assert_eq!(lacking(&hub), ["model-2.safetensors"]);
    server.requests();
    hub.language_model(&model(NAME)).expect("fetched");
    let requests = server.requests();
    assert!(
        requests.iter().all(|request| !request.starts_with("GET /store")),
        "its content is here: {requests:?}"
    );
}

#[test]
fn classifiers_and_adapters_have_files_of_their_own() {
    let files = [
        ("adapter_config.json", json()),
        ("adapter_model.safetensors", weights()),
        ("config.json", json()),
        ("generation_config.json", json()),
        ("tokenizer.json", json()),
        ("model.safetensors", weights()),
    ];
    let (server, cache) = (HubServer::new(NAME, files), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    let adapter = hub.adapter(&model(NAME)).expect("fetched");
    assert_eq!(names(&adapter), set(["adapter_config.json", "adapter_model.safetensors"]));
    let branch = hub.classifier(&model(&format!("{NAME}@{BRANCH}"))).expect("fetched");
    assert_eq!(branch, adapter, "one commit, one folder");
    assert!(branch.join("tokenizer.json").exists() && !branch.join("generation_config.json").exists());
    assert_eq!(
        fs::read_to_string(cache.path().join("models--org--tiny/refs").join(BRANCH)).expect("readable"),
        COMMIT
    );
}

#[test]
fn a_tokenizer_may_have_the_form_that_came_before_its_json() {
    let base = [("config.json", json()), ("model.safetensors", weights())];
    for files in [&["vocab.json", "merges.txt"][..], &["vocab.txt"]] {
        let repository = base.clone().into_iter().chain(files.iter().map(|name| (*name, json())));
        let (server, cache) = (HubServer::new(NAME, repository), TempDir::new().expect("a folder"));
        let folder = hub(&server, &cache).language_model(&model(NAME)).expect("fetched");
        let expected = ["config.json", "model.safetensors"].into_iter().chain(files.iter().copied());
        assert_eq!(names(&folder), expected.map(String::from).collect());
        let again = hub(&server, &cache).offline().language_model(&model(NAME)).expect("in the cache");
        assert_eq!(again, folder);
    }
    // Half of a form is none.
    let half = base.into_iter().chain([("vocab.json", json())]);
    let (server, cache) = (HubServer::new(NAME, half), TempDir::new().expect("a folder"));
    match problem(hub(&server, &cache).language_model(&model(NAME))) {
        HubProblem::NoFile { wanted, .. } => assert_eq!(wanted, "`tokenizer.json`"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_gguf_file_is_fetched_by_its_name_or_as_the_only_one() {
    let files = [
        ("README.md", json()),
        ("config.json", json()),
        ("tiny.Q4_0.gguf", weights()),
        ("tiny.Q8_0.gguf", weights()[1..].to_vec()),
        ("more/tiny.gguf", json()),
    ];
    let (server, cache) = (HubServer::new(NAME, files), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    match problem(hub.language_model(&model(NAME))) {
        HubProblem::GgufFiles { files } => assert_eq!(files, ["tiny.Q4_0.gguf", "tiny.Q8_0.gguf"]),
        other => panic!("{other}"),
    }
    let named = model("org/tiny@main:tiny.Q8_0.gguf");
    let file = hub.language_model(&named).expect("fetched");
    assert_eq!(fs::read(&file).expect("readable"), weights()[1..]);
    assert_eq!(names(file.parent().expect("a folder")), set(["tiny.Q8_0.gguf"]));
    let nobody = Hub::new("http://127.0.0.1:1", cache.path()).expect("valid").offline();
    assert_eq!(nobody.language_model(&named).expect("found"), file);
    // The id without a file stays ambiguous, although one of the files is in the cache.
    assert!(matches!(problem(hub.language_model(&model(NAME))), HubProblem::GgufFiles { .. }));
    match problem(nobody.language_model(&model("org/tiny:tiny.Q4_0.gguf"))) {
        HubProblem::Offline { lacking, .. } => assert_eq!(lacking, ["tiny.Q4_0.gguf"]),
        other => panic!("{other}"),
    }
    match problem(hub.language_model(&model("org/tiny:other.gguf"))) {
        HubProblem::NoFile { wanted, present } => {
            assert_eq!(wanted, "`other.gguf`");
            assert!(present.contains(&"tiny.Q4_0.gguf".to_string()), "{present:?}");
        }
        other => panic!("{other}"),
    }
    let error = hub.adapter(&named).expect_err("no adapter").to_string();
    assert!(error.contains("org/tiny:tiny.Q8_0.gguf") && error.contains("without a file"), "{error}");

    let only = HubServer::new(NAME, [("README.md", json()), ("tiny.gguf", weights())]);
    let cache = TempDir::new().expect("a folder");
    let hub = Hub::new(&only.endpoint, cache.path()).expect("valid");
    let file = hub.language_model(&model(NAME)).expect("fetched");
    assert_eq!(
        (file.file_name(), fs::read(&file).expect("readable")),
        (Some("tiny.gguf".as_ref()), weights())
    );
    only.requests();
    assert_eq!(hub.language_model(&model(NAME)).expect("found"), file);
    assert_eq!(only.requests(), ["GET /api/models/org/tiny/revision/main"]);
}

#[test]
fn what_is_not_to_be_had_is_said() {
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    let of = |hub: &Hub, name: &str| problem(hub.language_model(&model(name)));
    assert_eq!(of(&hub, "org/other"), HubProblem::NoRepository { with_token: false });
    assert_eq!(of(&hub, "org/tiny@v2"), HubProblem::NoRevision { revision: "v2".into() });
    match problem(hub.adapter(&model(NAME))) {
        HubProblem::NoFile { wanted, present } => {
            assert_eq!(wanted, "`adapter_config.json`");
            assert!(present.contains(&"pytorch_model.bin".to_string()), "{present:?}");
        }
        other => panic!("{other}"),
    }
    server.misbehave(Faults { lost: Some("tokenizer.json"), ..Faults::default() });
    assert!(matches!(of(&hub, NAME), HubProblem::NoFile { wanted, .. } if wanted == "`tokenizer.json`"));

    server.misbehave(Faults { gated: Some("right"), ..Faults::default() });
    let cache = TempDir::new().expect("a folder");
    let hub = Hub::new(&server.endpoint, cache.path()).expect("valid");
    assert_eq!(of(&hub, NAME), HubProblem::Gated { with_token: false });
    let wrong = hub.clone().with_token(Some("wrong")).expect("valid");
    assert_eq!(of(&wrong, NAME), HubProblem::Gated { with_token: true });
    server.requests();
    hub.with_token(Some("right")).expect("valid").language_model(&model(NAME)).expect("fetched");
    let requests = server.requests();
    let (store, own): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.contains("/store/"));
    assert!(!store.is_empty() && store.iter().all(|request| !request.contains("right")), "{store:?}");
    assert!(own.iter().all(|request| request.ends_with("Bearer right")), "{own:?}");
}

#[test]
fn without_a_hub_only_a_whole_model_will_do() {
    let cache = TempDir::new().expect("a folder");
    let nobody = Hub::new("http://127.0.0.1:1", cache.path()).expect("valid");
    assert!(matches!(problem(nobody.language_model(&model(NAME))), HubProblem::Unreachable { .. }));
    match problem(nobody.offline().language_model(&model(NAME))) {
        HubProblem::Offline { lacking, .. } => {
            assert_eq!(lacking, ["config.json", "tokenizer.json", "model.safetensors"]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_another_program_did_not_look_for_is_looked_for_once() {
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    // The cache as left by a program that does not read generation_config.json.
    let folder = hub.classifier(&model(NAME)).expect("fetched");
    assert!(!folder.join("generation_config.json").exists());
    hub.language_model(&model(NAME)).expect("fetched");
    assert!(folder.join("generation_config.json").exists());
    let absent = cache.path().join("models--org--tiny/.no_exist").join(COMMIT);
    assert_eq!(
        names(&absent),
        set(["added_tokens.json", "chat_template.jinja", "chat_template.json", "special_tokens_map.json",])
    );
}
