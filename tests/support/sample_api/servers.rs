//! Other servers of the same API: an Azure resource, and a gateway that passes OpenAI's API on in its own way.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The header that the gateway wants, and its value.
pub const GATEWAY_HEADER: (&str, &str) = ("x-gateway-key", "gateway-key-0123456789");

#[derive(Clone, Copy, Default, PartialEq)]
pub enum Server {
    #[default]
    OpenAi,
    Azure,
    Gateway,
}

impl Server {
    pub fn base_path(self) -> &'static str {
        if self == Server::Azure { "/openai/v1" } else { "/v1" }
    }

    /// The jobs by themselves and in the list, newest first; none if they are OpenAI's.
    pub fn jobs(self) -> Option<Vec<Value>> {
        match self {
            Server::OpenAi => None,
            Server::Azure => Some(serde_json::from_str(include_str!("azure_jobs.json")).expect("azure_jobs.json")),
            Server::Gateway => Some(vec![
                gateway_job("failed", json!("The upstream refused the training file.")),
                gateway_job("succeeded", json!({})),
            ]),
        }
    }

    pub fn models(self) -> Value {
        let models =
            if self == Server::Azure { include_str!("azure_models.json") } else { include_str!("models.json") };
        serde_json::from_str(models).expect("a list of models")
    }

    /// Why the key is not enough, if so: a status and a body.
    pub fn refusal(self, headers: &BTreeMap<String, String>) -> Option<(&'static str, Value)> {
        let (name, value) = GATEWAY_HEADER;
        let is_missing = self == Server::Gateway && headers.get(name).is_none_or(|sent| sent != value);
        is_missing.then(|| ("401 Unauthorized", json!({ "error": "missing gateway key" })))
    }

    pub fn not_found(self, id: &str) -> Value {
        match self {
            Server::OpenAi => super::error(
                &format!("Could not find fine tune: {id}"),
                Some("fine_tune_id"),
                Some("fine_tune_not_found"),
            ),
            Server::Azure => {
                json!({ "error": { "code": "notFound", "message": "The specified job could not be found." } })
            }
            Server::Gateway => json!({ "message": "no route for this job" }),
        }
    }

    /// The header with which a response names its request.
    pub fn request_id(self) -> Option<&'static str> {
        match self {
            Server::OpenAi => Some("x-request-id"),
            Server::Azure => Some("apim-request-id"),
            Server::Gateway => None,
        }
    }

    /// What stands before the JSON of a body.
    pub fn prefix(self) -> &'static str {
        if self == Server::Gateway { "\u{feff}" } else { "" }
    }
}

/// The ID that the gateway gives a job: longer than OpenAI's.
pub fn gateway_id(status: &str) -> String {
    format!("ftjob-{status}-{}", "0123456789abcdef".repeat(11))
}

fn gateway_job(status: &str, error: Value) -> Value {
    json!({
        "object": "fine_tuning.job",
        "id": gateway_id(status),
        "created_at": 1_764_000_000,
        "model": "gpt-4.1-mini-2025-04-14",
        "status": status,
        "suffix": "tone",
        "fine_tuned_model": (status == "succeeded").then_some("ft:gpt-4.1-mini-2025-04-14:my-org:tone:BaBcDeFg"),
        "training_file": "file-abc123",
        "error": error,
    })
}
