//! What comes in and what goes out: stdin, arguments, environment, exit codes, stdout and stderr.

use crate::helper::{failure, helper, helper_for, result};
use crate::sample_api::SampleApi;

#[test]
fn the_documented_job_is_read_from_stdin_and_from_the_command_line() {
    let api = SampleApi::start();
    let from_stdin = result(helper_for(&api).write_stdin(r#"{"fine_tuning_job_id":"ftjob-abc123"}"#));
    let from_line = result(helper_for(&api).arg("ftjob-abc123").write_stdin("not read"));
    assert_eq!(from_stdin, from_line);
    assert_eq!(from_stdin["hyperparameters_n_epochs"], "4");
    assert_eq!(api.requests().len(), 2);
}

#[test]
fn a_missing_key_is_named() {
    let line = failure(2, helper().arg("ftjob-abc123"));
    assert!(line.contains("OPENAI_API_KEY"), "{line}");
}
