//! Which path tells what. Pure: the snapshot and the time are given.

use std::time::Instant;

use super::request::{Head, LARGEST_HEAD, Request};
use super::response::{Content, Response};
use crate::frontends::agent::metrics;
use crate::frontends::agent::snapshot::{Degree, Judged, Snapshot};

const PATHS: &str = "/health/active, /health/fit, /status.json and /metrics";

/// The answer to what came; none while the head is not whole.
pub(super) fn answer(head: Head, snapshot: &Snapshot, now: Instant) -> Option<Response> {
    Some(match head {
        Head::Whole(request) => to_request(&request, snapshot, now),
        Head::Part => return None,
        Head::TooLarge => {
            Response::refusal(431, format!("the head of a request may have {LARGEST_HEAD} bytes here"))
        }
        Head::Malformed(what) => Response::refusal(400, format!("this is not a request of HTTP/1.1: {what}")),
    })
}

/// The answer to a head that did not come in time.
pub(super) fn too_late() -> Response {
    Response::refusal(408, "the head of the request did not come in time".to_owned())
}

/// The answer to a head that its sender cut off.
pub(super) fn cut_off() -> Response {
    Response::refusal(400, "the request ended before its head did".to_owned())
}

fn to_request(request: &Request, snapshot: &Snapshot, now: Instant) -> Response {
    let is_head = request.method == "HEAD";
    if !is_head && request.method != "GET" {
        return Response::refusal(405, format!("{} is not served here, only GET and HEAD", request.method));
    }
    let response = match request.path.as_str() {
        "/health/active" => health(&snapshot.serves, snapshot, now),
        "/health/fit" => health(&snapshot.fit, snapshot, now),
        "/status.json" => Response::new(200, Content::Json, snapshot.json(now)),
        "/metrics" => Response::new(200, Content::Metrics, metrics::metrics(snapshot, now)),
        _ => Response::refusal(404, format!("there is nothing here: {PATHS} are served")),
    };
    if is_head { response.without_body() } else { response }
}

/// 200, or 503 with the cause. What is old says nothing: a load balancer must not go on sending clients to an agent that hangs.
fn health(judged: &Judged, snapshot: &Snapshot, now: Instant) -> Response {
    if let Some(cause) = snapshot.stale(now) {
        return Response::refusal(503, cause);
    }
    let status = if judged.degree == Degree::Bad { 503 } else { 200 };
    Response::new(status, Content::Text, format!("{}\n", judged.sentence))
}
