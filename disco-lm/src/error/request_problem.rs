//! The problems of a request to a generation service.

/// The problem with a request to a [`GenerationService`](crate::GenerationService).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestProblem {
    /// As many requests wait as the service allows.
    #[error("{waiting} requests wait already; allowed: at most {waiting} waiting requests")]
    QueueFull {
        /// The number of requests that wait, which is the most that may.
        waiting: usize,
    },
    /// The service was stopped before the request was finished, or takes no further requests.
    #[error("the service has stopped")]
    Stopped,
    /// The model failed in a step of a batch in which the request took part.
    #[error("{message}")]
    Failed {
        /// The message of the model's error.
        message: String,
    },
}
