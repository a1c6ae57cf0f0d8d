//! Temporary: bytes of results before and after the restructuring.
use std::{fs, path::Path};

use xtask::*;

use crate::common::record;

#[test]
fn dump() {
    let Some(folder) = std::env::var_os("XT_DUMP") else { return };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();
    let write = |name: &str, record: &RunRecord| {
        let out = OutputFolder::prepare(&folder.join(name), 0).unwrap();
        out.begin_writing().unwrap();
        write_outputs(&out, record).unwrap();
        let place = out.finish().unwrap();
        fs::write(place.join("table.txt"), terminal_table(record)).unwrap();
    };
    write("made-up", &record());
    let spec = crate::pipeline::spec(&[
        ("steps = 150", "steps = 12"),
        ("samples = 4000", "samples = 1000"),
        ("count = 2000", "count = 300"),
        ("[\"calm\"]", "[\"calm\", \"stormy\"]"),
    ]);
    let mut record = crate::pipeline::run(&spec).0.record;
    record.stages.iter_mut().for_each(|stage| stage.seconds = 1.0);
    record.peak_memory_bytes = None;
    write("run", &record);
}
