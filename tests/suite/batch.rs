//! Many jobs in one process, by their IDs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::certificates::CertificateAuthority;
use crate::support::program::{failure, program_for, refusing_address, result};
use crate::support::sample_api::{
    self, Behaviour, Fault, RateLimit, SampleApi, answering, error, numbered_job, response, silent,
};

pub fn numbered(numbers: impl IntoIterator<Item = usize>) -> String {
    let ids: Vec<_> = numbers.into_iter().map(|number| format!("ftjob-n{number}")).collect();
    format!("fine_tuning_job_ids={}", json!(ids))
}

pub fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// How many jobs a result has.
fn count(command: &mut assert_cmd::Command) -> usize {
    result(command).as_object().unwrap().len()
}

pub fn refusing(status: &'static str, message: &'static str) -> Fault {
    answering(response(status, &[], &error(message, None, None).to_string()))
}

/// How often each path was requested.
fn requests(api: &SampleApi) -> BTreeMap<String, usize> {
    let mut requests = BTreeMap::new();
    api.paths().into_iter().for_each(|path| *requests.entry(path).or_default() += 1);
    requests
}

#[test]
fn a_batch_takes_few_connections_and_one_request_a_job() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    let mut command = program_for(&api);
    command.env("SSL_CERT_FILE", ca.file()).arg(numbered((1..=400).chain(1..=50)));
    let jobs = result(&mut command);
    assert_eq!(jobs.as_object().unwrap().len(), 400);
    for number in 1..=400 {
        let (id, served) = (format!("ftjob-n{number}"), numbered_job(number));
        let job = parsed(&jobs[&id]);
        for key in ["id", "status", "created_at", "metadata", "user_provided_suffix"] {
            assert_eq!(job[key], served[key], "{id}");
        }
    }
    let requests = requests(&api);
    assert_eq!((requests.len(), requests.values().max()), (400, Some(&1)));
    assert!(api.connections() <= 32, "{}", api.connections());
    assert_eq!(api.handshakes(), api.connections());

    // The same text that a single read gives.
    let mut command = program_for(&api);
    assert_eq!(jobs["ftjob-n7"], result(command.env("SSL_CERT_FILE", ca.file()).arg("ftjob-n7"))["job"]);
}

#[test]
fn connections_that_work_read_the_jobs_of_those_that_do_not() {
    for arguments in [&[][..], &["wait=2m"]] {
        let api = SampleApi::start();
        // Longer than the retries of the connections that are refused.
        api.behave(Behaviour { connections: Some(8), delay: Duration::from_millis(100), ..Behaviour::default() });
        assert_eq!(count(program_for(&api).arg(numbered(1..=200)).args(arguments)), 200);
        assert_eq!(api.connections(), 8);
    }
}

#[test]
fn connections_that_turn_out_to_be_closed_cost_no_attempt() {
    let api = SampleApi::start();
    api.behave(Behaviour { closes: true, ..Behaviour::default() });
    assert_eq!(count(program_for(&api).arg(numbered(1..=500))), 500);
    assert_eq!(api.connections(), 500);
}

#[test]
fn a_rate_limit_holds_all_connections_back() {
    let api = SampleApi::start();
    let window = Duration::from_millis(200);
    let status = "429 Too Many Requests";
    let rate_limit = Some(RateLimit { requests: 100, window, retry_after_ms: Some(200), status });
    api.behave(Behaviour { rate_limit, ..Behaviour::default() });
    assert_eq!(count(program_for(&api).arg(numbered(1..=1000))), 1000);
    let (accepted, rejected) = (api.requests().len(), api.rejected());
    assert!(accepted == 1000 && rejected * 2 <= accepted, "{rejected} rejected, {accepted} accepted");

    // Without a pause that the server names.
    let api = SampleApi::start();
    let window = Duration::from_secs(1);
    let rate_limit = Some(RateLimit { requests: 40, window, retry_after_ms: None, status });
    api.behave(Behaviour { rate_limit, ..Behaviour::default() });
    assert_eq!(count(program_for(&api).arg(numbered(1..=100))), 100);
}

#[test]
fn a_503_is_a_rate_limit_beside_answers_that_succeed() {
    // As nginx's `limit_req` answers unless the configuration says otherwise.
    let api = SampleApi::start();
    let (window, status) = (Duration::from_millis(20), "503 Service Unavailable");
    let rate_limit = RateLimit { requests: 1, window, retry_after_ms: None, status };
    api.behave(Behaviour { rate_limit: Some(rate_limit), ..Behaviour::default() });
    assert_eq!(count(program_for(&api).arg(numbered(1..=100))), 100);

    // One job gets nothing else, then none of them does.
    let api = SampleApi::start();
    api.behave(Behaviour { unavailable: Some("ftjob-n7"), ..Behaviour::default() });
    let line = failure(1, program_for(&api).arg(numbered(1..=20)));
    let reason = format!("{} answered HTTP 503: Service Unavailable", api.address);
    let expected = format!("ftjob-n7: {reason} (after 12 attempts); try again later");
    assert_eq!(line, format!("could not read 1 of 20 fine-tuning jobs: {expected}"));
    api.behave(Behaviour { rate_limit: Some(RateLimit { requests: 0, ..rate_limit }), ..Behaviour::default() });
    let line = failure(1, program_for(&api).arg(numbered(1..=20)));
    assert_eq!(
        line,
        format!("could not read any of 20 fine-tuning jobs: {reason} (after 3 attempts); try again later")
    );
}

#[test]
fn transient_errors_in_a_batch_are_retried() {
    let api = SampleApi::start();
    api.behave(Behaviour { faults: true, ..Behaviour::default() });
    assert_eq!(count(program_for(&api).arg(numbered(1..=1000))), 1000);
}

#[test]
#[cfg(target_os = "linux")]
fn a_batch_needs_no_extra_threads() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use nix::sys::resource::{Resource, setrlimit};
    use nix::unistd::{Uid, setuid};

    use crate::support::program::{KEY, PROGRAM, without_settings};

    // The limit does not hold for root, and another user must be able to find the program.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("program");
    fs::copy(PROGRAM, &program).unwrap();
    let api = SampleApi::start();
    for argument in ["ftjob-abc123", &numbered(1..=300)] {
        let mut command = without_settings(Command::new(&program));
        // A name to look up, which takes a thread where one can be had.
        let base_url = format!("http://localhost:{}/v1", api.address.port());
        command.arg(argument).envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &base_url)]);
        // SAFETY: both may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if Uid::effective().is_root() {
                    setuid(Uid::from_raw(65534))?;
                }
                Ok(setrlimit(Resource::RLIMIT_NPROC, 0, 0)?)
            })
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Without connections, too, it comes to an end.
        let (nobody, _socket) = refusing_address();
        let output = command.env("OPENAI_BASE_URL", format!("http://{nobody}")).output().unwrap();
        let line = String::from_utf8_lossy(&output.stderr);
        assert!(line.contains(" refused the connection ") && output.status.code() == Some(1), "{line}");
    }
    assert_eq!(api.requests().len(), 301);
}

#[test]
fn an_empty_list_of_ids_sends_no_request() {
    let api = SampleApi::start();
    assert_eq!(result(program_for(&api).arg("fine_tuning_job_ids=[]")), json!({}));
    assert_eq!(result(program_for(&api).arg(numbered([7])))["ftjob-n7"].as_str().unwrap().chars().next(), Some('{'));
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn a_batch_gives_all_jobs_or_none() {
    let api = SampleApi::start();
    let ids = |ids: &[&str]| format!("fine_tuning_job_ids={}", json!(ids));
    let host = api.address;
    let one = failure(1, program_for(&api).arg(ids(&["ftjob-abc123", "ftjob-no1"])));
    assert!(
        one.starts_with(&format!("could not read 1 of 2 fine-tuning jobs: ftjob-no1: {host} answered HTTP 404: ")),
        "{one}"
    );
    let five = failure(
        1,
        program_for(&api).arg(ids(&["ftjob-no1", "ftjob-no2", "ftjob-dpo", "ftjob-no3", "ftjob-no4", "ftjob-no5"])),
    );
    let start = "could not read 5 of 6 fine-tuning jobs: ftjob-no1: ";
    assert!(
        five.starts_with(start) && five.contains("; ftjob-no3: ") && five.contains("; and 2 more; check the ID, "),
        "{five}"
    );
    assert!(!five.contains("ftjob-no4") && five.matches("check the ID").count() == 1, "{five}");
}

#[test]
fn a_refused_key_or_connection_ends_the_batch() {
    let api = SampleApi::start();
    api.play((0..1000).map(|_| refusing("401 Unauthorized", "Incorrect API key provided.")));
    let line = failure(1, program_for(&api).arg(numbered(1..=1000)));
    let expected = format!("could not read any of 1000 fine-tuning jobs: {} answered HTTP 401: Incorrect", api.address);
    assert!(line.starts_with(&expected), "{line}");
    assert!(api.connections() <= 2 * 32, "{}", api.connections());

    let (nobody, _socket) = refusing_address();
    // Three attempts for each job would need more than this timeout, and the line would say so.
    let base_url = format!("base_url=http://{nobody}");
    let line = failure(1, program_for(&api).args([&numbered(1..=1000), &base_url, "timeout=20s"]));
    let expected =
        format!("could not read any of 1000 fine-tuning jobs: {nobody} refused the connection (after 3 attempts)");
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn the_timeout_holds_for_all_jobs_together() {
    let api = SampleApi::start();
    api.play((0..500).map(|_| silent()));
    let line = failure(1, program_for(&api).args([&numbered(1..=100), "timeout=3s"]));
    assert!(line.starts_with("could not read any of 100 fine-tuning jobs: "), "{line}");
    assert!(line.contains("no response from 127.0.0.1:"), "{line}");
    // Two attempts on each of 32 connections fit into it. If each job had a timeout of its own, there would be 200.
    assert!(api.connections() <= 3 * 32, "{}", api.connections());
}

#[test]
fn a_result_that_is_too_long_says_how_many_jobs_fit() {
    let api = SampleApi::start();
    let mut job = sample_api::job("ftjob-abc123");
    job["metadata"] = json!({ "long": "x".repeat(3 << 20) });
    for number in 1..=7 {
        job["id"] = json!(format!("ftjob-n{number}"));
        api.moves(&format!("ftjob-n{number}"), [job.clone()]);
    }
    let line = failure(1, program_for(&api).args([&numbered(1..=7), "timeout=10m"]));
    assert!(line.starts_with("could not read 2 of 7 fine-tuning jobs: "), "{line}");
    assert!(line.contains(" have over 16 MiB in all, too much to keep (request ID "), "{line}");
    assert!(line.ends_with("; read at most 5 of these jobs at once"), "{line}");
    assert_eq!(count(program_for(&api).args([&numbered(1..=5), "timeout=10m"])), 5);

    // Escapes take more in the result, which has JSON text inside JSON text.
    job["metadata"] = json!({ "long": "\"".repeat(1 << 20) });
    for number in 1..=7 {
        job["id"] = json!(format!("ftjob-n{number}"));
        api.moves(&format!("ftjob-n{number}"), [job.clone()]);
    }
    let line = failure(1, program_for(&api).args([&numbered(1..=7), "timeout=10m"]));
    assert!(line.starts_with("7 jobs are too many, read at most 3 of these at once: the result has 29"), "{line}");
    assert_eq!(count(program_for(&api).args([&numbered(1..=3), "timeout=10m"])), 3);
}
