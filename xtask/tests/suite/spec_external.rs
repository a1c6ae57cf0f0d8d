//! Features of programs and servers in a run file: what is missing is found when the file is read.

use std::{fs, path::Path};

use xtask::{CommandAsking, CommandSpec, Dialect, FeatureKind, HttpSpec, Spec, SpecError, Target, read_spec};

/// A run with these features.
fn read(folder: &Path, features: &str) -> Result<Spec, SpecError> {
    let text = format!("[model]\nsource = \"embedded\"\n[contexts]\nlist = [\"Once\"]\n{features}");
    read_spec("mine.toml", &text, folder)
}

/// The problems of a feature with these fields, each as `LINE:COLUMN: MESSAGE`, where the first of the fields is in line 8.
fn problems(folder: &Path, kind: &str, fields: &str) -> Vec<String> {
    let feature = format!("[[features]]\nname = \"f\"\nkind = \"{kind}\"\n{fields}\n");
    let Err(error) = read(folder, &feature) else { return Vec::new() };
    let shown = |problem: &xtask::Problem| {
        let (line, column) = problem.position;
        format!("{line}:{column}: {} [{}]", problem.message, problem.allowed)
    };
    error.problems.iter().map(shown).collect()
}

#[track_caller]
fn check(folder: &Path, kind: &str, fields: &str, told: &str) {
    let found = problems(folder, kind, fields);
    assert!(found.len() == 1 && found[0].contains(told), "{fields}: {found:#?}");
}

fn command(spec: &Spec, index: usize) -> &CommandSpec {
    let FeatureKind::Command(command) = &spec.features[index].kind else {
        panic!("{:?}", spec.features[index])
    };
    command
}

#[test]
fn a_command_has_defaults_and_features_of_a_program_share_what_one_of_them_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.txt"), "abc").unwrap();
    let spec = read(
        folder.path(),
        "[[features]]\nname = \"polite\"\nkind = \"command\"\nrun = [\"sh\", \"-c\", \"exit\"]\nmean = -3.5\n\
         [[features]]\nname = \"mine\"\nkind = \"command\"\nrun = [\"sh\", \"-c\", \"exit\"]\nfeature = \"polite\"\nbinary = true\n\
         workers = 4\nbatch = 8\ntimeout = 2.5\nstart_timeout = 300\nretry = 1\nfiles = [\"data.txt\"]\nalways = true\n\
         [tune]\ndivergence = \"js\"\n",
    )
    .unwrap();
    let (first, second) = (command(&spec, 0), command(&spec, 1));
    assert_eq!((first.feature.as_str(), second.feature.as_str()), ("polite", "polite"));
    assert_eq!(
        (first.asking, spec.features[0].target.clone()),
        (CommandAsking::default(), Some(Target::mean(-3.5)))
    );
    let asking = CommandAsking {
        workers: Some(4),
        batch: Some(8),
        timeout: Some(2.5),
        start_timeout: Some(300.0),
        retry: Some(1),
    };
    assert_eq!(
        (second.asking, second.binary, spec.features[1].target.clone()),
        (asking, true, Some(Target::Always))
    );
    // The SHA-256 of "abc" by FIPS 180-2, appendix B.1.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(second.files["data.txt"], hash);
    // A run file in the current folder has the empty path as its folder, which no program could run in.
    let here =
        read(Path::new(""), "[[features]]\nname = \"f\"\nkind = \"command\"\nrun = [\"sh\"]\nmean = 1\n")
            .unwrap();
    assert_eq!(command(&here, 0).folder, std::env::current_dir().unwrap());
    // The record of a run names no folder of the machine.
    assert!(!serde_json::to_string(&spec).unwrap().contains(folder.path().to_str().unwrap()));
}

#[test]
fn a_missing_program_script_or_file_is_found_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("scorers.py"), "").unwrap();
    fs::write(here.join("plain"), "").unwrap();
    fs::create_dir(here.join("folder.py")).unwrap();
    for (fields, told) in [
        ("mean = 1", "5:1: [features.1] has no `run`"),
        ("mean = 1\nrun = \"sh\"", "9:7: `features.1.run` is of type string [the program"),
        ("mean = 1\nrun = []", "9:7: `features.1.run` is [] [the program"),
        ("mean = 1\nrun = [\"\"]", "9:7: `features.1.run` is [\"\"]"),
        ("mean = 1\nrun = [\"sh\", 1]", "9:14: `features.1.run` has 1 as item 2"),
        ("mean = 1\nrun = [\"sh\", \"a\\u0000b\"]", "9:7: `features.1.run` is "),
        (
            "mean = 1\nrun = [\"no-such-program\", \"x\"]",
            "9:8: `features.1.run` has \"no-such-program\", which is no program in PATH [",
        ),
        (
            "mean = 1\nrun = [\"python3 scorers.py\"]",
            "no program in PATH; no shell is involved, each argument is a string of its own",
        ),
        (
            "mean = 1\nrun = [\"plain\"]",
            "no program in PATH; a file beside the run file is named with ./ before it",
        ),
        (
            "mean = 1\nrun = [\"./nothing\"]",
            "9:8: `features.1.run` has \"./nothing\", which cannot be found: ",
        ),
        ("mean = 1\nrun = [\"./folder.py\"]", "which is no file: "),
        (
            "mean = 1\nrun = [\"sh\", \"other.py\"]",
            "9:14: `features.1.run` has \"other.py\", which cannot be read: ",
        ),
        (
            "mean = 1\nrun = [\"sh\", \"folder.py\"]",
            "9:14: `features.1.run` has \"folder.py\", which cannot be read: ",
        ),
        (
            "mean = 1\nrun = [\"sh\"]\nfiles = [\"plain\", \"gone\"]",
            "10:19: `features.1.files` has \"gone\", which cannot be read: ",
        ),
        (
            "mean = 1\nrun = [\"sh\"]\nworkers = 0",
            "10:11: `features.1.workers` is 0 [a whole number from 1 to 256]",
        ),
        ("mean = 1\nrun = [\"sh\"]\nbatch = 1e9", "10:9: `features.1.batch` is 1e9"),
        ("mean = 1\nrun = [\"sh\"]\ntimeout = 0", "10:11: `features.1.timeout` is 0 [a number of seconds"),
        ("mean = 1\nrun = [\"sh\"]\nretry = 2", "10:9: `features.1.retry` is 2 [0 or 1]"),
        (
            "mean = 1\nrun = [\"sh\"]\nworker = 2",
            "10:1: unknown field `features.1.worker`; did you mean `workers`?",
        ),
        (
            "always = true\nrun = [\"sh\"]",
            "8:10: `features.1.always` is asked of a feature that is not 0 or 1",
        ),
        (
            "mean = 1\nrun = [\"sh\"]\nbinary = true",
            "8:8: `features.1.mean` is 1 [a number above 0 and below 1",
        ),
        ("mean = inf\nrun = [\"sh\"]", "8:8: `features.1.mean` is inf [a finite number]"),
    ] {
        check(here, "command", fields, told);
    }
    assert!(problems(here, "command", "mean = 1\nrun = [\"sh\", \"scorers.py\", \"-u.py\"]").is_empty());
    #[cfg(unix)]
    {
        check(
            here,
            "command",
            "mean = 1\nrun = [\"./plain\"]",
            "which may not be executed (chmod +x would allow it)",
        );
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(here.join("plain"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(problems(here, "command", "mean = 1\nrun = [\"./plain\"]").is_empty());
    }
}

#[test]
fn features_of_a_program_that_are_asked_in_two_ways_are_a_problem() {
    let feature = |name: &str, fields: &str| {
        format!("[[features]]\nname = \"{name}\"\nkind = \"command\"\nrun = [\"sh\"]\nmean = 1\n{fields}\n")
    };
    let folder = tempfile::tempdir().unwrap();
    let two = format!("{}{}{}", feature("a", "workers = 2"), feature("b", ""), feature("c", "workers = 3"));
    let error = read(folder.path(), &two).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let told = "`features.3.workers` is 3, and 2 for a feature that asks the same program";
    assert_eq!(error.problems[0].message, told);
    assert_eq!(error.problems[0].position, (22, 11));
}

#[test]
fn a_server_has_an_address_and_a_dialect_and_secrets_stay_in_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // PATH is set wherever these tests run, and its value is in no run file and no record.
    let spec = read(
        here,
        "[[features]]\nname = \"reward\"\nkind = \"http\"\nurl = \"http://localhost:5000/score\"\ndialect = \"llamafactory\"\n\
         model = \"rm\"\nheaders = { Authorization = \"Bearer ${PATH}\" }\nmean = 2\n",
    )
    .unwrap();
    let FeatureKind::Http(HttpSpec { dialect, model, asking, .. }) = &spec.features[0].kind else { panic!() };
    assert_eq!((*dialect, model.as_deref(), asking.tries), (Dialect::LlamaFactory, Some("rm"), 5));
    let record = serde_json::to_string(&spec).unwrap();
    assert!(record.contains("Bearer ${PATH}") && !record.contains(&std::env::var("PATH").unwrap()));
    for (fields, told) in [
        ("mean = 1", "5:1: [features.1] has no `url` [http://HOST[:PORT][/PATH]]"),
        ("mean = 1\nurl = \"localhost:5000\"", "9:7: `features.1.url` is no address of the form allowed"),
        (
            "mean = 1\nurl = \"https://host\"",
            "`features.1.url` is an address for TLS, which is not spoken here",
        ),
        (
            "mean = 1\nurl = \"http://me:secret@host\"",
            "`features.1.url` has a user name or password in its address",
        ),
        (
            "mean = 1\nurl = \"http://host:70000\"",
            "`features.1.url` has a port that is no number up to 65535",
        ),
        (
            "mean = 1\nurl = \"http://h\"\ndialect = \"trl\"",
            "10:11: `features.1.dialect` is \"trl\" [disco, openrlhf, llamafactory]",
        ),
        ("mean = 1\nurl = \"http://h\"\ndialect = \"OpenRLHF\"", "did you mean `openrlhf`?"),
        (
            "mean = 1\nurl = \"http://h\"\nmodel = \"m\"",
            "10:9: `features.1.model` has no place in this dialect",
        ),
        (
            "mean = 1\nurl = \"http://h\"\ndialect = \"openrlhf\"\nfeature = \"m\"",
            "11:11: `features.1.feature` has no place",
        ),
        (
            "mean = 1\nurl = \"http://h\"\nheaders = \"x\"",
            "10:11: `features.1.headers` is of type string [headers whose values",
        ),
        (
            "mean = 1\nurl = \"http://h\"\nheaders = { A = 1 }",
            "10:17: `features.1.headers` has `A` of type integer",
        ),
        (
            "mean = 1\nurl = \"http://h\"\nheaders = { A = \"secret\" }",
            "has `A`, which names no environment variable: secrets do not",
        ),
        (
            "mean = 1\nurl = \"http://h\"\nheaders = { A = \"${NO_SUCH_VARIABLE}\" }",
            "needs the environment variable NO_SUCH_VARIABLE, which is not set",
        ),
        ("mean = 1\nurl = \"http://h\"\nheaders = { A = \"${PATH\" }", "has a `${` without `}`"),
        (
            "mean = 1\nurl = \"http://h\"\nheaders = { \"A b\" = \"${PATH}\" }",
            "has `A b`, which is no name of a header",
        ),
        (
            "mean = 1\nurl = \"http://h\"\nheaders = { Host = \"${PATH}\" }",
            "has `Host`, which is part of every request already",
        ),
        ("mean = 1\nurl = \"http://h\"\nretry = 1", "unknown for kind `http`: `features.1.retry`"),
        ("mean = 1\nurl = \"http://h\"\ntries = 0", "10:9: `features.1.tries` is 0"),
    ] {
        check(here, "http", fields, told);
    }
}
