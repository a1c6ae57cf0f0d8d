//! `disco`: every workflow of `cargo xtask` without a checkout of the repository, and without its repository's own tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::disco()
}
