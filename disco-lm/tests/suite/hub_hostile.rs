//! Hubs that are hostile, broken, or not hubs at all: every download ends, says why, and leaves the cache as it should be.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use disco_lm::{Hub, HubModel};
use tempfile::TempDir;

use crate::{
    hostile_answers::{FETCHED, Fault, MODEL, PAGE, bodies, heads, lists, rests, small_files},
    hostile_server::{
        At::{self, Get, Head, List, Rest},
        HostileServer, SIZE, content, etag,
    },
    hub::names,
    hub_server::COMMIT,
};

/// A timeout that keeps the tests short.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The time in which each download must end: two stalled attempts, pauses, and a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// Fetches the model from a hub with this fault, and again from the same hub without it.
#[track_caller]
fn check(server: &HostileServer, at: At, (name, bad, expected): Fault) {
    let place = TempDir::new().expect("a folder");
    let cache = place.path().join("cache");
    let model: HubModel = "org/tiny".parse().expect("valid");
    let hub = Hub::new(&server.endpoint, &cache).and_then(|hub| hub.with_token(Some("hf_secret")));
    let hub = hub.and_then(|hub| hub.with_timeout(TIMEOUT)).expect("valid");
    server.misbehave(Some((at, bad)));
    let started = Instant::now();
    let fetched = hub.language_model(&model);
    let time = started.elapsed();
    assert!(time < LONGEST, "{at:?}, {name}: {time:?}");
    match (fetched, expected) {
        (Ok(folder), FETCHED) => {
            assert_eq!(fs::read(folder.join(MODEL)).expect("readable"), content(MODEL), "{name}")
        }
        (Err(error), expected) if expected != FETCHED => {
            let said = error.to_string();
            assert!(said.contains(expected), "{at:?}, {name}: {said}");
            assert!(!said.contains("hf_secret") && !said.contains(char::is_control), "{name}: {said}");
            assert!(said.len() < 3000, "{name}: {said}");
        }
        (fetched, _) => panic!("{at:?}, {name}: {fetched:?}"),
    }
    assert_eq!(names(place.path()).len(), usize::from(cache.exists()), "{name}: nothing leaves the cache");
    server.misbehave(None);
    let hub = hub.with_timeout(LONGEST).expect("valid");
    // The rest of a wrong beginning is found out at the end, after which the download begins anew.
    let again = hub.language_model(&model).or_else(|error| match error.to_string() {
        said if said.contains("It was removed; try again") => hub.language_model(&model),
        _ => Err(error),
    });
    let folder = again.unwrap_or_else(|error| panic!("{at:?}, {name}, again: {error}"));
    for file in ["config.json", "tokenizer.json", MODEL] {
        assert_eq!(fs::read(folder.join(file)).expect("readable"), content(file), "{at:?}, {name}");
    }
    assert_eq!(server.leaks(), 0, "{at:?}, {name}: the token is for the hub");
}

/// Checks all faults at one kind of request, sixteen at a time, each with a server of its own.
fn check_all(at: At, faults: fn(&HostileServer) -> Vec<Fault>) {
    let count = faults(&HostileServer::new()).len();
    std::thread::scope(|scope| {
        for worker in 0..16 {
            scope.spawn(move || {
                for index in (worker..count).step_by(16) {
                    let server = HostileServer::new();
                    let fault = faults(&server).swap_remove(index);
                    check(&server, at, fault);
                }
            });
        }
    });
}

#[test]
fn lists_of_files_may_be_anything() {
    check_all(List, lists);
}

#[test]
fn descriptions_of_files_may_be_anything() {
    check_all(Head(MODEL), heads);
}

#[test]
fn contents_may_be_anything() {
    check_all(Get(MODEL), bodies);
}

#[test]
fn the_rest_of_a_content_may_be_anything() {
    check_all(Rest, |_| rests());
}

#[test]
fn small_files_may_be_anything() {
    check_all(Get("config.json"), |_| small_files());
}

#[test]
fn shards_must_be_files_of_the_same_folder() {
    for shard in [
        "../x.safetensors",
        "/etc/x.safetensors",
        "..",
        "a\\b.safetensors",
        "a\u{0}.safetensors",
        "NUL.safetensors",
        "config.json",
        "x?y.safetensors",
        ".x.safetensors",
        "a\u{1b}[2J.safetensors",
        "",
    ] {
        let index = serde_json::json!({"weight_map": {"a": shard}}).to_string();
        refuse_index(&index, "shard");
    }
    refuse_index(r#"{"weight_map": {"a": "x.safetensors", "b": "X.safetensors"}}"#, "upper and lower case");
}

#[track_caller]
fn refuse_index(index: &str, message: &str) {
    let files = [
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.into()),
    ];
    let (server, cache) =
        (crate::hub_server::HubServer::new("org/tiny", files), TempDir::new().expect("a folder"));
    let hub = Hub::new(&server.endpoint, cache.path()).expect("valid");
    let error = hub.language_model(&"org/tiny".parse().expect("valid")).expect_err(index).to_string();
    assert!(error.contains(message) && !error.contains('\u{1b}'), "{error}");
}

/// A cache as an earlier version, another program or a stranger has left it.
#[test]
fn what_is_in_the_cache_and_is_not_what_its_name_says_is_replaced() {
    let plants: [(&str, fn(&Path, &Path)); 7] = [
        ("a login page as configuration", |_, folder| replace(&folder.join("config.json"), PAGE)),
        ("a login page as weights", |_, folder| replace(&folder.join(MODEL), PAGE)),
        ("a pointer as weights", |_, folder| {
            replace(&folder.join(MODEL), "version https://git-lfs.github.com/spec/v1\n")
        }),
        ("an empty configuration", |_, folder| replace(&folder.join("config.json"), "")),
        ("a login page under the name of the content", |blobs, _| {
            fs::write(blobs.join(etag(MODEL)), PAGE).expect("written")
        }),
        ("half of the content", |blobs, _| {
            fs::write(blobs.join(etag(MODEL)), &content(MODEL)[..SIZE / 2]).expect("written")
        }),
        ("a link to nothing", |blobs, _| fs::remove_file(blobs.join(etag(MODEL))).expect("removed")),
    ];
    for (name, plant) in plants {
        let (server, cache) = (HostileServer::new(), TempDir::new().expect("a folder"));
        let model: HubModel = "org/tiny".parse().expect("valid");
        let hub = Hub::new(&server.endpoint, cache.path()).expect("valid");
        let folder = hub.language_model(&model).expect("fetched");
        plant(&cache.path().join("models--org--tiny/blobs"), &folder);
        let offline = hub.clone().offline().language_model(&model).expect_err(name).to_string();
        assert!(offline.contains("lacks"), "{name}: {offline}");
        let folder = hub.language_model(&model).expect(name);
        for file in ["config.json", MODEL] {
            assert_eq!(fs::read(folder.join(file)).expect("readable"), content(file), "{name}");
        }
        assert!(folder.join(MODEL).is_symlink(), "{name}");
    }
}

/// Puts a file in the place of a link.
fn replace(path: &Path, text: &str) {
    fs::remove_file(path).expect("removed");
    fs::write(path, text).expect("written");
}

#[cfg(unix)]
#[test]
fn planted_links_and_pipes_are_not_written_to() {
    use std::os::unix::fs::symlink;
    let place = TempDir::new().expect("a folder");
    let [victim, cache] = ["victim", "cache"].map(|name| place.path().join(name));
    fs::write(&victim, "kept").expect("written");
    let server = HostileServer::new();
    let model = cache.join("models--org--tiny");
    for folder in ["blobs", ".no_exist"]
        .map(|name| model.join(name))
        .into_iter()
        .chain([cache.join(".locks/models--org--tiny"), model.join("refs")])
    {
        fs::create_dir_all(folder).expect("made");
    }
    fs::create_dir_all(model.join(".no_exist").join(COMMIT)).expect("made");
    let partial = model.join("blobs").join(format!("{}.disco-partial", etag(MODEL)));
    symlink(&victim, &partial).expect("linked");
    fs::hard_link(&victim, model.join("blobs").join(format!("{}.disco-partial", etag("config.json"))))
        .expect("linked");
    symlink(&victim, cache.join(".locks/models--org--tiny").join(format!("{}.lock", etag(MODEL))))
        .expect("linked");
    symlink(&victim, model.join(".no_exist").join(COMMIT).join("chat_template.jinja")).expect("linked");
    symlink(&victim, model.join("refs/main")).expect("linked");
    let pipe = model.join("blobs").join(format!("{}.disco-partial", etag("tokenizer.json")));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
    assert!(made.success());
    let folder = Hub::new(&server.endpoint, &cache)
        .expect("valid")
        .language_model(&"org/tiny".parse().expect("valid"));
    let folder = folder.expect("fetched");
    assert_eq!(fs::read(folder.join(MODEL)).expect("readable"), content(MODEL));
    assert_eq!(fs::read_to_string(&victim).expect("readable"), "kept");
    assert!(!partial.exists());
    // Others may read the cache as far as the umask lets them.
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    for file in [folder.join(MODEL), folder.join("config.json"), model.join("refs/main")] {
        assert_eq!(mode(&file), mode(&victim), "{}", file.display());
    }
}
