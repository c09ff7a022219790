//! Waiting for a job, and requiring a status of it.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[cfg(target_os = "linux")]
use crate::helper::in_terminal;
use crate::helper::{KEY, PROGRAM, failure, helper_for, result, run, wait_until};
use crate::sample_api::{self, Fault, SampleApi, answering, answering_after, error, response, silent};

const SOON: Option<Duration> = Some(Duration::from_millis(10));

/// A look at `ftjob-moving`, like the sample job of that status.
fn look(status: &str) -> Value {
    let like = if status == "succeeded" { "ftjob-abc123" } else { &format!("ftjob-{status}") };
    let mut job =
        sample_api::jobs().into_iter().find(|job| job["id"] == like).unwrap_or(sample_api::job("ftjob-running"));
    (job["id"], job["status"]) = (json!("ftjob-moving"), json!(status));
    job
}

fn moving(looks: &[&str]) -> SampleApi {
    let api = SampleApi::start();
    api.moves("ftjob-moving", looks.iter().map(|status| look(status)), SOON);
    api
}

fn waiting(api: &SampleApi) -> assert_cmd::Command {
    let mut command = helper_for(api);
    command.args(["ftjob-moving", "wait=20s", "timeout=3s"]);
    command
}

#[test]
fn a_job_that_is_done_is_not_waited_for() {
    let api = moving(&["succeeded"]);
    assert_eq!(result(&mut waiting(&api))["fine_tuned_model"], "ft:davinci-002:my-org:custom_suffix:7q8mpxmy");
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn the_result_is_that_of_the_finished_job() {
    for (looks, end) in [
        (&["queued", "running", "succeeded"][..], "succeeded"),
        (&["running", "failed"], "failed"),
        (&["running", "paused", "a_status_of_2030", "cancelled"], "cancelled"),
    ] {
        let api = moving(looks);
        assert_eq!(result(&mut waiting(&api))["status"], end);
        assert_eq!((api.requests().len(), api.connections()), (looks.len(), 1));
    }
}

#[test]
fn pauses_grow_when_nothing_says_how_long_they_should_be() {
    let api = SampleApi::start();
    api.moves("ftjob-moving", ["queued", "queued", "succeeded"].map(look_without_estimate), None);
    let start = Instant::now();
    result(&mut waiting(&api));
    assert!((2500..20_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

fn look_without_estimate(status: &str) -> Value {
    let mut job = look(status);
    job["estimated_finish"] = Value::Null;
    job
}

#[test]
fn the_end_of_the_wait_is_kept_and_explained() {
    let api = moving(&["running"]);
    let start = Instant::now();
    let line = failure(1, helper_for(&api).args(["ftjob-moving", "wait=1500ms"]));
    assert!((1000..20_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let expected = "fine-tuning job ftjob-moving is still running (estimated finish 2024-07-23T21:00:00Z) after 1s 500ms; allow \
         more with wait";
    assert_eq!(line, expected);
}

#[test]
fn hiccups_between_looks_are_waited_out() {
    let hiccup = || answering(response("502 Bad Gateway", &[("x-should-retry", "false")], ""));
    let reset: Fault = Box::new(|connection| connection.tcp.shutdown(std::net::Shutdown::Both));
    let page: Fault = answering(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>");
    let api = moving(&["running", "succeeded"]);
    api.play([hiccup(), reset, page, hiccup()]);
    assert_eq!(result(&mut waiting(&api))["status"], "succeeded");

    // To the end of the wait, if need be; then the last one is told.
    let api = moving(&["running"]);
    api.play((0..1000).map(|_| hiccup()));
    let line = failure(1, helper_for(&api).args(["ftjob-moving", "wait=1200ms"]));
    let expected = "fine-tuning job ftjob-moving could not be looked at in 1s 200ms; the last look failed: ";
    assert!(line.starts_with(expected) && line.contains("HTTP 502"), "{line}");
}

#[test]
fn a_slow_api_has_the_time_that_it_needs() {
    let api = moving(&["succeeded"]);
    api.play([answering_after(Duration::from_millis(600), response("200 OK", &[], &look("succeeded").to_string()))]);
    assert_eq!(result(helper_for(&api).args(["ftjob-moving", "wait=1500ms"]))["status"], "succeeded");
}

#[test]
fn the_api_decides_when_it_is_asked_again() {
    let api = moving(&["running"]);
    api.play((0..9).map(|_| answering(response("429 Too Many Requests", &[("retry-after", "120")], ""))));
    let line = failure(1, helper_for(&api).args(["ftjob-moving", "wait=2500ms"]));
    assert!(line.contains("could not be looked at in 2s 500ms; the last look failed: "), "{line}");
    // At once, and before the time is up.
    assert_eq!(api.connections(), 2);

    // And not as often as it can, even if it says so.
    let api = SampleApi::start();
    api.moves("ftjob-moving", [look("running")], Some(Duration::ZERO));
    failure(1, helper_for(&api).args(["ftjob-moving", "wait=400ms"]));
    assert!(api.requests().len() <= 42, "{}", api.requests().len());
}

#[test]
fn what_waiting_cannot_mend_ends_it() {
    for (status, code) in [("401 Unauthorized", "invalid_api_key"), ("403 Forbidden", ""), ("404 Not Found", "")] {
        let api = moving(&["running"]);
        let body = error("The key has expired.", None, Some(code)).to_string();
        let refusal = response(status, &[], &body);
        // The first look, and one after others.
        let expired = refusal.clone();
        api.play([answering(refusal)]);
        let line = failure(1, &mut waiting(&api));
        assert!(line.contains(&format!("HTTP {}: The key has expired.", &status[..3])), "{line}");

        let ended = thread::scope(|scope| {
            let ended = scope.spawn(|| failure(1, &mut waiting(&api)));
            wait_until("it has looked twice more", || api.requests().len() >= 3);
            api.play([answering(expired)]);
            ended.join().unwrap()
        });
        assert_eq!(ended, line);
    }
}

#[test]
fn two_hundred_looks_take_one_connection_and_no_more_memory() {
    let api = SampleApi::start();
    let looks = (0..250).map(|number| look(if number < 249 { "running" } else { "succeeded" }));
    api.moves("ftjob-moving", looks, Some(Duration::from_millis(20)));
    let mut child = Command::new(PROGRAM)
        .args(["ftjob-moving", "wait=1m", &format!("base_url={}", api.url())])
        .env_clear()
        .env("OPENAI_API_KEY", KEY)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let memory_after = |looks| {
        wait_until("it has looked", || api.requests().len() >= looks);
        resident_pages(child.id())
    };
    let (early, late) = (memory_after(20), memory_after(220));
    assert!(child.wait().unwrap().success());
    assert_eq!((api.requests().len(), api.connections()), (250, 1));
    assert!(cfg!(not(target_os = "linux")) || early > 0);
    assert!(late <= early + early / 20, "{early} pages after 20 looks, {late} after 220");
}

/// Memory in use, as Linux counts it; elsewhere this says nothing, and only the connections are tested.
fn resident_pages(process: u32) -> usize {
    let counts = fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    counts.split_whitespace().nth(1).map_or(0, |pages| pages.parse().unwrap())
}

#[test]
fn a_status_can_be_required() {
    let api = SampleApi::start();
    let line = |id: &str, status: &str| failure(1, helper_for(&api).args([id, &format!("require_status={status}")]));
    assert_eq!(
        line("ftjob-failed", "succeeded"),
        "fine-tuning job ftjob-failed is failed, not succeeded: invalid_training_file: The job failed due to an unsafe \
         training file: line 7 says \"no\" – see the file's events."
    );
    assert_eq!(line("ftjob-cancelled", "succeeded"), "fine-tuning job ftjob-cancelled is cancelled, not succeeded");
    assert_eq!(
        line("ftjob-running", "succeeded, failed"),
        "fine-tuning job ftjob-running is running (estimated finish 2024-07-23T21:00:00Z), not succeeded or failed; \
         set wait, such as 1h, to wait until it is done"
    );
    for status in ["running", "succeeded,running", " running , queued "] {
        result(helper_for(&api).args(["ftjob-running", &format!("require_status={status}")]));
    }

    let api = moving(&["running", "failed"]);
    let line = failure(1, waiting(&api).arg("require_status=succeeded"));
    assert!(
        line.starts_with("fine-tuning job ftjob-moving is failed, not succeeded: invalid_training_file: "),
        "{line}"
    );
}

#[test]
fn mistakes_are_explained_before_any_request() {
    let api = SampleApi::start();
    for (arguments, expected) in [
        (
            &["require_status=succeded"][..],
            r#"require_status is "succeded"; it can be, or be several separated by commas: valid"#,
        ),
        (&["require_status=succeeded,"], r#"require_status is "succeeded,"; it can be"#),
        (&["wait=1h", "require_status=running"], "separated by commas after wait: succeeded, failed, cancelled"),
        (&["wait=8d"], "wait is \"8d\"; it should be more than zero and at most 7d"),
        (&["wait=120"], "a duration in whole d, h, m, s or ms"),
    ] {
        let line = failure(2, helper_for(&api).arg("ftjob-running").args(arguments));
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(api.connections(), 0);
}

#[test]
fn without_a_terminal_it_is_silent() {
    let api = moving(&["running", "running", "succeeded"]);
    let output = run(&mut waiting(&api));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(api.requests().iter().all(|request| !request.path.contains("events")));
}

#[test]
#[cfg(target_os = "linux")]
fn people_see_what_happens() {
    let api = SampleApi::start();
    // Long enough for the events to come in between.
    let pause = Some(Duration::from_secs(1));
    api.moves("ftjob-moving", ["running", "running", "running", "succeeded"].map(look), pause);
    let many = (1..=150).map(|number| format!("Step {number}/150")).collect();
    let evil = "evil\u{1b}[2J\r\n\u{202e}text".into();
    api.reports("ftjob-moving", [vec!["Created".into(), evil], vec![], many, vec!["Done".into()]]);
    let (code, screen) = in_terminal(&api, "ftjob-moving wait=20s");
    let order = [
        "info: Created\r\n",
        "info: evil [2J text\r\n",
        "waited 0s, ftjob-moving: running (estimated finish 2024-07-23T21:00:00Z)",
        "Step 1/150\r\n",
        "Step 150/150\r\n",
        "\"status\": \"succeeded\"",
    ];
    let places = order.map(|text| screen.find(text).unwrap_or_else(|| panic!("{text:?} is not in {screen}")));
    assert!(code == Some(0) && places.is_sorted(), "{places:?} in {screen}");
    for number in 1..=150 {
        assert_eq!(screen.matches(&format!("Step {number}/150\r\n")).count(), 1, "{number}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn events_that_do_not_come_take_no_time_from_the_wait() {
    let api = moving(&["running"]);
    // The first look is answered by hand, so that the next request is for events.
    let first = response("200 OK", &[], &look_without_estimate("running").to_string());
    api.play([answering(first), silent()]);
    let start = Instant::now();
    let (code, screen) = in_terminal(&api, "ftjob-moving wait=2s");
    assert!(code == Some(1) && screen.contains("is still running"), "{screen}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
#[cfg(target_os = "linux")]
fn events_that_cannot_be_had_are_done_without() {
    let api = moving(&["running", "succeeded"]);
    api.reports("ftjob-moving", [vec!["x".repeat(11 << 20)]]);
    let (code, screen) = in_terminal(&api, "ftjob-moving wait=20s");
    assert!(code == Some(0) && screen.contains("\"status\": \"succeeded\""), "{screen}");
}
