//! The answers.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kv_service::Exposition;

use super::{AdminState, host};
use crate::health::{Check, Readiness};

const INDEX: &str = "\
kv-server

/metrics   figures for Prometheus (text or OpenMetrics, by Accept)
/livez     200 while the process works
/readyz    200 while clients should be sent here, else 503 and why; ?verbose lists the checks
/healthz   the same as /readyz
";

/// All routes behind the check of the host name.
pub(super) fn router(state: AdminState, allowed_hosts: Vec<String>) -> Router {
    let allowed: Arc<[String]> = allowed_hosts.into();
    let guard = from_fn(move |request: Request, next: Next| {
        let allowed = Arc::clone(&allowed);
        async move {
            match host::check(request.uri(), request.headers(), &allowed) {
                Ok(()) => next.run(request).await,
                Err(status) => refusal(status).into_response(),
            }
        }
    });
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/healthz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND) })
        .layer(guard)
        .with_state(state)
}

fn refusal(status: StatusCode) -> (StatusCode, &'static str) {
    let words = match status {
        StatusCode::BAD_REQUEST => "one Host header is needed\n",
        StatusCode::MISDIRECTED_REQUEST => {
            "this host name is not served here; see admin.allowed_hosts\n"
        }
        _ => "no such page; / lists them\n",
    };
    (status, words)
}

async fn livez(headers: HeaderMap) -> Response {
    let body = if wants_json(&headers) {
        "{\"status\":\"ok\"}\n"
    } else {
        "ok\n"
    };
    respond(StatusCode::OK, &headers, body.to_owned())
}

async fn readyz(
    State(state): State<AdminState>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let checks = state.health.checks();
    let readiness = Readiness::of(&checks);
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        Readiness::Degraded | Readiness::NotReady => StatusCode::SERVICE_UNAVAILABLE,
    };
    let verbose = query
        .unwrap_or_default()
        .split('&')
        .any(|part| matches!(part, "verbose" | "verbose=" | "verbose=1" | "verbose=true"));
    let body = if wants_json(&headers) {
        json(readiness, &checks, verbose)
    } else {
        text(readiness, &checks, verbose)
    };
    respond(status, &headers, body)
}

/// What failed is always named; with `verbose` what holds too.
fn text(readiness: Readiness, checks: &[Check], verbose: bool) -> String {
    let mut body = String::new();
    for check in checks.iter().filter(|check| verbose || !check.ok) {
        let mark = if check.ok { '+' } else { '-' };
        let _ = writeln!(body, "[{mark}] {}: {}", check.name, check.detail);
    }
    body.push_str(readiness.word());
    body.push('\n');
    body
}

/// Names and details are constants without anything to escape.
fn json(readiness: Readiness, checks: &[Check], verbose: bool) -> String {
    let mut body = format!("{{\"status\":\"{}\"", readiness.word());
    if verbose || readiness != Readiness::Ready {
        body.push_str(",\"checks\":[");
        let shown = checks.iter().filter(|check| verbose || !check.ok);
        for (index, Check { name, ok, detail }) in shown.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(
                body,
                "{comma}{{\"name\":\"{name}\",\"ok\":{ok},\"detail\":\"{detail}\"}}"
            );
        }
        body.push(']');
    }
    body.push_str("}\n");
    body
}

async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    if !state.metrics_enabled {
        return refusal(StatusCode::NOT_FOUND).into_response();
    }
    let format = Exposition::from_accept(accept(&headers));
    match state.metrics.expose(format, (state.scrape)()) {
        Ok(body) => ([(header::CONTENT_TYPE, format.content_type())], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn accept(headers: &HeaderMap) -> &str {
    headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn wants_json(headers: &HeaderMap) -> bool {
    let named = |range: &str| range.split(';').next().map(str::trim) == Some("application/json");
    accept(headers).split(',').any(named)
}

fn respond(status: StatusCode, headers: &HeaderMap, body: String) -> Response {
    let kind = if wants_json(headers) {
        "application/json"
    } else {
        "text/plain; charset=utf-8"
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}
