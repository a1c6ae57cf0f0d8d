//! The programs of `docs/from-python.md`, as a reader runs them: files are saved under the names in their first lines, and the lines of
//! `console` blocks are run one after the other.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use xtask::workspace_root;

use crate::common::http::until;

/// The ports of the servers in the document.
const PORTS: [&str; 2] = ["8000", "8001"];

/// A block of the document.
enum Block {
    File { name: String, text: String },
    Commands(Vec<String>),
}

/// The blocks of a document. A block that is neither a file nor commands is an error: nobody would know whether it is right.
fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(if language == "console" {
            let command =
                |line: &&str| line.strip_prefix("$ ").unwrap_or_else(|| panic!("{line}")).to_owned();
            Block::Commands(block.iter().map(command).collect())
        } else {
            let name =
                block[0].strip_prefix("# ").unwrap_or_else(|| panic!("a block without a name: {}", block[0]));
            Block::File { name: name.into(), text: format!("{}\n", block.join("\n")) }
        });
    }
    found
}

/// Processes in the background, which end with it.
#[derive(Default)]
struct Background(Vec<Child>);

impl Drop for Background {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A shell's command in a folder, which finds `disco` and `python`.
fn shell(line: &str, folder: &Path, python: &Path) -> Command {
    let disco = Path::new(env!("CARGO_BIN_EXE_disco")).parent().unwrap();
    let own = [disco, python.parent().unwrap()].map(Path::to_path_buf);
    let others = env::var_os("PATH").unwrap_or_default();
    let paths = env::join_paths(own.into_iter().chain(env::split_paths(&others))).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {line}")]).current_dir(folder);
    command.env("PATH", paths).env("HF_HUB_OFFLINE", "1").env("HF_DATASETS_OFFLINE", "1");
    command
}

/// Where `DISCO_CLIENTS_PYTHON` names a Python with `openai`, `lm_eval` and `transformers`: `cargo xtask ci --only clients` makes one.
#[test]
fn documented_programs_run() {
    let Some(python) = env::var_os("DISCO_CLIENTS_PYTHON").map(PathBuf::from) else { return };
    let document = fs::read_to_string(workspace_root().join("docs/from-python.md")).unwrap();
    // Held together, so that they differ.
    let free = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let with_free = |document: String, (port, free): (&str, &TcpListener)| {
        document.replace(port, &free.local_addr().unwrap().port().to_string())
    };
    let document = PORTS.into_iter().zip(&free).fold(document, with_free);
    drop(free);
    let blocks = blocks(&document);
    let folder = tempfile::tempdir().unwrap();
    let mut background = Background::default();
    let mut commands = 0;
    for block in blocks {
        match block {
            Block::File { name, text } => fs::write(folder.path().join(name), text).unwrap(),
            Block::Commands(lines) => {
                for line in lines {
                    commands += 1;
                    if let Some(server) = line.strip_suffix(" &") {
                        let mut server = shell(server, folder.path(), &python);
                        background
                            .0
                            .push(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
                        let port = line.split("--port ").nth(1).unwrap().trim_end_matches(" &");
                        until(|| TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
                        continue;
                    }
                    let output = shell(&line, folder.path(), &python).output().unwrap();
                    let said = String::from_utf8_lossy(&output.stdout);
                    assert!(
                        output.status.success(),
                        "{line}: {said}{}",
                        String::from_utf8_lossy(&output.stderr)
                    );
                    eprintln!("$ {line}\n{said}");
                }
            }
        }
    }
    assert!(commands > 10, "{commands}");
}
