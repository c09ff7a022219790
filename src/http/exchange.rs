//! The token exchange of workload identity: gets the identity, and an access token for it. Both are requests like any, with
//! the same loop, retries and deadline.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Request};
use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::response::Unusable;
use super::send;
use super::token::Minted;
use crate::endpoint::{
    CERTIFICATE_VARIABLE, PROVIDER_VARIABLE, SERVICE_ACCOUNT_VARIABLE, Source, WorkloadIdentity, jwt,
};
use crate::job::Cost;
use crate::text::{Secret, quote_at_most};

/// As long as the longest wait. A time that is much further away is more than an `Instant` can hold.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many values an answer may have.
const MAX_VALUES: usize = 1000;
/// The longest claim in a message, in characters.
const MAX_CLAIM: usize = 80;

pub(super) struct TokenExchange<'a> {
    identity: &'a WorkloadIdentity,
    exchange: Client<'a>,
    /// The server that the identity itself comes from.
    github: Option<Client<'a>>,
}

impl<'a> TokenExchange<'a> {
    /// Sends no request yet.
    pub(super) fn new(identity: &'a WorkloadIdentity, timeout: Duration) -> Self {
        let github = match &identity.source {
            Source::GitHub { server, .. } => Some(Client::new(server, timeout)),
            _ => None,
        };
        let exchange = Client::new(&identity.exchange, timeout);
        TokenExchange { identity, exchange, github }
    }

    /// `POST /oauth/token`, as OpenAI's reference on workload identity federation has it.
    pub(super) fn mint(&self, deadline: &Deadline) -> Result<Minted, RequestError> {
        let WorkloadIdentity { provider_id, service_account_id, exchange, .. } = self.identity;
        let identity = self.identity(deadline)?;
        let mut body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:openai:params:oauth:token-type:x509",
            "identity_provider_id": provider_id,
            "service_account_id": service_account_id,
        });
        if let Some(identity) = &identity {
            body["subject_token_type"] = json!("urn:ietf:params:oauth:token-type:jwt");
            body["subject_token"] = json!(identity.expose());
        }
        let asked = Instant::now();
        let request = Request { path: "oauth/token".into(), query: Vec::new(), body: Some(body), read: &read };
        let answer = send::get(&self.exchange, request, deadline)
            .map_err(|error| failed("the token exchange failed", error, || self.refusal_advice(identity.as_ref())))?;
        let secret = answer["access_token"].as_str().unwrap_or_default();
        if secret.is_empty() || secret.len() > jwt::MAX_JWT || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("{} answered without an access token that can be used", exchange.host());
            return Err(without_identity(message, "try again later".into()));
        }
        exchange.secrets.add_token(secret);
        let life = answer["expires_in"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let life = life.filter(|life| !life.is_zero()).map(|life| life.min(LONGEST_LIFE));
        Ok(Minted { secret: Secret::new(secret.to_owned()), asked, life })
    }

    /// The identity as a JWT; `None` if it is the client certificate.
    fn identity(&self, deadline: &Deadline) -> Result<Option<Secret>, RequestError> {
        let secrets = &self.identity.exchange.secrets;
        let token = match (&self.identity.source, &self.github) {
            (Source::Token(token), _) => token.clone(),
            (Source::File(file), _) => {
                file.token().map_err(|error| without_identity(format!("{error:#}"), String::new()))?
            }
            (Source::GitHub { path, audience, server }, Some(github)) => {
                let query = vec![("audience".to_owned(), audience.clone())];
                let request = Request::get(path.clone(), query, &read);
                let advice = || "check that the job still runs, with permissions: id-token: write".to_owned();
                let answer = send::get(github, request, deadline)
                    .map_err(|error| failed("could not get an identity from GitHub", error, advice))?;
                let token = answer["value"].as_str().unwrap_or_default();
                if !jwt::is_jwt(token) {
                    let message = format!("{} answered with a value that is not {}", server.host(), jwt::FORM);
                    let error = without_identity(message, "check ACTIONS_ID_TOKEN_REQUEST_URL".into());
                    return Err(RequestError { retry: Retry::Never, ..error });
                }
                token.to_owned()
            }
            _ => return Ok(None),
        };
        secrets.add_token(&token);
        Ok(Some(Secret::new(token)))
    }

    /// What to check if the exchange is refused: most mistakes show in what the identity claims.
    fn refusal_advice(&self, identity: Option<&Secret>) -> String {
        let ids = format!("{PROVIDER_VARIABLE} and {SERVICE_ACCOUNT_VARIABLE}");
        let Some(identity) = identity else {
            return format!("check {ids}, and the certificate in {CERTIFICATE_VARIABLE}");
        };
        let Some(claims) = jwt::claims(identity.expose()) else {
            return format!("the claims of the identity cannot be read; check {ids}");
        };
        let claim = |name: &str| {
            let text = match &claims[name] {
                Value::String(text) => text.clone(),
                Value::Null => "(none)".into(),
                Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                other => other.to_string(),
            };
            quote_at_most(&text, MAX_CLAIM, &self.identity.exchange.secrets)
        };
        let [issuer, audience, subject] = ["iss", "aud", "sub"].map(claim);
        format!("the identity is of issuer {issuer}, audience {audience}, subject {subject}; check {ids}")
    }
}

/// All of a JSON text, which is short if it has a token.
fn read(body: &[u8]) -> Result<Value, Unusable> {
    if Cost::of(body).values > MAX_VALUES {
        return Err(Unusable::Unexpected("more than a token"));
    }
    Ok(serde_json::from_slice(body)?)
}

/// An error of a request that was sent to get the token, as one of the request that needs it.
fn failed(what: &str, error: RequestError, refusal_advice: impl FnOnce() -> String) -> RequestError {
    let is_refused = matches!(error.kind, Kind::Status { status: 400 | 401 | 403, .. });
    let advice = match error.kind {
        _ if is_refused => refusal_advice(),
        Kind::Status { status: 300..=399, .. } => {
            "redirects are not followed: check that no proxy or login page answers instead".into()
        }
        Kind::NoResponse => "try again later".into(),
        _ => error.advice,
    };
    let retry = match error.retry {
        // What another server limits is not the API's rate.
        Retry::RateLimited(pause) => Retry::After(pause),
        retry => retry,
    };
    let message = format!("{what}: {}", error.message);
    RequestError { message, advice, retry, kind: Kind::TokenExchange { is_refused }, ..error }
}

fn without_identity(message: String, advice: String) -> RequestError {
    RequestError::new(message, advice, Retry::Later, Kind::TokenExchange { is_refused: false })
}
