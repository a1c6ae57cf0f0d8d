//! The program `disco`, where there is neither cargo nor a checkout: an empty folder, an empty home folder, an empty path.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;
use xtask::{read_spec, workspace_root};

/// A home folder and a folder to work in.
struct Elsewhere(TempDir);

impl Elsewhere {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("home")).unwrap();
        fs::create_dir(place.path().join("here")).unwrap();
        Self(place)
    }

    fn here(&self) -> std::path::PathBuf {
        self.0.path().join("here")
    }

    fn disco(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disco"));
        command.args(arguments).current_dir(self.here()).env_clear();
        command.env("HOME", self.0.path().join("home")).env("PATH", "").env("HF_HUB_OFFLINE", "1");
        command.output().unwrap()
    }

    /// The standard output of a command that succeeds.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.disco(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The standard error of a command that is refused.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.disco(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.here()).unwrap().count() == 0
    }
}

#[test]
fn its_help_has_the_workflows_and_nothing_of_the_repository() {
    let elsewhere = Elsewhere::new();
    let help = elsewhere.printed(&["--help"]);
    let commands: Vec<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    for command in ["demo", "run", "sample", "doctor", "examples", "completions", "man"] {
        assert!(commands.contains(&command), "{command}: {help}");
    }
    for tool in ["test", "ci", "tidy", "bench", "bench-job"] {
        assert!(!commands.contains(&tool), "{tool}: {help}");
        assert_eq!(elsewhere.disco(&[tool]).status.code(), Some(2), "{tool}");
    }
    assert!(elsewhere.printed(&["run", "--help"]).contains("runs/NAME in the current folder"));
    assert!(elsewhere.is_empty());
}

// With cuda compiled in, it would look for a device.
#[cfg(not(feature = "cuda"))]
#[test]
fn a_program_without_the_backend_says_how_to_install_one_that_has_it() {
    let elsewhere = Elsewhere::new();
    for arguments in [
        &["demo", "--backend", "cuda"][..],
        &["sample", "--model", "embedded", "--context", "a", "--backend", "cuda"],
        &["doctor", "--backend", "cuda"],
    ] {
        let said = elsewhere.refused(arguments);
        assert!(said.contains("built without cuda"), "{said}");
        assert!(said.contains("`cargo install --path xtask --bin disco --locked --features cuda`"), "{said}");
        assert!(elsewhere.is_empty());
    }
    let said = elsewhere.refused(&["pretrain", "--corpus", env!("CARGO_BIN_EXE_disco")]);
    assert!(said.contains("`--out` is missing"), "{said}");
}

#[test]
fn the_doctor_reports_also_where_much_is_missing() {
    let elsewhere = Elsewhere::new();
    let report: Value = serde_json::from_str(&elsewhere.printed(&["doctor", "--json"])).unwrap();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let compiled = |name: &str| {
        let backends = report["backends"].as_array().unwrap();
        backends.iter().find(|backend| backend["name"] == name).unwrap()["compiled"].as_bool().unwrap()
    };
    let expected = [
        ("flex", cfg!(feature = "flex")),
        ("tch", cfg!(feature = "tch")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("cuda", cfg!(feature = "cuda")),
    ];
    assert!(expected.iter().all(|(name, is_there)| compiled(name) == *is_there), "{report}");
    assert!(report["processors"].as_u64().unwrap() >= 1);
    assert!(report["python"]["problem"].as_str().unwrap().contains("could not be started"), "{report}");
    let cache = report["cache"]["path"].as_str().unwrap();
    assert!(Path::new(cache).ends_with("home/.cache/disco"), "{cache}");
    assert!(report["here"]["free_bytes"].as_u64().unwrap() > 0);
    let lines = elsewhere.printed(&["doctor"]);
    for name in ["backend          flex", "processors", "memory", "libtorch         none: ", "python"] {
        assert!(lines.contains(name), "{name}: {lines}");
    }
    #[cfg(feature = "flex")]
    assert!(lines.contains("not asked, since HF_HUB_OFFLINE says so"), "{lines}");
}

#[test]
fn the_examples_travel_inside_and_are_right_where_they_are_written() {
    let elsewhere = Elsewhere::new();
    let specs = workspace_root().join("xtask").join("specs");
    let demo = fs::read_to_string(specs.join("demo.toml")).unwrap();
    assert_eq!(elsewhere.printed(&["examples", "demo"]).trim_end(), demo.trim_end());
    let said = elsewhere.refused(&["examples", "dome"]);
    assert!(said.contains("\"dome\"") && said.contains("category, choices"), "{said}");

    elsewhere.printed(&["examples", "--out", "some"]);
    let written = elsewhere.here().join("some").join("specs");
    let listed = elsewhere.printed(&["examples"]);
    for line in listed.lines() {
        let (name, title) = line.split_once(' ').unwrap();
        let text = fs::read_to_string(written.join(name).with_extension("toml")).unwrap();
        let spec = read_spec(name, &text, &written).unwrap();
        assert_eq!(spec.title, title.trim());
    }
    assert!(listed.lines().count() > 10, "{listed}");

    fs::write(written.join("mine.toml"), "mine").unwrap();
    let said = elsewhere.refused(&["examples", "--out", "some"]);
    assert!(said.starts_with("error: cannot write some: "), "{said}");
    assert_eq!(fs::read_to_string(written.join("mine.toml")).unwrap(), "mine");
    assert_eq!(fs::read_dir(elsewhere.here()).unwrap().count(), 1);
}

#[test]
fn completions_and_man_pages_name_all_commands() {
    let elsewhere = Elsewhere::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = elsewhere.printed(&["completions", shell]);
        for word in ["doctor", "examples", "divergence"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // A line that was cut, or a character that was escaped, would be no script.
        assert!(!script.contains("more characters") && !script.contains("\\u{"), "{shell}");
    }
    let page = elsewhere.printed(&["man"]);
    assert!(page.contains(".TH disco 1") && page.contains("disco\\-doctor(1)"), "{page}");
    let page = elsewhere.printed(&["man", "run"]);
    assert!(page.contains(".TH disco-run 1") && page.contains("\\-\\-divergence"), "{page}");
    let said = elsewhere.refused(&["man", "ci"]);
    assert!(said.contains("allowed: demo, run"), "{said}");
}

#[cfg(feature = "flex")]
#[test]
fn a_run_needs_nothing_but_the_program() {
    const SPEC: &str = "[model]\nsource = \"embedded\"\nmax_new_tokens = 4\n[contexts]\nlist = [\"ROMEO:\\n\"]\n\
        [[features]]\nname = \"e\"\nkind = \"contains\"\ntext = \"e\"\nmean = 0.6\n[fit]\nsamples = 128\n\
        [tune]\nsteps = 1\nsamples_per_step = 16\n[sample]\ncount = 64\nacceptance_rate = 0.5\n";
    let elsewhere = Elsewhere::new();
    fs::write(elsewhere.here().join("small.toml"), SPEC).unwrap();
    elsewhere.printed(&["run", "small.toml"]);
    assert!(elsewhere.here().join("runs/small/report.html").is_file());
    let draw = ["sample", "--model", "embedded", "--context", "ROMEO:\n", "--count", "2", "--seed", "5"];
    let drawn = elsewhere.printed(&draw);

    let cache = elsewhere.0.path().join("home/.cache/disco");
    let model = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    fs::write(model.join("model.safetensors"), "damaged").unwrap();
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    assert_eq!(elsewhere.printed(&draw), drawn);
}
