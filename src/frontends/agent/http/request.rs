//! The head of a request.

use httparse::{Error, Status};

/// The most that a head may have, in bytes.
pub(super) const LARGEST_HEAD: usize = 8 * 1024;
/// The most fields that a head may have.
const MOST_FIELDS: usize = 64;

/// What has come of a request so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// All of it.
    Whole(Request),
    /// Not all of it yet.
    Part,
    /// Longer than it may be.
    TooLarge,
    /// Not HTTP, with what is wrong.
    Malformed(String),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// GET, HEAD, or whatever else it says.
    pub(crate) method: String,
    /// The path, without a query.
    pub(crate) path: String,
}

/// Reads the head of a request (RFC 9112, sections 2 and 3). What comes after it is nobody's business.
pub(crate) fn head(received: &[u8]) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(received) {
        Ok(Status::Complete(length)) if length > LARGEST_HEAD => Head::TooLarge,
        Ok(Status::Complete(_)) => Head::Whole(Request {
            method: request.method.unwrap_or_default().to_owned(),
            path: path(request.path.unwrap_or_default()).to_owned(),
        }),
        Ok(Status::Partial) if received.len() >= LARGEST_HEAD => Head::TooLarge,
        Ok(Status::Partial) => Head::Part,
        Err(Error::TooManyHeaders) => Head::TooLarge,
        Err(error) => Head::Malformed(error.to_string()),
    }
}

/// The path of a target in origin form, or in the absolute form that goes to proxies (RFC 9112, section 3.2).
fn path(target: &str) -> &str {
    let target = target.split_once('?').map_or(target, |(path, _)| path);
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |begin| &rest[begin..]),
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(method: &str, path: &str) -> Head {
        Head::Whole(Request { method: method.to_owned(), path: path.to_owned() })
    }

    #[test]
    fn what_is_asked_for_is_found_in_every_form() {
        for (text, method, path) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/metrics"),
            ("GET /metrics HTTP/1.0\r\n\r\n", "GET", "/metrics"),
            ("GET /metrics HTTP/1.1\n\n", "GET", "/metrics"),
            ("\r\nHEAD /status.json?a=b HTTP/1.1\r\n\r\n", "HEAD", "/status.json"),
            ("GET http://node1:7780/metrics?x HTTP/1.1\r\n\r\n", "GET", "/metrics"),
            ("GET http://node1:7780 HTTP/1.1\r\n\r\n", "GET", "/"),
            ("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS", "*"),
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", "POST", "/"),
            ("GET / HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", "GET", "/"),
        ] {
            assert_eq!(head(text.as_bytes()), whole(method, path), "{text:?}");
        }
    }

    #[test]
    fn a_head_is_a_part_until_its_empty_line() {
        let text = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(head(&text[..end]), Head::Part, "{end}");
        }
    }

    #[test]
    fn what_is_not_http_is_told_from_what_is_too_large() {
        let malformed = |bytes: &[u8]| matches!(head(bytes), Head::Malformed(_));
        assert!(malformed(b"\x16\x03\x01\x02\x00\x01"), "the begin of TLS");
        assert!(malformed(b"GET /metrics HTTP/2.0\r\n\r\n"));
        assert!(malformed(b"GET / HTTP/1.1\r\nno field\r\n\r\n"));
        let long = |length: usize| {
            let begin = "GET / HTTP/1.1\r\nA: ";
            format!("{begin}{}\r\n\r\n", "a".repeat(length - begin.len() - 4)).into_bytes()
        };
        assert_eq!(head(&long(LARGEST_HEAD)), whole("GET", "/"));
        assert_eq!(head(&long(LARGEST_HEAD + 1)), Head::TooLarge);
        assert_eq!(head(&long(LARGEST_HEAD + 1)[..LARGEST_HEAD]), Head::TooLarge);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(MOST_FIELDS + 1));
        assert_eq!(head(many.as_bytes()), Head::TooLarge);
    }
}
