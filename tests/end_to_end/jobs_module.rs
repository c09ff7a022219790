//! The module for many jobs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::sample_api;
use crate::workspace::{Workspace, assert_as_served, engines};

/// The module for many jobs with these arguments, and what it returns.
fn jobs_module(arguments: &str) -> String {
    format!(
        "module \"jobs\" {{\n  source = \"./terraform/modules/jobs\"\n{arguments}\n}}\n\
         output \"ids\" {{\n  value = module.jobs.ids\n}}\noutput \"jobs\" {{\n  value = module.jobs.jobs\n}}\n"
    )
}

/// Checks that these are the numbered jobs, and no others.
fn assert_numbered(jobs: &Value, numbers: &[usize]) {
    assert_eq!(jobs.as_object().unwrap().len(), numbers.len());
    for &number in numbers {
        assert_as_served(&jobs[format!("ftjob-n{number}")], &sample_api::numbered_job(number));
    }
}

#[test]
fn a_hundred_jobs_take_one_process() {
    let ids: Vec<_> = (1..=100).rev().map(|number| format!("ftjob-n{number}")).collect();
    // The last one is asked for once.
    let configuration = jobs_module(&format!("fine_tuning_job_ids = concat({ids:?}, [\"ftjob-n100\"])"));
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        workspace.succeed(&["plan", "-input=false"]);
        let paths = workspace.api.paths();
        assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len(), "{paths:?}");
        assert!(workspace.api.connections() <= 32, "{}", workspace.api.connections());
        let outputs = workspace.apply();
        assert_eq!(outputs["ids"].as_array().unwrap()[..100], *json!(ids).as_array().unwrap());
        assert_numbered(&outputs["jobs"], &(1..=100).collect::<Vec<_>>());
    }
}

#[test]
fn jobs_can_be_chosen_by_what_they_have() {
    let configuration = jobs_module(
        r#"
        model    = "davinci-002"
        status   = "succeeded"
        suffix   = "support"
        metadata = { env = "prod" }
        limit    = 3
        "#,
    );
    for engine in engines() {
        let outputs = Workspace::new(engine, &configuration).apply();
        assert_eq!(outputs["ids"], json!(["ftjob-n18", "ftjob-n16", "ftjob-n14"]));
        assert_numbered(&outputs["jobs"], &[14, 16, 18]);
    }
}

#[test]
fn no_ids_take_no_request_no_key_and_no_program() {
    let configuration = jobs_module("fine_tuning_job_ids = []\nprogram = [\"no-such-program\"]");
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        let mut apply = workspace.command(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        let (code, said) = workspace.run(apply.env_remove("OPENAI_API_KEY"));
        assert_eq!(code, Some(0), "{said}");
        let outputs = workspace.apply();
        assert_eq!((&outputs["ids"], &outputs["jobs"]), (&json!([]), &json!({})));
        assert_eq!(workspace.api.connections(), 0);
    }
}
