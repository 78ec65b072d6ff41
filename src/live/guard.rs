//! Who may ask: only pages that this program served, to a browser on this machine.
//!
//! A page of another site can make a browser send requests to 127.0.0.1, and a name of another site can be made to mean
//! 127.0.0.1 (DNS rebinding). Such requests name the other site in `Origin` or `Host`. What acts also needs the token, which
//! only those know who see the terminal.

use hyper::header::{AsHeaderName, CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use std::hint::black_box;

/// The header with the token.
pub const TOKEN_HEADER: &str = "x-spikegrad-token";

/// A status, and why, in a sentence.
pub type Refusal = (StatusCode, &'static str);

/// A random token of 128 bits, as hexadecimal digits.
///
/// # Errors
/// The system has no random numbers.
pub fn token() -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Checks a request to the server at `port`.
pub fn check(request: &Parts, port: u16) -> Result<(), Refusal> {
    let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")];
    let host = single(&request.headers, HOST);
    // `GET http://host/path`, as to a proxy.
    let authority = request.uri.authority().map(|authority| authority.as_str());
    let own = |host: &str| hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
    if !host.is_some_and(own) || !authority.is_none_or(own) {
        let remedy = "open the page at 127.0.0.1 or localhost with the port that the program printed; over ssh, forward the same port";
        return Err((StatusCode::MISDIRECTED_REQUEST, remedy));
    }
    let foreign = "requests of other sites are refused";
    let origin = request.headers.get_all(ORIGIN).iter().count() > 0;
    if origin && !single(&request.headers, ORIGIN).and_then(|origin| origin.strip_prefix("http://")).is_some_and(own) {
        return Err((StatusCode::FORBIDDEN, foreign));
    }
    // A link on another site may lead to the page, but no site may embed its streams.
    let from_site = single(&request.headers, "sec-fetch-site");
    if from_site.is_some_and(|site| !["same-origin", "none"].contains(&site)) && request.uri.path() != "/" {
        return Err((StatusCode::FORBIDDEN, foreign));
    }
    Ok(())
}

/// Checks a request that acts.
pub fn check_act(request: &Parts, token: &str) -> Result<(), Refusal> {
    if request.method != Method::POST {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "commands are sent with POST"));
    }
    if !single(&request.headers, TOKEN_HEADER).is_some_and(|given| same(given.as_bytes(), token.as_bytes())) {
        let remedy =
            "open the page with the whole address that the program printed: without its token, it only watches";
        return Err((StatusCode::FORBIDDEN, remedy));
    }
    let kind = single(&request.headers, CONTENT_TYPE).unwrap_or_default();
    match kind.split(';').next().map(str::trim) {
        Some("application/json") => Ok(()),
        _ => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "commands are JSON: Content-Type: application/json")),
    }
}

/// A header that is there once.
fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Compares in a time that does not depend on where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| black_box(difference | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::post(uri), |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn passes(uri: &str, headers: &[(&str, &str)]) -> bool {
        check(&parts(uri, headers), 7000).is_ok()
    }

    #[test]
    fn only_this_machines_names_pass() {
        for host in ["127.0.0.1:7000", "localhost:7000", "LOCALHOST:7000", "[::1]:7000"] {
            assert!(passes("/", &[("host", host)]), "{host}");
        }
        for host in
            ["127.0.0.1", "127.0.0.1:7001", "evil.example:7000", "localhost.evil.example:7000", "", "0.0.0.0:7000"]
        {
            assert!(!passes("/", &[("host", host)]), "{host}");
        }
        assert!(!passes("/", &[]));
        assert!(!passes("/", &[("host", "localhost:7000"), ("host", "localhost:7000")]));
        assert!(!passes("http://evil.example/", &[("host", "localhost:7000")]));
    }

    #[test]
    fn other_sites_are_refused() {
        let from = |origin| passes("/events", &[("host", "localhost:7000"), ("origin", origin)]);
        assert!(from("http://localhost:7000") && from("http://127.0.0.1:7000"));
        for origin in ["https://localhost:7000", "http://localhost:8000", "http://evil.example", "null", ""] {
            assert!(!from(origin), "{origin}");
        }
        let site = |path, site| passes(path, &[("host", "localhost:7000"), ("sec-fetch-site", site)]);
        assert!(site("/events", "same-origin") && site("/", "cross-site"));
        assert!(!site("/events", "cross-site") && !site("/events", "same-site"));
    }

    #[test]
    fn acting_needs_the_token() {
        let json = ("content-type", "application/json");
        let with = |headers: &[(&str, &str)]| check_act(&parts("/act", headers), "0123").map_err(|(status, _)| status);
        assert_eq!(with(&[json, (TOKEN_HEADER, "0123")]), Ok(()));
        for wrong in ["0124", "012", "01234", ""] {
            assert_eq!(with(&[json, (TOKEN_HEADER, wrong)]), Err(StatusCode::FORBIDDEN), "{wrong}");
        }
        assert_eq!(with(&[json]), Err(StatusCode::FORBIDDEN));
        assert_eq!(with(&[(TOKEN_HEADER, "0123")]), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    #[test]
    fn tokens_differ() {
        let (a, b) = (token().unwrap(), token().unwrap());
        assert!(a != b && a.len() == 32 && same(a.as_bytes(), a.as_bytes()));
    }
}
