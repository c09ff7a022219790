//! Many jobs in one process, and jobs that are looked for.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::helper::{failure, helper_for, refusing_address, result};
use crate::sample_api::{self, Connection, Fault, LISTED, SampleApi, answering, error, numbered_job, response, silent};

fn numbered(numbers: impl IntoIterator<Item = usize>) -> String {
    let ids: Vec<_> = numbers.into_iter().map(|number| format!("ftjob-n{number}")).collect();
    format!("fine_tuning_job_ids={}", json!(ids))
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// How many jobs a result has.
fn count(command: &mut assert_cmd::Command) -> usize {
    result(command).as_object().unwrap().len()
}

fn refusing(status: &'static str, message: &'static str) -> Fault {
    answering(response(status, &[], &error(message, None, None).to_string()))
}

#[test]
fn jobs_by_id_take_few_connections_and_each_is_asked_for_once() {
    let authority = Authority::new();
    let api = SampleApi::start_tls(authority.server("127.0.0.1"));
    let mut command = helper_for(&api);
    command.env("SSL_CERT_FILE", authority.file()).arg(numbered((1..=400).chain(1..=50)));
    let jobs = result(&mut command);
    assert_eq!(jobs.as_object().unwrap().len(), 400);
    for number in 1..=400 {
        let (id, served) = (format!("ftjob-n{number}"), numbered_job(number));
        let job = parsed(&jobs[&id]);
        for key in ["id", "status", "created_at", "metadata", "user_provided_suffix"] {
            assert_eq!(job[key], served[key], "{id}");
        }
    }
    let asked = api.paths();
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "{asked:?}");
    assert!(pages(&api) <= LISTED.div_ceil(100), "{asked:?}");
    assert!(api.connections() <= 16, "{}", api.connections());
    assert_eq!(api.handshakes(), api.connections());

    // The same text that a single read gives.
    let mut command = helper_for(&api);
    assert_eq!(jobs["ftjob-n7"], result(command.env("SSL_CERT_FILE", authority.file()).arg("ftjob-n7"))["job"]);
}

/// Answers the first request of each of the sixteen connections: the one for the list with this, the others when that
/// has long been read.
fn first_answers(to_list: &[u8]) -> impl Iterator<Item = Fault> {
    (0..16).map(|_| -> Fault {
        let to_list = to_list.to_vec();
        Box::new(move |connection: &mut Connection| {
            let path = connection.read_request()?.expect("a request").path;
            let Some(number) = path.strip_prefix("/v1/fine_tuning/jobs/ftjob-n") else {
                return connection.write(&to_list);
            };
            thread::sleep(Duration::from_secs(1));
            connection.write(&response("200 OK", &[], &numbered_job(number.parse().unwrap()).to_string()))
        })
    })
}

#[test]
fn jobs_that_are_in_the_list_are_not_asked_for() {
    let api = SampleApi::start();
    let page = json!({ "data": (1..=100).map(numbered_job).collect::<Vec<_>>(), "has_more": true });
    api.play(first_answers(&response("200 OK", &[], &page.to_string())));
    let jobs = result(helper_for(&api).arg(numbered(1..=100)));
    assert_eq!(parsed(&jobs["ftjob-n99"])["created_at"], numbered_job(99)["created_at"]);
    assert_eq!(jobs.as_object().unwrap().len(), 100);
    assert_eq!(api.requests().len(), 0);
}

#[test]
fn a_list_that_cannot_be_had_or_is_over_is_not_asked_for_again() {
    let over = json!({ "data": [numbered_job(500)], "has_more": false }).to_string();
    for to_list in
        [response("503 Service Unavailable", &[("retry-after-ms", "10")], ""), response("200 OK", &[], &over)]
    {
        let api = SampleApi::start();
        api.play(first_answers(&to_list));
        assert_eq!(count(helper_for(&api).arg(numbered(1..=100))), 100);
        assert_eq!((api.requests().len(), pages(&api)), (100 - 15, 0));
    }
}

#[test]
fn jobs_are_had_without_the_list_too() {
    let list = |data: Value| json!({ "object": "list", "data": data, "has_more": true });
    let refusal = error("Missing scopes: api.fine_tuning.jobs.read", None, None);
    for (status, answer, most_pages) in [
        ("403 Forbidden", refusal, 1),
        ("200 OK", list(json!([{}])), 1),
        ("200 OK", list(json!([])), 1),
        // Behind this page is the same one.
        ("200 OK", list(json!([numbered_job(500)])), 2),
    ] {
        let api = SampleApi::start();
        let page = answer.clone();
        api.lists(move || (status, page.clone()));
        assert_eq!(count(helper_for(&api).arg(numbered(1..=400))), 400, "{answer}");
        assert!(api.connections() <= 16, "{answer}");
        let pages = pages(&api);
        assert!(pages <= most_pages, "{pages} pages of {answer}");
    }

    let api = SampleApi::start();
    let (asked, list) = mpsc::channel();
    api.lists(move || {
        asked.send(()).unwrap();
        thread::sleep(Duration::from_secs(60));
        ("200 OK", json!({}))
    });
    let start = Instant::now();
    assert_eq!(count(helper_for(&api).arg(numbered(1..=400))), 400);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(list.try_recv().is_ok());
}

fn pages(api: &SampleApi) -> usize {
    api.paths().iter().filter(|path| path.contains('?')).count()
}

#[test]
fn few_jobs_and_those_that_are_waited_for_are_not_looked_for_in_the_list() {
    let api = SampleApi::start();
    assert_eq!(count(helper_for(&api).arg(numbered(1..=32))), 32);
    assert_eq!(count(helper_for(&api).args([&numbered(1..=40), "wait=1m"])), 40);
    assert_eq!((api.requests().len(), pages(&api)), (32 + 40, 0));
}

#[test]
fn no_ids_are_no_requests() {
    let api = SampleApi::start();
    assert_eq!(result(helper_for(&api).arg("fine_tuning_job_ids=[]")), json!({}));
    assert_eq!(result(helper_for(&api).arg(numbered([7])))["ftjob-n7"].as_str().unwrap().chars().next(), Some('{'));
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn it_is_all_jobs_or_none() {
    let api = SampleApi::start();
    let ids = |ids: &[&str]| format!("fine_tuning_job_ids={}", json!(ids));
    let host = api.address;
    let one = failure(1, helper_for(&api).arg(ids(&["ftjob-abc123", "ftjob-no1"])));
    assert!(
        one.starts_with(&format!("1 of 2 fine-tuning jobs were not read: ftjob-no1: {host} answered HTTP 404: ")),
        "{one}"
    );
    let five = failure(
        1,
        helper_for(&api).arg(ids(&["ftjob-no1", "ftjob-no2", "ftjob-dpo", "ftjob-no3", "ftjob-no4", "ftjob-no5"])),
    );
    let start = "5 of 6 fine-tuning jobs were not read: ftjob-no1: ";
    assert!(five.starts_with(start) && five.contains("; ftjob-no3: ") && five.ends_with("; and 2 more"), "{five}");
    assert!(!five.contains("ftjob-no4"), "{five}");
}

#[test]
fn what_is_hopeless_is_not_asked_a_thousand_times() {
    let api = SampleApi::start();
    api.play((0..1000).map(|_| refusing("401 Unauthorized", "Incorrect API key provided.")));
    let line = failure(1, helper_for(&api).arg(numbered(1..=1000)));
    let expected = format!("1000 fine-tuning jobs were not read: {} answered HTTP 401: Incorrect", api.address);
    assert!(line.starts_with(&expected), "{line}");
    assert!(api.connections() <= 2 * 16, "{}", api.connections());

    let (nobody, _socket) = refusing_address();
    let start = Instant::now();
    let line = failure(1, helper_for(&api).args([&numbered(1..=1000), &format!("base_url=http://{nobody}")]));
    assert!(
        line.starts_with(&format!("1000 fine-tuning jobs were not read: {nobody} refused the connection")),
        "{line}"
    );
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn hiccups_among_many_are_not_worth_a_word() {
    let api = SampleApi::start();
    let hiccup = |_| -> Fault { answering(response("502 Bad Gateway", &[("retry-after-ms", "5")], "")) };
    // As many as one job can have without failing, should it meet them all.
    api.play((0..2).map(hiccup));
    assert_eq!(count(helper_for(&api).arg(numbered(1..=60))), 60);
}

#[test]
fn one_timeout_holds_for_all() {
    let api = SampleApi::start();
    api.play((0..500).map(|_| silent()));
    let start = Instant::now();
    let line = failure(1, helper_for(&api).args([&numbered(1..=100), "timeout=2s"]));
    assert!(line.starts_with("100 of 100 fine-tuning jobs were not read: ftjob-n1: no answer from "), "{line}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_result_that_is_too_long_says_how_many_jobs_fit() {
    let api = SampleApi::start();
    let mut job = sample_api::job("ftjob-abc123");
    job["metadata"] = json!({ "long": "x".repeat(3 << 20) });
    for number in 1..=7 {
        job["id"] = json!(format!("ftjob-n{number}"));
        api.moves(&format!("ftjob-n{number}"), [job.clone()], None);
    }
    let line = failure(1, helper_for(&api).arg(numbered(1..=7)));
    assert!(line.starts_with("7 jobs are too many, ask for at most 5 of these at once: the result has 22"), "{line}");
    assert_eq!(count(helper_for(&api).arg(numbered(1..=5))), 5);
}

#[test]
fn many_jobs_can_be_waited_for_and_required() {
    let api = SampleApi::start();
    let look = |number: usize, status: &str| {
        let mut job = numbered_job(number);
        job["status"] = json!(status);
        job
    };
    let soon = Some(Duration::from_millis(10));
    for (number, looks) in
        [(1, &["succeeded"][..]), (2, &["queued", "running", "succeeded"]), (3, &["running", "failed"])]
    {
        api.moves(&format!("ftjob-n{number}"), looks.iter().map(|status| look(number, status)), soon);
    }
    let jobs = result(helper_for(&api).args([&numbered(1..=3), "wait=20s"]));
    let statuses: Vec<_> = (1..=3).map(|number| parsed(&jobs[format!("ftjob-n{number}")])["status"].clone()).collect();
    assert_eq!(statuses, ["succeeded", "succeeded", "failed"]);
    // Those that are done are not looked at again.
    assert_eq!(api.requests().len(), 1 + 3 + 2);

    let line = failure(1, helper_for(&api).args([&numbered(1..=22), "require_status=succeeded"]));
    let expected = "fine-tuning job ftjob-n3 is failed, not succeeded (nor are 2 more of 22 jobs)";
    assert_eq!(line, expected);

    api.moves("ftjob-n2", [look(2, "running")], soon);
    let line = failure(1, helper_for(&api).args([&numbered(1..=3), "wait=300ms"]));
    assert_eq!(line, "fine-tuning job ftjob-n2 is still running after 300ms; allow more with wait");
}

#[test]
fn the_most_recent_job_is_found_with_few_requests() {
    let api = SampleApi::start();
    let most_recent = |filters: &[&str]| result(helper_for(&api).arg("most_recent=true").args(filters));
    let asked = |before: usize| api.paths().split_off(before);

    assert_eq!(most_recent(&[])["id"], format!("ftjob-n{LISTED}"));
    assert_eq!(asked(0), ["/v1/fine_tuning/jobs?limit=1"]);

    let before = api.requests().len();
    let support = most_recent(&["suffix=support", "status=succeeded", "model=davinci-002"]);
    assert_eq!((&support["id"], &support["user_provided_suffix"]), (&json!("ftjob-n20"), &json!("support")));
    assert_eq!(asked(before).len(), 3);

    let before = api.requests().len();
    assert_eq!(most_recent(&[r#"metadata={"env":"prod"}"#])["id"], "ftjob-n40");
    assert_eq!(asked(before).len(), 1);
    assert_eq!(most_recent(&["suffix=tone", r#"metadata={"env":"prod"}"#, "status=succeeded"])["id"], "ftjob-n19");
    // It is a single job's result, in all its views.
    assert_eq!(most_recent(&["status=succeeded"]), result(helper_for(&api).arg("ftjob-n20")));
}

#[test]
fn the_most_recent_job_is_picked_once_and_then_waited_for() {
    let api = SampleApi::start();
    let newest = format!("ftjob-n{LISTED}");
    let mut running = numbered_job(LISTED);
    running["status"] = json!("running");
    api.moves(&newest, [running, numbered_job(LISTED)], Some(Duration::from_millis(10)));
    assert_eq!(result(helper_for(&api).args(["most_recent=true", "wait=20s"]))["id"], newest.as_str());
    assert_eq!(api.requests().len(), 1 + 2);

    let line = failure(1, helper_for(&api).args(["most_recent=true", "require_status=succeeded"]));
    assert_eq!(line, format!("fine-tuning job {newest} is cancelled, not succeeded"));
}

#[test]
fn no_match_says_what_came_nearest() {
    let api = SampleApi::start();
    let line = |filters: &[&str]| failure(1, helper_for(&api).arg("most_recent=true").args(filters));
    assert_eq!(
        line(&["status=running", "suffix=support"]),
        "there is no fine-tuning job with status running and suffix support: 250 jobs were looked through, 125 of them fit \
         but for their status (cancelled, failed, succeeded)"
    );
    assert_eq!(
        line(&["model=gpt-5", r#"metadata={"env":"prod"}"#]),
        "there is no fine-tuning job with model gpt-5 and metadata env=prod: 40 jobs were looked through, 40 of them fit but \
         for their model (davinci-002)"
    );
    assert_eq!(
        line(&[r#"metadata={"env":"none"}"#]),
        "there is no fine-tuning job with metadata env=none: 0 jobs were looked through"
    );
}

#[test]
fn a_list_has_as_many_as_were_asked_for() {
    let api = SampleApi::start();
    let list = |filters: &[&str]| {
        let list = result(helper_for(&api).arg("list=true").args(filters));
        let keys: BTreeSet<_> = list.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["ids", "jobs", "has_more"]));
        let (ids, jobs) = (parsed(&list["ids"]), parsed(&list["jobs"]));
        assert_eq!(jobs.as_array().unwrap().iter().map(|job| job["id"].clone()).collect::<Value>(), ids);
        (ids.as_array().unwrap().clone(), list["has_more"].as_str().unwrap().to_owned())
    };
    let (ids, has_more) = list(&[]);
    assert_eq!((ids.len(), &ids[0], &*has_more), (20, &json!("ftjob-n250"), "true"));
    let (ids, has_more) = list(&["limit=250"]);
    assert_eq!((ids.len(), &ids[249], &*has_more), (250, &json!("ftjob-n1"), "false"));
    let (ids, has_more) = list(&["status=succeeded", "suffix=support"]);
    assert_eq!((ids.len(), &ids[0], &*has_more), (10, &json!("ftjob-n20"), "false"));
    let (ids, has_more) = list(&["status=succeeded", "suffix=support", "limit=3"]);
    assert_eq!((ids.len(), &ids[2], &*has_more), (3, &json!("ftjob-n16"), "true"));
    let (ids, has_more) = list(&["status=running"]);
    assert_eq!((ids.len(), &*has_more), (0, "false"));
    let (ids, _) = list(&[r#"metadata={"env":"dev"}"#, "limit=2"]);
    assert_eq!(ids, ["ftjob-n250", "ftjob-n249"]);
}

#[test]
fn a_list_that_does_not_end_is_an_error() {
    let api = SampleApi::start();
    let same_page = |_| -> Fault {
        let page = json!({ "object": "list", "data": [numbered_job(1)], "has_more": true });
        answering(response("200 OK", &[], &page.to_string()))
    };
    api.play((0..10).map(same_page));
    let line = failure(1, helper_for(&api).args(["most_recent=true", "status=queued"]));
    assert!(line.starts_with("the list of fine-tuning jobs does not end: 2 jobs were looked through"), "{line}");
    assert_eq!(api.connections(), 2);
    api.play((0..10).map(same_page));
    let line = failure(1, helper_for(&api).args(["list=true", "limit=2"]));
    assert!(line.starts_with("the list of fine-tuning jobs does not end: 2 jobs were looked through"), "{line}");

    let api = SampleApi::start();
    let long_page = |number: usize| -> Fault {
        let job = |offset| json!({ "object": "fine_tuning.job", "id": format!("ftjob-{number}-{offset}") });
        let jobs: Vec<_> = (0..1000).map(job).collect();
        let page = json!({ "object": "list", "data": jobs, "has_more": true });
        answering(response("200 OK", &[], &page.to_string()))
    };
    api.play((0..20).map(long_page));
    let line = failure(1, helper_for(&api).args(["most_recent=true", "status=queued"]));
    assert!(line.starts_with("the list of fine-tuning jobs does not end: 10000 jobs were looked through"), "{line}");

    let api = SampleApi::start();
    api.play([refusing("403 Forbidden", "Missing scopes: api.fine_tuning.jobs.read")]);
    let line = failure(1, helper_for(&api).arg("list=true"));
    assert!(
        line.starts_with("the list of fine-tuning jobs was not read: ") && line.contains("Missing scopes"),
        "{line}"
    );
}

#[test]
fn what_is_not_a_list_of_jobs_is_not_taken_for_one() {
    for page in [r#"{"object":"list"}"#, r#"{"data":[{"object":"fine_tuning.job","id":"../x"}]}"#, "[]"] {
        let api = SampleApi::start();
        api.play([answering(response("200 OK", &[], page))]);
        let line = failure(1, helper_for(&api).arg("list=true"));
        assert!(
            line.contains("answered with JSON that is not a list of fine-tuning jobs; check OPENAI_BASE_URL"),
            "{line}"
        );
    }
}

#[test]
fn combinations_that_make_no_sense_are_explained() {
    let api = SampleApi::start();
    let too_many = numbered(1..=1001);
    for (arguments, expected) in [
        (&["ftjob-abc123", "list=true"][..], "the query can have only one of fine_tuning_job_id, list"),
        (
            &["most_recent=true", "fine_tuning_job_ids=[]"],
            "the query can have only one of fine_tuning_job_ids, most_recent",
        ),
        (&["most_recent=false", "list=false"], "the query has no fine_tuning_job_id, such as ftjob-abc123 (nor "),
        (&["most_recent=yes"], r#"most_recent is "yes"; it can be "true" or "false""#),
        (&["ftjob-abc123", "suffix=support"], "suffix goes with most_recent or list"),
        (&["ftjob-abc123", r#"metadata={"a":"b"}"#], "metadata goes with most_recent or list"),
        (&["most_recent=true", "limit=3"], "limit goes with list"),
        (&["list=true", "wait=1h"], "wait goes with fine_tuning_job_id, fine_tuning_job_ids or most_recent"),
        (&["list=true", "require_status=failed"], "require_status goes with fine_tuning_job_id, "),
        (&["list=true", "limit=0"], r#"limit is "0"; it should be a whole number from 1 to 10000"#),
        (&["list=true", "limit=1e3"], r#"limit is "1e3""#),
        (&["list=true", "status=succeded"], r#"status is "succeded"; it can be one of: validating_files, queued, "#),
        (&["list=true", r#"metadata={"a":1}"#], "metadata is not a JSON object of strings, such as "),
        (&["list=true", r#"metadata=["a"]"#], "metadata is not a JSON object of strings, such as "),
        (&["fine_tuning_job_ids=ftjob-a"], "fine_tuning_job_ids is not a JSON array of strings, such as "),
        (&["fine_tuning_job_ids=[null]"], "fine_tuning_job_ids is not a JSON array of strings, such as "),
        (&[r#"fine_tuning_job_ids=["a/b"]"#], r#"fine_tuning_job_ids has "a/b", which is not a job's ID"#),
        (&[&too_many], "fine_tuning_job_ids has 1001 IDs; it can have at most 1000"),
    ] {
        let line = failure(2, helper_for(&api).args(arguments));
        assert!(line.contains(expected), "{expected:?} is not in {line:?}");
    }
    assert_eq!(api.connections(), 0);
}
