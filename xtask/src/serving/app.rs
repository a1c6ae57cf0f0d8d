//! The state that all requests of a server share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use disco_core::StreamRng;
use rand::Rng;

use super::{engine::Engine, metrics::Metrics, settings::ServerSettings};

/// The state that all requests of a server share.
pub(super) struct App {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) settings: ServerSettings,
    pub(super) metrics: Metrics,
    requests: AtomicU64,
    unseeded: AtomicU64,
    pub(super) started: u64,
}

impl App {
    pub(super) fn new(engine: Arc<dyn Engine>, settings: ServerSettings) -> Self {
        let mut app = Self {
            engine,
            settings,
            metrics: Metrics::default(),
            requests: AtomicU64::new(0),
            unseeded: AtomicU64::new(0),
            started: 0,
        };
        app.started = app.now();
        app
    }

    /// The number of the next request.
    pub(super) fn next_number(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// The seed of the next request that has none.
    pub(super) fn next_seed(&self) -> u64 {
        let number = self.unseeded.fetch_add(1, Ordering::Relaxed);
        // JSON's numbers are whole up to 2^53 in most languages.
        StreamRng::of_stream(self.settings.seed, number).next_u64() >> 11
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }
}
