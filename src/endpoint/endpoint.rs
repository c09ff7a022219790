//! Where requests go, how they get there, and what they carry: the query's values first, then those of the environment
//! under the names that OpenAI's own SDKs read.

use std::ffi::OsString;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use ureq::http::HeaderName;
use ureq::tls::RootCerts;

use super::base_url::{self, BaseUrl};
use super::custom_headers;
use super::proxy::Proxy;
use super::roots;
use crate::text::{Secret, Secrets};

const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
pub const DEFAULT_KEY_VARIABLE: &str = "OPENAI_API_KEY";

pub struct Endpoint {
    pub base_url: BaseUrl,
    pub key: Secret,
    /// The variable that `key` came from, to be named when the API refuses it.
    pub key_variable: String,
    pub organization: Option<Named>,
    pub project: Option<Named>,
    /// They win over the program's own.
    pub custom_headers: Vec<(HeaderName, String)>,
    pub proxy: Option<Proxy>,
    /// `None` if no connection uses TLS.
    pub roots: Option<RootCerts>,
    /// All that messages and results must not show.
    pub secrets: Secrets,
}

/// A header's value, with the query key or the variable that it came from.
pub struct Named {
    pub name: &'static str,
    pub value: String,
}

impl Named {
    fn new(name: &'static str, value: String) -> Result<Self> {
        Ok(Named { name, value: visible_ascii(name, value)? })
    }
}

/// What the query says in place of the environment, as it is written there.
#[derive(Default)]
pub struct Overrides<'a> {
    pub base_url: Option<&'a str>,
    pub organization: Option<&'a str>,
    pub project: Option<&'a str>,
    /// The NAME of the variable that holds the key.
    pub key_variable: Option<&'a str>,
    pub allow_http: bool,
}

impl Endpoint {
    /// # Errors
    /// A value of the query or a variable that cannot be used, and a missing key. No value that may be a secret is quoted.
    pub fn new(overrides: Overrides, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let variable = |name: &str| variable(name, env);
        let header = |name| variable(name)?.map(|value| Named::new(name, value)).transpose();
        let allow_http = overrides.allow_http;
        let base_url = overrides.base_url.map(|text| BaseUrl::parse("base_url", text, allow_http)).transpose()?;
        let own = |name, value: Option<&str>| value.map(|value| Named::new(name, value.trim().into())).transpose();
        let organization = own("organization", overrides.organization)?;
        let project = own("project", overrides.project)?;
        let key_variable = key_variable(overrides.key_variable)?;
        let Some(key) = variable(&key_variable)? else {
            bail!(
                "no API key: set the environment variable {key_variable} where this program runs, \
                 or name another variable with api_key_env"
            );
        };
        let key = Secret::new(visible_ascii(&key_variable, key)?);
        let base_url = match (base_url, variable("OPENAI_BASE_URL")?) {
            (Some(base_url), _) => base_url,
            (None, Some(text)) => BaseUrl::parse("OPENAI_BASE_URL", &text, allow_http)?,
            (None, None) => BaseUrl::parse("base_url", DEFAULT_BASE_URL, allow_http)?,
        };
        let proxy = Proxy::choose(&base_url, variable)?;
        ensure!(
            proxy.is_none() || base_url.is_https() || allow_http,
            "{} is plain http, which would show the API key to the proxy in {}: \
             list the host in NO_PROXY, or set allow_http to \"true\"",
            base_url.name,
            proxy.as_ref().map_or("", |proxy| &proxy.variable)
        );
        let needs_tls = base_url.is_https() || proxy.as_ref().is_some_and(Proxy::is_https);
        if needs_tls {
            check_clock(SystemTime::now())?;
        }
        let path = |name| env(name).filter(|value| !value.is_empty());
        let roots = needs_tls.then(|| roots::load(path("SSL_CERT_FILE"), path("SSL_CERT_DIR"))).transpose()?;
        let custom_headers = custom_headers::parse(&variable(custom_headers::VARIABLE)?.unwrap_or_default())?;
        let secrets = secrets(Some(&key_variable), env);
        let organization = organization.map_or_else(|| header("OPENAI_ORG_ID"), |value| Ok(Some(value)))?;
        let project = project.map_or_else(|| header("OPENAI_PROJECT_ID"), |value| Ok(Some(value)))?;
        Ok(Endpoint { base_url, key, key_variable, organization, project, custom_headers, proxy, roots, secrets })
    }

    /// Where the organization came from, for messages; if there is none, the variable that could set it.
    pub fn organization_source(&self) -> &str {
        self.source("openai-organization", &self.organization, "OPENAI_ORG_ID")
    }

    /// Where the project came from, likewise.
    pub fn project_source(&self) -> &str {
        self.source("openai-project", &self.project, "OPENAI_PROJECT_ID")
    }

    fn source(&self, header: &str, named: &Option<Named>, variable: &'static str) -> &str {
        let is_custom = self.custom_headers.iter().any(|(name, _)| name == header);
        let name = named.as_ref().map_or(variable, |named| named.name);
        if is_custom { custom_headers::VARIABLE } else { name }
    }

    /// The API's host, for messages.
    pub fn host(&self) -> &str {
        self.base_url.host()
    }
}

/// rustls panics at a time before 1970.
fn check_clock(now: SystemTime) -> Result<()> {
    ensure!(
        now >= SystemTime::UNIX_EPOCH,
        "this machine's clock is before 1970, so no certificate can be verified; set it"
    );
    Ok(())
}

/// What no message may show, known before the query is valid: what may be the API key, and what is secret in the custom
/// headers, and values in the query of `OPENAI_BASE_URL` whose names say so.
pub fn secrets(key_variable: Option<&str>, env: &dyn Fn(&str) -> Option<OsString>) -> Secrets {
    let mut secrets = Secrets::default();
    for name in [Some(DEFAULT_KEY_VARIABLE), key_variable].into_iter().flatten() {
        if let Ok(Some(value)) = variable(name, env) {
            secrets.add(Secret::new(value));
        }
    }
    if let Ok(Some(url)) = variable("OPENAI_BASE_URL", env) {
        base_url::secrets(&url).for_each(|secret| secrets.add(secret));
    }
    if let Ok(Some(text)) = variable(custom_headers::VARIABLE, env) {
        custom_headers::add_secrets(&text, &mut secrets);
    }
    secrets
}

/// An environment variable's value without surrounding blanks; an empty one is the same as none.
fn variable(name: &str, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<String>> {
    let Some(value) = env(name) else {
        return Ok(None);
    };
    let value = value.into_string().ok();
    let value = value.with_context(|| format!("the environment variable {name} is not UTF-8"))?;
    Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
}

fn key_variable(name: Option<&str>) -> Result<String> {
    let name = name.unwrap_or(DEFAULT_KEY_VARIABLE);
    // Not quoted: the likeliest mistake is to give the key itself.
    ensure!(
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit()),
        "api_key_env should be the NAME of the environment variable that holds the API key, \
         such as {DEFAULT_KEY_VARIABLE}: capitals, digits and underscores"
    );
    Ok(name.into())
}

/// What a header may contain. The value is not quoted, as it may be a secret.
fn visible_ascii(name: &str, value: String) -> Result<String> {
    ensure!(
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()),
        "{name} contains a blank, a control character or a character outside ASCII: copy the whole value, and nothing else"
    );
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_before_1970_is_an_error() {
        assert!(check_clock(SystemTime::UNIX_EPOCH).is_ok());
        assert!(check_clock(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_err());
    }
}
