//! OpenAI's four hosts as the program sees them: their names lead to servers of the test, through a proxy.

use assert_cmd::Command;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::certificates::CertificateAuthority;
use super::program::program;
use super::proxy::Proxy;
use super::sample_api::{Request, SampleApi};

pub struct OpenAi {
    /// Of the servers.
    pub ca: CertificateAuthority,
    /// Of the clients' certificates.
    pub clients: CertificateAuthority,
    pub api: SampleApi,
    /// `auth.openai.com`.
    pub exchange: SampleApi,
    /// They require a client certificate; the two before only ask for one.
    pub mtls_api: SampleApi,
    pub mtls_exchange: SampleApi,
    pub proxy: Proxy,
}

impl OpenAi {
    pub fn start() -> Self {
        let (ca, clients) = (CertificateAuthority::new(), CertificateAuthority::new());
        let server = |name: &str| {
            let requires = name.starts_with("mtls.");
            SampleApi::start_tls(ca.server_asking_for_client_certificates(&[name], &clients, requires))
        };
        let [api, exchange] = ["api.openai.com", "auth.openai.com"].map(server);
        let [mtls_api, mtls_exchange] = ["mtls.api.openai.com", "mtls.auth.openai.com"].map(server);
        for exchange in [&exchange, &mtls_exchange] {
            // The tokens are numbered, and live for an hour.
            let mut number = 0;
            exchange.handle(move |_| {
                number += 1;
                ("200 OK", token(&access_token(number), json!(3600)))
            });
        }
        let hosts = [
            ("api.openai.com", api.address),
            ("API.OpenAI.com", api.address),
            ("auth.openai.com", exchange.address),
            ("mtls.api.openai.com", mtls_api.address),
            ("mtls.auth.openai.com", mtls_exchange.address),
        ];
        let proxy = Proxy::leading(&hosts, None, None);
        OpenAi { ca, clients, api, exchange, mtls_api, mtls_exchange, proxy }
    }

    /// The program, which reaches these hosts and has neither credential nor arguments.
    pub fn program(&self) -> Command {
        let mut command = program();
        command.env("HTTPS_PROXY", format!("http://{}", self.proxy.address)).env("SSL_CERT_FILE", self.ca.file());
        command
    }

    /// The program with the IDs for workload identity, and this identity.
    pub fn program_with_identity(&self, identity: &str) -> Command {
        let mut command = self.program();
        command.env("OPENAI_IDENTITY_PROVIDER_ID", "idp_123").env("OPENAI_SERVICE_ACCOUNT_ID", "svc_acct_456");
        if !identity.is_empty() {
            command.env("OPENAI_IDENTITY_TOKEN", identity);
        }
        command
    }
}

/// What the exchange answers.
pub fn token(access_token: &str, expires_in: Value) -> Value {
    json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": expires_in,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    })
}

pub fn access_token(number: usize) -> String {
    format!("access-token-0123456789-{number}")
}

/// A JWT with these claims, which nobody has signed.
pub fn jwt(claims: &Value) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = part(json!({ "alg": "RS256", "typ": "JWT" }).to_string());
    format!("{header}.{}.{}", part(claims.to_string()), part("not a real signature".into()))
}

/// The JWT that most tests take.
pub fn identity() -> String {
    jwt(&json!({ "iss": "https://issuer.test", "aud": "https://api.openai.com/v1", "sub": "repo:my-org/infra" }))
}

/// The tokens that the requests had.
pub fn bearers(requests: &[Request]) -> Vec<String> {
    let bearer = |request: &Request| request.headers.get("authorization").cloned().unwrap_or_default();
    requests.iter().map(bearer).collect()
}
