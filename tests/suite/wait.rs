//! Waiting until jobs are final, and requiring a status of them.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::batch::{numbered, parsed, refusing};
use crate::support::certificates::CertificateAuthority;
use crate::support::program::{
    HANG, KEY, PROGRAM, failure, program, program_for, result, run, wait_until, without_settings,
};
use crate::support::proxy::Proxy;
use crate::support::sample_api::{
    self, Behaviour, Fault, SampleApi, answering, answering_after, error, numbered_job, response, silent,
};
#[cfg(unix)]
use crate::support::terminal::in_terminal;

/// What a poll of `ftjob-moving` gives: a job like the sample job of that status, without an estimate.
fn polled(status: &str) -> Value {
    let like = if status == "succeeded" { "ftjob-abc123" } else { &format!("ftjob-{status}") };
    let mut job =
        sample_api::jobs().into_iter().find(|job| job["id"] == like).unwrap_or(sample_api::job("ftjob-running"));
    (job["id"], job["status"], job["estimated_finish"]) = (json!("ftjob-moving"), json!(status), Value::Null);
    job
}

fn moving(statuses: &[&str]) -> SampleApi {
    let api = SampleApi::start();
    api.moves("ftjob-moving", statuses.iter().map(|status| polled(status)));
    api
}

fn waiting(api: &SampleApi) -> assert_cmd::Command {
    let mut command = program_for(api);
    command.args(["ftjob-moving", "wait=2m"]);
    command
}

fn page(status: &str) -> Fault {
    let page = "<html><title>Gateway</title></html>";
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", page.len());
    answering(head + page)
}

#[test]
fn a_final_job_is_read_once() {
    let api = moving(&["succeeded"]);
    assert_eq!(result(&mut waiting(&api))["fine_tuned_model"], "ft:davinci-002:my-org:custom_suffix:7q8mpxmy");
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn the_result_is_that_of_the_final_job() {
    thread::scope(|scope| {
        for statuses in [
            &["queued", "running", "succeeded"][..],
            &["running", "failed"],
            &["running", "paused", "a_status_of_2030", "cancelled"],
            &["pending", "canceled"],
        ] {
            scope.spawn(move || {
                let api = moving(statuses);
                let start = Instant::now();
                assert_eq!(result(&mut waiting(&api))["status"], *statuses.last().unwrap());
                assert_eq!((api.requests().len(), api.connections()), (statuses.len(), 1));
                assert!(start.elapsed().as_secs() >= statuses.len() as u64 - 1, "{:?}", start.elapsed());
            });
        }
    });
}

#[test]
fn the_end_of_a_wait_is_kept_and_explained() {
    let api = SampleApi::start();
    let start = Instant::now();
    let line = failure(1, program_for(&api).args(["ftjob-running", "wait=3s"]));
    // The last poll begins a second before the end, and each of the others a second after the one before.
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(api.requests().len() <= 4, "{} polls", api.requests().len());
    let expected = "fine-tuning job ftjob-running is still running (estimated finish 2024-07-23T21:00:00Z) after 3s; allow \
                    more time with wait";
    assert_eq!(line, expected);

    // An API that does not answer cannot delay it by its timeout, which is longer than this test waits for the program.
    api.play([silent()]);
    let line = failure(1, program_for(&api).args(["ftjob-running", "wait=3s", "timeout=1h"]));
    assert!(line.contains("no response from 127.0.0.1:"), "{line}");
}

#[test]
fn errors_between_polls_are_waited_out() {
    let bad_gateway = || answering(response("502 Bad Gateway", &[("x-should-retry", "false")], ""));
    let reset: Fault = Box::new(|connection| connection.tcp.shutdown(std::net::Shutdown::Both));
    let api = moving(&["running", "succeeded"]);
    api.play([bad_gateway(), reset, page("200 OK")]);
    assert_eq!(result(&mut waiting(&api))["status"], "succeeded");

    // If they do not end before the wait does, the line has the last one.
    let api = moving(&["running"]);
    api.play((0..1000).map(|_| bad_gateway()));
    let line = failure(1, program_for(&api).args(["ftjob-moving", "wait=3s"]));
    let expected = "could not read fine-tuning job ftjob-moving in 3s; the last poll failed: ";
    assert!(line.starts_with(expected) && line.contains("HTTP 502"), "{line}");
}

#[test]
fn pages_of_a_gateway_are_waited_out_after_the_first_poll() {
    thread::scope(|scope| {
        for status in ["404 Not Found", "403 Forbidden", "400 Bad Request", "302 Found", "401 Unauthorized"] {
            scope.spawn(move || {
                let api = moving(&["running", "succeeded"]);
                // The first poll is answered by hand, so that the page comes after it.
                api.play([answering(response("200 OK", &[], &polled("running").to_string())), page(status)]);
                assert_eq!(result(&mut waiting(&api))["status"], "succeeded", "{status}");

                let api = moving(&["running"]);
                api.play([page(status)]);
                let line = failure(1, &mut waiting(&api));
                assert!(line.contains(&format!("HTTP {}: Gateway", &status[..3])), "{line}");
            });
        }
    });
}

#[test]
fn refusals_of_the_api_end_a_wait() {
    for (status, code) in [("401 Unauthorized", "invalid_api_key"), ("403 Forbidden", ""), ("404 Not Found", "")] {
        let api = moving(&["running"]);
        let body = error("The key has expired.", None, Some(code)).to_string();
        let refusal = response(status, &[], &body);
        // The first poll, and one after others.
        api.play([answering(refusal.clone())]);
        let line = failure(1, &mut waiting(&api));
        assert!(line.contains(&format!("HTTP {}: The key has expired", &status[..3])), "{line}");
        api.play([answering(response("200 OK", &[], &polled("running").to_string())), answering(refusal)]);
        assert_eq!(failure(1, &mut waiting(&api)), line);
    }
}

#[test]
fn an_outage_behind_a_proxy_or_of_tls_is_waited_out() {
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("api.test"));
    let proxy = Proxy::start(&api, None, None);
    let through_proxy = || {
        let mut command = program();
        command.envs([("OPENAI_API_KEY", KEY), ("HTTPS_PROXY", &format!("http://{}", proxy.address))]);
        command.env("SSL_CERT_FILE", ca.file());
        command.args(["ftjob-abc123", "base_url=https://api.test/v1"]);
        command
    };
    proxy.refuse(["503 Service Unavailable", "502 Bad Gateway", "504 Gateway Timeout", "503 Service Unavailable"]);
    assert_eq!(result(through_proxy().arg("wait=2m"))["status"], "succeeded");
    // Without a wait too, as far as two retries go.
    proxy.refuse(["503 Service Unavailable", "502 Bad Gateway"]);
    assert_eq!(result(&mut through_proxy())["status"], "succeeded");

    let direct = || {
        let mut command = program_for(&api);
        command.env("SSL_CERT_FILE", ca.file()).env("OPENAI_BASE_URL", format!("https://{}/v1", api.address));
        command.arg("ftjob-abc123");
        command
    };
    let line = failure(1, direct().arg("wait=2m"));
    assert!(line.contains("its certificate is for api.test, not for 127.0.0.1"), "{line}");
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    api.behave(Behaviour { refused_handshakes: 4, ..Behaviour::default() });
    let mut command = program_for(&api);
    command.env("SSL_CERT_FILE", ca.file()).args(["ftjob-abc123", "wait=2m"]);
    assert_eq!(result(&mut command)["status"], "succeeded");
}

#[test]
fn each_poll_has_the_time_that_a_slow_api_needs() {
    let api = moving(&["succeeded"]);
    api.play([answering_after(Duration::from_secs(2), response("200 OK", &[], &polled("succeeded").to_string()))]);
    assert_eq!(result(program_for(&api).args(["ftjob-moving", "wait=5s"]))["status"], "succeeded");
    assert_eq!(api.connections(), 1);

    // A first poll that takes more than half of the wait leaves the rest for another one.
    let api = moving(&["succeeded"]);
    api.play([silent(), silent()]);
    assert_eq!(result(program_for(&api).args(["ftjob-moving", "wait=4500ms", "timeout=3s"]))["status"], "succeeded");

    // The last poll begins as long before the end as the one before took: here two rounds of 32 requests.
    let api = SampleApi::start();
    api.behave(Behaviour { delay: Duration::from_millis(600), ..Behaviour::default() });
    for number in 1..=33 {
        let mut running = numbered_job(number);
        running["status"] = json!("running");
        running["estimated_finish"] = json!(u64::from(u32::MAX));
        api.moves(&format!("ftjob-n{number}"), [running, numbered_job(number)]);
    }
    let jobs = result(program_for(&api).args([&numbered(1..=33), "wait=6s"]));
    assert_eq!(jobs.as_object().unwrap().len(), 33);
}

#[test]
fn the_server_decides_when_it_is_polled_again() {
    let api = moving(&["running"]);
    api.play((0..9).map(|_| answering(response("429 Too Many Requests", &[("retry-after", "120")], ""))));
    let line = failure(1, program_for(&api).args(["ftjob-moving", "wait=2500ms"]));
    assert!(line.contains("could not read fine-tuning job ftjob-moving in 2s500ms; the last poll failed: "), "{line}");
    assert_eq!(api.connections(), 1);

    // It holds for both jobs: one has met it, and the other is held back.
    let api = SampleApi::start();
    api.play([answering(response("503 Service Unavailable", &[("retry-after", "2")], ""))]);
    let start = Instant::now();
    let mut command = program_for(&api);
    assert_eq!(result(command.args([&numbered(1..=2), "wait=2m"])).as_object().unwrap().len(), 2);
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(api.requests().len(), 2);
}

#[test]
fn a_wait_ends_with_what_the_server_cannot_do() {
    let api = moving(&["running"]);
    let wait = || failure(1, program_for(&api).args(["ftjob-moving", "wait=60s"]));
    api.play([page("501 Not Implemented")]);
    assert!(wait().contains(" answered HTTP 501: Gateway; "));
    thread::scope(|scope| {
        let line = scope.spawn(wait);
        wait_until("the job has been polled", || api.requests().len() == 1);
        api.play([page("501 Not Implemented")]);
        assert!(line.join().unwrap().contains(" answered HTTP 501: Gateway; "));
    });
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn one_jobs_error_does_not_lose_another_job() {
    let api = SampleApi::start();
    // The first poll of both jobs is answered by hand, so that the page comes after it.
    let running = || -> Fault {
        Box::new(|connection| {
            let request = connection.read_request()?.unwrap();
            let mut job = numbered_job(1);
            (job["id"], job["status"]) = (json!(request.path.rsplit_once('/').unwrap().1), json!("running"));
            connection.write(&response("200 OK", &[], &job.to_string()))
        })
    };
    api.play([running(), running(), page("400 Bad Request")]);
    assert_eq!(result(program_for(&api).args([&numbered(1..=2), "wait=2m"])).as_object().unwrap().len(), 2);
    // The page was one job's second poll; its third and the other one's second found them final.
    assert_eq!(api.requests().len(), 2);
}

#[test]
fn several_jobs_can_be_waited_for_and_required() {
    let api = SampleApi::start();
    let polled = |number: usize, status: &str| {
        let mut job = numbered_job(number);
        job["status"] = json!(status);
        job
    };
    for (number, statuses) in [(1, &["succeeded"][..]), (2, &["queued", "succeeded"]), (3, &["running", "failed"])] {
        api.moves(&format!("ftjob-n{number}"), statuses.iter().map(|status| polled(number, status)));
    }
    let jobs = result(program_for(&api).args([&numbered(1..=3), "wait=2m"]));
    let statuses: Vec<_> = (1..=3).map(|number| parsed(&jobs[format!("ftjob-n{number}")])["status"].clone()).collect();
    assert_eq!(statuses, ["succeeded", "succeeded", "failed"]);
    // Those that are final are not polled again.
    assert_eq!(api.requests().len(), 3 + 2);

    let line = failure(1, program_for(&api).args([&numbered(1..=22), "require_status=succeeded"]));
    assert_eq!(
        line,
        "require_status is not met: fine-tuning job ftjob-n3 (and 2 more of 22 jobs) is failed, not succeeded"
    );

    api.moves("ftjob-n2", [polled(2, "running")]);
    let line = failure(1, program_for(&api).args([&numbered(1..=3), "wait=3s"]));
    assert_eq!(line, "fine-tuning job ftjob-n2 is still running after 3s; allow more time with wait");
}

#[test]
fn an_error_counts_all_jobs_that_are_waited_for() {
    let api = SampleApi::start();
    for number in [2, 3] {
        let mut running = numbered_job(number);
        running["status"] = json!("running");
        api.moves(&format!("ftjob-n{number}"), [running]);
    }
    thread::scope(|scope| {
        let line = scope.spawn(|| failure(1, program_for(&api).args([&numbered(1..=3), "wait=20s"])));
        wait_until("all jobs have been polled", || api.requests().len() == 3);
        api.play([refusing("404 Not Found", "Gone."), refusing("404 Not Found", "Gone.")]);
        let line = line.join().unwrap();
        assert!(line.starts_with("could not read 2 of 3 fine-tuning jobs: ftjob-n2, ftjob-n3: "), "{line}");
    });
}

#[test]
fn the_last_poll_names_the_wait() {
    let api = moving(&["running"]);
    api.play([answering(response("200 OK", &[], &polled("running").to_string())), silent(), silent(), silent()]);
    let line = failure(1, program_for(&api).args(["ftjob-moving", "wait=6s"]));
    let expected = format!(
        "fine-tuning job ftjob-moving is still running after 6s; allow more time with wait; the last poll failed: no \
         response from {} within the wait of 6s",
        api.address
    );
    assert_eq!(line, expected);
}

#[test]
#[cfg(unix)]
fn a_wait_ends_when_nobody_reads_its_result() {
    let api = moving(&["running"]);
    let (reader, writer) = io::pipe().unwrap();
    let mut command = without_settings(Command::new(PROGRAM));
    command.args(["ftjob-moving", "wait=2m"]).envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &api.url())]);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    wait_until("the program has polled", || !api.requests().is_empty());
    drop(reader);
    let mut line = String::new();
    child.stderr.take().unwrap().read_to_string(&mut line).unwrap();
    assert_eq!(line, "stdout has been closed, so the wait has ended\n");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn mistakes_are_usage_errors() {
    let api = SampleApi::start();
    for (arguments, expected) in [
        (
            &["require_status=succeded"][..],
            r#"require_status is "succeded"; it can be one of these, or several separated by commas: valid"#,
        ),
        (&["require_status=succeeded,"], r#"require_status is "succeeded,"; it can be"#),
        (
            &["wait=1h", "require_status=running"],
            "one of these with wait, or several separated by commas: succeeded, failed",
        ),
        (&["wait=8d"], "wait is \"8d\"; it should be more than zero and at most 7d"),
        (&["wait=120"], "it should be a duration such as 90s"),
    ] {
        let line = failure(2, program_for(&api).arg("ftjob-running").args(arguments));
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(api.connections(), 0);
}

#[test]
fn without_a_terminal_a_wait_is_silent() {
    let api = moving(&["running", "running", "succeeded"]);
    let output = run(&mut waiting(&api));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(api.requests().iter().all(|request| !request.path.contains("events")));
}

#[test]
#[cfg(unix)]
fn a_terminal_shows_progress_and_events() {
    let api = SampleApi::start();
    api.moves("ftjob-moving", ["running", "running", "running", "succeeded"].map(polled));
    let many = (1..=150).map(|number| format!("Step {number}/150")).collect();
    let evil = "evil\u{1b}[2J\r\n\u{202e}text ##vso[x] ::error::".into();
    api.reports("ftjob-moving", [vec!["Created".into(), evil], vec![], many, vec!["Done".into()]]);
    let (code, screen) = in_terminal(&api, &["ftjob-moving", "wait=2m"]);
    let order = [
        "waited ",
        ", ftjob-moving: running",
        "info: Created ",
        "info: evil[2J text ## vso[x] : :error:: ",
        "Step 1/150 ",
        "Step 150/150 ",
        "\"status\": \"succeeded\"",
    ];
    let places = order.map(|text| screen.find(text).unwrap_or_else(|| panic!("{text:?} is not in {screen}")));
    assert!(code == Some(0) && places.is_sorted(), "{places:?} in {screen}");
    for number in 1..=150 {
        assert_eq!(screen.matches(&format!("Step {number}/150 ")).count(), 1, "{number}");
    }
}

#[test]
#[cfg(unix)]
fn events_that_do_not_come_do_not_prolong_the_wait() {
    let api = moving(&["running"]);
    // The first poll is answered by hand, so that the next request is for events.
    let first = response("200 OK", &[], &polled("running").to_string());
    api.play([answering(first), silent()]);
    let start = Instant::now();
    // A third of this timeout, which one request has, would be a hang.
    let (code, screen) = in_terminal(&api, &["ftjob-moving", "wait=3s", "timeout=10m"]);
    assert!(code == Some(1) && screen.contains("is still running"), "{screen}");
    assert!(start.elapsed() < HANG, "{:?}", start.elapsed());
}

#[test]
#[cfg(unix)]
fn a_wait_goes_on_without_its_events() {
    let api = moving(&["running", "succeeded"]);
    api.reports("ftjob-moving", [vec!["x".repeat(11 << 20)]]);
    let (code, screen) = in_terminal(&api, &["ftjob-moving", "wait=2m"]);
    assert!(code == Some(0) && screen.contains("\"status\": \"succeeded\""), "{screen}");
}

#[test]
fn a_status_can_be_required() {
    let api = SampleApi::start();
    let line = |id: &str, status: &str| failure(1, program_for(&api).args([id, &format!("require_status={status}")]));
    assert_eq!(
        line("ftjob-failed", "succeeded"),
        "require_status is not met: fine-tuning job ftjob-failed is failed, not succeeded: invalid_training_file: The job failed due to an unsafe \
         training file: line 7 says \"no\" – see the file's events."
    );
    assert_eq!(
        line("ftjob-cancelled", "succeeded"),
        "require_status is not met: fine-tuning job ftjob-cancelled is cancelled, not succeeded"
    );
    assert_eq!(
        line("ftjob-running", "succeeded, failed"),
        "require_status is not met: fine-tuning job ftjob-running is running (estimated finish 2024-07-23T21:00:00Z), not succeeded or failed; \
         set wait, such as 1h, to wait until it is final"
    );
    for status in ["running", "succeeded,running", " running , queued "] {
        result(program_for(&api).args(["ftjob-running", &format!("require_status={status}")]));
    }

    // A paused job goes on only when somebody resumes it.
    let api = moving(&["paused"]);
    let line = failure(1, program_for(&api).args(["ftjob-moving", "require_status=succeeded"]));
    assert!(line.ends_with(" is paused, not succeeded; resume it first"), "{line}");
    let line = failure(1, program_for(&api).args(["ftjob-moving", "wait=300ms"]));
    assert_eq!(line, "fine-tuning job ftjob-moving is still paused after 300ms; resume it first");

    let api = moving(&["running", "failed"]);
    let line = failure(1, waiting(&api).arg("require_status=succeeded"));
    assert!(
        line.starts_with(
            "require_status is not met: fine-tuning job ftjob-moving is failed, not succeeded: invalid_training_file: "
        ),
        "{line}"
    );
}
