//! Workload identity: what proves who runs this program, and where that is exchanged for an access token. Names, order and
//! the addresses are those of OpenAI's guide (developers.openai.com/api/docs/guides/workload-identity-federation) and of
//! openai-python (`src/openai/auth/`).

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, ensure};
use ureq::http::{HeaderName, Uri, header};

use super::base_url::BaseUrl;
use super::client_certificate::CERTIFICATE_VARIABLE;
use super::credential::{
    Credential, GITHUB_TOKEN_VARIABLE, PROVIDER_VARIABLE, SERVICE_ACCOUNT_VARIABLE, TERRAFORM_VARIABLE, TOKEN_VARIABLE,
};
use super::endpoint::Endpoint;
use super::jwt::{self, MAX_JWT, is_jwt};
use super::variables::{self, Env, path, variable, visible_ascii};

const FILE_VARIABLE: &str = "OPENAI_IDENTITY_TOKEN_FILE";
/// GitHub sets it with `GITHUB_TOKEN_VARIABLE`.
const GITHUB_URL_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const AUDIENCE_VARIABLE: &str = "OPENAI_WIF_AUDIENCE";
const DEFAULT_AUDIENCE: &str = "https://api.openai.com/v1";

pub struct WorkloadIdentity {
    pub provider_id: String,
    pub service_account_id: String,
    pub source: Source,
    /// Where it is exchanged.
    pub exchange: Endpoint,
}

/// Where the identity comes from.
pub enum Source {
    File(TokenFile),
    Token(String),
    GitHub {
        server: Box<Endpoint>,
        path: String,
        audience: String,
    },
    /// The client certificate that the exchange is shown (X.509).
    Certificate,
}

impl WorkloadIdentity {
    /// The identity, if it is the credential of this endpoint.
    ///
    /// # Errors
    /// There is no identity, or the first that is there cannot be used; or the access token would go to somebody else
    /// than OpenAI.
    pub fn new(endpoint: &Endpoint, env: &Env) -> Result<Option<Self>> {
        if !matches!(endpoint.credential, Credential::AccessToken) {
            return Ok(None);
        }
        let base_url = &endpoint.base_url;
        ensure!(
            base_url.is_openai(),
            "{} leads to {}, but the access token for workload identity is meant for https://openai.com and the hosts below \
             it alone: for another server, name the variable with its key in api_key_env",
            base_url.name,
            base_url.host()
        );
        let id = |name| visible_ascii(name, variable(name, env)?.unwrap_or_default());
        let source = Source::find(endpoint, env)?;
        let (url, certificate) = match source {
            Source::Certificate => ("https://mtls.auth.openai.com", endpoint.client_certificate.clone()),
            _ => ("https://auth.openai.com", None),
        };
        let name = url.trim_start_matches("https://");
        let exchange = endpoint.other(BaseUrl::parse(name, url, false)?, certificate, Vec::new(), env)?;
        let (provider_id, service_account_id) = (id(PROVIDER_VARIABLE)?, id(SERVICE_ACCOUNT_VARIABLE)?);
        Ok(Some(WorkloadIdentity { provider_id, service_account_id, source, exchange }))
    }
}

impl Source {
    fn find(endpoint: &Endpoint, env: &Env) -> Result<Self> {
        if let Some(path) = path(FILE_VARIABLE, env)? {
            return Ok(Source::File(TokenFile::new(path, endpoint)?));
        }
        for name in [TOKEN_VARIABLE, TERRAFORM_VARIABLE] {
            if let Some(token) = variable(name, env)? {
                ensure!(is_jwt(&token), "{name} is not {}; the path of a file belongs into {FILE_VARIABLE}", jwt::FORM);
                return Ok(Source::Token(token));
            }
        }
        let only_one = |set: &str, missing: &str| {
            Err(anyhow!("{set} is set, but {missing} is not: pass on both as GitHub sets them, or neither"))
        };
        match (variable(GITHUB_URL_VARIABLE, env)?, variable(GITHUB_TOKEN_VARIABLE, env)?) {
            (Some(url), Some(token)) => return Self::github(&url, token, endpoint, env),
            (Some(_), None) => return only_one(GITHUB_URL_VARIABLE, GITHUB_TOKEN_VARIABLE),
            (None, Some(_)) => return only_one(GITHUB_TOKEN_VARIABLE, GITHUB_URL_VARIABLE),
            (None, None) => {}
        }
        ensure!(
            endpoint.client_certificate.is_some(),
            "{PROVIDER_VARIABLE} and {SERVICE_ACCOUNT_VARIABLE} ask for workload identity, but there is no identity: in \
             GitHub Actions, give the job permissions: id-token: write; in HCP Terraform, give the workspace \
             TFC_WORKLOAD_IDENTITY_AUDIENCE_OPENAI; elsewhere, set {FILE_VARIABLE}, {TOKEN_VARIABLE} or \
             {CERTIFICATE_VARIABLE}"
        );
        Ok(Source::Certificate)
    }

    /// GitHub's own request for an ID token, without the audience.
    fn github(url: &str, token: String, endpoint: &Endpoint, env: &Env) -> Result<Self> {
        let origin_and_path = || {
            let uri: Uri = url.parse().ok()?;
            let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
            Some((BaseUrl::parse(GITHUB_URL_VARIABLE, &origin, false).ok()?, uri.path_and_query()?.to_string()))
        };
        let (base_url, path) = origin_and_path().with_context(|| {
            format!(
                "{GITHUB_URL_VARIABLE} is not a URL in https, or in http to this machine: pass it on as GitHub sets it"
            )
        })?;
        let authorization = format!("bearer {}", visible_ascii(GITHUB_TOKEN_VARIABLE, token)?);
        let headers: Vec<(HeaderName, String)> = vec![(header::AUTHORIZATION, authorization)];
        let server = endpoint.other(base_url, None, headers, env)?.into();
        let audience = variable(AUDIENCE_VARIABLE, env)?.unwrap_or_else(|| DEFAULT_AUDIENCE.to_owned());
        Ok(Source::GitHub { server, path: path.trim_start_matches('/').to_owned(), audience })
    }
}

/// A file with a JWT, which whoever runs the program replaces from time to time.
pub struct TokenFile {
    path: PathBuf,
    /// What was found at the start, until it is used: a pipe can be read only once.
    first: Mutex<Option<String>>,
}

impl TokenFile {
    fn new(path: PathBuf, endpoint: &Endpoint) -> Result<Self> {
        let token = read(&path)?;
        endpoint.secrets.add_token(&token);
        Ok(TokenFile { path, first: Mutex::new(Some(token)) })
    }

    /// # Errors
    /// It cannot be read, or it is not a JWT. It is not quoted then.
    pub fn token(&self) -> Result<String> {
        let first = self.first.lock().unwrap().take();
        first.map_or_else(|| read(&self.path), Ok)
    }
}

fn read(path: &Path) -> Result<String> {
    let token = || {
        // White space around the token may make the file a little longer.
        let bytes = variables::read(path, 2 * MAX_JWT as u64)?;
        let token = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
        token.filter(|token| is_jwt(token)).with_context(|| format!("it is not {}", jwt::FORM))
    };
    token().with_context(|| format!("{FILE_VARIABLE}={}", path.display()))
}
