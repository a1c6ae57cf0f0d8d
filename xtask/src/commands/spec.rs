//! `cargo xtask spec`: every field of a run file, with its allowed values and its default.

use std::fmt::Write;

use crate::{Result, spec::annotated_fields, terminal::print};

/// Prints the fields, table by table, as comments and lines of TOML.
///
/// # Errors
/// [`Error::OutputClosed`](crate::Error::OutputClosed), and standard output that cannot be written.
pub(crate) fn spec() -> Result<()> {
    let mut text =
        String::from("# All fields of a run file. A field with a value has it where it is left out.\n");
    let mut last = (String::new(), None);
    for note in annotated_fields() {
        let place = (note.table.clone(), note.kind.clone());
        if place != last {
            let of_kind =
                note.kind.as_ref().map(|kind| format!(" # with kind = \"{kind}\"")).unwrap_or_default();
            let header = match note.table.as_str() {
                table @ ("features" | "rewards") => format!("[[{table}]]"),
                table => format!("[{table}]"),
            };
            // A String takes everything.
            let _ = writeln!(text, "\n{header}{of_kind}");
            last = place;
        }
        let _ = writeln!(text, "# {}", note.sentence);
        if let Some(allowed) = &note.allowed {
            let _ = writeln!(text, "#   allowed: {allowed}");
        }
        let name = &note.name;
        let _ = match (&note.default, &note.allowed) {
            (Some(default), _) => writeln!(text, "{name} = {default}"),
            (None, Some(_)) => writeln!(text, "# {name} ="),
            (None, None) => writeln!(text, "# {name}: a table"),
        };
    }
    print(text.trim_end())
}
