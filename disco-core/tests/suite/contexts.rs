//! Contexts: construction, files, and the ways to draw them.

use std::{fs, path::PathBuf};

use disco_core::{Contexts, Error, Replacement, Streams};
use rand::{SeedableRng, rngs::ChaCha8Rng};

/// A file that is removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("disco-core-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn lines_of_a_text_file_lose_their_ends_and_nothing_else() {
    let file = Scratch::new("lines.txt", " one \n\ntwo\r\nthree".as_bytes());
    let contexts = Contexts::from_text_file(&file.0).unwrap();
    assert_eq!(contexts.items(), [" one ", "", "two", "three"]);
    assert_eq!(contexts.probabilities(), [0.25; 4]);
}

#[test]
fn a_field_of_json_lines_is_prefixed() {
    let file = Scratch::new("prompts.jsonl", b"{\"text\": \"a \\n b\", \"id\": 3}\n{\"text\": \"\"}\n");
    let contexts = Contexts::from_json_lines(&file.0, "text", "Q: ").unwrap();
    assert_eq!(contexts.items(), ["Q: a \n b", "Q: "]);
}

#[track_caller]
fn refused_at_line(content: &[u8], line: usize, reason: &str) {
    let file = Scratch::new(&format!("bad-{line}-{}.jsonl", content.len()), content);
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
    let empty = Scratch::new("empty.txt", b"");
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
