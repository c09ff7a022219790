//! Whether a fine-tuned model is still served, and until when.

use std::time::SystemTime;

use anyhow::{Result, anyhow};
use humantime::parse_rfc3339;
use serde_json::Value;

use crate::http::{Api, Deadline, Kind};
use crate::job::Job;
use crate::text::format_date;

/// The models that an API serves.
#[derive(Default)]
pub struct Models(pub(super) Vec<Value>);

impl Models {
    /// Reads what is known of the models of these jobs, and of their base models.
    pub fn read(jobs: &[Job], api: &Api, deadline: &Deadline) -> Result<Self> {
        let names = jobs.iter().flat_map(|job| job.model().into_iter().chain([job.base_model()])).collect();
        let models = api.models(&names, deadline).map_err(|mut error| {
            // The jobs have been read, so neither the key nor the address is wrong. The API answers 401 or 403 to a
            // missing scope.
            match error.kind {
                Kind::Status { status: 401 | 403, from_api: true } => {
                    error.advice = "the key needs the permission to list models (api.model.read)".into();
                }
                Kind::Status { status: 404, .. } => {
                    error.advice = "leave out availability if this server does not list models".into();
                }
                _ => {}
            }
            anyhow!("could not read the list of models: {error}")
        })?;
        Ok(Models(models))
    }

    /// Stores in a job with a model whether that is in the list, and when it is shut down: a fine-tuned model is served only
    /// until its base model is shut down (OpenAI's deprecations page).
    pub fn look_up(&self, job: &mut Job) {
        if let Some(model) = job.model() {
            let (own, base) = (self.find(model), self.find(job.base_model()));
            let shutdown = [own, base].into_iter().flatten().find_map(shutdown);
            job.set_availability(own.is_some(), shutdown.and_then(format_date));
        }
    }

    /// The entry of the list with this ID.
    pub(super) fn find(&self, id: &str) -> Option<&Value> {
        self.0.iter().find(|model| model["id"] == id)
    }
}

/// When a model is shut down, in Unix seconds: at midnight in UTC, as the day begins. OpenAI states a date
/// (`shutdown_date`, the schema `Model` of openai/openai-openapi), Azure Unix seconds (`deprecation.inference`, the
/// data-plane API's `Models - List`).
pub(super) fn shutdown(model: &Value) -> Option<u64> {
    if let Some(date) = model["shutdown_date"].as_str().and_then(|text| text.get(..10)) {
        return midnight(date);
    }
    let seconds = model["deprecation"]["inference"].as_u64().filter(|seconds| *seconds > 0)?;
    midnight(&format_date(seconds)?)
}

/// The time at which a day begins in UTC, in Unix seconds.
pub(super) fn midnight(date: &str) -> Option<u64> {
    let time = parse_rfc3339(&format!("{date}T00:00:00Z")).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_have_two_forms() {
        for (model, date) in [
            (json!({ "shutdown_date": "2026-10-23" }), Some("2026-10-23")),
            (json!({ "shutdown_date": "2026-10-23T00:00:00Z" }), Some("2026-10-23")),
            (json!({ "deprecation": { "inference": 1_792_713_600 } }), Some("2026-10-23")),
            (json!({ "shutdown_date": null, "deprecation": { "inference": 1_792_799_999 } }), Some("2026-10-23")),
            (json!({ "shutdown_date": "soon" }), None),
            (json!({ "shutdown_date": "2026-23-10" }), None),
            (json!({ "deprecation": { "fine_tune": 1 } }), None),
            (json!({ "deprecation": { "inference": 0 } }), None),
            (json!({}), None),
        ] {
            assert_eq!(shutdown(&model).and_then(format_date).as_deref(), date, "{model}");
        }
    }

    #[test]
    fn the_models_own_date_comes_before_that_of_its_base() {
        let models = Models(vec![
            json!({ "id": "base", "shutdown_date": "2026-10-23" }),
            json!({ "id": "ft:own", "shutdown_date": "2026-12-31" }),
            json!({ "id": "ft:base" }),
            json!({ "id": "ft:none" }),
        ]);
        for (model, base, available, date) in [
            (json!("ft:own"), "base", json!(true), json!("2026-12-31")),
            (json!("ft:base"), "base", json!(true), json!("2026-10-23")),
            // The job went on from a fine-tuned model.
            (json!("ft:base"), "ft:base:my-org::AbCdEfGh", json!(true), json!("2026-10-23")),
            (json!("ft:gone"), "base", json!(false), json!("2026-10-23")),
            (json!("ft:none"), "other", json!(true), json!(null)),
            (json!(null), "base", json!(null), json!(null)),
        ] {
            let api = json!({ "object": "fine_tuning.job", "id": "a", "model": base, "fine_tuned_model": model });
            let mut job = Job::new(api).unwrap();
            models.look_up(&mut job);
            assert_eq!(job.looked_up()["fine_tuned_model_available"], available, "{model}");
            assert_eq!(job.looked_up()["fine_tuned_model_shutdown_date"], date, "{model}");
        }
    }
}
