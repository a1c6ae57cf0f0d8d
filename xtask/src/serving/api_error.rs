//! Errors as clients of OpenAI's API know them.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::engine::Refusal;

/// An error that a client is told: a status, and a body in OpenAI's shape.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    message: String,
    /// The field of the request.
    field: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), field: None, code: None }
    }

    /// A field with a value that is not allowed.
    pub(super) fn invalid(field: &str, problem: impl std::fmt::Display) -> Self {
        let message = format!("`{field}` {problem}");
        Self { field: Some(field.into()), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    pub(super) fn body(&self) -> Value {
        json!({"error": {
            "message": self.message, "type": self.kind(), "param": self.field, "code": self.code,
        }})
    }
}

/// An answer that is JSON.
pub(super) fn json_response(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(message) => Self::new(StatusCode::BAD_REQUEST, message),
            Refusal::Busy(message) => Self::new(StatusCode::TOO_MANY_REQUESTS, message),
            // Of the statuses that no client repeats by itself.
            Refusal::Exhausted(message) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, message),
            Refusal::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is being stopped"),
            Refusal::Failed(message) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, json_response(&self.body())).into_response();
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
