//! An answer and its bytes.

use std::time::SystemTime;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A sentence.
    Text,
    /// `/status.json`.
    Json,
    /// Prometheus' text format.
    Metrics,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    status: u16,
    content: Content,
    body: String,
    /// For HEAD: everything but the body.
    head_only: bool,
}

impl Response {
    pub(super) fn new(status: u16, content: Content, body: String) -> Self {
        Self { status, content, body, head_only: false }
    }

    /// One sentence that says why there is nothing else.
    pub(super) fn refusal(status: u16, sentence: String) -> Self {
        Self::new(status, Content::Text, sentence + "\n")
    }

    pub(super) fn without_body(mut self) -> Self {
        self.head_only = true;
        self
    }

    /// As it is sent (RFC 9112, section 4).
    pub(super) fn into_bytes(self, at: SystemTime) -> Vec<u8> {
        let content = match self.content {
            Content::Text => "text/plain; charset=utf-8",
            Content::Json => "application/json",
            Content::Metrics => "text/plain; version=0.0.4; charset=utf-8",
        };
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let allow = if self.status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\n{}{allow}Content-Type: {content}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n\r\n",
            self.status,
            date(at),
            self.body.len()
        )
        .into_bytes();
        if !self.head_only {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

/// The field that tells the time, unless the clock is set to a time that it has no form for (RFC 9110, section 6.6.1).
fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .and_then(|at| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at))
        .map(|date| format!("Date: {date}\r\n"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(response: Response) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        String::from_utf8(response.into_bytes(at)).unwrap()
    }

    #[test]
    fn an_answer_is_whole() {
        let answer = Response::new(200, Content::Json, "{}\n".to_owned());
        let head = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: application/json\r\n\
                    Content-Length: 3\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
        assert_eq!(text(answer.clone()), format!("{head}{{}}\n"));
        assert_eq!(text(answer.without_body()), head, "as long as it would be");
    }

    #[test]
    fn who_may_not_is_told_what_is_allowed() {
        assert!(text(Response::refusal(405, String::new())).contains("\r\nAllow: GET, HEAD\r\n"));
        assert!(!text(Response::refusal(404, String::new())).contains("Allow:"));
    }
}
