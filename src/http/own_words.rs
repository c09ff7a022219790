//! What a server says of a refusal in its own words, wherever they are.

use serde_json::Value;

/// The longest plain text whose first line is taken for a server's words, in bytes.
const MAX_PLAIN_TEXT: usize = 1000;
/// How much of a page is searched for its title, in bytes.
const MAX_PAGE: usize = 64 * 1024;

/// The words in a refusal's body, which is `answer` if it is JSON: in the API's form, in that of OAuth (RFC 6749, section
/// 5.2), in those of gateways, of AWS and of FastAPI, as the title of a page, or as plain text.
pub(super) fn own_words(answer: &Value, body: &[u8]) -> Option<String> {
    if let (Some(error), Some(description)) = (answer["error"].as_str(), answer["error_description"].as_str()) {
        return Some(format!("{error}: {description}"));
    }
    let in_json = non_empty(answer["error"]["message"].as_str()).or_else(|| words(answer));
    let page = || String::from_utf8_lossy(&body[..body.len().min(MAX_PAGE)]);
    in_json.or_else(|| title(&page())).or_else(|| first_line(body))
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

fn title(page: &str) -> Option<String> {
    let title = &page[page.to_ascii_lowercase().find("<title")?..];
    Some(title.split(['>', '<']).nth(2)?.to_owned())
}

/// The first line of a short plain text.
fn first_line(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_PLAIN_TEXT)?.trim();
    let is_plain =
        !text.starts_with(['<', '{', '[', '"']) && text.chars().all(|c| !c.is_control() || c.is_whitespace());
    non_empty(text.lines().next().filter(|_| is_plain))
}

fn non_empty(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).map(ToOwned::to_owned)
}
