//! What a complete response means: JSON, or the reason that there is none.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};

use super::deadline::{Deadline, MAX_TIMEOUT};
use super::error::{Kind, RequestError, Retry};
use super::retry;
use crate::endpoint::Endpoint;
use crate::job::{Cost, TooMuch};
use crate::text::quote;

/// How many values a refusal may have, and how much of a page is searched for its title, in bytes.
const MAX_REFUSAL: usize = 10_000;
const MAX_PAGE: usize = 64 * 1024;

/// Why nothing can be made of a response.
#[derive(Debug)]
pub(super) enum Unusable {
    Json(serde_json::Error),
    TooMuch(TooMuch),
    /// It is something else, which this names.
    Unexpected(&'static str),
}

impl From<serde_json::Error> for Unusable {
    fn from(error: serde_json::Error) -> Self {
        Unusable::Json(error)
    }
}

impl From<TooMuch> for Unusable {
    fn from(error: TooMuch) -> Self {
        Unusable::TooMuch(error)
    }
}

/// What `read` makes of the JSON of a response with status 200.
pub(super) fn parse<T>(
    headers: &HeaderMap,
    body: &[u8],
    endpoint: &Endpoint,
    read: impl Fn(&[u8]) -> Result<T, Unusable>,
) -> Result<T, RequestError> {
    let (host, base_url) = (endpoint.host(), endpoint.base_url.name);
    let request_id = || request_id(headers, endpoint);
    let body = without_bom(body);
    let answer = read(body).map_err(|error| {
        let error = match error {
            Unusable::Json(error) => error,
            Unusable::TooMuch(error) => return too_much(endpoint, &error).with_note(request_id()),
            Unusable::Unexpected(what) => return unexpected(endpoint, what),
        };
        let content_type = header(headers, "content-type", endpoint).unwrap_or_default();
        let encoding = header(headers, "content-encoding", endpoint).filter(|encoding| encoding != "identity");
        let (retry, message, advice) = if let Some(encoding) = encoding {
            let advice = format!("check {base_url}, and any proxy that compresses responses");
            (
                Retry::Never,
                format!("answered with Content-Encoding {encoding}, which this program does not support"),
                advice,
            )
        } else if body.is_empty() {
            (Retry::After(None), "answered with an empty body".into(), format!("check {base_url}"))
        } else if error.is_eof() {
            // A body that ends with its connection looks complete until it is parsed.
            (Retry::After(None), "sent a response that was cut short".into(), "try again later".into())
        } else if content_type.contains("json") {
            (Retry::Never, format!("answered with JSON that cannot be parsed ({error})"), format!("check {base_url}"))
        } else {
            let what = if content_type.is_empty() { "a body that is" } else { &format!("{content_type},") };
            let advice = format!("check {base_url}, and that no proxy or login page answers instead");
            (Retry::Later, format!("answered with {what} not JSON"), advice)
        };
        RequestError::new(format!("{host} {message}"), advice, retry, Kind::Response).with_note(request_id())
    })?;
    if str::from_utf8(body).is_ok_and(|body| endpoint.secrets.are_in_json(body)) {
        let message =
            format!("{host} sent a response that contains a secret (the API key, or a value in OPENAI_CUSTOM_HEADERS)");
        let advice =
            "remove it there, from the job's metadata for instance: it must not get into Terraform's state".into();
        return Err(RequestError::new(message, advice, Retry::Never, Kind::Response).with_note(request_id()));
    }
    Ok(answer)
}

/// Why a response is not kept, with how many would be.
pub(super) fn too_much(endpoint: &Endpoint, TooMuch { what, kept }: &TooMuch) -> RequestError {
    let host = endpoint.host();
    let (message, advice) = match kept {
        0 => (format!("the response from {host} has {what}, too much to keep"), String::new()),
        _ => (
            format!("the responses from {host} have {what} in all, too much to keep"),
            format!("read at most {kept} of these jobs at once"),
        ),
    };
    RequestError::new(message, advice, Retry::Never, Kind::TooMuch)
}

/// For a response that is something else than what was asked for.
pub(super) fn unexpected(endpoint: &Endpoint, what: &str) -> RequestError {
    let message = format!("{} answered with {what}", endpoint.host());
    RequestError::new(message, format!("check {}", endpoint.base_url.name), Retry::Never, Kind::Response)
}

/// What a status other than 200 means, in the server's own words, and what to do about it.
pub(super) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    endpoint: &Endpoint,
    deadline: &Deadline,
) -> RequestError {
    let json = Some(without_bom(body)).filter(|body| Cost::of(body).values <= MAX_REFUSAL);
    let answer: Value = json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let code = answer["error"]["code"].as_str().or(answer["error"]["type"].as_str());
    let has_no_quota = code == Some("insufficient_quota");
    let retry = match retry::of_response(status, headers, SystemTime::now()) {
        Retry::RateLimited(_) if has_no_quota => Retry::Later,
        retry => retry,
    };
    let from_api = answer["error"]["message"].is_string();
    let (key, base_url) = (&endpoint.key_variable, endpoint.base_url.name);
    let advice = match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => format!("redirects are not followed: set {base_url} to the API's own address"),
        401 if from_api => format!("check the API key in {key}"),
        403 if from_api => {
            format!("check what the API key in {key} may do, and for which organization and project")
        }
        401 | 403 => format!("check {base_url}, and the API key in {key}"),
        429 if has_no_quota => "check the organization's plan and billing".into(),
        429 => match retry {
            Retry::RateLimited(pause) => rate_limit_advice(pause, deadline),
            _ => "reduce the request rate".into(),
        },
        500.. => match retry {
            Retry::RateLimited(_) => format!("try again later, or {}", deadline.advice()),
            _ => "try again later".into(),
        },
        404 => format!("check {base_url}"),
        _ if from_api => String::new(),
        _ => format!("check {base_url}"),
    };
    let number = status.as_u16();
    let words = own_words(&answer, &body[..body.len().min(MAX_PAGE)])
        .map(|words| quote(&words, &endpoint.secrets))
        .unwrap_or_default();
    // Many pages have the status in their title.
    let words = words.strip_prefix(&number.to_string()).unwrap_or(&words).trim().trim_end_matches('.');
    let words = if words.is_empty() { status.canonical_reason().unwrap_or_default() } else { words };
    let colon = if words.is_empty() { "" } else { ": " };
    let message = format!("{} answered HTTP {number}{colon}{words}", endpoint.host());
    let location = header(headers, "location", endpoint).map(|location| format!("to {location}"));
    RequestError::new(message, advice, retry, Kind::Status { status: number, from_api })
        .with_note(location)
        .with_note(request_id(headers, endpoint))
}

/// More time helps only if `timeout` can be longer than the pause.
pub(super) fn rate_limit_advice(pause: Option<Duration>, deadline: &Deadline) -> String {
    let more_time = pause.is_none_or(|pause| pause < MAX_TIMEOUT).then(|| format!(", or {}", deadline.advice()));
    format!("reduce the request rate{}", more_time.unwrap_or_default())
}

/// What a server says of a refusal: in the API's form, in those of gateways and of AWS, or as the title of a page.
fn own_words(answer: &Value, body: &[u8]) -> Option<String> {
    let texts =
        [&answer["error"]["message"], &answer["error"], &answer["message"], &answer["Message"], &answer["detail"]];
    let text = texts.into_iter().find_map(Value::as_str).map(ToOwned::to_owned);
    text.or_else(|| {
        let page = String::from_utf8_lossy(body);
        let title = &page[page.to_ascii_lowercase().find("<title")?..];
        Some(title.split(['>', '<']).nth(2)?.to_owned())
    })
}

/// The body without the byte order mark that some gateways put before it.
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// For the message: what the API's support needs. Azure has its own name for it.
fn request_id(headers: &HeaderMap, endpoint: &Endpoint) -> Option<String> {
    let id = ["x-request-id", "apim-request-id"].into_iter().find_map(|name| header(headers, name, endpoint))?;
    Some(format!("request ID {id}"))
}

fn header(headers: &HeaderMap, name: &str, endpoint: &Endpoint) -> Option<String> {
    Some(quote(headers.get(name)?.to_str().ok()?, &endpoint.secrets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::test_server;
    use super::*;
    use crate::job::Job;
    use crate::job::Output;

    fn tree(body: &[u8]) -> Result<Value, Unusable> {
        Ok(serde_json::from_slice(body)?)
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let answer = parse(&HeaderMap::new(), b"\xef\xbb\xbf{\"id\":1}", &test_server::endpoint("a.test"), tree);
        assert_eq!(answer.unwrap()["id"], 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_body_is_json_or_an_error(body: Vec<u8>, text in "[\\[{]?\"(id|object|[a-z]{1,3})\":[0-9\\]}\\[{\",:e.]{0,9}[\\]}]?") {
            let endpoint = test_server::endpoint("a.test");
            for body in [&body, text.as_bytes()] {
                let answer = parse(&HeaderMap::new(), body, &endpoint, tree);
                if let Some(job) = answer.ok().and_then(Job::new) {
                    prop_assert!(Output::One(job).render(false).is_ok());
                }
            }
        }
    }
}
