//! Prints the backends that are compiled in, and their devices on this machine.
//!
//! With the name of a backend as its argument, it fails unless there is a device for that backend.

use std::process::ExitCode;

use disco_lm::Backend;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let mut found = wanted.is_none();
    for backend in Backend::ALL {
        match backend.device() {
            Ok(device) => {
                println!("{backend}: {device:?}");
                found |= wanted.as_deref() == Some(backend.name());
            }
            Err(error) => println!("{backend}: {error}"),
        }
    }
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
