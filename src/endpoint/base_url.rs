//! The API's address, as the query or the environment gives it.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::secret_name::says_secret;
use crate::text::Secret;

const FORM: &str = "https://HOST, optionally with a port, a path and a query, such as https://api.openai.com/v1";
/// In characters. With this and a query of its own, a request's URL stays within the 65,534 that ureq can send.
const MAX_LENGTH: usize = 4096;

pub struct BaseUrl {
    /// Scheme and host, perhaps port and path.
    uri: Uri,
    /// What every request's query begins with, such as `api-version=2024-10-21`; empty if there is nothing.
    query: String,
    /// The query key or the environment variable that it came from.
    pub name: &'static str,
}

impl BaseUrl {
    /// Accepts only what has one meaning. Errors do not quote the text, as it may hold a password.
    pub fn parse(name: &'static str, text: &str, allow_http: bool) -> Result<Self> {
        ensure!(
            text.bytes().all(|byte| byte.is_ascii_graphic()),
            "{name} contains a blank or a character outside ASCII; it should be {FORM}"
        );
        ensure!(text.len() <= MAX_LENGTH, "{name} is longer than {MAX_LENGTH} characters; it should be {FORM}");
        let (address, query) = text.split_once('?').unwrap_or((text, ""));
        ensure!(
            !address.contains('@') && !text.contains('#'),
            "{name} contains a user name or a fragment; it should be {FORM}"
        );
        ensure!(
            name != "base_url" || pairs(query).all(|(name, _)| !says_secret(&name)),
            "base_url has in its query what, by its name, must not get into Terraform's state: set OPENAI_BASE_URL instead"
        );
        let is_valid = text.parse::<Uri>().is_ok();
        let uri: Option<Uri> = address.trim_end_matches('/').parse().ok().filter(|_| is_valid);
        let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("https" | "http")));
        let Some(uri) = uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty())) else {
            bail!("{name} is not a valid URL; it should be {FORM}");
        };
        ensure!(port(&uri).is_some(), "{name} has a port that is not between 1 and 65535; it should be {FORM}");
        ensure!(
            is_https(&uri) || is_loopback(&uri) || allow_http,
            "{name} is plain http, which would show the API key to the network on its way to {}: use https, or set \
             allow_http to \"true\"",
            uri.host().unwrap_or_default()
        );
        Ok(BaseUrl { uri, query: query.into(), name })
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    pub fn is_https(&self) -> bool {
        is_https(&self.uri)
    }

    /// Whether this is a server of OpenAI's, over https, however its name is spelled.
    pub fn is_openai(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let is_name = host.split('.').all(|label| !label.is_empty());
        let is_below = |rest: &str| rest.is_empty() || rest.ends_with('.');
        self.is_https() && is_name && host.strip_suffix("openai.com").is_some_and(is_below)
    }

    /// The host, with its port if that is not the scheme's own.
    pub fn host(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// The URL of an endpoint.
    pub fn join(&self, path: &str) -> String {
        let question_mark = if self.query.is_empty() { "" } else { "?" };
        format!("{}/{path}{question_mark}{}", self.uri.to_string().trim_end_matches('/'), self.query)
    }
}

/// The values in a URL's query whose names say that they are secrets, as they are written there and as they are meant.
pub(super) fn secrets(url: &str) -> impl Iterator<Item = Secret> {
    let query = url.trim().split_once('?').map_or("", |(_, query)| query);
    let secrets = pairs(query).filter(|(name, _)| says_secret(name));
    secrets.flat_map(|(_, value)| [Secret::new(decoded(value)), Secret::new(value.to_owned())])
}

/// The names, decoded, and the values of a URL's query.
fn pairs(query: &str) -> impl Iterator<Item = (String, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decoded(name), value))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// The port that a URL names or its scheme implies; `None` if it names something that is no port.
pub fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    let host_and_port = authority.as_str().rsplit('@').next()?;
    match host_and_port.strip_prefix(authority.host())?.strip_prefix(':') {
        None => Some(if is_https(uri) { 443 } else { 80 }),
        Some(port) => port.parse().ok().filter(|port| *port != 0),
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_openai_com_and_below_is_openai() {
        let is_openai = |text| BaseUrl::parse("base_url", text, true).unwrap().is_openai();
        for text in ["https://api.openai.com/v1", "HTTPS://API.OpenAI.com./v1", "https://eu.api.openai.com:443"] {
            assert!(is_openai(text), "{text}");
        }
        assert!(is_openai("https://openai.com"));
        for text in [
            "http://api.openai.com/v1",
            "https://notopenai.com",
            "https://openai.com.evil.example",
            "https://openai.com..",
            "https://.openai.com",
            "https://a..openai.com",
            "https://api.openai.co",
            "https://127.0.0.1/openai.com",
        ] {
            assert!(!is_openai(text), "{text}");
        }
    }

    #[test]
    fn base_urls_have_one_form() {
        for (text, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/x"),
            ("https://api.openai.com/v1//", "https://api.openai.com/v1/x"),
            ("HTTPS://example.test:8443", "https://example.test:8443/x"),
            ("http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1/x"),
            ("http://LOCALHOST", "http://LOCALHOST/x"),
            ("http://[::1]:80", "http://[::1]:80/x"),
            ("https://a.test/openai/?api-version=2024-10-21", "https://a.test/openai/x?api-version=2024-10-21"),
            ("https://a.test?a=b@c&d&e=%2F/", "https://a.test/x?a=b@c&d&e=%2F/"),
            ("https://a.test/v1?", "https://a.test/v1/x"),
        ] {
            assert_eq!(BaseUrl::parse("base_url", text, false).unwrap().join("x"), expected);
        }
        assert!(BaseUrl::parse("base_url", "http://example.test", true).is_ok());
        for text in [
            "",
            "/",
            "https://",
            "https:///v1",
            "api.openai.com",
            "ftp://example.test",
            "https://user:secret@example.test",
            "https://example.test#x",
            "https://example.test?x#y",
            "https://example.test?x y",
            "https://example.test?subscription-key=secret",
            "https://example.test?x=1&api%4Bey=secret",
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
            let error = BaseUrl::parse("base_url", text, false).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| !error.contains("secret")), "{text}: {error:?}");
        }
    }
}
