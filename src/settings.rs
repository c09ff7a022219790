//! Where the API is, as whom it is asked, and how long that may take: the query's word first, then the environment's
//! under the names that OpenAI's own SDKs read.

use std::env;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use ureq::Proxy;
use ureq::http::Uri;

use crate::proxy;
use crate::query::Query;

const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
const DEFAULT_KEY_VARIABLE: &str = "OPENAI_API_KEY";

/// All that a request needs beside the job's ID.
pub struct Settings {
    /// Scheme, host, perhaps port and path; without a slash at the end.
    pub base_url: Uri,
    /// The query key or the variable that `base_url` came from, to be named when the API is not there.
    pub base_url_name: &'static str,
    pub key: Secret,
    /// The variable that `key` came from, to be named when the API refuses it.
    pub key_variable: String,
    pub organization: Option<String>,
    pub project: Option<String>,
    /// For all network work together, retries and their pauses included.
    pub timeout: Duration,
    pub proxy: Option<Proxy>,
}

impl Settings {
    /// # Errors
    /// What the query or the environment say wrongly, and a missing key. No value that may be a secret is quoted.
    pub fn new(query: &Query) -> Result<Self> {
        let key_variable = key_variable(query)?;
        let Some(key) = variable(&key_variable)? else {
            bail!(
                "no API key: set the environment variable {key_variable} where this program runs, \
                 or name another variable with api_key_env"
            );
        };
        let key = Secret(visible_ascii(&key_variable, key)?);
        // Whoever mixed up two values may have given the key in the place of another.
        Self::with_key(query, &key, key_variable).map_err(|error| Error::msg(key.redact(&format!("{error:#}"))))
    }

    fn with_key(query: &Query, key: &Secret, key_variable: String) -> Result<Self> {
        let allow_http = query.allow_http()?;
        let (base_url_name, text) = match query.base_url.clone() {
            Some(text) => ("base_url", text),
            None => match variable("OPENAI_BASE_URL")? {
                Some(text) => ("OPENAI_BASE_URL", text),
                None => ("base_url", DEFAULT_BASE_URL.into()),
            },
        };
        let base_url = base_url(base_url_name, &text, allow_http)?;
        let proxy = proxy::choose(&base_url, variable)?;
        ensure!(
            proxy.is_none() || is_https(&base_url) || allow_http,
            "{base_url_name} is plain http, which would show the API key to the proxy: \
             list the host in NO_PROXY, or set allow_http to \"true\""
        );
        Ok(Settings {
            base_url,
            base_url_name,
            key: key.clone(),
            key_variable,
            organization: header_value("organization", query.organization.as_deref(), "OPENAI_ORG_ID")?,
            project: header_value("project", query.project.as_deref(), "OPENAI_PROJECT_ID")?,
            timeout: query.timeout()?,
            proxy,
        })
    }

    /// The host that is asked, with its port where that is not the scheme's own.
    pub fn host(&self) -> &str {
        self.base_url.authority().map_or("", |authority| authority.as_str())
    }
}

/// The API key. It cannot be printed or debugged; whoever needs its text has to say so.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Shorter keys stand in too many innocent texts to look for them.
    const SHORTEST: usize = 8;

    #[cfg(test)]
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text with `[key]` wherever the key stood.
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < Self::SHORTEST {
            return text.into();
        }
        text.replace(&self.0, "[key]")
    }

    /// Whether the key stands in a compact JSON text, in a string or as a name.
    pub fn is_in_json(&self, json: &str) -> bool {
        let quoted = serde_json::Value::from(self.expose()).to_string();
        self.0.len() >= Self::SHORTEST && json.contains(&quoted[1..quoted.len() - 1])
    }
}

pub fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// The port that a URL names or its scheme implies; none if it is not one.
pub fn port(url: &Uri) -> Option<u16> {
    let authority = url.authority()?;
    let host_and_port = authority.as_str().rsplit('@').next()?;
    match host_and_port.strip_prefix(authority.host())?.strip_prefix(':') {
        None => Some(if is_https(url) { 443 } else { 80 }),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    }
}

/// An environment variable's value without surrounding blanks; an empty one is as good as unset.
fn variable(name: &str) -> Result<Option<String>> {
    let Some(value) = env::var_os(name) else {
        return Ok(None);
    };
    let value = value.into_string().ok();
    let value = value.with_context(|| format!("the environment variable {name} is not UTF-8"))?;
    Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
}

fn key_variable(query: &Query) -> Result<String> {
    let Some(name) = query.api_key_env.as_deref() else {
        return Ok(DEFAULT_KEY_VARIABLE.into());
    };
    // Not quoted: the likeliest mistake is to give the key itself.
    ensure!(
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit()),
        "api_key_env should be the NAME of the environment variable that holds the API key, \
         such as {DEFAULT_KEY_VARIABLE}: capitals, digits and underscores"
    );
    Ok(name.into())
}

fn header_value(key: &str, asked: Option<&str>, name: &str) -> Result<Option<String>> {
    match asked {
        Some(value) => visible_ascii(key, value.trim().into()).map(Some),
        None => variable(name)?.map(|value| visible_ascii(name, value)).transpose(),
    }
}

/// What may stand in a header. The value is not quoted, as it may be a secret.
fn visible_ascii(name: &str, value: String) -> Result<String> {
    ensure!(
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()),
        "{name} has a blank, a control character or a character outside ASCII in it: copy it again, whole and alone"
    );
    Ok(value)
}

/// Takes only what can be meant in one way. The text is not quoted, as it may hold a password.
fn base_url(name: &str, text: &str, allow_http: bool) -> Result<Uri> {
    const FORM: &str = "https://HOST, perhaps with a port and a path, such as https://api.openai.com/v1";

    ensure!(
        text.bytes().all(|byte| byte.is_ascii_graphic()),
        "{name} has a blank or a character outside ASCII in it; it should be {FORM}"
    );
    ensure!(
        !text.contains(['@', '?', '#']),
        "{name} has a user name, a query or a fragment in it; it should be {FORM}"
    );
    let url: Option<Uri> = text.trim_end_matches('/').parse().ok();
    let url = url.filter(|url| matches!(url.scheme_str(), Some("https" | "http")));
    let Some(url) = url.filter(|url| url.host().is_some_and(|host| !host.is_empty())) else {
        bail!("{name} is not a URL that can be used; it should be {FORM}");
    };
    ensure!(port(&url).is_some(), "{name} has a port that is not between 1 and 65535; it should be {FORM}");
    ensure!(
        is_https(&url) || is_loopback(&url) || allow_http,
        "{name} is plain http, which would show the API key to the network on its way to {}: \
         use https, or set allow_http to \"true\"",
        url.host().unwrap_or_default()
    );
    Ok(url)
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_taken_in_one_form() {
        for (text, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1//", "https://api.openai.com/v1"),
            ("HTTPS://example.test:8443", "https://example.test:8443/"),
            ("http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1"),
            ("http://LOCALHOST", "http://LOCALHOST/"),
            ("http://[::1]:80", "http://[::1]:80/"),
        ] {
            assert_eq!(base_url("base_url", text, false).unwrap().to_string(), expected);
        }
        assert!(base_url("base_url", "http://example.test", true).is_ok());
        for text in [
            "",
            "/",
            "https://",
            "https:///v1",
            "api.openai.com",
            "ftp://example.test",
            "https://user:secret@example.test",
            "https://example.test?x",
            "https://example.test#x",
            "https://example.test:99999",
            "https://example.test:0",
            "https://example.test:",
            "https://exa mple.test",
            "https://exämple.test",
            "http://example.test",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://[::2]",
        ] {
            let error = base_url("base_url", text, false).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| !error.contains("secret")), "{text}: {error:?}");
        }
    }

    #[test]
    fn the_key_is_found_in_json_however_it_is_quoted() {
        let key = Secret::new(r#"sk-"quoted""#.into());
        assert!(key.is_in_json(r#"{"x":"a sk-\"quoted\" b"}"#));
        assert!(!key.is_in_json(r#"{"x":"sk-"}"#));
        assert!(!Secret::new("short".into()).is_in_json(r#"{"x":"short"}"#));
    }
}
