//! Grammars that cannot be used are refused with a reason; hostile ones cost neither the process nor much time.

use std::time::{Duration, Instant};

use disco_core::{Distribution, Streams};
use disco_lm::{Error, Generation, Grammar, Result, TokenModel, Tokenizer};

use crate::{
    common::{device, folder},
    spelled::{byte_level_tokenizer, sentencepiece_tokenizer},
};

/// The longest time that a source may take, on a machine that does other things too.
const LONGEST: Duration = Duration::from_secs(20);

#[track_caller]
fn refused<T>(outcome: Result<T>, expected: &str) {
    match outcome {
        Err(Error::Grammar { form, reason }) => {
            assert!(reason.contains(expected), "{form}: {reason}, not {expected}");
            assert!(reason.len() < 2500 && !reason.contains("backtrace"), "{reason}");
        }
        Err(error) => panic!("{error}, not {expected}"),
        Ok(_) => panic!("it is accepted, not refused with {expected}"),
    }
}

fn model(max_new_tokens: usize) -> TokenModel {
    let generation = Generation { max_new_tokens, ..Generation::default() };
    TokenModel::load(folder("llama-gqa-tied"), &device(), generation).expect("a golden model loads")
}

#[test]
fn a_source_that_cannot_be_read_is_refused_with_the_reason() {
    refused(Grammar::regex("(a"), "unclosed group");
    refused(Grammar::regex("(?=a)b"), "look-around");
    refused(Grammar::json_schema("{"), "EOF");
    refused(Grammar::json_schema("false"), "schema is false");
    refused(Grammar::json_schema(r#"{"type": "colour"}"#), "colour");
    refused(Grammar::json_schema(r#"{"$ref": "http://localhost/schema.json"}"#), "ref");
    refused(Grammar::json_schema(r##"{"$ref": "#/nowhere"}"##), "nowhere");
    refused(
        Grammar::json_schema(r#"{"allOf": [{"type": "string"}, {"type": "number"}]}"#),
        "incompatible types",
    );
    refused(Grammar::json_schema(&("[".repeat(10_000) + &"]".repeat(10_000))), "recursion limit");
    refused(Grammar::lark(""), "no start rule");
    refused(Grammar::lark("start: missing"), "unknown name");
    refused(Grammar::lark(&format!("start: {}\"a\"{}", "(".repeat(9000), ")".repeat(9000))), "deeply nested");
    refused(Grammar::choices::<&str>([]), "no text");
    refused(Grammar::choices(["a", ""]), "empty");
    refused(Grammar::regex(&"a".repeat(300_000)), "300000 bytes");
}

#[test]
fn a_grammar_that_no_sequence_satisfies_is_refused() {
    let tokenizer = byte_level_tokenizer();
    let under =
        |most, grammar: Result<Grammar>| model(most).under_grammar(&grammar.expect("a source"), &tokenizer);
    // No token has these characters; nothing begins; nothing ends; nothing is short enough.
    refused(under(40, Grammar::choices(["ß", "ä"])), "no sequence");
    refused(under(40, Grammar::lark("start: start")), "no sequence");
    refused(under(40, Grammar::lark("start: \"a\" start")), "tokens");
    refused(under(3, Grammar::choices(["abcabcabc", "xyzxyz"])), "shorter than 4 tokens");
    assert!(under(4, Grammar::choices(["abcabcabc", "xyzxyz"])).is_ok());
    refused(under(5, Grammar::json_schema(r#"{"const": {"name": 12345}}"#)), "`max_new_tokens` is 5");
    refused(under(40, Grammar::lark("start: \"a\" <|im_start|>")), "special token");
    assert!(under(40, Grammar::lark("start: \"a\" <bos>")).is_ok());
    let fits = under(4, Grammar::choices(["abcabcabc"])).expect("it fits");
    assert_eq!(fits.shortest_accepted(), Some(4));
    let short = fits.with_generation(Generation { max_new_tokens: 2, ..Generation::default() });
    refused(short, "`max_new_tokens` is 2");
    assert!(fits.without_grammar().grammar().is_none());
    let encoder =
        TokenModel::load(folder("t5-relu"), &device(), Generation::default()).expect("a golden model loads");
    refused(encoder.under_grammar(&Grammar::regex("a").expect("a source"), &tokenizer), "decoder-only");
}

/// Sources that would need much time, memory or stack: each is refused, or a model under it draws samples or gives an error, in little time.
#[test]
fn hostile_sources_end_in_time() {
    let list = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>();
    let chain = list(15_000, |i| format!("r{i}: r{}\n", i + 1)).concat();
    let alternatives = [r#"{"anyOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "number"}}}]}"#;
        12];
    let fields = list(900, |i| format!("\"p{i}\": {{\"type\": \"string\"}}")).join(",");
    let definitions = list(5000, |i| format!("\"a{i}\": {{\"$ref\": \"#/$defs/a{}\"}}", i + 1)).join(",");
    let patterns =
        list(9, |i| format!("{{\"type\": \"string\", \"pattern\": \"(a|b)*a(a|b){{{i}}}\"}}")).join(",");
    let sources = [
        Grammar::regex("a{1000000}"),
        Grammar::regex("((a{100}){100}){100}"),
        Grammar::regex(&("a?".repeat(1000) + &"a".repeat(1000))),
        Grammar::regex("[ab]*a[ab]{1000}"),
        Grammar::regex(&"(.*,){30}".repeat(30)),
        Grammar::regex(&"(a|b)(c|d)".repeat(20_000)),
        Grammar::regex(&("(".repeat(100_000) + &")".repeat(100_000))),
        Grammar::choices(list(15_000, |i| format!("w{i} {}", i * 7919 % 1000))),
        Grammar::lark(&format!("start: r0\n{chain}r15000: \"a\"\n")),
        Grammar::lark("start: e \"!\" start\ne: e e | \"a\""),
        Grammar::lark("start: e\ne: e e | e e e | \"a\""),
        Grammar::json_schema(&format!("{{\"allOf\": [{}]}}", alternatives.join(","))),
        Grammar::json_schema(&format!("{{\"type\": \"object\", \"properties\": {{{fields}}}}}")),
        Grammar::json_schema(&format!(
            "{{\"$ref\": \"#/$defs/a0\", \"$defs\": {{{definitions}, \"a5000\": {{\"type\": \"null\"}}}}}}"
        )),
        Grammar::json_schema(&format!("{{\"allOf\": [{patterns}]}}")),
        Grammar::json_schema(r#"{"type": "string", "pattern": "^(a{1000}){1000}$"}"#),
        Grammar::json_schema(r#"{"type": "number", "multipleOf": 1e-300}"#),
        Grammar::json_schema(r#"{"type": "array", "items": {"type": "integer"}, "minItems": 4000000}"#),
    ];
    let (base, tokenizer) = (model(12), byte_level_tokenizer());
    for (index, source) in sources.into_iter().enumerate() {
        let begin = Instant::now();
        let outcome = source.and_then(|source| base.under_grammar(&source, &tokenizer));
        let drawn = outcome.map(|model| model.sample(&vec![5, 6], &Streams::new(1, 20)));
        let told = match drawn {
            Err(error) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(drawn)) => format!("{} samples", drawn.len()),
        };
        println!(
            "{index}: {:?}, {}",
            begin.elapsed(),
            told.lines().next().unwrap_or_default().chars().take(120).collect::<String>()
        );
        assert!(begin.elapsed() < LONGEST, "source {index} took {:?}", begin.elapsed());
    }
}

/// The bytes of tokens are those that the tokenizers library decodes, for tokenizers of both kinds.
#[test]
fn the_texts_of_a_grammar_are_those_that_the_tokenizer_decodes() {
    let check = |tokenizer: &Tokenizer, expression: &str, context: &[u32]| {
        let masked = model(9)
            .under_grammar(&Grammar::regex(expression).expect("a source"), tokenizer)
            .expect("it fits");
        let feature = masked.grammar_feature().expect("a feature");
        let drawn = masked.sample(&context.to_vec(), &Streams::new(4, 200)).expect("samples");
        let finished: Vec<_> =
            drawn.iter().filter(|sample| feature.accepts(&sample.value).expect("an answer")).collect();
        assert!(finished.len() > 20, "{expression}: {} of 200 are finished", finished.len());
        finished
            .iter()
            .map(|sample| tokenizer.decode_after(context, &sample.value).expect("a text"))
            .collect::<Vec<_>>()
    };
    for tokenizer in [byte_level_tokenizer(), sentencepiece_tokenizer()] {
        for text in check(&tokenizer, " (日|é|[a-c] ?){1,3}", &[3]) {
            let rest = text.strip_prefix(' ').unwrap_or_else(|| panic!("{text:?}"));
            assert!(rest.chars().all(|letter| "日éabc ".contains(letter)) && !rest.is_empty(), "{text:?}");
        }
        for text in check(&tokenizer, "(日|A){1,2}|b", &[3]) {
            assert!(!text.is_empty() && text.chars().all(|letter| "日Ab".contains(letter)), "{text:?}");
        }
    }
    // A tokenizer of words has no bytes for its tokens.
    let words =
        Tokenizer::load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/bert/tokenizer.json"))
            .expect("a tokenizer");
    let error =
        model(9).under_grammar(&Grammar::regex("a").expect("a source"), &words).expect_err("no bytes");
    assert!(error.to_string().contains("whose decoder is none"), "{error}");
}
