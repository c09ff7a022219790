//! `OPENAI_CUSTOM_HEADERS`: headers that a gateway wants, sent with every request.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use ureq::http::HeaderName;

use crate::text::{Secret, Secrets};

pub(super) const VARIABLE: &str = "OPENAI_CUSTOM_HEADERS";

/// Names that frame a request or choose its host; another value would break it.
const RESERVED: &[&str] = &["host", "content-length", "transfer-encoding", "connection"];

/// The headers in lines of `Name: value`, by the rules of OpenAI's SDKs (`_client.py` of the one for Python): the first
/// colon parts name and value, blanks around both are dropped, a line without a colon is ignored, and the last of
/// several with one name wins.
///
/// # Errors
/// Names and values that could break a request. Neither is quoted, as either may be a secret.
pub(super) fn parse(text: &str) -> Result<Vec<(HeaderName, String)>> {
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

/// Words that make a name that of a secret.
const SECRET_WORDS: &[&str] = &[
    "auth",
    "authorization",
    "key",
    "apikey",
    "token",
    "secret",
    "cookie",
    "password",
    "credential",
    "credentials",
    "signature",
];

/// What a value begins with that is a secret, whatever its name.
const SCHEMES: &[&str] = &["bearer", "basic", "token", "apikey"];

/// Adds what is secret in the values, even where they cannot be sent: all of it if its name or a scheme says so; of JSON,
/// what the names in it say.
pub(super) fn add_secrets(text: &str, secrets: &mut Secrets) {
    for (_, name, value) in lines(text) {
        let is_secret = is_secret_name(name);
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

/// Whether a whole word of a name, as hyphens, underscores and capitals part it, says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let is_upper = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_uppercase);
    let is_lower = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_lowercase);
    let mut words = String::new();
    for (at, c) in name.char_indices() {
        // As in `apiKey` and in `APIKey`.
        if at > 0 && is_upper(at) && (is_lower(at - 1) || is_lower(at + 1)) {
            words.push(' ');
        }
        words.push(if c.is_ascii_alphabetic() { c.to_ascii_lowercase() } else { ' ' });
    }
    words.split(' ').any(|word| SECRET_WORDS.contains(&word))
}

/// Adds the strings of a JSON value, at any depth: all if its name is that of a secret, else those with such names.
fn add_strings(json: &Value, is_secret: bool, secrets: &mut Secrets) {
    match json {
        Value::String(text) if is_secret => add_with_parts(text, secrets),
        Value::Array(items) => items.iter().for_each(|item| add_strings(item, is_secret, secrets)),
        Value::Object(members) => {
            for (name, value) in members {
                add_strings(value, is_secret || is_secret_name(name), secrets);
            }
        }
        _ => {}
    }
}

/// Adds a secret, and what it consists of, such as the pairs of a cookie.
fn add_with_parts(text: &str, secrets: &mut Secrets) {
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
        let headers = parse(" X-Team : blue\r\n\nno colon\nx-route: a:b \nX-TEAM: green").unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("x-route", "a:b"), ("x-team", "green")]);
    }

    #[test]
    fn whole_words_of_a_name_make_a_secret() {
        for name in [
            "Authorization",
            "x-api-key",
            "X-API-KEY",
            "xApiKey",
            "x_auth_token",
            "APIKey",
            "apikey",
            "Cookie",
            "a.key2",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["x-env", "x-author", "OpenAI-Project", "x-monkey", "tokens", "X-KEYS", "authority", "", "é-K"] {
            assert!(!is_secret_name(name), "{name}");
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
        let mut secrets = Secrets::default();
        add_secrets(&text.join("\n"), &mut secrets);
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
