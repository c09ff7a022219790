//! The module for many jobs.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::program::text;
use crate::support::sample_api;
use crate::workspace::{PLAN, Workspace, assert_as_served, assert_says, engines};

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
        metadata = { env = "prod", team = null }
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

#[test]
fn the_ids_are_known_while_the_jobs_are_not() {
    let configuration = r#"
        resource "terraform_data" "first" {
          input = "50s"
        }
        module "dependent" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-dpo", "ftjob-abc123", "ftjob-dpo"]
          depends_on          = [terraform_data.first]
        }
        module "fleet" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-dpo", "ftjob-abc123"]
          timeout             = terraform_data.first.output
        }
        resource "terraform_data" "dependent" {
          for_each = module.dependent.jobs
          input    = each.value.fine_tuned_model
        }
        resource "terraform_data" "use" {
          for_each = module.fleet.jobs
          input    = each.value.fine_tuned_model
        }
        output "models" {
          value = [for uses in [terraform_data.dependent, terraform_data.use] : { for id, use in uses : id => use.output }]
        }
        "#;
    let models = json!({
        "ftjob-dpo": sample_api::job("ftjob-dpo")["fine_tuned_model"],
        "ftjob-abc123": sample_api::job("ftjob-abc123")["fine_tuned_model"],
    });
    for engine in engines() {
        assert_eq!(Workspace::new(engine, configuration).apply()["models"], json!([models, models]));
    }
}

#[test]
fn a_sensitive_id_leaves_the_other_ids_readable() {
    let configuration = r#"
        module "fleet" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-abc123", sensitive("ftjob-dpo")]
        }
        module "secret" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = sensitive(["ftjob-abc123"])
        }
        resource "terraform_data" "use" {
          for_each = nonsensitive(module.fleet.jobs)
          input    = each.value.status
        }
        output "uses" {
          value = keys(terraform_data.use)
        }
        output "ids" {
          value = [module.fleet.ids[0], length(module.fleet.ids)]
        }
        output "secret" {
          value = length(nonsensitive(module.secret.jobs))
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        let outputs = workspace.apply();
        assert_eq!(outputs["uses"], json!(["ftjob-abc123", "ftjob-dpo"]));
        assert_eq!(outputs["ids"], json!(["ftjob-abc123", 2]));
        assert_eq!(outputs["secret"], 1);

        workspace.configure(&configuration.replace("nonsensitive(module.fleet.jobs)", "module.fleet.jobs"));
        assert_says(
            &workspace.fail(PLAN),
            "Sensitive values, or values derived from sensitive values, cannot be used as",
        );
    }
}

#[test]
fn the_state_of_a_hundred_jobs_has_the_size_that_the_readme_says() {
    let ids: Vec<_> = (1..=100).map(|number| format!("ftjob-n{number}")).collect();
    let readme = text("terraform/modules/jobs/README.md");
    for (how, configuration) in [
        ("this module", jobs_module(&format!("fine_tuning_job_ids = {ids:?}"))),
        (
            "a `data \"external\"` for each",
            format!(
                "data \"external\" \"jobs\" {{\n  for_each = toset({ids:?})\n  program = [\"openai-fine-tuning-job\"]\n  \
                 query = {{ fine_tuning_job_id = each.key }}\n}}\n"
            ),
        ),
        (
            "the root module for each",
            format!(
                "module \"jobs\" {{\n  source = \"./terraform\"\n  for_each = toset({ids:?})\n  \
                 fine_tuning_job_id = each.key\n}}\n"
            ),
        ),
    ] {
        // An output is one more copy.
        let configuration = configuration.split("output ").next().unwrap();
        let row = readme.lines().find_map(|line| line.strip_prefix(&format!("| {how} | "))).expect("a row");
        let said: usize = row.trim_end_matches(" kB |").parse().unwrap();
        for engine in engines() {
            let workspace = Workspace::new(engine, configuration);
            workspace.succeed(&["apply", "-auto-approve", "-input=false", "-no-color"]);
            let state = fs::read_to_string(workspace.folder.join("terraform.tfstate")).unwrap();
            println!("{engine}: {how}: {} kB", state.len() / 1000);
            assert!((state.len() / 1000).abs_diff(said) * 10 <= said, "{how}: {} bytes", state.len());
            assert_eq!(state.contains("raw_json"), how != "this module");
        }
    }
}
