//! Where requests go, how they get there, and what they carry: the query's values first, then those of the environment
//! under the names that OpenAI's own SDKs read.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use ureq::http::{HeaderName, header};
use ureq::tls::{ClientCert, RootCerts};

use super::base_url::{self, BaseUrl};
use super::client_certificate::{self, CERTIFICATE_VARIABLE, KEY_VARIABLE};
use super::credential::{Credential, DEFAULT_KEY_VARIABLE, TOKEN_VARIABLES};
use super::custom_headers;
use super::proxy::Proxy;
use super::roots;
use super::variables::{Env, variable, visible_ascii};
use crate::text::{Secret, Secrets};

const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";
/// With a client certificate, as OpenAI's guide on mutual TLS has it.
const MTLS_BASE_URL: &str = "https://mtls.api.openai.com/v1";

pub struct Endpoint {
    pub base_url: BaseUrl,
    pub credential: Credential,
    pub organization: Option<Named>,
    pub project: Option<Named>,
    /// They win over the program's own.
    pub custom_headers: Vec<(HeaderName, String)>,
    pub proxy: Option<Proxy>,
    /// `None` if no connection uses TLS.
    pub roots: Option<RootCerts>,
    /// What the server is shown if it asks for one.
    pub client_certificate: Option<ClientCert>,
    /// Whether this is the API, and not a server that the program gets a token from.
    pub is_api: bool,
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
    /// A value of the query or a variable that cannot be used, and a missing credential. No value that may be a secret is
    /// quoted.
    pub fn new(overrides: Overrides, env: &Env) -> Result<Self> {
        let variable = |name: &str| variable(name, env);
        let allow_http = overrides.allow_http;
        let base_url = overrides.base_url.map(|text| BaseUrl::parse("base_url", text, allow_http)).transpose()?;
        let own = |name, value: Option<&str>| value.map(|value| Named::new(name, value.trim().into())).transpose();
        let organization = own("organization", overrides.organization)?;
        let project = own("project", overrides.project)?;
        let named = overrides.key_variable.map(key_variable).transpose()?;
        let mut custom_headers = custom_headers::parse(&variable(custom_headers::VARIABLE)?.unwrap_or_default())?;
        if named.is_some() {
            custom_headers.retain(|(name, _)| name != header::AUTHORIZATION);
        }
        let has_authorization = custom_headers.iter().any(|(name, _)| name == header::AUTHORIZATION);
        let credential = Credential::choose(named, has_authorization, &variable)?;
        let (client_certificate, key_lines) = client_certificate::load(env)?.unzip();
        let default = if client_certificate.is_some() { MTLS_BASE_URL } else { DEFAULT_BASE_URL };
        let base_url = match (base_url, variable("OPENAI_BASE_URL")?) {
            (Some(base_url), _) => base_url,
            (None, Some(text)) => BaseUrl::parse("OPENAI_BASE_URL", &text, allow_http)?,
            (None, None) => BaseUrl::parse("base_url", default, allow_http)?,
        };
        let proxy = Proxy::choose(&base_url, variable)?;
        check_route(&base_url, proxy.as_ref(), client_certificate.is_some(), allow_http)?;
        let needs_tls = base_url.is_https() || proxy.as_ref().is_some_and(Proxy::is_https);
        if needs_tls {
            check_clock(SystemTime::now())?;
        }
        let file = |name| env(name).filter(|value| !value.is_empty());
        let roots = needs_tls.then(|| roots::load(file("SSL_CERT_FILE"), file("SSL_CERT_DIR"))).transpose()?;
        let secrets = secrets(named, env);
        key_lines.into_iter().flatten().for_each(|line| secrets.add(line));
        let header = |name| variable(name)?.map(|value| Named::new(name, value)).transpose();
        let organization = if organization.is_some() { organization } else { header("OPENAI_ORG_ID")? };
        let project = if project.is_some() { project } else { header("OPENAI_PROJECT_ID")? };
        Ok(Endpoint {
            base_url,
            credential,
            organization,
            project,
            custom_headers,
            proxy,
            roots,
            client_certificate,
            is_api: true,
            secrets,
        })
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

    /// Another server that the program needs. It gets nothing that is meant for the API.
    pub(super) fn other(
        &self,
        base_url: BaseUrl,
        client_certificate: Option<ClientCert>,
        custom_headers: Vec<(HeaderName, String)>,
        env: &Env,
    ) -> Result<Self> {
        let proxy = Proxy::choose(&base_url, |name| variable(name, env))?;
        ensure!(
            proxy.is_none() || base_url.is_https(),
            "{} is plain http, which would show a token to the proxy in {}: list the host in NO_PROXY",
            base_url.name,
            proxy.as_ref().map_or("", |proxy| &proxy.variable)
        );
        // Plain http has been checked, in other words than for the API.
        check_route(&base_url, proxy.as_ref(), client_certificate.is_some(), true)?;
        Ok(Endpoint {
            base_url,
            credential: Credential::CustomHeader,
            organization: None,
            project: None,
            custom_headers,
            proxy,
            roots: self.roots.clone(),
            client_certificate,
            is_api: false,
            secrets: self.secrets.clone(),
        })
    }

    /// What to do if the server wants a client certificate, or another one.
    pub fn certificate_advice(&self) -> String {
        match self.client_certificate {
            Some(_) => format!("check {CERTIFICATE_VARIABLE}"),
            None => format!("set {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}"),
        }
    }

    /// The server's host, for messages.
    pub fn host(&self) -> &str {
        self.base_url.host()
    }
}

/// Whether anybody would see what is not meant for them on the way to a server.
fn check_route(base_url: &BaseUrl, proxy: Option<&Proxy>, has_certificate: bool, allow_http: bool) -> Result<()> {
    let (name, proxy_variable) = (base_url.name, proxy.map_or("", |proxy| &proxy.variable));
    ensure!(
        !has_certificate || base_url.is_https(),
        "{name} is plain http, over which no client certificate can be shown: use https, or unset {CERTIFICATE_VARIABLE} \
         and {KEY_VARIABLE}"
    );
    // ureq would offer the certificate to both.
    ensure!(
        !has_certificate || !proxy.is_some_and(Proxy::is_https),
        "the proxy in {proxy_variable} is reached over https, and would be shown the client certificate in \
         {CERTIFICATE_VARIABLE}: use an http:// proxy, or list {} in NO_PROXY",
        base_url.host()
    );
    ensure!(
        proxy.is_none() || base_url.is_https() || allow_http,
        "{name} is plain http, which would show the API key to the proxy in {proxy_variable}: list the host in NO_PROXY, \
         or set allow_http to \"true\""
    );
    Ok(())
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
pub fn secrets(key_variable: Option<&str>, env: &Env) -> Secrets {
    let secrets = Secrets::default();
    let value = |name: &str| variable(name, env).ok().flatten();
    for name in [Some(DEFAULT_KEY_VARIABLE), key_variable].into_iter().flatten() {
        value(name).into_iter().for_each(|key| secrets.add(Secret::new(key)));
    }
    base_url::secrets(&value("OPENAI_BASE_URL").unwrap_or_default()).for_each(|secret| secrets.add(secret));
    TOKEN_VARIABLES.iter().filter_map(|name| value(name)).for_each(|token| secrets.add_token(&token));
    custom_headers::add_secrets(&value(custom_headers::VARIABLE).unwrap_or_default(), &secrets);
    secrets
}

fn key_variable(name: &str) -> Result<&str> {
    // Not quoted: the likeliest mistake is to give the key itself.
    ensure!(
        name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit()),
        "api_key_env should be the NAME of the environment variable that holds the API key, \
         such as {DEFAULT_KEY_VARIABLE}: capitals, digits and underscores"
    );
    Ok(name)
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
