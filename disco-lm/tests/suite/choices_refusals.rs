//! Completions that are no choices, and lists that will not do.

use disco_core::{Distribution, Streams};
use disco_lm::{ChoiceProblem, Choices, Completion, Decoding, Error, Generation, LanguageModel};
use serde_json::json;

use crate::{
    choices::{CONTEXT, END, TEXTS, embedded, log_probs, newline, of, plain, with_ends},
    common::device,
};

#[test]
fn decoding_can_exclude_choices_but_not_all_of_them() {
    // The most probable token after this context alone.
    let greedy = || embedded(Decoding { top_k: 1, ..Decoding::default() });
    let best = plain().greedy(&[CONTEXT]).expect("a completion")[0].value.tokens[0];
    let best =
        plain().completion_after(&plain().encode(CONTEXT).expect("ids"), vec![best]).expect("text").text;
    let choices = of(greedy(), &[best.as_str(), "!"], false);
    assert_eq!(log_probs(&choices, CONTEXT), [0.0, f64::NEG_INFINITY]);
    assert_eq!(choices.log_mass(CONTEXT).expect("a mass"), 0.0);
    let drawn = choices.sample(CONTEXT, &Streams::new(0, 50)).expect("samples");
    assert!(drawn.iter().all(|sample| sample.value.text == best && sample.log_prob == 0.0));

    let error = of(greedy(), &["!", "?"], false).log_mass(CONTEXT).expect_err("no probability");
    assert!(
        matches!(&error, Error::Choices { problem: ChoiceProblem::Impossible { count: 2 }, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("none of the 2 choices")
            && error.to_string().contains(CONTEXT.lines().last().unwrap())
    );
    // An end token that is forbidden leaves nothing, unless none is needed.
    let without_end = || embedded(Decoding { forbidden_tokens: vec![END], ..Decoding::default() });
    of(without_end(), &[" a", " b"], true).log_mass(CONTEXT).expect_err("no end token");
    of(without_end(), &[" a", " b"], false).log_mass(CONTEXT).expect("a mass");
}

#[test]
fn what_is_not_on_the_list_has_no_probability() {
    let model = plain();
    let choices = of(model.clone(), &TEXTS, true);
    let space = choices.space(CONTEXT).expect("a space");
    let listed = &space.outcomes()[1];
    let mut cut = listed.tokens.clone();
    cut.pop();
    let others = [
        model.completion(vec![5, END]).expect("a completion"),
        Completion { tokens: cut, finished: false, ..listed.clone() },
        Completion { tokens: vec![], text: String::new(), finished: false },
    ];
    let found = choices.log_probs(CONTEXT, &others.iter().collect::<Vec<_>>()).expect("scores");
    assert_eq!(found, [f64::NEG_INFINITY; 3]);
}

#[test]
fn lists_that_will_not_do_are_refused_by_name() {
    let problem = |texts: &[&str], end_token: bool| match of(plain(), texts, end_token)
        .space(CONTEXT)
        .expect_err("refused")
    {
        Error::Choices { context: Some(context), problem } if context == CONTEXT => problem,
        other => panic!("{other}"),
    };
    assert!(matches!(
        Choices::<str>::new([""; 0]),
        Err(Error::Choices { problem: ChoiceProblem::Empty, .. })
    ));
    let error = Choices::<str>::new(["a", "b", "b"]).expect_err("twice").to_string();
    assert_eq!(error, "choices: number 2 is the same text as number 1, \"b\"; allowed: each text once");
    // A special token has no text.
    let ChoiceProblem::NotEncodable { text, found } = problem(&[" a", " a<|endoftext|>"], true) else {
        panic!()
    };
    assert_eq!((text.as_str(), found.as_str()), (" a<|endoftext|>", " a"));
    assert!(matches!(problem(&[""], false), ChoiceProblem::NoToken { text } if text.is_empty()));
    let long = " people".repeat(200);
    match problem(&[" a", &long], true) {
        ChoiceProblem::TooLong { text, tokens, positions: 128, .. } => assert!(text == long && tokens > 200),
        other => panic!("{other}"),
    }
    // An end token with a text of its own.
    let newline = newline();
    let folder = with_ends(&json!([newline]));
    let model = LanguageModel::load(folder.path(), &device(), Generation::default()).expect("loads");
    let error = of(model, &[" a\n b"], false).space(CONTEXT).expect_err("an end token inside").to_string();
    assert!(error.contains(&format!("contains the end token with id {newline}")), "{error}");
}
