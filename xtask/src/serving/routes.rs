//! The routes of a server: what is answered where, to whom, and how large a request may be.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    answer::Answer,
    api_error::{ApiError, json_response},
    app::App,
    engine::Engine,
    request::CompletionRequest,
    settings::ServerSettings,
    shape::{self, Shape},
};

/// Reads a request from its JSON.
type Reader = fn(Value, &dyn Engine, &ServerSettings) -> Result<CompletionRequest, ApiError>;

/// The paths that are answered, for metrics: a path that is not known has no name of its own there.
const PATHS: [&str; 5] = ["/v1/completions", "/v1/chat/completions", "/v1/models", "/health", "/metrics"];

pub(super) fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/v1/completions", post(|app, request| complete(app, request, CompletionRequest::completions)))
        .route("/v1/chat/completions", post(|app, request| complete(app, request, CompletionRequest::chat)))
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(models))
        .route("/health", get(async || json_response(&json!({"status": "ok"}))))
        .route("/metrics", get(metrics))
        .fallback(async || {
            ApiError::new(
                StatusCode::NOT_FOUND,
                format!("there is no such path; there is: {}", PATHS.join(", ")),
            )
        })
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method")
        })
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app.clone())
}

/// Lets a request pass that has the token, and counts the answer.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let path = PATHS.into_iter().find(|known| *known == path).unwrap_or("other");
    let response = match path == "/health" || is_allowed(&app, request.headers()) {
        true => next.run(request).await,
        false => {
            let message = "the header `Authorization: Bearer TOKEN` is missing or wrong";
            ApiError::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key").into_response()
        }
    };
    app.metrics.answered(path, response.status().as_u16());
    response
}

/// Whether a request has the token of the server.
fn is_allowed(app: &App, headers: &HeaderMap) -> bool {
    let Some(token) = &app.settings.token else { return true };
    let given = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    let given = given.strip_prefix(b"Bearer ").unwrap_or(&[]);
    // All bytes are looked at, so that the time does not tell how many are right.
    let differences = token.bytes().zip(given).fold(0, |all, (one, other)| all | (one ^ other));
    given.len() == token.len() && differences == 0
}

async fn models(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let model = shape::model(&app.settings.model, app.started, &*app.engine);
    match request.uri().path().strip_prefix("/v1/models/") {
        None => Ok(json_response(&json!({"object": "list", "data": [model]}))),
        Some(name) if name == app.settings.model => Ok(json_response(&model)),
        Some(_) => {
            let message = format!("there is no such model; there is: {}", app.settings.model);
            Err(ApiError::new(StatusCode::NOT_FOUND, message).with_code("model_not_found"))
        }
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(app.engine.load());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Answers a request for completions, whole or as a stream.
async fn complete(State(app): State<Arc<App>>, request: Request, read: Reader) -> Result<Response, ApiError> {
    let body = json_body(&app, request).await?;
    let reader = app.clone();
    // Long texts take a while to encode: not on a thread that serves connections.
    let read = move || read(body, &*reader.engine, &reader.settings);
    let request = tokio::task::spawn_blocking(read).await;
    let request =
        request.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    let is_stream = request.stream;
    let mut answer = Answer::begin(&app, request)?;
    let shape = Shape::new(&answer, app.next_number());
    if is_stream {
        return Ok(stream_of(answer, shape));
    }
    let mut parts = Vec::new();
    loop {
        let next = answer.next().await?;
        if next.is_empty() {
            return Ok(json_response(&shape.whole(&answer, parts)));
        }
        parts.extend(next);
    }
}

/// The JSON of a body that is neither too large nor too slow.
async fn json_body(app: &App, request: Request) -> Result<Value, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    // A page in a browser can send other kinds to this machine without asking.
    if !kind.to_ascii_lowercase().starts_with(b"application/json") {
        let message = "the header `Content-Type` is not `application/json`";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let (most, longest) = (app.settings.max_body, app.settings.reading_time);
    let bytes = timeout(longest, axum::body::to_bytes(Body::new(request.into_body()), most)).await;
    let bytes = bytes.map_err(|_| {
        let message = format!("the body took longer than {} seconds", longest.as_secs_f64());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
    })?;
    let bytes = bytes.map_err(|_| {
        let message = format!("the body is not complete, or larger than {most} bytes, which are allowed");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}")))
}

/// An answer as server-sent events, one for each part.
fn stream_of(answer: Answer, shape: Shape) -> Response {
    struct Streaming {
        answer: Answer,
        shape: Shape,
        ready: std::collections::VecDeque<String>,
        is_done: bool,
    }
    let ready = shape.first(&answer).iter().map(Value::to_string).collect();
    let begin = Streaming { answer, shape, ready, is_done: false };
    let chunks = stream::unfold(begin, async |mut state| {
        while state.ready.is_empty() && !state.is_done {
            match state.answer.next().await {
                Ok(parts) if parts.is_empty() => {
                    if state.answer.request.include_usage {
                        state.ready.push_back(state.shape.usage(&state.answer).to_string());
                    }
                    state.ready.push_back("[DONE]".into());
                    state.is_done = true;
                }
                Ok(parts) => {
                    let chunk = |part| state.shape.part(&state.answer, part).to_string();
                    state.ready.extend(parts.into_iter().map(chunk));
                }
                Err(error) => {
                    state.ready.push_back(error.body().to_string());
                    state.is_done = true;
                }
            }
        }
        let chunk = state.ready.pop_front()?;
        Some((Ok::<_, Infallible>(Event::default().data(chunk)), state))
    });
    Sse::new(chunks).keep_alive(KeepAlive::default()).into_response()
}
