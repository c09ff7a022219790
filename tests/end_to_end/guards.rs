//! What a guard means if it only is to warn, and once a plan is saved.

use serde_json::json;

use crate::support::markdown::code_blocks;
use crate::support::program::{failure, program_for};
use crate::workspace::{PLAN, Workspace, assert_says, engines};

#[test]
fn the_documented_checks_warn_where_a_guard_would_stop() {
    let blocks = ["terraform/README.md", "docs/guards.md"].iter().flat_map(|file| code_blocks(file, "hcl"));
    let checks: Vec<_> = blocks.filter(|block| block.starts_with("check ")).collect();
    assert_eq!(checks.len(), 2);
    for (engine, configuration) in engines().iter().flat_map(|engine| checks.iter().map(move |check| (engine, check))) {
        let workspace = Workspace::new(engine, configuration);
        let line = failure(1, program_for(&workspace.api).args(["ftjob-abc123", "require_available=30d"]));
        let warned = workspace.succeed(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        assert!(warned.contains("Warning:") && !warned.contains("Error:"), "{warned}");
        assert_says(&warned, &line);

        // What it costs: a plan is never empty, not even where the guard is met.
        let met = Workspace::new(engine, &configuration.replace("ftjob-abc123", "ftjob-dpo"));
        let said = met.succeed(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        assert!(!said.contains("Warning:"), "{said}");
        for workspace in [&workspace, &met] {
            let (code, said) = workspace.run(&mut workspace.command(&[PLAN, &["-detailed-exitcode"]].concat()));
            assert_eq!(code, Some(2), "{engine}: {said}");
        }
    }
}

#[test]
fn a_saved_plan_is_applied_without_reading_again() {
    let configuration = r#"
        module "example" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-dpo"
          require_available  = "30d"
        }
        resource "terraform_data" "use" {
          input = module.example.fine_tuned_model
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        workspace.succeed(&[PLAN, &["-out=saved"]].concat());
        let sent = workspace.api.requests().len();
        workspace.api.serves(json!([]));
        workspace.succeed(&["apply", "-input=false", "-no-color", "saved"]);
        assert_eq!(workspace.api.requests().len(), sent);
        workspace.fail(PLAN);
    }
}
