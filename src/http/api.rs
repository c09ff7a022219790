//! OpenAI's fine-tuning API, as far as it is needed here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Request};
use super::deadline::Deadline;
use super::error::{Kind, RequestError};
use super::exchange::TokenExchange;
use super::response::{self, Unusable};
use super::token::Tokens;
use super::{models, send};
use crate::endpoint::{Endpoint, WorkloadIdentity};
use crate::job::{Budget, Charge, Cost, Job};
use crate::text::{Secrets, quote};

pub struct Api<'a> {
    pub(super) client: Client<'a>,
    pub(super) budget: Budget,
}

impl<'a> Api<'a> {
    /// Sends no request yet. The identity is exchanged for an access token when the first one is sent.
    pub fn new(endpoint: &'a Endpoint, identity: Option<&'a WorkloadIdentity>, timeout: Duration) -> Self {
        let tokens = identity.map(|identity| {
            let exchange = TokenExchange::new(identity, timeout);
            Tokens::new(move |deadline| exchange.mint(deadline))
        });
        Api { client: Client::new(endpoint, timeout).with_tokens(tokens), budget: Budget::default() }
    }

    /// How long the server's rate limit holds requests back from now on.
    pub fn rate_limit_delay(&self) -> Duration {
        self.client.pacing.delay(Instant::now())
    }

    /// Retrieves fine-tuning jobs, in the order of the IDs: `GET /fine_tuning/jobs/{id}` in OpenAI's API reference.
    pub fn jobs(&self, ids: &[&str], deadline: &Deadline) -> Vec<Result<Job, RequestError>> {
        let read = |body: &[u8]| self.tree(body);
        let get = |id: &&str| Request::get(format!("fine_tuning/jobs/{id}"), Vec::new(), &read);
        let results = send::get_all(&self.client, &ids.iter().map(get).collect::<Vec<_>>(), deadline);
        let jobs = ids.iter().zip(results).map(|(id, result)| match result {
            Ok((answer, charge)) => self.job(id, answer).map(|job| job.charged(charge)),
            Err(error) => Err(self.with_advice_on_the_id(error)),
        });
        jobs.collect()
    }

    /// The job with this ID. An error is better than another job's data, or what merely looks like a job.
    fn job(&self, id: &str, answer: Value) -> Result<Job, RequestError> {
        let wrong = match Job::new(answer) {
            Ok(job) if job.id() == id => return Ok(job),
            Ok(job) => format!("another job, {}", job.id()),
            Err(answer) => self.not_a_job(&answer),
        };
        Err(self.unexpected(&wrong))
    }

    /// What something is that is no job.
    pub(super) fn not_a_job(&self, answer: &Value) -> String {
        match answer["object"].as_str() {
            Some("fine_tuning.job") => "a job without a valid ID".into(),
            Some(object) => format!("an object of type {:?}, not a fine-tuning job", quote(object, self.secrets())),
            None => "JSON that is not a fine-tuning job".into(),
        }
    }

    fn with_advice_on_the_id(&self, error: RequestError) -> RequestError {
        let Endpoint { credential, base_url, .. } = self.client.endpoint();
        let (credential, base_url) = (credential.name(), base_url.name);
        let advice = match error.kind {
            Kind::Status { status: 404, from_api: true } => {
                format!("check the ID, {base_url}, and that {credential} belongs to the job's project")
            }
            Kind::Status { status: 404, .. } => format!("check the ID and {base_url}"),
            _ => return error,
        };
        RequestError { advice, ..error }
    }

    /// Those of the models with these names that the key may use: `GET /models` in OpenAI's API reference, which has no
    /// pages. Each has what `models` reads.
    pub fn models(&self, names: &BTreeSet<&str>, deadline: &Deadline) -> Result<Vec<Value>, RequestError> {
        let read = |body: &[u8]| models::read(body, names);
        send::get(&self.client, Request::get("models".into(), Vec::new(), &read), deadline)
    }

    /// All of a JSON text, if a run may keep it.
    pub(super) fn tree(&self, body: &[u8]) -> Result<(Value, Charge), Unusable> {
        let charge = self.budget.take(Cost::of(body))?;
        Ok((serde_json::from_slice(body)?, charge))
    }

    pub(super) fn unexpected(&self, what: &str) -> RequestError {
        response::unexpected(self.client.endpoint(), what)
    }

    /// What no message may show.
    pub fn secrets(&self) -> &Secrets {
        &self.client.endpoint().secrets
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_server::with_api;

    #[test]
    fn an_answer_with_another_job_is_an_error() {
        let job = json!({ "object": "fine_tuning.job", "id": "a", "status": "running" });
        let read = |answer| with_api(answer, |api, deadline| api.jobs(&["a"], deadline).remove(0));
        assert_eq!(read(job).unwrap().status(), "running");
        for (answer, expected) in [
            (json!({ "object": "fine_tuning.job", "id": "b" }), "answered with another job, b; check base_url"),
            (json!({ "object": "fine_tuning.job" }), "answered with a job without a valid ID; check base_url"),
            (json!({ "object": "list" }), r#"an object of type "list", not a fine-tuning job; check base_url"#),
            (json!([]), "answered with JSON that is not a fine-tuning job; check base_url"),
        ] {
            let error = read(answer).err().unwrap();
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    }
}
