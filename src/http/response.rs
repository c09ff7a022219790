//! What a complete response means: JSON, or the reason that there is none.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};

use super::deadline::{Deadline, MAX_TIMEOUT};
use super::error::{Kind, RequestError, Retry};
use super::retry;
use crate::endpoint::{CERTIFICATE_VARIABLE, Credential, Endpoint, KEY_VARIABLE};
use crate::job::{Cost, TooMuch};
use crate::text::quote;

/// The longest plain text whose first line is taken for a server's words, in bytes.
const MAX_PLAIN_TEXT: usize = 1000;

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
    if endpoint.is_api && str::from_utf8(body).is_ok_and(|body| endpoint.secrets.are_in_json(body)) {
        let message = format!(
            "{host} sent a response that contains a secret (a key, a token, or a value in OPENAI_CUSTOM_HEADERS)"
        );
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
    has_succeeded: bool,
    deadline: &Deadline,
) -> RequestError {
    let json = Some(without_bom(body)).filter(|body| Cost::of(body).values <= MAX_REFUSAL);
    let answer: Value = json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let code = answer["error"]["code"].as_str().or(answer["error"]["type"].as_str());
    let has_no_quota = has_no_quota(body);
    let retry = match retry::of_response(status, headers, has_succeeded, SystemTime::now()) {
        Retry::RateLimited(_) if has_no_quota => Retry::Later,
        retry => retry,
    };
    let from_api = answer["error"]["message"].is_string();
    let advice = match (status.as_u16(), retry) {
        (429, _) if has_no_quota => "check the organization's plan and billing".into(),
        (429, Retry::RateLimited(pause)) => rate_limit_advice(pause, deadline),
        (500.., Retry::RateLimited(Some(_))) => format!("try again later, or {}", deadline.advice()),
        (number, _) => advice(number, code, from_api, endpoint),
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
        (400..=499, Some(code)) if code.contains("certificate") => match endpoint.client_certificate {
            Some(_) => format!("check {CERTIFICATE_VARIABLE}"),
            None => format!("set {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}"),
        },
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
    let names_headers = matches!(status, 401 | 403)
        && !endpoint.custom_headers.is_empty()
        && !matches!(endpoint.credential, Credential::CustomHeader);
    if names_headers { format!("{advice}; check OPENAI_CUSTOM_HEADERS too") } else { advice }
}

/// Whether it is not the rate that is over its limit: the API's error code, or its words within a gateway's own error
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

/// What a server says of a refusal: in the API's form, in that of OAuth (RFC 6749, section 5.2), in those of gateways, of AWS and of FastAPI, as the title of a page,
/// or as plain text.
fn own_words(answer: &Value, body: &[u8]) -> Option<String> {
    if let (Some(error), Some(description)) = (answer["error"].as_str(), answer["error_description"].as_str()) {
        return Some(format!("{error}: {description}"));
    }
    let in_json = non_empty(answer["error"]["message"].as_str()).or_else(|| words(answer));
    in_json.or_else(|| title(&String::from_utf8_lossy(body))).or_else(|| first_line(body))
}

/// The words in a JSON value, by the names that servers give them.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => non_empty(Some(text)),
        Value::Array(items) => items.iter().find_map(words),
        Value::Object(object) => match non_empty(value["msg"].as_str()) {
            Some(text) => Some(location(&value["loc"]) + &text),
            None => ["error", "message", "Message", "detail", "errors", "error_description"]
                .iter()
                .find_map(|name| words(object.get(*name)?)),
        },
        _ => None,
    }
}

/// Where in the request FastAPI found a mistake, such as `query.limit: `.
fn location(loc: &Value) -> String {
    let part = |part: &Value| part.as_str().map_or_else(|| part.to_string(), ToOwned::to_owned);
    let parts: Vec<_> = loc.as_array().into_iter().flatten().map(part).collect();
    if parts.is_empty() { String::new() } else { format!("{}: ", parts.join(".")) }
}

/// The title of a page.
fn title(page: &str) -> Option<String> {
    let title = &page[page.to_ascii_lowercase().find("<title")?..];
    Some(title.split(['>', '<']).nth(2)?.to_owned())
}

/// The first line of a short plain text.
fn first_line(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(without_bom(body)).ok().filter(|text| text.len() <= MAX_PLAIN_TEXT)?.trim();
    let is_plain =
        !text.starts_with(['<', '{', '[', '"']) && text.chars().all(|c| !c.is_control() || c.is_whitespace());
    non_empty(text.lines().next().filter(|_| is_plain))
}

fn non_empty(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).map(ToOwned::to_owned)
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
