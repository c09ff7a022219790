//! What comes in and what goes out: stdin, arguments, environment, exit codes, stdout and stderr.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::program::{KEY, failure, program, program_for, result, run};
use crate::support::sample_api::{self, SampleApi};

/// The flat keys that users may count on, for every job. Spelt out here, so that no change of them goes unseen.
pub const DOCUMENTED_KEYS: &str = "
    id object model created_at finished_at estimated_finish fine_tuned_model organization_id status
    training_file validation_file trained_tokens seed user_provided_suffix result_files integrations metadata
    hyperparameters_n_epochs hyperparameters_batch_size hyperparameters_learning_rate_multiplier method_type
    method_supervised_hyperparameters_n_epochs method_supervised_hyperparameters_batch_size
    method_supervised_hyperparameters_learning_rate_multiplier
    method_dpo_hyperparameters_n_epochs method_dpo_hyperparameters_batch_size
    method_dpo_hyperparameters_learning_rate_multiplier method_dpo_hyperparameters_beta
    method_reinforcement_hyperparameters_n_epochs method_reinforcement_hyperparameters_batch_size
    method_reinforcement_hyperparameters_learning_rate_multiplier
    method_reinforcement_hyperparameters_compute_multiplier method_reinforcement_hyperparameters_eval_interval
    method_reinforcement_hyperparameters_eval_samples method_reinforcement_hyperparameters_reasoning_effort
    method_reinforcement_grader error error_code error_param
    fine_tuned_model_available fine_tuned_model_shutdown_date checkpoints job raw_json";

#[test]
fn the_query_comes_from_stdin_or_from_the_command_line() {
    let api = SampleApi::start();
    let from_stdin = result(program_for(&api).write_stdin(r#"{"fine_tuning_job_id":"ftjob-abc123","project":null}"#));
    let from_line = result(program_for(&api).args(["ftjob-abc123", "timeout=1m"]).write_stdin("is not read"));
    let from_pairs = result(program_for(&api).args(["timeout=", "fine_tuning_job_id=ftjob-abc123"]));
    let with_id_last = result(program_for(&api).args(["timeout=10s", "project=", "ftjob-abc123"]));
    assert_eq!(from_stdin, from_line);
    assert_eq!(from_stdin, from_pairs);
    assert_eq!(from_stdin, with_id_last);
    assert_eq!(from_stdin["status"], "succeeded");
    assert_eq!(from_stdin["hyperparameters_n_epochs"], "4");
    assert_eq!(from_stdin["trained_tokens"], "5768");
    assert_eq!((api.requests().len(), api.connections()), (4, 4));
}

#[test]
fn every_job_has_the_documented_keys_and_loses_nothing() {
    let api = SampleApi::start();
    for job in sample_api::jobs() {
        let id = job["id"].as_str().unwrap();
        let result = result(program_for(&api).arg(id));
        let keys: BTreeSet<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected: BTreeSet<&str> = DOCUMENTED_KEYS.split_whitespace().collect();
        if id == "ftjob-today" {
            expected.extend(["usage_metrics", "shared_with_openai", "eval_id"]);
        }
        assert_eq!(keys, expected, "{id}");
        assert!(result.as_object().unwrap().values().all(Value::is_string), "{id}");
        assert_eq!(serde_json::from_str::<Value>(result["raw_json"].as_str().unwrap()).unwrap(), job, "{id}");
    }
}

#[test]
fn values_are_those_that_the_api_sent() {
    let api = SampleApi::start();
    for (id, key, value) in [
        ("abc123", "hyperparameters_learning_rate_multiplier", "1.0"),
        ("abc123", "method_supervised_hyperparameters_learning_rate_multiplier", "1"),
        ("abc123", "result_files", r#"["file-abc123"]"#),
        ("running", "fine_tuned_model", ""),
        ("running", "finished_at", ""),
        ("running", "hyperparameters_n_epochs", "3"),
        ("running", "hyperparameters_batch_size", "auto"),
        ("running", "error", ""),
        ("failed", "error_code", "invalid_training_file"),
        ("failed", "error_param", "training_file"),
        ("failed", "integrations", "[]"),
        ("dpo", "hyperparameters_learning_rate_multiplier", "1e-7"),
        ("dpo", "method_dpo_hyperparameters_beta", "0.1"),
        ("dpo", "metadata", "{}"),
        ("reinforcement", "hyperparameters_n_epochs", "1"),
        ("reinforcement", "hyperparameters_learning_rate_multiplier", "2.5"),
        ("reinforcement", "method_reinforcement_hyperparameters_reasoning_effort", "medium"),
        ("2023", "seed", ""),
        ("2023", "method_type", ""),
        ("today", "trained_tokens", "9007199254740993"),
        ("today", "metadata", r#"{"env":"prod","ticket.id":"SUP-1"}"#),
        ("today", "usage_metrics", r#"{"cached_tokens":12}"#),
        ("today", "shared_with_openai", "false"),
        ("today", "eval_id", ""),
    ] {
        assert_eq!(result(program_for(&api).arg(format!("ftjob-{id}")))[key], value, "{id} {key}");
    }

    let job = |id: &str| -> Value {
        serde_json::from_str(result(program_for(&api).arg(id))["job"].as_str().unwrap()).unwrap()
    };
    let failed = job("ftjob-failed");
    assert_eq!(failed["error"], sample_api::job("ftjob-failed")["error"]["message"]);
    assert_eq!(failed["error_code"], "invalid_training_file");
    let running = job("ftjob-running");
    assert_eq!(
        running["hyperparameters"],
        json!({ "n_epochs": 3, "batch_size": null, "learning_rate_multiplier": null })
    );
    assert_eq!((&running["finished_at"], &running["fine_tuned_model"]), (&Value::Null, &Value::Null));
    let graded = &job("ftjob-reinforcement")["method"]["reinforcement"]["grader"];
    assert_eq!(serde_json::from_str::<Value>(graded.as_str().unwrap()).unwrap()["type"], "string_check");
    assert_eq!(job("ftjob-today")["usage_metrics"]["cached_tokens"], 12);
}

#[test]
fn requests_carry_the_key_the_organization_and_the_project() {
    let api = SampleApi::start();
    result(program_for(&api).env("OPENAI_ORG_ID", " org-environment ").args(["ftjob-abc123", "project=proj-query"]));
    let request = &api.requests()[0];
    assert_eq!(request.path, "/v1/fine_tuning/jobs/ftjob-abc123");
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    assert_eq!(header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(header("openai-organization"), Some("org-environment"));
    assert_eq!(header("openai-project"), Some("proj-query"));
    assert_eq!(header("accept"), Some("application/json"));
    assert_eq!(header("user-agent"), Some(concat!("openai-fine-tuning-job/", env!("CARGO_PKG_VERSION"))));

    result(
        program_for(&api).env("OPENAI_PROJECT_ID", "proj-environment").args(["ftjob-abc123", "organization=org-query"]),
    );
    let sent = &api.requests()[1].headers;
    assert_eq!((&*sent["openai-project"], &*sent["openai-organization"]), ("proj-environment", "org-query"));
}

#[test]
fn mistakes_on_stdin_are_explained_before_any_request() {
    let api = SampleApi::start();
    let long = format!(r#"{{"fine_tuning_job_id":"{}"}}"#, "x".repeat(2_000_000));
    let id = |id: &str| json!({ "fine_tuning_job_id": id }).to_string();
    let not_an_id = "is not a job ID: 1 to 512 letters, digits, hyphens or underscores";
    for (stdin, expected) in [
        ("", "the query on stdin is empty"),
        (" \n", "the query on stdin is empty"),
        ("ftjob-abc123", "not a JSON object"),
        (r#"["ftjob-abc123"]"#, "not a JSON object"),
        ("null", "not a JSON object"),
        ("{", "invalid query on stdin: "),
        (r#"{"fine_tuning_job_id":"ftjob-abc123"} x"#, "invalid query on stdin: "),
        (r#"{"fine_tuning_job_id":{"id":"ftjob-abc123"}}"#, "; it should be a JSON object of strings, such as {"),
        (r#"{"fine_tuning_job_id":12}"#, "; it should be a JSON object of strings, such as {"),
        (r#"{"fine_tuning_job_id":null}"#, "no fine_tuning_job_id"),
        (r#"{"fine_tuning_job_id":""}"#, "no fine_tuning_job_id"),
        (r#"{}"#, "no fine_tuning_job_id"),
        (r#"{"fine_tuning_job":"ftjob-abc123"}"#, r#"unknown key "fine_tuning_job"; the keys are allow_http, "#),
        (r#"{"fine_tuning_job_id":"a","fine_tuning_job_id":"b"}"#, "fine_tuning_job_id"),
        (&id("../files"), not_an_id),
        (&id("a/b"), not_an_id),
        (&id("a%2fb"), not_an_id),
        (&id("a?x"), not_an_id),
        (&id("a#x"), not_an_id),
        (&id("a\nb"), not_an_id),
        (&id("ä"), not_an_id),
        (&id(&"x".repeat(513)), "fine_tuning_job_id is a value of 513 characters, which is not a job ID"),
        (&long, "over 1 MiB"),
    ] {
        let line = failure(2, program_for(&api).write_stdin(stdin));
        assert!(line.contains(expected), "{expected:?} is not in {line:?}");
    }
    let line = failure(2, program_for(&api).write_stdin(*b"{\"fine_tuning_job_id\":\"\xff\"}"));
    assert!(line.contains("not UTF-8"), "{line}");
    assert_eq!(api.connections(), 0);
}

#[test]
fn mistakes_in_arguments_are_explained_before_any_request() {
    let api = SampleApi::start();
    let one_form = "it should be https://HOST";
    for (argument, expected) in [
        ("another", "argument 2 is not KEY=VALUE"),
        ("--verbose", r#"unknown option "verbose"; --help lists the options"#),
        ("-x", r#"unknown option "x"; --help"#),
        ("--wait=2h", r#"unknown option "wait"; write it without dashes: wait=2h"#),
        ("-wait=2h", "write it without dashes: wait=2h"),
        ("--require-available=30d", "write it without dashes: require_available=30d"),
        ("--list", "write it without dashes: list=true"),
        ("--timeout", "write it without dashes: timeout=VALUE"),
        ("--api-key-env=secret", "write it without dashes: api_key_env=VALUE"),
        ("--base-url=https://127.0.0.1?apiKey=secret", "write it without dashes: base_url=VALUE"),
        ("fine_tuning_job_id=twice", r#"the key "fine_tuning_job_id" is given twice"#),
        ("timeot=60s", r#"unknown key "timeot"; the keys are "#),
        ("timeot=60s", concat!("version ", env!("CARGO_PKG_VERSION"), " ")),
        ("timeout=60", r#"timeout is "60"; it should be a duration such as 90s or 1m30s, in whole d, h, m, s or ms"#),
        ("timeout=0s", "more than zero and at most 1h"),
        ("timeout=2h", "more than zero and at most 1h"),
        ("allow_http=yes", r#"it can be "true" or "false""#),
        ("api_key_env=sk-secret", "the NAME of the environment variable"),
        ("api_key_env=NO_SUCH_KEY", "set the environment variable NO_SUCH_KEY"),
        ("organization=my org", "organization contains a blank"),
        ("base_url=https://user:secret@127.0.0.1", one_form),
        ("base_url=https://127.0.0.1?x#y", one_form),
        ("base_url=http://127.0.0.1?apiKey=secret", "set OPENAI_BASE_URL instead"),
        ("base_url=https://127.0.0.1#x", one_form),
        ("base_url=https://127.0.0.1:99999", "a port that is not between 1 and 65535"),
        ("base_url=ftp://127.0.0.1", one_form),
        ("base_url=http://example.test", "plain http"),
        ("base_url=http://localhost.evil.test", "plain http"),
    ] {
        let line = failure(2, program_for(&api).args(["ftjob-abc123", argument]));
        assert!(line.contains(expected) && !line.contains("secret"), "{expected:?} is not in {line:?}");
    }
    assert_eq!(api.connections(), 0);
}

#[test]
fn blanks_around_the_key_are_trimmed_and_others_are_errors() {
    let api = SampleApi::start();
    result(program_for(&api).env("OPENAI_API_KEY", format!(" {KEY}\n")).arg("ftjob-abc123"));
    result(
        program_for(&api).env_remove("OPENAI_API_KEY").env("OTHER", KEY).args(["ftjob-abc123", "api_key_env=OTHER"]),
    );
    let sent = api.requests().len();
    for (key, expected) in [
        ("", "set the environment variable OPENAI_API_KEY"),
        (" \n", "set the environment variable OPENAI_API_KEY"),
        ("secret\u{7}bell", "OPENAI_API_KEY contains a blank, a control character"),
        ("secret with blanks", "OPENAI_API_KEY contains a blank, a control character"),
        ("sécret", "OPENAI_API_KEY contains a blank, a control character"),
    ] {
        let line = failure(2, program_for(&api).env("OPENAI_API_KEY", key).arg("ftjob-abc123"));
        assert!(line.contains(expected) && !line.contains("cret"), "{line}");
    }
    let line = failure(2, program().arg("ftjob-abc123"));
    assert!(line.contains("set the environment variable OPENAI_API_KEY"), "{line}");
    assert_eq!(api.requests().len(), sent);
}

#[test]
fn help_and_version_go_to_stdout() {
    for (option, expected) in [("--help", "Usage:"), ("-h", "Usage:"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = run(program().arg(option));
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
}

#[test]
#[cfg(unix)]
fn a_result_that_cannot_be_written_is_an_error() {
    use std::fs::File;
    use std::io::{self, Read};
    use std::process::{Command, Stdio};

    use crate::support::program::PROGRAM;

    let api = SampleApi::start();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    // Only Linux has a file that is always full.
    let full = cfg!(target_os = "linux").then(|| File::options().write(true).open("/dev/full").unwrap().into());
    for stdout in [Stdio::from(writer)].into_iter().chain(full) {
        let mut child = Command::new(PROGRAM)
            .args(["ftjob-abc123", &format!("base_url={}", api.url())])
            .env_clear()
            .env("OPENAI_API_KEY", KEY)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("could not write the result to stdout: "), "{stderr}");
    }
}

#[test]
#[cfg(unix)]
fn a_terminal_gets_usage_and_an_indented_result() {
    use crate::support::terminal::in_terminal;

    let api = SampleApi::start();
    let (code, usage) = in_terminal(&api, &[]);
    assert!(code == Some(2) && usage.contains("Usage:"), "{usage}");
    let (code, indented) = in_terminal(&api, &["ftjob-abc123"]);
    assert!(code == Some(0) && indented.contains("\n  \"created_at\": \"1692661014\""), "{indented}");
}
