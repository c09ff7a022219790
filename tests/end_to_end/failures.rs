//! What a user reads when a plan fails, and what does not show.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::program::{KEY, failure, program, program_for};
use crate::support::sample_api::{Fault, SampleApi, answering, response};
use crate::workspace::{PLAN, Workspace, assert_says, data_source, engines};

#[test]
fn failures_are_whole_and_readable() {
    // The README's data source without its program, then the failures that the program itself tells.
    let bare = data_source().replace("\"openai-fine-tuning-job\"", "\"no-such-program\"");
    let configuration = bare
        + r#"
        module "no_program" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
          program            = ["no-such-program"]
        }
        module "not_found" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-none"
          api_key_env        = "OTHER_KEY"
        }
        module "no_key" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
        }
        module "no_id" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-abc123", "a/b"]
          api_key_env         = "OTHER_KEY"
        }
        data "external" "misspelt" {
          program = ["openai-fine-tuning-job"]
          query   = { fine_tuning_jobid = "ftjob-abc123" }
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        let plan = |arg| {
            let mut command = workspace.command(&["plan", "-input=false", arg]);
            let (code, text) = workspace.run(command.env_remove("OPENAI_API_KEY").env("OTHER_KEY", KEY));
            assert_eq!(code, Some(1), "{engine}: {text}");
            text
        };
        // This request is the first, the next command's the second, and so on.
        let other_key = ["ftjob-none", "api_key_env=OTHER_KEY"];
        let not_found = failure(1, program_for(&workspace.api).args(other_key).env("OTHER_KEY", KEY));
        let whole = [
            not_found.replace("req_sample1", "req_sample2"),
            failure(2, program().arg("ftjob-abc123")),
            failure(2, program_for(&workspace.api).arg(r#"fine_tuning_job_ids=["ftjob-abc123","a/b"]"#)),
            failure(2, program().write_stdin(r#"{"fine_tuning_jobid":"ftjob-abc123"}"#)),
        ];
        let events = plan("-json");
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let diagnostics: Vec<_> = events.filter(|event| event["type"] == "diagnostic").collect();
        for line in &whole {
            let is_whole = |event: &Value| {
                let diagnostic = &event["diagnostic"];
                [&diagnostic["summary"], &diagnostic["detail"]].iter().any(|t| t.as_str().unwrap_or("").contains(line))
            };
            assert!(diagnostics.iter().any(is_whole), "{engine}: not {line:?} in {diagnostics:#?}");
        }
        let said = plan("-no-color");
        for line in whole {
            let line = line.replace("req_sample2", "req_sample3");
            assert_says(&said, &line);
        }
        let hint = "installed separately: see the README of openai-fine-tuning-job (\"no such file or directory\" in Alpine: take the musl build)";
        assert!(said.contains(hint), "{engine}: {said}");
    }
}

#[test]
fn an_invalid_id_is_refused_at_the_callers_line() {
    let rule = "not a job ID: 1 to 512 letters, digits, hyphens or underscores";
    assert!(failure(2, program_for(&SampleApi::start()).arg("a/b")).contains(rule));
    let configuration = "module \"example\" {\n  source = \"./terraform\"\n  fine_tuning_job_id = \"a/b\"\n}\n";
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        let said = workspace.fail(PLAN);
        assert_says(&said, &format!("fine_tuning_job_id is {rule}."));
        assert!(said.contains("on main.tf line 3"), "{said}");
        assert_eq!(workspace.api.connections(), 0);
    }
}

#[test]
fn arguments_in_program_do_not_replace_what_was_to_be_read() {
    let configuration = r#"
        module "job" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
          program            = ["sh", "-c", "exec openai-fine-tuning-job ftjob-dpo"]
        }
        module "jobs" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-abc123"]
          program             = ["sh", "-c", "exec openai-fine-tuning-job ftjob-dpo"]
        }
        module "guard" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
          require_available  = "1d"
          program            = ["sh", "-c", "exec openai-fine-tuning-job ftjob-abc123"]
        }
        module "guards" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-abc123"]
          require_available   = "1d"
          program             = ["sh", "-c", "exec openai-fine-tuning-job 'fine_tuning_job_ids=[\"ftjob-abc123\"]'"]
        }
        "#;
    for engine in engines() {
        let said = Workspace::new(engine, configuration).fail(PLAN);
        for what in ["the job fine_tuning_job_id", "these jobs"] {
            let message =
                format!("The program did not read {what}: program must not have arguments for the program itself.");
            assert_says(&said, &message);
        }
        for what in ["the model is", "the models are"] {
            let message = format!(
                "The program did not look up whether {what} available: that takes openai-fine-tuning-job 0.2.0 or later, without arguments for the program itself in program."
            );
            assert_says(&said, &message);
        }
        // The engine shows what a condition is about, but not all of a job.
        assert!(!said.contains("raw_json") && !said.contains("trained_tokens"), "{said}");
    }
}

#[test]
fn transient_errors_do_not_show() {
    // What Terraform says, without how long it took.
    let plan = |workspace: &Workspace| {
        let said = workspace.succeed(PLAN);
        said.lines()
            .filter(|line| !line.contains("Read complete after"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/basic");
        let undisturbed = plan(&workspace);
        let error = |status, headers: &'static [(&str, &str)]| -> Fault { answering(response(status, headers, "{}")) };
        workspace.api.play([error("429 Too Many Requests", &[("retry-after", "1")]), error("502 Bad Gateway", &[])]);
        assert_eq!(plan(&workspace), undisturbed);
        assert_eq!(workspace.api.connections(), 4);
    }
}

#[test]
fn an_api_that_never_answers_ends_a_plan_in_time() {
    let configuration = r#"
        module "example" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
          timeout            = "3s"
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        // The program's own time as the API sees it, without the engine's: from its first request to its last hang-up.
        let (clock, times) = mpsc::channel();
        workspace.api.play((0..2).map(|_| -> Fault {
            let clock = clock.clone();
            Box::new(move |c| {
                c.read_request()?;
                let _ = clock.send(Instant::now());
                let hung_up = c.read_request();
                let _ = clock.send(Instant::now());
                hung_up.map(drop)
            })
        }));
        let said = workspace.fail(PLAN);
        assert_says(&said, "no response from 127.0.0.1:");
        assert_says(&said, "(after 2 attempts)");
        let times: Vec<_> = (0..4).map(|_| times.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        let taken = times[3] - times[0];
        assert!((2000..4000).contains(&taken.as_millis()), "{taken:?}");
    }
}
