//! An engine whose tokens are bytes, and whose completions are a function of seed and stream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use disco_core::StreamRng;
use rand::RngExt;
use serde_json::{Map, json};
use xtask::{
    Asked, ChatMessage, DrawEvent, DrawRequest, Drawing, DrawnToken, Engine, EngineLoad, OnEvent, Prompt,
    Refusal,
};

/// The id of the end token.
const END: u32 = 256;
/// Parts of texts: with characters of several bytes.
const WORDS: [&str; 6] = ["ab", "é", "日本", " stop", "st", "\n"];

/// A prompt with "slow" in it takes a while for each token; one with "fail" fails after two.
#[derive(Debug, Default)]
pub(crate) struct ScriptedEngine {
    pub(crate) running: Arc<AtomicUsize>,
    /// Requests that it has refused or will refuse any more, if there is a limit.
    pub(crate) most: Option<usize>,
    pub(crate) is_closed: AtomicBool,
}

struct Cancelling(Arc<Vec<AtomicBool>>);

impl Drawing for Cancelling {
    fn cancel(&self, completion: usize) {
        self.0[completion].store(true, Ordering::Relaxed);
    }
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        (0..self.0.len()).for_each(|completion| self.cancel(completion));
    }
}

/// The bytes of a completion; the end token may be the last.
fn script(request: &DrawRequest, completion: usize) -> Vec<u32> {
    let mut rng = StreamRng::of_stream(request.seed, request.first_stream + completion as u64);
    let mut tokens = Vec::new();
    while tokens.len() < request.sampling.max_tokens {
        if rng.random_range(0..20) == 0 && tokens.len() >= request.sampling.min_tokens {
            tokens.push(END);
            break;
        }
        tokens.extend(WORDS[rng.random_range(0..WORDS.len())].bytes().map(u32::from));
    }
    tokens.truncate(request.sampling.max_tokens);
    tokens
}

fn token(id: u32, alternatives: usize) -> DrawnToken {
    let alternatives = (0..alternatives as u32).map(|rank| (97 + rank, -0.5 - f64::from(rank))).collect();
    DrawnToken {
        id,
        log_prob: Some(if id == 0 { f64::NEG_INFINITY } else { -f64::from(id) / 100.0 }),
        alternatives,
    }
}

impl Engine for ScriptedEngine {
    fn positions(&self) -> usize {
        1000
    }

    fn read(&self, asked: Asked) -> Result<Prompt, Refusal> {
        let line = |message: &ChatMessage| format!("{}: {}\n", message.role, message.content);
        let text = match asked {
            Asked::Text(text) => text,
            Asked::Chat(messages) => messages.iter().map(line).collect(),
            Asked::Ids(ids) => return Ok(Prompt { text: self.text_after(&[], &ids)?, ids }),
        };
        Ok(Prompt { ids: text.bytes().map(u32::from).collect(), text })
    }

    fn text_after(&self, _: &[u32], tokens: &[u32]) -> Result<String, Refusal> {
        let byte = |id: &u32| (*id < END).then_some(*id as u8);
        if let Some(id) = tokens.iter().find(|id| **id > END) {
            return Err(Refusal::Invalid(format!("token id {id} is not in the vocabulary")));
        }
        Ok(String::from_utf8_lossy(&tokens.iter().filter_map(byte).collect::<Vec<u8>>()).into_owned())
    }

    fn token_text(&self, id: u32) -> String {
        format!("<{id}>")
    }

    fn draw(&self, request: DrawRequest, mut on_event: OnEvent) -> Result<Box<dyn Drawing>, Refusal> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Refusal::Stopped);
        }
        if self.most.is_some_and(|most| self.running.load(Ordering::Relaxed) >= most) {
            return Err(Refusal::Busy("enough".into()));
        }
        let count = if request.sampling.max_tokens == 0 { 0 } else { request.count };
        let cancelled: Arc<Vec<AtomicBool>> =
            Arc::new((0..request.count).map(|_| AtomicBool::new(false)).collect());
        let running = self.running.clone();
        running.fetch_add(1, Ordering::Relaxed);
        let seen = cancelled.clone();
        thread::spawn(move || {
            let Prompt { ids, text } = &request.prompt;
            let alternatives = request.alternatives.unwrap_or(0);
            let pause = Duration::from_millis(if text.contains("slow") { 10 } else { 0 });
            if request.context_log_probs {
                on_event(DrawEvent::Prompt(ids[1..].iter().map(|id| token(*id, alternatives)).collect()));
            }
            for completion in 0..count {
                let facts = Map::from_iter([("acceptance_rate".to_owned(), json!(0.25))]);
                on_event(DrawEvent::Facts { completion, facts });
            }
            let scripts: Vec<Vec<u32>> = (0..count).map(|completion| script(&request, completion)).collect();
            'all: for step in 0..request.sampling.max_tokens {
                for (completion, script) in scripts.iter().enumerate() {
                    if step == 2 && text.contains("fail") {
                        on_event(DrawEvent::Failed(Refusal::Failed("the script says so".into())));
                        break 'all;
                    }
                    if seen[completion].load(Ordering::Relaxed) {
                        continue;
                    }
                    let Some(id) = script.get(step) else { continue };
                    thread::sleep(pause);
                    on_event(DrawEvent::Token { completion, token: token(*id, alternatives) });
                    if step + 1 == script.len() {
                        on_event(DrawEvent::Finished { completion, is_cut: *id != END });
                    }
                }
            }
            running.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(Box::new(Cancelling(cancelled)))
    }

    fn load(&self) -> EngineLoad {
        EngineLoad { waiting: 0, running: self.running.load(Ordering::Relaxed) }
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}
