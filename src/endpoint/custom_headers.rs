//! `OPENAI_CUSTOM_HEADERS`: headers that a gateway wants, sent with every request.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use ureq::http::HeaderName;

use super::secret_name::says_secret;
use crate::text::{Secret, Secrets};

pub(super) const VARIABLE: &str = "OPENAI_CUSTOM_HEADERS";

/// Names that frame a request or choose its host; another value would break it.
const RESERVED: &[&str] = &["host", "content-length", "transfer-encoding", "connection"];

/// The headers in lines of `Name: value`, by the rules of OpenAI's SDKs (`_client.py` of the one for Python): the first
/// colon parts name and value, blanks around both are dropped, and the last of several with one name wins. They ignore a
/// line without a colon; here it is an error unless it is blank, as nobody would find the mistake.
///
/// # Errors
/// Names and values that could break a request. Neither is quoted, as either may be a secret.
pub(super) fn parse(text: &str) -> Result<Vec<(HeaderName, String)>> {
    let without_colon = text.split('\n').position(|line| !line.contains(':') && !line.trim().is_empty());
    if let Some(position) = without_colon {
        bail!("{VARIABLE}, line {}: the colon between name and value is missing", position + 1);
    }
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    for (number, name, value) in lines(text) {
        let name = name.parse().ok().filter(|name: &HeaderName| !RESERVED.contains(&name.as_str()));
        let is_visible = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        ensure!(is_visible, "{VARIABLE}, line {number}: the value has a control character or one outside ASCII");
        let Some(name) = name else {
            bail!("{VARIABLE}, line {number}: the name is not valid, or that of a header that cannot be set");
        };
        headers.retain(|(other, _)| *other != name);
        headers.push((name, value.to_owned()));
    }
    Ok(headers)
}

/// What a value begins with that is a secret, whatever its name.
const SCHEMES: &[&str] = &["bearer", "basic", "token", "apikey"];

/// Adds what is secret in the values, even if they cannot be sent: all of a value if its name or a scheme says so, and the
/// strings of JSON under names that say so.
pub(super) fn add_secrets(text: &str, secrets: &Secrets) {
    for (_, name, value) in lines(text) {
        let is_secret = says_secret(name);
        let token = value.split_once(' ').filter(|(scheme, _)| SCHEMES.contains(&&*scheme.to_ascii_lowercase()));
        if is_secret || token.is_some() {
            secrets.add(Secret::new(value.into()));
        }
        if let Some((_, token)) = token {
            add_with_parts(token.trim_start(), secrets);
        } else if let Ok(json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(value) {
            add_strings(&json, is_secret, secrets);
        } else if is_secret {
            add_with_parts(value, secrets);
        }
    }
}

/// Adds the strings of a JSON value, at any depth: all if its name is that of a secret, else those with such names.
fn add_strings(json: &Value, is_secret: bool, secrets: &Secrets) {
    match json {
        Value::String(text) if is_secret => add_with_parts(text, secrets),
        Value::Array(items) => items.iter().for_each(|item| add_strings(item, is_secret, secrets)),
        Value::Object(members) => {
            for (name, value) in members {
                add_strings(value, is_secret || says_secret(name), secrets);
            }
        }
        _ => {}
    }
}

/// Adds a secret, and what it consists of, such as the pairs of a cookie.
fn add_with_parts(text: &str, secrets: &Secrets) {
    secrets.add(Secret::new(text.into()));
    let parts = text.split([' ', ';', ',', '=', '"', '\'']).filter(|part| part.chars().count() >= 8);
    parts.for_each(|part| secrets.add_part(part));
}

/// The number, the name and the value of each line with a colon.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let numbered = (1..).zip(text.split('\n'));
    let pairs = numbered.filter_map(|(number, line)| Some((number, line.split_once(':')?)));
    pairs.map(|(number, (name, value))| (number, name.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_as_the_sdks_do() {
        let headers = parse(" X-Team : blue\r\n\r\n \t\nx-route: a:b \nX-TEAM: green").unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("x-route", "a:b"), ("x-team", "green")]);
    }

    #[test]
    fn a_line_without_a_colon_is_an_error() {
        for text in ["a: b\nx-gateway-token=secret", "a: b\nsecret\nc: d", "a: b\n secret\r\n"] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, "OPENAI_CUSTOM_HEADERS, line 2: the colon between name and value is missing");
        }
    }

    #[test]
    fn what_is_secret_is_redacted_and_ends_the_run() {
        let text = [
            "Authorization: Bearer  token-01",
            "x-key: spaced token-02",
            "no colon",
            "x-route: ApiKey token-03",
            "x-env: production",
            "x-author: somebody",
            "OpenAI-Project: proj-0123",
            "Cookie: env=staging9; mode=development; sid=token-04",
            r#"x-portkey-config: {"targets":[{"api_key":"token-05","provider":"provider-1"}],"apiKey":{"virtual_key":["to\\ken-06"]}}"#,
            r#"x-portkey-metadata: {"env":"integration-1"}"#,
            r#"x-gw-secret: {"some-member-1":"token-07 token-08"}"#,
            r#"x-other-key: "token-09""#,
        ];
        let secrets = Secrets::default();
        add_secrets(&text.join("\n"), &secrets);
        let is_redacted = |text: &str| secrets.redact(text) == "[redacted]";
        let ends_run = |text: &str| secrets.are_in_json(&Value::from(text).to_string());
        for secret in
            ["token-01", "Bearer  token-01", "spaced token-02", "token-02", "token-03", "token-04", "token-05"]
        {
            assert!(is_redacted(secret) && ends_run(secret), "{secret}");
        }
        for secret in ["to\\ken-06", "token-07 token-08", "token-07", "token-08", "token-09", "staging9"] {
            assert!(is_redacted(secret) && ends_run(secret), "{secret}");
        }
        assert!(is_redacted("development") && !ends_run("development"));
        for plain in
            ["production", "somebody", "proj-0123", "provider-1", "integration-1", "some-member-1", "virtual_key"]
        {
            assert!(!is_redacted(plain) && !ends_run(plain), "{plain}");
        }
    }

    #[test]
    fn what_could_break_a_request_is_refused_and_not_quoted() {
        for line in ["Host: secret", "content-length: 1", "Transfer-Encoding: x", "Connection: close", ": secret"] {
            let error = parse(&format!("a: b\n{line}")).unwrap_err().to_string();
            let expected =
                "OPENAI_CUSTOM_HEADERS, line 2: the name is not valid, or that of a header that cannot be set";
            assert_eq!(error, expected);
        }
        for line in ["a b: c", "sécret: c"] {
            assert!(parse(line).unwrap_err().to_string().contains("the name is not"), "{line}");
        }
        for line in ["a: sec\rret", "a: sec\tret", "a: sec\0ret", "a: sécret"] {
            assert!(parse(line).unwrap_err().to_string().contains("the value has"), "{line}");
        }
    }
}
