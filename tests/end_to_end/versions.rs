//! Modules and programs of different versions: each is upgraded when its user gets to it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::support::program::PROGRAM;
use crate::workspace::{PLAN, REPOSITORY, Workspace, assert_says, copy, engines};

/// All that version 0.2.0 can do, by the modules in this folder.
fn configuration(modules: &str, program: &str) -> String {
    r#"
    module "one" {
      source             = "MODULES"
      fine_tuning_job_id = "ftjob-abc123"
      program            = ["PROGRAM"]
    }
    module "guarded" {
      source             = "MODULES"
      fine_tuning_job_id = "ftjob-dpo"
      wait               = "1m"
      require_status     = "succeeded"
      require_available  = "1d"
      timeout            = "30s"
      program            = ["PROGRAM"]
    }
    module "checkpoints" {
      source             = "MODULES"
      fine_tuning_job_id = "ftjob-today"
      checkpoints        = true
      program            = ["PROGRAM"]
    }
    module "newest" {
      source       = "MODULES"
      most_recent  = true
      model        = "davinci-002"
      status       = "succeeded"
      suffix       = "support"
      metadata     = { env = "prod" }
      availability = true
      program      = ["PROGRAM"]
    }
    module "fleet" {
      source              = "MODULES/modules/jobs"
      fine_tuning_job_ids = ["ftjob-dpo", "ftjob-abc123"]
      wait                = "1m"
      require_status      = "succeeded, cancelled"
      availability        = true
      program             = ["PROGRAM"]
    }
    module "list" {
      source  = "MODULES/modules/jobs"
      suffix  = "support"
      limit   = 2
      program = ["PROGRAM"]
    }
    output "one" {
      value = module.one.job
    }
    output "guarded" {
      value = [module.guarded.job, module.guarded.fine_tuned_model]
    }
    output "checkpoints" {
      value = module.checkpoints.job
    }
    output "newest" {
      value = [module.newest.job, module.newest.id, module.newest.status]
    }
    output "fleet" {
      value = [module.fleet.jobs, module.fleet.ids]
    }
    output "list" {
      value = [module.list.jobs, module.list.ids]
    }
    "#
    .replace("MODULES", modules)
    .replace("PROGRAM", &program.replace('\\', "/"))
}

fn version_0_2_0(file: &str) -> String {
    format!("{REPOSITORY}/tests/support/version_0_2_0/{file}")
}

/// What the modules of version 0.2.0 return with the program of today.
fn outputs_of_the_old_modules(workspace: &Workspace) -> Map<String, Value> {
    copy(Path::new(&version_0_2_0("")), &workspace.folder.join("version_0_2_0"));
    workspace.configure(&configuration("./version_0_2_0", PROGRAM));
    workspace.apply()
}

#[test]
fn modules_of_version_0_2_0_work_with_this_program() {
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration("./terraform", PROGRAM));
        let outputs = workspace.apply();
        assert_eq!(outputs["newest"][1], "ftjob-n18");
        assert_eq!(outputs_of_the_old_modules(&workspace), outputs);
    }
}

#[test]
fn these_modules_work_with_version_0_2_0_of_the_program() {
    let program = version_0_2_0("program");
    for engine in engines() {
        let outputs = Workspace::new(engine, &configuration("./terraform", &program)).apply();
        assert_eq!(outputs["one"]["hyperparameters"]["n_epochs"], 4);
        assert_eq!(outputs["guarded"][0]["fine_tuned_model_available"], true);
        assert_eq!(outputs["checkpoints"]["checkpoints"], json!([]));
        assert_eq!(outputs["newest"][1], "ftjob-n18");
        assert_eq!(outputs["fleet"][0]["ftjob-abc123"]["fine_tuned_model_available"], false);
        assert_eq!(outputs["fleet"][1], json!(["ftjob-dpo", "ftjob-abc123"]));
        assert_eq!(outputs["list"][1], json!(["ftjob-n250", "ftjob-n248"]));
    }
}

#[test]
fn what_an_older_program_cannot_do_is_an_error_that_names_the_version() {
    let configuration = format!(
        r#"
        module "models" {{
          source    = "./terraform/modules/models"
          model_ids = ["gpt-4.1-2025-04-14"]
          program   = ["{}"]
        }}
        "#,
        version_0_2_0("program")
    );
    for engine in engines() {
        let said = Workspace::new(engine, &configuration).fail(PLAN);
        assert_says(&said, r#"invalid query: unknown key "model_ids"; the keys are allow_http, "#);
        assert_says(&said, "# needs version 0.3.0, installed separately: see the README of openai-fine-tuning-job");
    }
}

#[test]
fn the_query_has_only_what_is_used() {
    let modules = [
        ("", r#"fine_tuning_job_id = "ftjob-abc123""#, json!({ "fine_tuning_job_id": "ftjob-abc123" })),
        (
            "",
            "most_recent = true\nsuffix = \"false\"\nmodel = \"\"\nmetadata = { env = null }\ncheckpoints = true",
            json!({ "most_recent": "true", "suffix": "false", "checkpoints": "true" }),
        ),
        (
            "/modules/jobs",
            "fine_tuning_job_ids = [\"ftjob-abc123\"]\nmetadata = { env = null }\nallow_http = false\ntimeout = \"\"",
            json!({ "fine_tuning_job_ids": "[\"ftjob-abc123\"]" }),
        ),
        (
            "/modules/jobs",
            "limit = 3\navailability = true\nmetadata = { env = \"prod\", team = null }",
            json!({ "list": "true", "limit": "3", "availability": "true", "metadata": "{\"env\":\"prod\"}" }),
        ),
        ("/modules/models", "model_ids = [\"a\"]\nallow_http = false", json!({ "model_ids": "[\"a\"]" })),
    ];
    for engine in engines() {
        let workspace = Workspace::new(engine, "");
        for (folder, arguments, query) in &modules {
            // It fails, as the query was all that was wanted.
            workspace.configure(&format!(
                "module \"sent\" {{\n  source = \"./terraform{folder}\"\n{arguments}\n  \
                 program = [\"sh\", \"-c\", \"cat > query.json; exit 1\"]\n}}\n"
            ));
            workspace.fail(PLAN);
            let sent = fs::read(workspace.folder.join("query.json")).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&sent).unwrap(), *query, "{engine}");
        }
    }
}
