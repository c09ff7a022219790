//! Plans that stop, or warn, before a model is shut down.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339;
use serde_json::json;

use crate::support::program::{failure, program_for};
use crate::support::sample_api::SampleApi;
use crate::workspace::{PLAN, Workspace, assert_says, engines};

pub const MODEL: &str = "ft:gpt-4.1-mini-2025-04-14:my-org:tone:BaBcDeFg";

/// Has the base model of `ftjob-dpo` shut down in so many days; returns the date.
pub fn shut_down_in(api: &SampleApi, days: u64) -> String {
    let time = SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60);
    let date = format_rfc3339(time).to_string()[..10].to_owned();
    api.serves(json!([{ "id": "gpt-4.1-mini-2025-04-14", "shutdown_date": date }, { "id": MODEL }]));
    date
}

#[test]
fn the_sunset_example_warns_early_and_stops_late() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/sunset");
        let outputs = workspace.apply();
        assert_eq!((&outputs["model"], outputs.get("served_until")), (&json!(MODEL), None));

        // Nothing is said as long as there is time.
        let date = shut_down_in(&workspace.api, 120);
        let said = workspace.succeed(PLAN);
        assert!(said.contains(&date) && !said.contains("move to another model"), "{said}");

        let date = shut_down_in(&workspace.api, 61);
        let warned = workspace.succeed(PLAN);
        assert_says(&warned, &format!("{MODEL} is served until {date}T00:00:00Z: move to another model."));

        let date = shut_down_in(&workspace.api, 11);
        let line = failure(1, program_for(&workspace.api).args(["ftjob-dpo", "require_available=30d"]));
        for part in [MODEL, &date, "10 days from now"] {
            assert!(line.contains(part), "{line}");
        }
        let stopped = workspace.fail(PLAN);
        assert_says(&stopped, &line);
        let passed = workspace.succeed(&[PLAN, &["-var=require_available=5d"]].concat());
        assert_says(&passed, "move to another model");
    }
}

#[test]
fn the_module_for_many_jobs_looks_up_availability() {
    let configuration = r#"
        module "jobs" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-dpo", "ftjob-abc123"]
          availability        = true
        }
        output "available" {
          value = { for id, job in module.jobs.jobs : id => job.fine_tuned_model_available }
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        assert_eq!(workspace.apply()["available"], json!({ "ftjob-dpo": true, "ftjob-abc123": false }));
        let required = configuration.replace("availability        = true", "require_available = \"1d\"");
        let said = Workspace::new(engine, &required).fail(PLAN);
        assert_says(&said, "1 of 2 jobs do not meet require_available: the model ft:davinci-002:my-org:");
    }
}

#[test]
fn models_are_guarded_by_their_names() {
    let configuration = r#"
        variable "require_available" {
          default = null
        }
        data "external" "models" {
          program = ["openai-fine-tuning-job"]
          query = {
            model_ids         = jsonencode(["gpt-4.1-mini-2025-04-14", "MODEL", "MODEL:ckpt-step-90"])
            require_available = var.require_available
          }
        }
        output "models" {
          value = { for name, model in data.external.models.result : name => jsondecode(model) }
        }
        "#
    .replace("MODEL", MODEL);
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        let date = shut_down_in(&workspace.api, 11);
        let checkpoint = format!("{MODEL}:ckpt-step-90");
        let model = |id: &str, available| json!({ "id": id, "available": available, "shutdown_date": date });
        let expected = json!({
            "gpt-4.1-mini-2025-04-14": model("gpt-4.1-mini-2025-04-14", true),
            MODEL: model(MODEL, true),
            &checkpoint: model(&checkpoint, false),
        });
        assert_eq!(workspace.apply()["models"], expected);

        let stopped = workspace.fail(&[PLAN, &["-var=require_available=30d"]].concat());
        assert_says(
            &stopped,
            "3 of 3 models do not meet require_available: the model gpt-4.1-mini-2025-04-14 is served",
        );
        let null = configuration.replace(&format!(r#""{MODEL}:"#), &format!(r#"null, "{MODEL}:"#));
        assert_says(&Workspace::new(engine, &null).fail(PLAN), "model_ids has a null; if it may be left out");
    }
}
