//! Explains a proxy's refusal to make a connection.

use std::time::SystemTime;

use ureq::http::{HeaderMap, HeaderName, StatusCode};

use super::error::{Kind, RequestError, Retry};
use super::retry;
use crate::endpoint::Endpoint;

/// What a refusal means, and what to do about it. `text` is the answer to CONNECT by `peer`, which is named in `source`;
/// `None` if it has no status.
pub(super) fn refusal(text: &str, peer: &str, source: &str, endpoint: &Endpoint) -> Option<RequestError> {
    let (status, headers) = head(text)?;
    let has_user = endpoint.proxy.as_ref().is_some_and(|proxy| proxy.settings.username().is_some());
    let schemes = schemes(&headers);
    let knows_basic = schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("Basic"));
    let schemes = schemes.join(" or ");
    let mut message = format!("{peer} answered HTTP {} to CONNECT {}", status.as_u16(), endpoint.host());
    let advice = match status.as_u16() {
        407 if !knows_basic => {
            message += &format!(": it wants {schemes}, which this program does not know");
            format!("set {source} to a local proxy that does, such as px or cntlm")
        }
        407 if has_user => format!("check the user and the password in {source}"),
        407 => format!("put USER:PASSWORD@ before the host in {source} (Basic authentication)"),
        403 => "have it allow this host, or list the host in NO_PROXY".into(),
        408 | 429 => "try again later".into(),
        500 | 502.. => format!("check {}, and that the proxy can reach it", endpoint.base_url.name),
        _ => format!("check that {source} is a forward proxy"),
    };
    let retry = match (status.as_u16(), retry::of_response(status, &headers, false, SystemTime::now())) {
        // What a proxy limits is not the API's rate.
        (408 | 429 | 500.., Retry::After(pause) | Retry::RateLimited(pause)) => Retry::After(pause),
        _ => Retry::Never,
    };
    Some(RequestError::new(message, advice, retry, Kind::Connection))
}

/// Reads the head of a proxy's answer to CONNECT.
fn head(text: &str) -> Option<(StatusCode, HeaderMap)> {
    let mut lines = text.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.trim().parse()) {
            headers.append(name, value);
        }
    }
    Some((status, headers))
}

/// The authentication schemes that a proxy offers (RFC 9110, section 11.7.1), each once.
fn schemes(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all("proxy-authenticate").iter().filter_map(|value| value.to_str().ok());
    let mut schemes: Vec<&str> = Vec::new();
    for challenge in values.flat_map(|value| value.split(',')).map(str::trim) {
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        // Otherwise it is a parameter of the challenge before.
        let is_scheme = !scheme.is_empty() && scheme.len() <= 20 && scheme.bytes().all(is_name);
        let is_new = schemes.iter().all(|known| !known.eq_ignore_ascii_case(scheme));
        if is_scheme && is_new && (rest.contains('=') || !rest.contains([' ', '"'])) {
            schemes.push(scheme);
        }
    }
    schemes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemes_that_a_proxy_offers_are_found() {
        for (lines, expected) in [
            ("", &[][..]),
            ("Proxy-Authenticate: NTLM", &["NTLM"]),
            (
                "proxy-authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: ntlm",
                &["Negotiate", "NTLM"],
            ),
            (
                "Proxy-Authenticate: Negotiate oYG2MA, Basic realm=\"a, b c\", charset=\"UTF-8\"",
                &["Negotiate", "Basic"],
            ),
            ("Proxy-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\nVia: Basic", &["Digest"]),
            ("Proxy-Authenticate: <script>, \u{1b}[2J", &[]),
        ] {
            let (status, headers) = head(&format!("HTTP/1.1 407 Who?\r\n{lines}\r\n\r\n")).unwrap();
            assert_eq!((status.as_u16(), schemes(&headers)), (407, expected.to_vec()), "{lines}");
        }
    }
}
