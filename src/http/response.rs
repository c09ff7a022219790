//! What a complete response means: JSON, or the reason that there is none.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::http::HeaderMap;
use ureq::http::response::Parts;

use super::deadline::{Deadline, MAX_TIMEOUT};
use super::error::{Kind, RequestError, Retry};
use super::own_words::own_words;
use super::retry;
use crate::endpoint::Endpoint;
use crate::job::{Cost, TooMuch};
use crate::text::{quote, quote_at_most};

/// The most of a header that is quoted, in characters: with the server's words and the advice it must fit into the line.
const MAX_HEADER: usize = 150;

/// How much of a refusal is read, in bytes, and how many values it may have.
const MAX_REFUSAL: usize = 1024 * 1024;
const MAX_VALUES: usize = 10_000;

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
    let request_id = || request_id(headers, endpoint);
    let body = without_bom(body);
    let answer = read(body).map_err(|error| match error {
        Unusable::Json(error) => not_json(&error, headers, body, endpoint).with_note(request_id()),
        Unusable::TooMuch(error) => too_much(endpoint, &error).with_note(request_id()),
        Unusable::Unexpected(what) => unexpected(endpoint, what),
    })?;
    if endpoint.is_api && str::from_utf8(body).is_ok_and(|body| endpoint.secrets.are_in_json(body)) {
        let host = endpoint.host();
        let what = "a secret (a key, a token, or a value in OPENAI_CUSTOM_HEADERS)";
        let message = format!("{host} sent a response that contains {what}");
        let advice = "remove it there, from the job's metadata for instance: it must not get into Terraform's state";
        return Err(RequestError::new(message, advice.into(), Retry::Never, Kind::Response).with_note(request_id()));
    }
    Ok(answer)
}

/// Why a body is no JSON.
fn not_json(error: &serde_json::Error, headers: &HeaderMap, body: &[u8], endpoint: &Endpoint) -> RequestError {
    let base_url = endpoint.base_url.name;
    let content_type = header(headers, "content-type", endpoint).unwrap_or_default();
    let encoding = header(headers, "content-encoding", endpoint).filter(|encoding| encoding != "identity");
    let (retry, message, advice) = if let Some(encoding) = encoding {
        let message = format!("answered with Content-Encoding {encoding}, which this program does not support");
        (Retry::Never, message, format!("check {base_url}, and any proxy that compresses responses"))
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
    RequestError::new(format!("{} {message}", endpoint.host()), advice, retry, Kind::Response)
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

/// Describes a response that is not what was asked for.
pub(super) fn unexpected(endpoint: &Endpoint, what: &str) -> RequestError {
    let message = format!("{} answered with {what}", endpoint.host());
    RequestError::new(message, format!("check {}", endpoint.base_url.name), Retry::Never, Kind::Response)
}

/// What a status other than 200 means, in the server's own words, and what to do about it.
pub(super) fn refusal(
    Parts { status, headers, .. }: &Parts,
    body: &[u8],
    endpoint: &Endpoint,
    has_succeeded: bool,
    deadline: &Deadline,
) -> RequestError {
    let body = without_bom(body);
    let body = &body[..body.len().min(MAX_REFUSAL)];
    let json = Some(body).filter(|body| Cost::of(body).values <= MAX_VALUES);
    let answer: Value = json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let code = answer["error"]["code"].as_str().or(answer["error"]["type"].as_str());
    let has_no_quota = has_no_quota(body);
    let retry = match retry::of_response(*status, headers, has_succeeded, SystemTime::now()) {
        Retry::RateLimited(_) | Retry::After(_) if has_no_quota => Retry::Later,
        retry => retry,
    };
    let from_api = answer["error"]["message"].is_string();
    let advice = match (status.as_u16(), retry) {
        _ if has_no_quota => "check the organization's plan and billing".into(),
        (429, Retry::RateLimited(pause)) => rate_limit_advice(pause, deadline),
        (500.., Retry::RateLimited(Some(_))) => format!("try again later, or {}", deadline.advice()),
        (number, _) => advice(number, code, from_api, endpoint),
    };
    let number = status.as_u16();
    let words = own_words(&answer, body).map(|words| quote(&words, &endpoint.secrets)).unwrap_or_default();
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

/// What to do about a refusal, apart from a rate limit. The codes are OpenAI's own.
fn advice(status: u16, code: Option<&str>, from_api: bool, endpoint: &Endpoint) -> String {
    let (credential, base_url) = (endpoint.credential.name(), endpoint.base_url.name);
    let advice = match (status, code) {
        (400..=499, Some("mismatched_organization" | "invalid_organization")) => {
            format!("check {}: {credential} is not of that organization", endpoint.organization_source())
        }
        (400..=499, Some("mismatched_project" | "invalid_project")) => {
            format!("check {}: {credential} is not of that project", endpoint.project_source())
        }
        (400..=499, Some("incorrect_hostname")) => {
            format!("set {base_url} to the address of the project's region, such as https://us.api.openai.com/v1")
        }
        (400..=499, Some(code)) if code.contains("certificate") => endpoint.certificate_advice(),
        (301 | 302 | 303 | 307 | 308, _) => {
            format!("redirects are not followed: set {base_url} to the API's own address")
        }
        (401, _) if from_api => format!("check {credential}"),
        (403, _) if from_api => {
            format!("check what {credential} may do, and for which organization and project")
        }
        (401 | 403, _) => format!("check {base_url}, and {credential}"),
        (429, _) => "reduce the request rate".into(),
        (404 | 501, _) => format!("check {base_url}"),
        (500.., _) => "try again later".into(),
        _ if from_api => String::new(),
        _ => format!("check {base_url}"),
    };
    // Headers of a gateway may be what it refuses, or replace the program's own.
    let names_headers =
        matches!(status, 401 | 403) && !endpoint.custom_headers.is_empty() && !advice.contains("OPENAI_CUSTOM_HEADERS");
    if names_headers { format!("{advice}; check OPENAI_CUSTOM_HEADERS too") } else { advice }
}

/// Whether the quota is used up, and not the rate too high: the API's error code, or its words within a gateway's own error
/// (OpenAI's guide to error codes, "429 - You exceeded your current quota").
fn has_no_quota(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body).to_ascii_lowercase();
    ["insufficient_quota", "exceeded your current quota"].iter().any(|words| body.contains(words))
}

/// More time helps only if `timeout` can be longer than the pause.
pub(super) fn rate_limit_advice(pause: Option<Duration>, deadline: &Deadline) -> String {
    let more_time = pause.is_none_or(|pause| pause < MAX_TIMEOUT).then(|| format!(", or {}", deadline.advice()));
    format!("reduce the request rate{}", more_time.unwrap_or_default())
}

/// The body without the byte order mark that some gateways put before it.
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The request ID, which the API's support needs. Azure has its own name for it.
fn request_id(headers: &HeaderMap, endpoint: &Endpoint) -> Option<String> {
    let id = ["x-request-id", "apim-request-id"].into_iter().find_map(|name| header(headers, name, endpoint))?;
    Some(format!("request ID {id}"))
}

fn header(headers: &HeaderMap, name: &str, endpoint: &Endpoint) -> Option<String> {
    Some(quote_at_most(headers.get(name)?.to_str().ok()?, MAX_HEADER, &endpoint.secrets))
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
                if let Some(job) = answer.ok().and_then(|answer| Job::new(answer).ok()) {
                    prop_assert!(Output::One(job).render(false).is_ok());
                }
            }
        }
    }
}
