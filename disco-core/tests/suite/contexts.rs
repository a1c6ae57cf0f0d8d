//! Contexts: construction, files, and the ways to draw them.

use std::fs;

use disco_core::{Contexts, Error, Replacement, Streams};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::scratch::Scratch;

#[test]
fn lines_of_a_text_file_lose_their_ends_and_nothing_else() {
    let file = Scratch::file("lines.txt", " one \n\ntwo\r\nthree".as_bytes());
    let contexts = Contexts::from_text_file(&file.0).unwrap();
    assert_eq!(contexts.items(), [" one ", "", "two", "three"]);
    assert_eq!(contexts.probabilities(), [0.25; 4]);
}

#[track_caller]
fn reads_as(content: &str, expected: &[&str]) {
    let file = Scratch::file(&format!("reads-{}.txt", content.len()), content.as_bytes());
    let contexts = Contexts::from_text_file(&file.0).unwrap();
    assert_eq!(contexts.items(), expected, "{content:?}");
}

#[test]
fn marks_and_blank_lines_at_the_end_are_no_contexts() {
    reads_as("\u{feff}once\r\nupon\r\n", &["once", "upon"]);
    reads_as("a\nb\n\n", &["a", "b"]);
    reads_as("a\nb\n\r\n  \n\t", &["a", "b"]);
    // Two files, one after the other.
    reads_as("\u{feff}a\n\u{feff}b c\n", &["a", "b c"]);
    // Between others, an empty line is the empty context.
    reads_as("\n\na\n\nb \n", &["", "", "a", "", "b "]);
    reads_as("a\n \nb\n\n\n", &["a", " ", "b"]);
}

#[test]
fn a_text_file_that_is_not_one_is_refused() {
    let refused = |content: &[u8]| {
        let file = Scratch::file(&format!("no-text-{}.txt", content.len()), content);
        Contexts::from_text_file(&file.0).unwrap_err().to_string()
    };
    assert!(refused(b"\n \n\n").ends_with("apart from blank lines, is empty"));
    assert!(
        refused(b"\xff\xfea\0\n\0").ends_with(
            "line 1: the encoding is UTF-16, little-endian, by its byte order mark; allowed: UTF-8"
        )
    );
    assert!(refused(b"a\nb\0c\0\n").contains("line 2: byte 2 of the line is zero"));
    assert!(refused(b"one\rtwo\rthree\r").contains("line 1: byte 4 of the line is a carriage return"));
    assert!(refused(b"caf\xe9\n").ends_with("line 1: byte 4 of the line is not UTF-8"));
    let folder = Contexts::from_text_file(std::env::temp_dir()).unwrap_err().to_string();
    assert!(folder.ends_with("it is a directory; allowed: a regular file"), "{folder}");
}

#[test]
fn json_lines_as_python_and_windows_write_them_are_read() {
    let content = "\u{feff}{\"text\": \"a\", \"reward\": NaN, \"more\": [-Infinity, {\"text\": Infinity}]}\r\n\
                   {\"text\": \"NaN\"}\r\n\r\n\n";
    let file = Scratch::file("python.jsonl", content.as_bytes());
    assert_eq!(Contexts::from_json_lines(&file.0, "text", "").unwrap().items(), ["a", "NaN"]);
}

#[test]
fn a_long_line_is_read_and_refused_by_its_field() {
    // 4 MB of numbers. `sweep_long_lines_take_bounded_memory` measures the memory.
    let numbers = "1,".repeat(2_000_000);
    let content = format!("{{\"tokens\": [{numbers}0], \"text\": \"a\"}}\n");
    let file = Scratch::file("long.jsonl", content.as_bytes());
    assert_eq!(Contexts::from_json_lines(&file.0, "text", "").unwrap().items(), ["a"]);
    let refused = Contexts::from_json_lines(&file.0, "tokens", "").unwrap_err().to_string();
    assert!(refused.ends_with("field `tokens` is a list; allowed: a string"), "{refused}");
}

/// On Linux: the largest memory that this process has had, in MiB.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}

#[test]
#[ignore = "sweep: lines of 64 MiB, and longer, a few seconds; run it alone, as it measures memory"]
fn sweep_long_lines_take_bounded_memory() {
    let limit = disco_core::input::LINE_LIMIT;
    let list = |bytes: usize| format!("{{\"text\": \"a\", \"t\": [{}0]}}", "1,".repeat(bytes / 2));
    let text = |bytes: usize| format!("{{\"text\": \"{}\"}}", "a".repeat(bytes));
    for (name, line) in [("list", list(limit - 100)), ("text", text(limit - 100))] {
        let file = Scratch::file(&format!("limit-{name}.jsonl"), line.as_bytes());
        drop(line);
        assert_eq!(Contexts::from_json_lines(&file.0, "text", "").unwrap().len(), 1);
    }
    for line in [list(3 * limit), text(3 * limit)] {
        let file = Scratch::file("beyond.jsonl", line.as_bytes());
        drop(line);
        let error = Contexts::from_json_lines(&file.0, "text", "").unwrap_err().to_string();
        assert!(error.ends_with("line 1: the line is longer than 67108864 bytes, the limit"), "{error}");
    }
    if let Some(peak) = peak_memory() {
        println!("peak memory: {peak} MiB");
        assert!(peak < 1024, "{peak} MiB");
    }
}

#[test]
fn a_field_of_json_lines_is_prefixed() {
    let file = Scratch::file("prompts.jsonl", b"{\"text\": \"a \\n b\", \"id\": 3}\n{\"text\": \"\"}\n");
    let contexts = Contexts::from_json_lines(&file.0, "text", "Q: ").unwrap();
    assert_eq!(contexts.items(), ["Q: a \n b", "Q: "]);
}

#[track_caller]
fn refused_at_line(content: &[u8], line: usize, reason: &str) {
    let file = Scratch::file(&format!("bad-{line}-{}.jsonl", content.len()), content);
    let error = Contexts::from_json_lines(&file.0, "text", "").unwrap_err();
    assert!(matches!(error, Error::Malformed { line: found, .. } if found == line), "{error}");
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn malformed_json_lines_are_named_by_number() {
    refused_at_line(b"{\"text\": \"a\"}\n{\"text\": \n", 2, "line 2");
    refused_at_line(b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"txt\": \"c\"}\n", 3, "no field `text`");
    refused_at_line(b"{\"text\": 4}\n", 1, "field `text` is 4; allowed: a string");
    refused_at_line(b"{\"text\": \"a\"}\n\n{\"text\": \"b\"}", 2, "blank");
    refused_at_line(b"[1]\n", 1, "expected a map");
    refused_at_line(b"{\"text\": null}\n", 1, "field `text` is null; allowed: a string");
    refused_at_line(b"{\"text\": {\"a\": 1}}\n", 1, "field `text` is an object; allowed: a string");
    refused_at_line(b"{\"text\": NaN}\n", 1, "field `text` holds NaN; allowed: a string");
    refused_at_line(b"{\"text\": \"a\", \"text\": \"b\"}\n", 1, "field `text` comes twice");
    refused_at_line(b"{\"id\": 1, \"text\": tru}\n", 1, "field `text`: expected ident, at column ");
    refused_at_line(b"{\"text\": \"a\"} {\"text\": \"b\"}\n", 1, "trailing characters");
    refused_at_line(b"{\"text\": \"a\"}\n\xff\xfe\n", 2, "UTF-8");
}

#[test]
fn bad_contexts_are_refused() {
    assert!(matches!(Contexts::<u8>::new(vec![]), Err(Error::Empty { .. })));
    assert!(matches!(Contexts::weighted(vec![1, 2], &[1.0]), Err(Error::Length { .. })));
    for weights in [[0.0, 0.0], [1.0, -1.0], [1.0, f64::NAN], [1.0, f64::INFINITY]] {
        assert!(
            matches!(Contexts::weighted(vec![1, 2], &weights), Err(Error::Invalid { .. })),
            "{weights:?}"
        );
    }
    let empty = Scratch::file("empty.txt", b"");
    assert!(matches!(Contexts::from_text_file(&empty.0), Err(Error::Empty { .. })));
    assert!(matches!(Contexts::from_json_lines(&empty.0, "text", ""), Err(Error::Empty { .. })));
    assert!(matches!(Contexts::from_text_file("/no/such/file"), Err(Error::Io { .. })));
    let contexts = Contexts::weighted(vec!["a", "b", "c"], &[1.0, 0.0, 2.0]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    assert!(matches!(contexts.draw_distinct(&mut rng, 3), Err(Error::Invalid { .. })));
    assert!(matches!(contexts.order(1, Replacement::Without), Err(Error::Invalid { .. })));
}

#[test]
fn draws_follow_the_weights_and_do_not_depend_on_chunks() {
    let contexts = Contexts::weighted(vec!['a', 'b', 'c'], &[1e308, 0.0, 1.5e308]).unwrap();
    for (probability, expected) in contexts.probabilities().iter().zip([0.4, 0.0, 0.6]) {
        assert!((probability - expected).abs() < 1e-15);
    }
    // n = 40,000; five standard errors of a binomial share (two-sided alpha = 6e-7).
    let streams = Streams::new(3, 40_000);
    let drawn = contexts.draw(&streams);
    let share = drawn.iter().filter(|index| **index == 0).count() as f64 / 40_000.0;
    assert!((share - 0.4).abs() < 5.0 * (0.24f64 / 40_000.0).sqrt(), "{share}");
    assert!(drawn.iter().all(|index| *index != 1));
    let chunked: Vec<usize> = streams.chunks(777).flat_map(|chunk| contexts.draw(&chunk)).collect();
    assert_eq!(chunked, drawn);
}

#[test]
fn successive_sampling_without_replacement_has_its_exact_frequencies() {
    // Weights 1, 2, 3: P(first = i) = w_i / 6, P(second = j | first = i) = w_j / (6 - w_i).
    // Pearson's chi-squared, 5 degrees of freedom, n = 60,000, alpha = 1e-4: critical value 25.7.
    let contexts = Contexts::weighted(vec!['a', 'b', 'c'], &[1.0, 2.0, 3.0]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut counts = [[0.0f64; 3]; 3];
    for _ in 0..60_000 {
        let pair = contexts.draw_distinct(&mut rng, 2).unwrap();
        counts[pair[0]][pair[1]] += 1.0;
    }
    let mut chi2 = 0.0;
    for (i, row) in counts.iter().enumerate() {
        for (j, count) in row.iter().enumerate() {
            let (first, second) = (i as f64 + 1.0, j as f64 + 1.0);
            let expected = if i == j { 0.0 } else { 60_000.0 * first / 6.0 * second / (6.0 - first) };
            if i == j {
                assert_eq!(*count, 0.0);
            } else {
                chi2 += (count - expected).powi(2) / expected;
            }
        }
    }
    assert!(chi2 < 25.7, "chi-squared {chi2}");
}

#[test]
fn an_order_without_replacement_passes_over_all_and_can_be_resumed() {
    let contexts = Contexts::new((0..10).collect()).unwrap();
    let order = contexts.order(9, Replacement::Without).unwrap();
    let whole = order.take(0, 35);
    for pass in whole.chunks_exact(10) {
        let mut sorted = pass.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
    }
    assert_ne!(whole[..10], whole[10..20]);
    assert_eq!([order.take(0, 7), order.take(7, 28)].concat(), whole);
    let with = contexts.order(9, Replacement::With).unwrap();
    assert_eq!([with.take(0, 7), with.take(7, 28)].concat(), with.take(0, 35));
}
