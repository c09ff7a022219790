//! `OPENAI_CUSTOM_HEADERS`: headers that a gateway wants, sent with every request.

use anyhow::{Result, bail, ensure};
use ureq::http::HeaderName;

use crate::text::Secret;

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

/// The values, which are secrets even where they cannot be sent; and of a scheme and a token, such as `Bearer …`, the
/// token by itself. A job may name its organization and its project.
pub(super) fn secrets(text: &str) -> impl Iterator<Item = Secret> {
    let is_secret = |name: &str| !["openai-organization", "openai-project"].contains(&&*name.to_ascii_lowercase());
    let is_scheme = |word: &str| ["basic", "bearer", "token"].contains(&&*word.to_ascii_lowercase());
    let token = move |value: &'_ str| {
        let (scheme, token) = value.split_once(' ')?;
        is_scheme(scheme).then(|| token.trim_start().to_owned())
    };
    let secrets = lines(text).filter(move |(_, name, _)| is_secret(name));
    let values = secrets.flat_map(move |(_, _, value)| [Some(value.to_owned()), token(value)]);
    values.flatten().map(Secret::new)
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
    fn values_and_their_tokens_are_secrets() {
        let secrets =
            secrets("Authorization: Bearer  token-1\nx-key: token-2\nno colon\nOpenAI-Project: proj-1\nx: a b");
        let secrets: Vec<_> = secrets.map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(secrets, ["Bearer  token-1", "token-1", "token-2", "a b"]);
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
