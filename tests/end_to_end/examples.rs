//! The examples.

use crate::support::sample_api;
use crate::workspace::{PLAN, Workspace, assert_says, engines};

#[test]
fn every_example_applies_as_it_is() {
    for engine in engines() {
        for (example, output) in [
            ("basic", "fine_tuned_model"),
            ("existing-data-source", "job"),
            ("fallback", "model"),
            ("fleet", "models"),
            ("guard", "model"),
            ("latest-model", "fine_tuned_model"),
            ("wait-then-use", "model"),
        ] {
            let outputs = Workspace::of(engine, &format!("terraform/examples/{example}")).apply();
            assert!(outputs[output].to_string().contains("ft:"), "{example}");
        }
    }
}

#[test]
fn the_guard_stops_for_a_job_without_a_model_and_only_warns_about_the_rest() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/guard");
        let warned = workspace.succeed(PLAN);
        assert_says(&warned, "ftjob-abc123 was trained without a validation file");
        for (id, why) in [
            ("ftjob-failed", "ftjob-failed is failed, so there is no model to use: The job failed due to an unsafe"),
            ("ftjob-running", "ftjob-running is running, so there is no model to use: it has no error"),
        ] {
            let variable = format!("-var=fine_tuning_job_id={id}");
            for command in [&["plan"][..], &["apply", "-auto-approve"]] {
                let args = [command, &["-input=false", "-no-color", &variable]].concat();
                let said = workspace.fail(&args);
                assert_says(&said, why);
            }
        }
    }
}

#[test]
fn the_best_checkpoint_is_the_one_with_the_lowest_loss() {
    let best = sample_api::checkpoints::BEST;
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/best-checkpoint");
        let outputs = workspace.apply();
        let model = format!("ft:gpt-4.1-mini-2025-04-14:my-org:tone:BaBcDeFg:ckpt-step-{}", best * 10);
        assert_eq!(outputs["model"], model);
        assert_eq!(outputs["loss"], 0.2);
        let said = workspace.fail(&[PLAN, &["-var=fine_tuning_job_id=ftjob-abc123"]].concat());
        assert_says(&said, "ftjob-abc123 has no checkpoint with a loss");
    }
}
