//! A directory of checkpoints belongs to one run at a time, and what no run wrote there is never removed.

use std::{fs, path::Path};

use disco_tuner::{Checkpoints, Error, Problem, SealedFolder, Tuner, TunerConfig};

use crate::common::{Kind, World, target};

const MINE: &str = "years of work";

fn config() -> TunerConfig {
    TunerConfig { steps: 6, samples_per_step: 50, ..TunerConfig::default() }
}

/// A run to its end, with a checkpoint at each step, of which one is kept; returns the steps of the checkpoints.
fn run(folder: &Path) -> Result<Vec<u64>, Error> {
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config())?);
    let (checkpoints, mut policy) = (Checkpoints::new(folder, 1, 1)?, world.policy());
    tuner.start(&mut policy, &problem)?.with_checkpoints(&checkpoints)?.drive(&mut ())?;
    checkpoints.steps()
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn of_two_runs_in_one_directory_the_second_ends_before_its_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config()).unwrap());
    let (first, mut policy) = (Checkpoints::new(folder.path(), 1, 1).unwrap(), world.policy());
    let mut running = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&first).unwrap();
    running.step().unwrap();
    // The checkpoint that the first is writing is no orphan to the second.
    let partial = folder.path().join("step-2.partial");
    fs::create_dir(&partial).unwrap();
    SealedFolder::begin(&partial).unwrap();
    let (second, mut other) = (Checkpoints::new(folder.path(), 1, 1).unwrap(), world.policy());
    assert!(partial.is_dir());
    for refused in [
        tuner.start(&mut other, &problem).unwrap().with_checkpoints(&second).map(drop).unwrap_err(),
        tuner.resume(&mut world.policy(), &problem, &second).map(drop).unwrap_err(),
    ] {
        let said = refused.to_string();
        assert!(matches!(refused, Error::InUse { .. }), "{said}");
        assert!(said.contains(&format!("process {} on ", std::process::id())), "{said}");
    }
    running.step().unwrap();
    assert_eq!(first.steps().unwrap(), [2]);
    // Runs of the same `Checkpoints` share the lock, which ends with the last of them.
    let mut again = world.policy();
    let resumed = tuner.resume(&mut again, &problem, &first).unwrap();
    drop(running);
    assert!(matches!(tuner.resume(&mut world.policy(), &problem, &second), Err(Error::InUse { .. })));
    drop(resumed);
    assert_eq!(tuner.resume(&mut world.policy(), &problem, &second).unwrap().done(), 2);
    assert!(!folder.path().join("lock").exists());
}

#[test]
fn a_directory_of_somebody_else_is_neither_counted_nor_removed() {
    let folder = tempfile::tempdir().unwrap();
    // They appear during the run: at its beginning they would be taken for checkpoints of another run.
    let (world, target) = (World::new(2, 12), target(Kind::Distributional));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config()).unwrap());
    let (checkpoints, mut policy) = (Checkpoints::new(folder.path(), 1, 1).unwrap(), world.policy());
    let mut running = tuner.start(&mut policy, &problem).unwrap().with_checkpoints(&checkpoints).unwrap();
    let foreign = ["step-1000000", "step-0", "proposal-7", "step-4.removed", "notes"];
    foreign.iter().for_each(|name| write(&folder.path().join(name).join("thesis.tex"), MINE));
    while running.step().unwrap().is_some() {}
    drop(running);
    for name in foreign {
        assert_eq!(fs::read_to_string(folder.path().join(name).join("thesis.tex")).unwrap(), MINE);
    }
    assert_eq!(checkpoints.steps().unwrap(), [0, 6, 1_000_000]);
    // Neither does the next process remove what looks like a rest of ours.
    drop(Checkpoints::<usize>::new(folder.path(), 1, 1).unwrap());
    assert!(folder.path().join("step-4.removed").join("thesis.tex").exists());
}

#[test]
fn what_is_in_the_place_of_a_checkpoint_is_named_and_stays() {
    for name in ["step-3.partial", "step-3.replaced"] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(name).join("thesis.tex"), MINE);
        let error = run(folder.path()).unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, Error::Io { .. }) && said.contains(name) && said.contains("move it away"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(folder.path().join(name).join("thesis.tex")).unwrap(), MINE);
        assert!(folder.path().join("step-2").is_dir(), "the checkpoint before it is still there");
    }
}

#[test]
fn a_list_of_a_stranger_leads_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let (folder, victim) = (place.path().join("step-1"), place.path().join("thesis.tex"));
    write(&victim, MINE);
    write(&place.path().join("other").join("thesis.tex"), MINE);
    write(&folder.join("listed.txt"), "x");
    write(&folder.join("more").join("deep.txt"), "x");
    write(&folder.join("more").join("notes.txt"), MINE);
    let mut names =
        vec!["../thesis.tex", "more/../../thesis.tex", "", "/", "listed.txt", "more/deep.txt", "gone.txt"];
    let absolute = victim.to_str().unwrap();
    names.push(absolute);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.path().join("other"), folder.join("link")).unwrap();
        std::os::unix::fs::symlink(&victim, folder.join("file-link")).unwrap();
        names.extend(["link/thesis.tex", "file-link"]);
    }
    let files: serde_json::Map<String, serde_json::Value> =
        names.iter().map(|name| ((*name).to_owned(), serde_json::json!([1, 0]))).collect();
    write(&folder.join("manifest.json"), &serde_json::json!({ "version": 1, "files": files }).to_string());
    let left = SealedFolder::remove(&folder).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), MINE);
    assert_eq!(fs::read_to_string(place.path().join("other").join("thesis.tex")).unwrap(), MINE);
    assert_eq!(fs::read_to_string(folder.join("more").join("notes.txt")).unwrap(), MINE);
    assert!(!folder.join("listed.txt").exists() && !folder.join("more").join("deep.txt").exists());
    assert!(left.contains(&folder.join("more")), "{left:?}");
    #[cfg(unix)]
    assert!(folder.join("link").is_symlink() && folder.join("file-link").is_symlink());
}

#[test]
fn one_file_of_a_sealed_folder_is_read_as_it_was_written_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("results");
    write(&folder.join("record"), "1234");
    SealedFolder::seal(&folder).unwrap();
    let read = |name: &str| SealedFolder::open(&folder).unwrap().read(name);
    assert_eq!(read("record").unwrap(), b"1234");
    let refused = |name: &str, expected: &str| {
        let error = read(name).unwrap_err();
        let Error::Damaged { path, difference, .. } = &error else { panic!("{error}") };
        assert_eq!((path, difference.as_str()), (&folder.join(name), expected));
    };
    write(&folder.join("other"), "1234");
    refused("other", "not in the manifest");
    refused("../record", "not in the manifest");
    write(&folder.join("record"), "1235");
    refused("record", "another content than the manifest's checksum is of");
    fs::remove_file(folder.join("record")).unwrap();
    refused("record", "missing");
}

#[test]
fn a_sealed_folder_is_what_its_list_says() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("results");
    fs::create_dir_all(folder.join("empty")).unwrap();
    write(&folder.join("model").join("weights"), "1234");
    SealedFolder::seal(&folder).unwrap();
    let check = || SealedFolder::open(&folder).unwrap().check();
    check().unwrap();
    let differs = |name: &str, expected: &str| {
        let error = check().unwrap_err();
        let Error::Damaged { path, difference, .. } = &error else { panic!("{error}") };
        assert_eq!((path, difference.as_str()), (&folder.join(name), expected));
    };
    // A folder that is not on the list, even an empty one; another size; another content; a link.
    fs::create_dir(folder.join("notes")).unwrap();
    differs("notes", "not in the manifest");
    fs::remove_dir(folder.join("notes")).unwrap();
    write(&folder.join("model/weights"), "12345");
    differs("model/weights", "5 bytes, where the manifest has 4");
    write(&folder.join("model/weights"), "1235");
    differs("model/weights", "another content than the manifest's checksum is of");
    fs::remove_file(folder.join("model/weights")).unwrap();
    differs("model/weights", "missing");
    SealedFolder::open(&folder).unwrap().check_strangers().unwrap();
    #[cfg(unix)]
    {
        let pipe = place.path().join("pipe");
        fs::create_dir(&pipe).unwrap();
        std::os::unix::fs::symlink("/dev/zero", pipe.join("manifest.json")).unwrap();
        assert!(matches!(SealedFolder::open(&pipe), Err(Error::Damaged { .. })));
        std::os::unix::fs::symlink("elsewhere", folder.join("model/weights")).unwrap();
        differs("model/weights", "neither a file nor a folder");
        assert!(matches!(SealedFolder::seal(&folder), Err(Error::Io { .. })));
        fs::remove_file(folder.join("model/weights")).unwrap();
    }
    assert!(SealedFolder::remove(&folder).unwrap().is_empty());
    assert!(!folder.exists());
}

#[cfg(unix)]
#[test]
fn characters_that_only_windows_has_between_names_are_of_a_name() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("results");
    write(&folder.join(r"a:b\c"), "1234");
    write(&folder.join(r"d\e").join("f:g"), "1234");
    SealedFolder::seal(&folder).unwrap();
    SealedFolder::open(&folder).unwrap().check().unwrap();
    assert!(SealedFolder::remove(&folder).unwrap().is_empty());
    assert!(!folder.exists());
}

#[test]
fn a_lock_file_of_somebody_else_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    write(&lock, MINE);
    let error = Checkpoints::<usize>::new(folder.path(), 1, 1).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == lock), "{error}");
    assert_eq!(fs::read_to_string(&lock).unwrap(), MINE);
}
