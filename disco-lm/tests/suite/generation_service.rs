//! The generation service: requests that come and go change no other request.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use disco_core::{Distribution, Sampled, Streams};
use disco_lm::{
    Backend, Decoding, Error, FinishReason, Generation, GenerationEvent, GenerationHandle, GenerationRequest,
    GenerationService, Grammar, LanguageModel, RequestGuard, RequestProblem, ServiceLimits, TokenModel,
};

use crate::common::{assert_close, backend, device, folder};

/// Between a batch and a single row, in f32, for up to 40 tokens.
const TOLERANCE: f64 = 1e-4;
/// The longest time that anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);

fn embedded(generation: Generation) -> LanguageModel {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
    LanguageModel::load(folder, &device(), generation).expect("the embedded model loads")
}

fn start(model: &TokenModel) -> GenerationService {
    GenerationService::start(model, ServiceLimits::default()).expect("a service")
}

/// Waits until a condition holds.
#[track_caller]
fn until(holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came to hold");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The same sequences: on flex to the bit, elsewhere with log-probabilities that are alike.
#[track_caller]
fn assert_same(found: &[Sampled<Vec<u32>>], expected: &[Sampled<Vec<u32>>]) {
    if backend() == Backend::Flex {
        assert_eq!(found, expected);
        return;
    }
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.value, expected.value);
        assert_close("log-probability", &[found.log_prob], &[expected.log_prob], TOLERANCE);
    }
}

/// 64 threads submit at once, with contexts, lengths, decodings and numbers of sequences of their own: each gets the samples that the
/// model draws alone.
#[test]
fn a_sample_is_that_of_the_model_alone_whatever_else_runs() {
    let model = embedded(Generation { batch: 80, ..Generation::default() });
    let service = start(model.tokens());
    let request = |number: usize| {
        let contexts = ["ROMEO:\n", "KING RICHARD III:\nMy lord,", "A", "First Citizen:\nWe are\n\nALL:\n"];
        let decoding = match number % 3 {
            0 => Decoding::default(),
            1 => Decoding { temperature: 0.7, top_p: 0.9, ..Decoding::default() },
            _ => Decoding { top_k: 5, min_new_tokens: 1, ..Decoding::default() },
        };
        let context = model.encode(contexts[number % 4]).expect("ids");
        let streams = Streams::new(number as u64, 1 + number % 3);
        let (max_new_tokens, greedy) = (1 + number * 7 % 40, number % 8 == 7);
        let request = GenerationRequest {
            decoding,
            max_new_tokens,
            greedy,
            ..GenerationRequest::new(context, streams)
        };
        (contexts[number % 4], request)
    };
    let answers = thread::scope(|scope| {
        let submit = |number| service.submit(&request(number).1)?.samples();
        let threads: Vec<_> = (0..64).map(|number| scope.spawn(move || submit(number))).collect();
        let join =
            |thread: thread::ScopedJoinHandle<'_, disco_lm::Result<_>>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect::<disco_lm::Result<Vec<Vec<Sampled<Vec<u32>>>>>>()
    });
    for (number, found) in answers.expect("none is lost").iter().enumerate() {
        let (context, GenerationRequest { decoding, max_new_tokens, greedy, streams, .. }) = request(number);
        let alone = Generation { decoding, max_new_tokens, ..Generation::default() };
        let alone = model.with_generation(alone).expect("settings");
        let expected = match greedy {
            true => vec![alone.greedy(&[context]).expect("a completion").remove(0); streams.len()],
            false => alone.sample(context, &streams).expect("samples"),
        };
        let ids = |sample: &Sampled<disco_lm::Completion>| Sampled {
            value: sample.value.tokens.clone(),
            log_prob: sample.log_prob,
        };
        assert_same(found, &expected.iter().map(ids).collect::<Vec<_>>());
    }
    until(|| service.load() == Default::default());
    service.finish().expect("it ends");
}

/// On every kind of cache, and where an encoder reads the context.
#[test]
fn every_kind_of_model_is_served() {
    for name in ["gpt2", "t5-gated-untied", "gemma3"] {
        let generation = Generation { max_new_tokens: 9, batch: 3, ..Generation::default() };
        let model = TokenModel::load(folder(name), &device(), generation).expect("the model loads");
        let service = start(&model);
        let requests: Vec<(Vec<u32>, Streams)> =
            (1..6).map(|number| ((2..3 + number as u32).collect(), Streams::new(number, 2))).collect();
        let submit = |(context, streams): &(Vec<u32>, Streams)| {
            let request = GenerationRequest::new(context.as_slice(), streams.clone());
            service.submit(&GenerationRequest { max_new_tokens: 9, ..request }).expect("accepted")
        };
        let handles: Vec<GenerationHandle> = requests.iter().map(submit).collect();
        for (handle, (context, streams)) in handles.into_iter().zip(&requests) {
            let found = handle.samples().expect("samples");
            let expected = model.sample(context, streams).expect("samples");
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found.value, expected.value, "{name}");
                assert_close(name, &[found.log_prob], &[expected.log_prob], TOLERANCE);
            }
        }
    }
}

#[test]
fn tokens_come_one_by_one_with_what_was_as_probable() {
    let model = embedded(Generation::default());
    let service = start(model.tokens());
    let context = model.encode("ROMEO:\n").expect("ids");
    let request = GenerationRequest {
        alternatives: 3,
        max_new_tokens: 8,
        ..GenerationRequest::new(context.as_slice(), Streams::new(5, 2))
    };
    let mut tokens = [Vec::new(), Vec::new()];
    let mut ends = Vec::new();
    for event in service.submit(&request).expect("accepted") {
        match event.expect("no error") {
            GenerationEvent::Token { sequence, token } => tokens[sequence].push(token),
            GenerationEvent::Finished { sequence, reason } => ends.push((sequence, reason)),
            other => panic!("{other:?} was not asked for"),
        }
    }
    ends.sort_by_key(|(sequence, _)| *sequence);
    assert_eq!(ends.len(), 2);
    for (tokens, (_, reason)) in tokens.iter().zip(ends) {
        let has_ended = model.tokens().is_end(tokens.last().expect("a token").id);
        assert_eq!(reason, if has_ended { FinishReason::EndToken } else { FinishReason::Length });
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let generation = Generation { max_new_tokens: 8, ..Generation::default() };
        let scorer = model.with_generation(generation).expect("settings");
        let scored = scorer.tokens().token_log_probs(&context, &[&ids]).expect("scores");
        let log_probs: Vec<f64> = tokens.iter().map(|token| token.log_prob).collect();
        assert_close("token", &log_probs, scored[0].as_ref().expect("a sequence"), TOLERANCE);
        for token in tokens {
            assert_eq!(token.alternatives.len(), 3);
            assert!(token.alternatives.is_sorted_by(|(_, a), (_, b)| a >= b));
            assert!(token.alternatives[0].1 >= token.log_prob);
        }
    }
}

/// The log-probabilities of a text and of its end are those that its logits give.
#[test]
fn a_context_is_scored_as_its_logits_say() {
    let model = embedded(Generation::default());
    let service = start(model.tokens());
    let context = model.encode("JULIET:\nO Romeo, Romeo!").expect("ids");
    let request = GenerationRequest {
        alternatives: 1,
        max_new_tokens: 0,
        context_log_probs: true,
        ..GenerationRequest::new(context.as_slice(), Streams::new(0, 1))
    };
    let events: Vec<_> = service.submit(&request).expect("accepted").collect();
    let [Ok(GenerationEvent::Context(scored))] = events.as_slice() else { panic!("{events:?}") };
    let logits = model.tokens().logits(&context).expect("logits");
    assert_eq!(scored.len() + 1, context.len());
    for ((row, token), id) in logits.iter().zip(scored).zip(&context[1..]) {
        let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        let log_prob = |id: u32| f64::from(row[id as usize]) - sum.ln();
        let best =
            (0..row.len() as u32).max_by(|a, b| log_prob(*a).total_cmp(&log_prob(*b))).expect("a token");
        assert_eq!((token.id, token.alternatives[0].0), (*id, best));
        let found = [token.log_prob, token.alternatives[0].1];
        assert_close("context", &found, &[log_prob(*id), log_prob(best)], TOLERANCE);
    }
}

/// A request that holds its place: its first token is heard when the returned sender is dropped.
fn held(service: &GenerationService, request: &GenerationRequest) -> (RequestGuard, mpsc::Sender<()>) {
    let (release, gate) = mpsc::channel::<()>();
    let (began, has_begun) = mpsc::channel();
    let guard = service.submit_to(request, move |_| {
        // Nobody may wait for it any more.
        began.send(()).unwrap_or_default();
        gate.recv().unwrap_or_default();
    });
    has_begun.recv().expect("it begins");
    (guard.expect("accepted"), release)
}

/// One place: while a request has it, others wait, and may be refused; when its client goes away, the next has the place.
#[test]
fn a_client_that_goes_away_frees_its_place() {
    let model = embedded(Generation { batch: 1, ..Generation::default() });
    let limits = ServiceLimits { waiting: 2, ..ServiceLimits::default() };
    let service = GenerationService::start(model.tokens(), limits).expect("a service");
    let request = |length| {
        let decoding = Decoding { min_new_tokens: length, ..Decoding::default() };
        let request = GenerationRequest::new([5], Streams::new(1, 1));
        GenerationRequest { decoding, max_new_tokens: length, ..request }
    };
    let (long, release) = held(&service, &request(120));
    let gone = service.submit(&request(3)).expect("accepted");
    let waits = service.submit(&request(3)).expect("accepted");
    let refused = service.submit(&request(3)).expect_err("two wait");
    assert!(
        matches!(refused, Error::Request { problem: RequestProblem::QueueFull { waiting: 2 } }),
        "{refused}"
    );
    assert_eq!((service.load().waiting, service.load().running), (2, 1));
    drop(gone);
    assert_eq!((service.load().waiting, service.load().running), (1, 1));
    drop((long, release));
    assert_eq!(waits.samples().expect("it has its turn")[0].value.len(), 3);
    until(|| service.load() == Default::default());
}

#[test]
fn one_sequence_of_a_request_can_be_cancelled() {
    let model = embedded(Generation { batch: 3, ..Generation::default() });
    let service = start(model.tokens());
    let request = GenerationRequest::new([5], Streams::new(2, 2));
    let decoding = Decoding { min_new_tokens: 120, ..Decoding::default() };
    let request = GenerationRequest { decoding, max_new_tokens: 120, ..request };
    let (guard, release) = held(&service, &request);
    let handle = service.submit(&request).expect("accepted");
    handle.cancel(0);
    drop((guard, release));
    let mut ends = Vec::new();
    for event in handle {
        if let GenerationEvent::Finished { sequence, reason } = event.expect("no error") {
            ends.push((sequence, reason));
        }
    }
    assert_eq!(ends, [(0, FinishReason::Cancelled), (1, FinishReason::Length)]);
}

#[test]
fn a_service_that_ends_answers_every_request() {
    let model = embedded(Generation { batch: 1, ..Generation::default() });
    let long = GenerationRequest { max_new_tokens: 120, ..GenerationRequest::new([5], Streams::new(1, 2)) };
    let service = start(model.tokens());
    let (first, release) = held(&service, &long);
    let handles: Vec<GenerationHandle> = (0..3).map(|_| service.submit(&long).expect("accepted")).collect();
    let (sender, events) = mpsc::channel();
    let guard = service.submit_to(&long, move |event| sender.send(event.is_err()).expect("heard"));
    let guard = guard.expect("accepted");
    thread::scope(|scope| {
        scope.spawn(|| drop(service));
        // The worker is held until the service has been told to end.
        thread::sleep(Duration::from_millis(100));
        drop((first, release));
    });
    for handle in handles {
        let error = handle.samples().expect_err("unfinished");
        assert!(matches!(error, Error::Request { problem: RequestProblem::Stopped }), "{error}");
    }
    assert_eq!(events.iter().collect::<Vec<_>>(), [true]);
    drop(guard);

    let service = start(model.tokens());
    let handles: Vec<GenerationHandle> = (0..3).map(|_| service.submit(&long).expect("accepted")).collect();
    service.close();
    let refused = service.submit(&long).expect_err("closed");
    assert!(matches!(refused, Error::Request { problem: RequestProblem::Stopped }), "{refused}");
    service.finish().expect("it ends");
    assert!(handles.into_iter().all(|handle| handle.samples().is_ok_and(|samples| samples.len() == 2)));
}

#[test]
fn a_service_under_a_grammar_draws_its_texts() {
    let model = embedded(Generation::default());
    let model = model.under_grammar(&Grammar::regex("(yes|no)!").expect("a grammar")).expect("it fits");
    let service = start(model.tokens());
    let context = model.encode("ROMEO:\n").expect("ids");
    let request = GenerationRequest::new(context.as_slice(), Streams::new(3, 8));
    let found = service.submit(&request).expect("accepted").samples().expect("samples");
    assert_same(&found, &model.tokens().sample(&context, &Streams::new(3, 8)).expect("samples"));
    for sample in found {
        let text = model.completion_after(&context, sample.value).expect("a text").text;
        assert!(["yes!", "no!"].contains(&text.as_str()), "{text}");
    }
}

#[test]
fn a_request_that_the_model_cannot_answer_is_refused() {
    let model = embedded(Generation::default());
    let limits = ServiceLimits { max_new_tokens: 50, sequences: 4, ..ServiceLimits::default() };
    let service = GenerationService::start(model.tokens(), limits).expect("a service");
    let request = |change: fn(&mut GenerationRequest)| {
        let mut request = GenerationRequest::new([5, 6], Streams::new(1, 2));
        change(&mut request);
        service.submit(&request).map(|_| ()).expect_err("refused").to_string()
    };
    let refusals = [
        (request(|request| request.context.clear()), "the list of token ids has no token"),
        (request(|request| request.context = vec![9_999_999]), "token id 9999999"),
        (request(|request| request.context = vec![5; 100_000]), "context of 100000 tokens"),
        (request(|request| request.max_new_tokens = 51), "max_new_tokens is 51; allowed: at most 50"),
        (request(|request| request.max_new_tokens = 0), "max_new_tokens is 0; allowed: at least 1"),
        (request(|request| request.streams = Streams::new(1, 5)), "streams is 5; allowed: at most 4"),
        (request(|request| request.streams = Streams::new(1, 0)), "streams is 0"),
        (request(|request| request.decoding.temperature = 0.0), "temperature is 0"),
        (request(|request| request.alternatives = 9_999_999), "alternatives is 9999999"),
    ];
    for (found, expected) in refusals {
        assert!(found.contains(expected), "{found}");
    }
    let none = ServiceLimits { waiting: 0, ..limits };
    assert!(
        GenerationService::start(model.tokens(), none)
            .is_err_and(|error| error.to_string().contains("waiting is 0"))
    );
    let encoder =
        TokenModel::load(folder("t5-relu"), &device(), Generation::default()).expect("the model loads");
    let scored =
        GenerationRequest { context_log_probs: true, ..GenerationRequest::new([5], Streams::new(1, 1)) };
    assert!(
        start(&encoder)
            .submit(&scored)
            .is_err_and(|error| error.to_string().contains("an encoder reads the context"))
    );
}
