//! The module for models.

use serde_json::json;

use crate::availability::{MODEL, shut_down_in};
use crate::support::program::{failure, program_for};
use crate::workspace::{PLAN, Workspace, assert_says, engines};

const BASE: &str = "gpt-4.1-mini-2025-04-14";

#[test]
fn models_are_looked_up_by_their_names() {
    let configuration = r#"
        module "models" {
          source    = "./terraform/modules/models"
          model_ids = ["gpt-4.1-2025-04-14", "MODEL", "MODEL:ckpt-step-90", "gpt-4.1-2025-04-14"]
        }
        output "models" {
          value = module.models.models
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration.replace("MODEL", MODEL));
        workspace.succeed(PLAN);
        assert_eq!(workspace.api.paths(), ["/v1/models"]);
        let checkpoint = format!("{MODEL}:ckpt-step-90");
        assert_eq!(
            workspace.apply()["models"],
            json!({
                "gpt-4.1-2025-04-14": { "id": "gpt-4.1-2025-04-14", "available": true, "shutdown_date": "2099-10-23" },
                MODEL: { "id": MODEL, "available": true, "shutdown_date": null },
                &checkpoint: { "id": checkpoint, "available": false, "shutdown_date": null },
            })
        );
    }
}

#[test]
fn the_names_are_known_while_the_models_are_not() {
    let configuration = r#"
        resource "terraform_data" "first" {}
        module "models" {
          source            = "./terraform/modules/models"
          model_ids         = ["gpt-4.1-2025-04-14", "gpt-4.1-2025-04-14"]
          require_available = "1d"
          depends_on        = [terraform_data.first]
        }
        resource "terraform_data" "use" {
          for_each = module.models.models
          input    = each.value.shutdown_date
        }
        output "dates" {
          value = { for name, use in terraform_data.use : name => use.output }
        }
        "#;
    for engine in engines() {
        let outputs = Workspace::new(engine, configuration).apply();
        assert_eq!(outputs["dates"], json!({ "gpt-4.1-2025-04-14": "2099-10-23" }));
    }
}

#[test]
fn the_fallback_takes_the_place_of_a_model_that_is_gone() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/fallback");
        assert_eq!(workspace.apply()["model"], "ft:gpt-4.1-2025-04-14:my-org:support:DeFgHiJk");

        // The list has neither that model any more, nor its base.
        let date = shut_down_in(&workspace.api, 60);
        let outputs = workspace.apply();
        assert_eq!((&outputs["model"], &outputs["served_until"]), (&json!(BASE), &json!(date)));

        let date = shut_down_in(&workspace.api, 11);
        let query = [format!("model_ids=[{BASE:?}]"), "require_available=30d".into()];
        let line = failure(1, program_for(&workspace.api).args(query));
        assert!(line.contains(BASE) && line.contains(&date), "{line}");
        assert_says(&workspace.fail(PLAN), &line);
    }
}
