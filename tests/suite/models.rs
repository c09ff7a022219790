//! Models that are looked up by their names.

use serde_json::{Value, json};

use crate::batch::{numbered, parsed, refusing};
use crate::support::program::{failure, program_for, result};
use crate::support::sample_api::servers::Server;
use crate::support::sample_api::{SampleApi, answering, job, numbered_job, response};

const BASE: &str = "gpt-4.1-mini-2025-04-14";
const TUNED: &str = "ft:gpt-4.1-mini-2025-04-14:my-org:tone:BaBcDeFg";

fn model_ids(names: &[&str]) -> String {
    format!("model_ids={}", json!(names))
}

#[test]
fn models_are_looked_up_by_their_names_with_one_request() {
    let api = SampleApi::start();
    let (checkpoint, gone) = (format!("{TUNED}:ckpt-step-90"), "ft:davinci-002:my-org:gone:7q8mpxmy");
    let names = ["gpt-4.1-2025-04-14", "gpt-4o-mini-2024-07-18", TUNED, &checkpoint, gone, "unknown", TUNED];
    let found = result(program_for(&api).arg(model_ids(&names)));
    let expected = [
        ("gpt-4.1-2025-04-14", true, json!("2099-10-23")),
        ("gpt-4o-mini-2024-07-18", true, json!(null)),
        (TUNED, true, json!(null)),
        (&checkpoint, false, json!(null)),
        (gone, false, json!("2026-09-28")),
        ("unknown", false, json!(null)),
    ];
    assert_eq!(found.as_object().unwrap().len(), expected.len());
    for (name, available, date) in expected {
        assert_eq!(parsed(&found[name]), json!({ "id": name, "available": available, "shutdown_date": date }));
    }
    assert_eq!(api.paths(), ["/v1/models"]);
    let query = json!({ "model_ids": "[]", "availability": "false", "limit": null }).to_string();
    assert_eq!(result(program_for(&api).write_stdin(query)), json!({}));
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn azures_models_are_led_to_their_base() {
    let api = SampleApi::start_as(Server::Azure, None);
    let names = ["gpt-4.1-mini-2025-04-14.ft-0123-none", BASE];
    let found = result(program_for(&api).arg(model_ids(&names)));
    assert_eq!(parsed(&found[names[0]]), json!({ "id": names[0], "available": false, "shutdown_date": "2099-11-30" }));

    // A job that went on from a fine-tuned model.
    let api = SampleApi::start();
    let mut second = job("ftjob-dpo");
    (second["model"], second["fine_tuned_model"]) = (json!("base-1.ft-aaaa"), json!("base-1.ft-bbbb"));
    second["id"] = json!("ftjob-second");
    api.moves("ftjob-second", [second]);
    api.serves(json!([{ "id": "base-1", "shutdown_date": "2026-09-28" }, { "id": "base-1.ft-bbbb" }]));
    let found = result(program_for(&api).args(["ftjob-second", "availability=true"]));
    assert_eq!(found["fine_tuned_model_shutdown_date"], "2026-09-28");
    let line = failure(1, program_for(&api).args(["ftjob-second", "require_available=1d"]));
    assert!(line.ends_with("is still listed, but its base model base-1 was to be shut down on 2026-09-28"), "{line}");
}

#[test]
fn a_model_can_be_required() {
    let api = SampleApi::start();
    let query = |names: &[&str]| [model_ids(names), "require_available=30d".into()];
    result(program_for(&api).args(query(&[TUNED, BASE, "gpt-4.1-2025-04-14"])));
    result(program_for(&api).args(query(&[])));
    for (name, expected) in [
        (
            "gpt-5",
            "require_available is not met: the model gpt-5 is no longer served (it is not in the list of models)",
        ),
        (
            "davinci-002",
            "require_available is not met: the model davinci-002 is still listed, but it was to be shut down on 2026-09-28",
        ),
        (
            "ft:davinci-002:my-org:gone:7q8mpxmy",
            "require_available is not met: the model ft:davinci-002:my-org:gone:7q8mpxmy is no longer served (its base model \
             davinci-002 was shut down on 2026-09-28)",
        ),
    ] {
        assert_eq!(failure(1, program_for(&api).args(query(&[name]))), expected);
    }
    let line = failure(1, program_for(&api).args(query(&[TUNED, "gpt-5", "davinci-002"])));
    assert!(line.starts_with("2 of 3 models do not meet require_available: the model gpt-5 is no longer"), "{line}");
}

/// Each of these would let a guard pass, were it taken for no date.
#[test]
fn a_date_that_cannot_be_read_is_an_error() {
    let api = SampleApi::start();
    let long = "x".repeat(1000);
    for (fields, quoted) in [
        (json!({ "shutdown_date": "23 Oct 2026" }), r#"shutdown_date "23 Oct 2026""#),
        (json!({ "shutdown_date": { "date": "2026-10-23" } }), r#"shutdown_date {"date":"2026-10-23"}"#),
        (json!({ "shutdown_date": ["2026-10-23"] }), r#"shutdown_date ["2026-10-23"]"#),
        (json!({ "shutdown_date": true }), "shutdown_date true"),
        (json!({ "shutdown_date": "2026-02-30" }), r#"shutdown_date "2026-02-30""#),
        (json!({ "shutdown_date": 1_792_713_600_000_u64 }), "shutdown_date 1792713600000"),
        (json!({ "shutdown_date": "a\u{1b}[31m\nb" }), r#"shutdown_date "a"#),
        (json!({ "shutdown_date": long }), "…"),
        (json!({ "deprecation": { "inference": "2026-10-23" } }), r#"deprecation.inference "2026-10-23""#),
        (json!({ "deprecation": { "inference": [1] } }), "deprecation.inference [1]"),
        (json!({ "deprecation": { "inference": -1 } }), "deprecation.inference -1"),
        (json!({ "deprecation": "soon" }), r#"deprecation "soon""#),
        (json!({ "deprecation": [] }), "deprecation []"),
    ] {
        let with = |id: &str, fields: &Value| {
            let mut entry = fields.clone();
            entry["id"] = json!(id);
            entry
        };
        for models in [[with(TUNED, &fields), json!({ "id": BASE })], [json!({ "id": TUNED }), with(BASE, &fields)]] {
            api.serves(models.into());
            for query in [
                ["ftjob-dpo", "availability=true"],
                ["ftjob-dpo", "require_available=30d"],
                [&model_ids(&[TUNED]), "require_available="],
                [&model_ids(&[TUNED]), "require_available=30d"],
            ] {
                let line = failure(1, program_for(&api).args(query));
                assert!(line.starts_with("cannot tell when the model ") && line.contains(quoted), "{line}");
                assert!(line.len() < 400, "{line}");
            }
            // Nobody asked.
            result(program_for(&api).arg("ftjob-dpo"));
            result(program_for(&api).arg(model_ids(&["another"])));
        }
    }
    for fields in [json!({ "shutdown_date": null }), json!({ "deprecation": null }), json!({ "deprecation": {} })] {
        let mut entry = fields;
        entry["id"] = json!(TUNED);
        api.serves(json!([entry]));
        result(program_for(&api).args(["ftjob-dpo", "require_available=30d"]));
    }
}

#[test]
fn errors_of_the_list_are_explained() {
    let api = SampleApi::start();
    for (status, expected) in [
        (
            "403 Forbidden",
            "check what the API key in OPENAI_API_KEY may do, and for which organization and project; the key needs the \
             permission to list models (api.model.read)",
        ),
        ("404 Not Found", "check OPENAI_BASE_URL; model_ids takes a server that lists models"),
    ] {
        api.play([refusing(status, "No.")]);
        let line = failure(1, program_for(&api).arg(model_ids(&[TUNED])));
        assert!(line.starts_with("could not read the list of models: ") && line.ends_with(expected), "{line}");
    }
    api.play([answering(response("200 OK", &[], r#"{"data":null}"#))]);
    assert_eq!(parsed(&result(program_for(&api).arg(model_ids(&[TUNED])))[TUNED])["available"], false);
}

#[test]
fn many_jobs_take_one_pass_over_a_long_list() {
    let api = SampleApi::start();
    for number in 1..=1000 {
        let mut job = numbered_job(number);
        job["fine_tuned_model"] = json!(format!("ft:gpt-4.1-2025-04-14:my-org:model-{number}:AbCdEfGh"));
        api.moves(&format!("ftjob-n{number}"), [job]);
    }
    api.serves((0..80_000).map(|number| json!({ "id": format!("model-{number}") })).collect());
    let jobs = result(program_for(&api).args([&numbered(1..=1000), "availability=true"]));
    assert_eq!(parsed(&jobs["ftjob-n1000"])["fine_tuned_model_available"], false);
}
