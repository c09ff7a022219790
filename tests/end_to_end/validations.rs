//! What the modules refuse at the caller's line, before anything is read.

use serde_json::Value;

use crate::support::engines::Engine;
use crate::support::program::{failure, program};
use crate::workspace::{Workspace, engines};

/// A module's folder, what it must be given, and its durations. What is to be read is known at apply, so that a plan which
/// refuses nothing runs no program.
const MODULES: [(&str, &str, &[&str]); 3] = [
    ("terraform", "fine_tuning_job_id = terraform_data.later.id", &["wait", "require_available", "timeout"]),
    (
        "terraform/modules/jobs",
        "fine_tuning_job_ids = [terraform_data.later.id]",
        &["wait", "require_available", "timeout"],
    ),
    ("terraform/modules/models", "model_ids = [terraform_data.later.id]", &["require_available", "timeout"]),
];

/// Each module once for each of these values of its argument.
fn configuration(argument: &str, values: &[&str]) -> String {
    let mut text = "resource \"terraform_data\" \"later\" {}\n".to_owned();
    for (number, (folder, required, durations)) in MODULES.iter().enumerate() {
        if argument != "program" && !durations.contains(&argument) {
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            let name = format!("{argument}_{number}_{index}");
            text +=
                &format!("module \"{name}\" {{\n  source = \"./{folder}\"\n  {required}\n  {argument} = {value}\n}}\n");
        }
    }
    text
}

/// What a plan is refused with: the caller's line, and why.
fn refusals(engine: &'static Engine, configuration: &str) -> Vec<(String, String)> {
    let workspace = Workspace::new(engine, configuration);
    let (_, said) = workspace.run(&mut workspace.command(&["plan", "-input=false", "-json"]));
    assert_eq!(workspace.api.connections(), 0);
    let events = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_owned();
    let refusals = events.filter(|event| event["type"] == "diagnostic").map(|event| {
        let diagnostic = &event["diagnostic"];
        assert_eq!(diagnostic["range"]["filename"], "main.tf", "{event}");
        (text(&diagnostic["snippet"]["code"]), text(&diagnostic["detail"]))
    });
    refusals.collect()
}

/// Checks that each of these values is refused in every module that takes it, with this reason, and none of the others.
fn assert_refused(argument: &str, good: &[&str], bad: &[&str], reason: &str) {
    for engine in engines() {
        assert_eq!(refusals(engine, &configuration(argument, good)), [], "{engine}");
        let configuration = configuration(argument, bad);
        let refusals = refusals(engine, &configuration);
        assert_eq!(refusals.len(), configuration.matches("\nmodule ").count(), "{engine}: {refusals:?}");
        for (line, why) in refusals {
            assert!(line.starts_with(&format!("{argument} = ")), "{line}");
            assert!(why.starts_with(reason), "{why}");
        }
    }
}

#[test]
fn durations_are_those_of_the_program() {
    let malformed = ["90", "0s", "0h0ms", "1.5s", "-1s", "1 h", " 1s", "1y", "10us", "s", "1H", "1min", "m5", "1d0"];
    for (argument, most, good, too_long) in [
        ("timeout", "1h", ["1ms", "59m60s", "3600000ms", "1h"], ["3600001ms", "1h1ms", "61m"]),
        ("wait", "7d", ["1s", "6d24h", "168h", "7d"], ["7d1ms", "169h", "99999999999999999999s"]),
        ("require_available", "3650d", ["1d", "30d12h", "87600h", "3650d"], ["3650d1ms", "3651d", "87601h"]),
    ] {
        let bad = [&malformed[..], &too_long].concat();
        for (values, is_good) in [(&good[..], true), (&bad, false)] {
            for value in values {
                let line = failure(2, program().args(["ftjob-x", &format!("{argument}={value}")]));
                assert_eq!(line.starts_with("no API key"), is_good, "{line}");
            }
        }
        let good: Vec<_> = good.iter().map(|value| format!("{value:?}")).collect();
        let good: Vec<_> = good.iter().map(String::as_str).chain(["\"\"", "null", "terraform_data.later.id"]).collect();
        let bad: Vec<_> = bad.iter().map(|value| format!("{value:?}")).collect();
        let bad: Vec<_> = bad.iter().map(String::as_str).collect();
        let reason = format!(
            "{argument} is not a duration such as 90s or 1h30m, in whole d, h, m, s or ms, of more than zero and at \
             most {most}."
        );
        assert_refused(argument, &good, &bad, &reason);
    }
}

#[test]
fn program_may_be_a_wrapper_but_has_no_arguments_for_the_program_itself() {
    let good = [
        r#"["openai-fine-tuning-job"]"#,
        r#"["ftjob-reader"]"#,
        r#"["/opt/ftjob/bin/openai-fine-tuning-job"]"#,
        r#"["sh", "-c", "OPENAI_API_KEY=$(cat key) exec openai-fine-tuning-job"]"#,
        r#"["sh", "-c", "key=$(cat key) openai-fine-tuning-job"]"#,
        r#"["uvx", "openai-fine-tuning-job@0.3.0"]"#,
        r#"["env", "OPENAI_API_KEY=x", "openai-fine-tuning-job"]"#,
        r#"["timeout", "5s", "openai-fine-tuning-job"]"#,
        r#"["sudo", "-u", "ci", "/opt/ftjob-reader"]"#,
    ];
    let bad = [
        r#"["openai-fine-tuning-job", "ftjob-abc123"]"#,
        r#"["openai-fine-tuning-job", "timeout=5s"]"#,
        r#"["openai-fine-tuning-job", "ftjob-abc123", "require_status=succeeded"]"#,
        r#"["uvx", "openai-fine-tuning-job@0.3.0", "ftjob_abc"]"#,
        r#"["openai-fine-tuning-job", "metadata={\"env\":\"prod\"}"]"#,
        r#"["openai-fine-tuning-job", "wait="]"#,
    ];
    let reason = "program ends in an argument for the program itself, such as a job ID or timeout=5s: it would replace \
                  the query, and every guard with it.";
    assert_refused("program", &good, &bad, reason);
}

#[test]
fn a_null_does_not_empty_a_guard() {
    for engine in engines() {
        for (folder, argument) in [("jobs", "fine_tuning_job_ids"), ("models", "model_ids")] {
            for (list, is_good) in
                [("[var.id]", false), ("[\"a\", null]", false), ("[\"\"]", false), ("compact([var.id])", true)]
            {
                let refusals = refusals(
                    engine,
                    &format!(
                        "variable \"id\" {{\n  type = string\n  default = null\n}}\n\
                         module \"guard\" {{\n  source = \"./terraform/modules/{folder}\"\n  {argument} = {list}\n}}\n"
                    ),
                );
                if is_good {
                    assert_eq!(refusals, [], "{engine}");
                    continue;
                }
                let [(line, why)] = &refusals[..] else { panic!("{engine}: {refusals:?}") };
                assert_eq!(*line, format!("{argument} = {list}"));
                assert!(why.starts_with(&format!("{argument} has ")) && why.contains("compact()"), "{why}");
            }
        }
    }
}
