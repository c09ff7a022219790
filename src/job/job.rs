//! What a fine-tuning job is: its ID, its status, why it failed.

use serde_json::Value;

use super::budget::Charge;
use crate::text::format_time;

/// The statuses that a job keeps. OpenAI writes `cancelled`, Azure also `canceled`.
pub const FINAL_STATUSES: &[&str] = &["succeeded", "failed", "cancelled", "canceled"];

/// The statuses that a query may name. Source: OpenAI's and Azure's API references, and answers of both. Results pass
/// any other status on.
pub const STATUSES: &[&str] = &[
    "validating_files",
    "queued",
    "created",
    "pending",
    "running",
    "pausing",
    "paused",
    "resuming",
    "succeeded",
    "failed",
    "cancelled",
    "canceled",
];

/// Whether two statuses are one, in OpenAI's spelling or in Azure's.
pub fn is_same_status(one: &str, other: &str) -> bool {
    let american = |status| if status == "cancelled" { "canceled" } else { status };
    american(one) == american(other)
}

/// The base model that a model's name begins with: `BASE` of OpenAI's `ft:BASE:my-org::AbCdEfGh` and of Azure's
/// `BASE.ft-0123-suffix`, or both, one within the other. The name itself if it is none of these.
pub fn base_of(model: &str) -> &str {
    let model = model.strip_prefix("ft:").and_then(|rest| rest.split(':').next()).unwrap_or(model);
    model.split_once(".ft-").map_or(model, |(base, _)| base)
}

/// The longest ID, in characters. OpenAI's have about 30, those of gateways up to 200.
pub const MAX_ID: usize = 512;

/// Whether this can be the ID of a job, so that it can be part of a URL as it is.
pub fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(allowed)
}

/// A fine-tuning job as the API sent it, and what was looked up about it.
pub struct Job {
    api: Value,
    /// Under the names of the documented fields.
    looked_up: Value,
    /// What it counts for as long as it is kept.
    _charge: Option<Charge>,
}

impl Job {
    /// Gives the answer back if it is not a fine-tuning job with an ID.
    pub fn new(api: Value) -> Result<Self, Value> {
        let is_job = api["object"] == "fine_tuning.job" && api["id"].as_str().is_some_and(is_id);
        if is_job { Ok(Job { api, looked_up: Value::Null, _charge: None }) } else { Err(api) }
    }

    pub fn charged(self, charge: Charge) -> Self {
        Job { _charge: Some(charge), ..self }
    }

    /// The API's answer.
    pub fn api(&self) -> &Value {
        &self.api
    }

    /// What was looked up on request: null or an object.
    pub fn looked_up(&self) -> &Value {
        &self.looked_up
    }

    pub fn set_availability(&mut self, is_available: bool, shutdown_date: Option<String>) {
        self.looked_up["fine_tuned_model_available"] = is_available.into();
        self.looked_up["fine_tuned_model_shutdown_date"] = shutdown_date.into();
    }

    pub fn set_checkpoints(&mut self, checkpoints: Vec<Value>) {
        self.looked_up["checkpoints"] = checkpoints.into();
    }

    /// The name of the fine-tuned model, once there is one.
    pub fn model(&self) -> Option<&str> {
        self.api["fine_tuned_model"].as_str().filter(|model| !model.is_empty())
    }

    /// The base model, also if the job went on from a fine-tuned one, or does not name it.
    pub fn base_model(&self) -> &str {
        let model = self.api["model"].as_str().filter(|model| !model.is_empty());
        base_of(model.or(self.model()).unwrap_or_default())
    }

    /// When the job was created, in Unix seconds; 0 if the API does not say so.
    pub fn created_at(&self) -> f64 {
        self.api["created_at"].as_f64().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.api["id"].as_str().unwrap_or_default()
    }

    pub fn status(&self) -> &str {
        self.api["status"].as_str().unwrap_or("in an unknown state")
    }

    pub fn is_final(&self) -> bool {
        FINAL_STATUSES.contains(&self.status())
    }

    /// Whether the job stays as it is until somebody resumes it.
    pub fn is_paused(&self) -> bool {
        matches!(self.status(), "pausing" | "paused")
    }

    /// The suffix of the model's name, as OpenAI or as Azure names it.
    pub fn suffix(&self) -> Option<&str> {
        self.api["user_provided_suffix"].as_str().or(self.api["suffix"].as_str())
    }

    /// When the job is expected to be final, in Unix seconds, if the API says so.
    pub fn estimated_finish(&self) -> Option<u64> {
        // The API reference's own example has 0.
        self.api["estimated_finish"].as_u64().filter(|seconds| *seconds > 0)
    }

    /// The status, and when the job should be final.
    pub fn progress(&self) -> String {
        let finish = self.estimated_finish().and_then(format_time).filter(|_| !self.is_final());
        let finish = finish.map(|time| format!(" (estimated finish {time})")).unwrap_or_default();
        format!("{}{finish}", self.status())
    }

    /// Why the job failed: the API's code and message, as far as there are any.
    pub fn error(&self) -> Vec<&str> {
        let error = &self.api["error"];
        [error, &error["code"], &error["message"]].into_iter().filter_map(Value::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_fit_into_a_url() {
        for id in ["ftjob-abc123", "A_z-9", &"x".repeat(MAX_ID)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "a/b", "a.b", "a b", "ä", "a%2fb", &"x".repeat(MAX_ID + 1)] {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn only_a_job_with_an_id_is_a_job() {
        assert!(Job::new(json!({ "object": "fine_tuning.job", "id": "ftjob-x" })).is_ok());
        for other in [json!([]), json!({ "object": "list" }), json!({ "object": "fine_tuning.job", "id": "a/b" })] {
            assert!(Job::new(other.clone()).is_err(), "{other}");
        }
    }

    #[test]
    fn progress_tells_the_estimate_only_while_the_job_runs() {
        let job = |status: &str, finish: u64| {
            Job { api: json!({ "status": status, "estimated_finish": finish }), looked_up: Value::Null, _charge: None }
                .progress()
        };
        assert_eq!(job("running", 1_721_768_400), "running (estimated finish 2024-07-23T21:00:00Z)");
        assert_eq!(job("running", 0), "running");
        assert_eq!(job("running", u64::MAX), "running");
        assert_eq!(job("canceled", 1_721_768_400), "canceled");
    }

    #[test]
    fn errors_have_several_forms() {
        let error = |error: Value| {
            Job { api: json!({ "error": error }), looked_up: Value::Null, _charge: None }.error().join(": ")
        };
        assert_eq!(error(json!({ "code": "c", "message": "m", "param": "p" })), "c: m");
        assert_eq!(error(json!("plain")), "plain");
        assert_eq!(error(json!({})), "");
        assert_eq!(error(Value::Null), "");
    }
    #[test]
    fn a_models_name_begins_with_that_of_its_base() {
        for (name, base) in [
            ("ft:gpt-4.1-2025-04-14:my-org::AbCdEfGh:ckpt-step-90", "gpt-4.1-2025-04-14"),
            ("gpt-4.1-2025-04-14.ft-0123-tone", "gpt-4.1-2025-04-14"),
            ("gpt-4.1-2025-04-14.ft-0123.ft-4567", "gpt-4.1-2025-04-14"),
            ("ft:gpt-4.1-2025-04-14.ft-0123:my-org::AbCdEfGh", "gpt-4.1-2025-04-14"),
            ("gpt-4.1-2025-04-14", "gpt-4.1-2025-04-14"),
            ("ft-davinci-002", "ft-davinci-002"),
            ("", ""),
        ] {
            assert_eq!(base_of(name), base);
        }
    }
}
