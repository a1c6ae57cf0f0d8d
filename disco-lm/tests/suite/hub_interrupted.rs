//! Downloads from a hub that are interrupted, damaged, left over, or shared by two programs.

use std::fs;

use disco_lm::{Hub, HubProblem};
use tempfile::TempDir;

use crate::{
    hub::{NAME, blobs, hub, model, names, problem, server, weights},
    hub_server::{Faults, sha256},
};

#[test]
fn an_interrupted_download_goes_on_where_it_ended() {
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    server.misbehave(Faults { truncated: Some(("model.safetensors", 4_000, 2)), ..Faults::default() });
    hub.language_model(&model(NAME)).expect("fetched in three pieces");
    let pieces: Vec<_> =
        server.requests().into_iter().filter(|request| request.contains("/store/")).collect();
    let at = |from: &str| format!("GET /store/model.safetensors{from}");
    assert_eq!(pieces, [at(""), at(" bytes=4000-"), at(" bytes=8000-")]);

    // The download fails: the partial content has another name, and the next call resumes it.
    let cache = TempDir::new().expect("a folder");
    let hub = Hub::new(&server.endpoint, cache.path()).expect("valid");
    server.misbehave(Faults { truncated: Some(("model.safetensors", 100, 99)), ..Faults::default() });
    match problem(hub.language_model(&model(NAME))) {
        HubProblem::Interrupted { file, received: 500, size: 20_000, .. } => {
            assert_eq!(file, "model.safetensors")
        }
        other => panic!("{other}"),
    }
    let content = sha256(&weights());
    assert!(!blobs(&cache).join(&content).exists());
    assert_eq!(
        fs::read(blobs(&cache).join(format!("{content}.disco-partial"))).expect("kept"),
        weights()[..500]
    );
    server.misbehave(Faults::default());
    server.requests();
    let folder = hub.language_model(&model(NAME)).expect("fetched");
    assert!(server.requests().contains(&at(" bytes=500-")));
    assert_eq!(fs::read(folder.join("model.safetensors")).expect("readable"), weights());
    assert!(names(&blobs(&cache)).iter().all(|name| !name.ends_with("partial")));
}

#[test]
fn what_is_not_what_was_announced_never_gets_a_name() {
    for faults in [Faults { corrupt: true, ..Faults::default() }, Faults { excess: 3, ..Faults::default() }] {
        let (server, cache) = (server(), TempDir::new().expect("a folder"));
        let hub = hub(&server, &cache);
        server.misbehave(faults.clone());
        match problem(hub.language_model(&model(NAME))) {
            HubProblem::Damaged { reason, .. } => assert!(reason.contains("SHA-256"), "{reason}"),
            HubProblem::Answer { reason, .. } => assert!(reason.contains("more than the 20000"), "{reason}"),
            other => panic!("{other}"),
        }
        assert!(!blobs(&cache).join(sha256(&weights())).exists(), "{faults:?}");
        server.misbehave(Faults::default());
        let folder = hub.language_model(&model(NAME)).expect("fetched");
        assert_eq!(fs::read(folder.join("model.safetensors")).expect("readable"), weights());
    }
}

#[test]
fn what_earlier_attempts_left_does_no_harm() {
    let content = sha256(&weights());
    // A partial file that is too long, one of the right length with another content, and the beginning of another content.
    for left in [vec![7; 30_000], vec![7; 20_000], vec![7; 300]] {
        for no_ranges in [false, true] {
            let (server, cache) = (server(), TempDir::new().expect("a folder"));
            let hub = hub(&server, &cache);
            server.misbehave(Faults { no_ranges, ..Faults::default() });
            fs::create_dir_all(blobs(&cache)).expect("made");
            fs::write(blobs(&cache).join(format!("{content}.disco-partial")), &left).expect("written");
            let first = hub.language_model(&model(NAME));
            // Only the beginning of another content is resumed; the hash finds it out at the end, and the file is removed.
            let mixed = left.len() == 300 && !no_ranges;
            assert_eq!(first.is_err(), mixed, "{} {no_ranges}", left.len());
            let folder = hub.language_model(&model(NAME)).expect("fetched");
            assert_eq!(fs::read(folder.join("model.safetensors")).expect("readable"), weights());
        }
    }
    // Half a content under its final name, left by a program that does not check the size.
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    fs::create_dir_all(blobs(&cache)).expect("made");
    fs::write(blobs(&cache).join(&content), &weights()[..9_000]).expect("written");
    let folder = hub(&server, &cache).language_model(&model(NAME)).expect("fetched");
    assert_eq!(fs::read(folder.join("model.safetensors")).expect("readable"), weights());
}

#[test]
fn two_who_fetch_the_same_share_it() {
    let (server, cache) = (server(), TempDir::new().expect("a folder"));
    let hub = hub(&server, &cache);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| hub.language_model(&model(NAME)).expect("fetched"));
        }
    });
    let fetched = server.requests().iter().filter(|request| request.contains("GET /store/")).count();
    assert_eq!(fetched, 1);
}
