//! Whether the fine-tuned models are still served.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339;
use serde_json::{Value, json};

use crate::batch::{numbered, parsed};
use crate::support::program::{failure, program_for, result};
use crate::support::sample_api::{SampleApi, answering, error, numbered_job, response};

const MODEL: &str = "ft:gpt-4.1-mini-2025-04-14:my-org:tone:BaBcDeFg";

/// The date so many days from now.
fn in_days(days: u64) -> String {
    format_rfc3339(SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60)).to_string()[..10].to_owned()
}

fn models(api: &SampleApi) -> usize {
    api.paths().iter().filter(|path| *path == "/v1/models").count()
}

#[test]
fn availability_is_looked_up_only_on_request() {
    let api = SampleApi::start();
    let unasked = result(program_for(&api).arg("ftjob-dpo"));
    assert_eq!(
        (&unasked["fine_tuned_model_available"], &unasked["fine_tuned_model_shutdown_date"]),
        (&json!(""), &json!(""))
    );
    assert_eq!(parsed(&unasked["job"])["fine_tuned_model_available"], Value::Null);
    assert_eq!(api.requests().len(), 1);

    for (id, available, date) in [
        ("ftjob-dpo", json!(true), json!(null)),
        ("ftjob-today", json!(true), json!("2099-10-23")),
        ("ftjob-reinforcement", json!(true), json!("2099-12-31")),
        ("ftjob-abc123", json!(false), json!("2026-09-28")),
        ("ftjob-2023", json!(false), json!(null)),
        ("ftjob-running", json!(null), json!(null)),
    ] {
        let found = result(program_for(&api).args([id, "availability=true"]));
        let job = parsed(&found["job"]);
        assert_eq!(
            (&job["fine_tuned_model_available"], &job["fine_tuned_model_shutdown_date"]),
            (&available, &date),
            "{id}"
        );
        assert_eq!(found["fine_tuned_model_available"], available.as_bool().map_or(String::new(), |it| it.to_string()));
        assert_eq!(found["fine_tuned_model_shutdown_date"], date.as_str().unwrap_or_default());
        assert!(!found["raw_json"].as_str().unwrap().contains("shutdown_date"), "{id}");
    }
}

#[test]
fn one_request_for_models_is_enough_for_all_jobs() {
    let api = SampleApi::start();
    let jobs = result(program_for(&api).args([&numbered(1..=50), "availability=true"]));
    assert_eq!((api.requests().len(), models(&api)), (50 + 1, 1));
    assert_eq!(parsed(&jobs["ftjob-n1"])["fine_tuned_model_available"], false);
    assert_eq!(parsed(&jobs["ftjob-n50"])["fine_tuned_model_available"], Value::Null);

    let api = SampleApi::start();
    let list = result(program_for(&api).args(["list=true", "status=succeeded", "limit=3", "availability=true"]));
    assert_eq!(parsed(&list["jobs"])[2]["fine_tuned_model_shutdown_date"], "2026-09-28");
    assert_eq!(models(&api), 1);
    // On the connection that is there already.
    assert_eq!(api.connections(), 1);
}

#[test]
fn a_model_that_is_not_served_for_long_enough_is_an_error() {
    let api = SampleApi::start();
    let date = in_days(11);
    api.serves(
        json!([{ "id": "gpt-4.1-mini-2025-04-14", "shutdown_date": date }, { "id": MODEL, "shutdown_date": null }]),
    );
    let line = failure(1, program_for(&api).args(["ftjob-dpo", "require_available=30d"]));
    assert_eq!(
        line,
        format!(
            "require_available is not met: the model {MODEL} of fine-tuning job ftjob-dpo is served until {date} (its base model gpt-4.1-mini-2025-04-14 is \
             shut down then), 10 days from now, not for 30d"
        )
    );
    let found = result(program_for(&api).args(["ftjob-dpo", "require_available=5d", "availability=false"]));
    assert_eq!(
        (&found["fine_tuned_model_available"], &found["fine_tuned_model_shutdown_date"]),
        (&json!("true"), &json!(date))
    );

    let line = failure(1, program_for(&api).args(["ftjob-running", "require_available=1d"]));
    assert!(
        line.starts_with("require_available is not met: fine-tuning job ftjob-running is running (estimated finish "),
        "{line}"
    );
    let line = failure(1, program_for(&api).args([&numbered(1..=22), "require_available=1d"]));
    assert!(line.starts_with("22 of 22 jobs do not meet require_available: the model ft:davinci-002:"), "{line}");
    assert!(line.ends_with("; and 19 more"), "{line}");
}

#[test]
fn shutdown_dates_in_seconds_are_read() {
    let api = SampleApi::start();
    let base =
        json!({ "id": "gpt-4.1-mini-2025-04-14", "deprecation": { "fine_tune": 1, "inference": 4_096_310_400_u64 } });
    api.serves(json!([base, { "id": MODEL, "deprecation": { "inference": 4_099_680_000_u64 } }]));
    let found = result(program_for(&api).args(["ftjob-dpo", "availability=true"]));
    assert_eq!(found["fine_tuned_model_shutdown_date"], "2099-11-30");
}

#[test]
fn long_lists_of_models_are_read_and_others_are_errors() {
    let api = SampleApi::start();
    let model = |number: usize| {
        json!({ "id": format!("ft:gpt-4.1-mini-2025-04-14:my-org:model-{number}:BaBcDeFg"), "object": "model",
                "created": 1_745_600_000, "owned_by": "my-org", "shutdown_date": null })
    };
    let mut models: Vec<_> = (0..2000).map(model).collect();
    models.push(json!({ "id": MODEL }));
    assert!(Value::from(models.clone()).to_string().len() > 250_000);
    api.serves(models.into());
    let found = result(program_for(&api).args(["ftjob-dpo", "availability=true"]));
    assert_eq!(found["fine_tuned_model_available"], "true");

    for models in [json!({}), json!([1]), json!([{ "name": "x" }])] {
        api.serves(models);
        let line = failure(1, program_for(&api).args(["ftjob-dpo", "availability=true"]));
        assert!(line.starts_with("could not read the list of models: "), "{line}");
        assert!(line.ends_with("answered with JSON that is not a list of models; check OPENAI_BASE_URL"), "{line}");
    }
}

#[test]
fn a_missing_permission_or_list_is_named() {
    let api = SampleApi::start();
    let body = error("You have insufficient permissions for this operation.", None, None).to_string();
    let job = numbered_job(1).to_string();
    for (status, advice) in [
        ("403 Forbidden", "the key needs the permission to list models (api.model.read)"),
        ("404 Not Found", "leave out availability if this server does not list models"),
    ] {
        api.play([answering(response("200 OK", &[], &job)), answering(response(status, &[], &body))]);
        let line = failure(1, program_for(&api).args(["ftjob-n1", "availability=true"]));
        // The first response ended its connection, which the program may notice only when it sends the next request.
        assert!(line.contains(" for this operation") && line.ends_with(&format!("; {advice}")), "{line}");
    }
}
