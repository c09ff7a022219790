//! The demo, as `make demo` runs it: it shows what it should, and leaves nothing behind.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::program::{KEY, PROGRAM, assert_no_key, without_settings};
use crate::support::sample_api::SampleApi;

/// The demo, with a folder for temporary files in which nothing may be left.
fn demo() -> (Command, TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    let program = Path::new(PROGRAM).with_file_name("examples").join(format!("demo{EXE_SUFFIX}"));
    // `cargo test` builds it, `cargo test --test end_to_end` does not.
    assert!(program.exists(), "the demo is not built: run cargo build --examples");
    let mut command = without_settings(Command::new(program));
    command.env_remove("JOB").arg(PROGRAM).env("TMPDIR", temporary.path());
    (command, temporary)
}

fn assert_empty(folder: &TempDir) {
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn it_shows_the_program_and_terraform_at_work() {
    let (mut demo, temporary) = demo();
    let output = demo.output().unwrap();
    let (said, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains(r#""fine_tuned_model":"ft:davinci-002:my-org:custom_suffix:7q8mpxmy""#), "{said}");
    assert!(said.contains(r#""fine_tuned_model_available":"false""#), "{said}");
    assert!(said.contains(r#"fine_tuned_model = "ft:davinci-002:my-org:custom_suffix:7q8mpxmy""#), "{said}");
    assert_empty(&temporary);
}

#[test]
fn with_a_key_and_a_job_it_reads_that_job() {
    let api = SampleApi::start();
    let (mut demo, temporary) = demo();
    demo.envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &api.url()), ("JOB", "ftjob-today")]);
    let output = demo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_no_key(&output.stdout);
    assert_no_key(&output.stderr);
    let requests = api.requests();
    assert_eq!(requests.len(), 2); // the program's own, and Terraform's
    assert!(requests.iter().all(|request| request.path == "/v1/fine_tuning/jobs/ftjob-today"), "{requests:?}");
    assert_empty(&temporary);
}

#[test]
fn it_fails_when_a_part_of_it_does() {
    let (mut demo, temporary) = demo();
    let output = demo.env("JOB", "ftjob-none").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Could not find fine tune: ftjob-none"));
    assert_empty(&temporary);
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_all_of_it() {
    for signal in ["INT", "TERM"] {
        let (mut command, temporary) = demo();
        let mut demo = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(demo.stdout.take().unwrap());
        while !stdout.by_ref().lines().next().expect("a line").unwrap().ends_with(" apply") {}
        let kill = Command::new("sh").args(["-c", &format!("kill -s {signal} {}", demo.id())]).status().unwrap();
        assert!(kill.success());
        // Ends once nobody has the other end of the pipe any more.
        stdout.read_to_string(&mut String::new()).unwrap();
        assert_eq!(demo.wait().unwrap().code(), Some(130));
        assert_empty(&temporary);
    }
}
