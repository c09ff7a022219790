//! The checkpoints of a job.

use serde_json::{Value, json};

use crate::batch::{parsed, refusing};
use crate::support::program::{failure, program_for, result};
use crate::support::sample_api::checkpoints::{self, COUNT, JOB};
use crate::support::sample_api::{SampleApi, answering, job, response};

#[test]
fn checkpoints_are_read_only_on_request() {
    let api = SampleApi::start();
    let without = result(program_for(&api).arg(JOB));
    assert_eq!((&without["checkpoints"], &parsed(&without["job"])["checkpoints"]), (&json!("[]"), &json!([])));
    assert_eq!(api.requests().len(), 1);

    let with = result(program_for(&api).args([JOB, "checkpoints=true"]));
    let found = parsed(&with["checkpoints"]);
    assert_eq!(found, parsed(&with["job"])["checkpoints"]);
    assert_eq!(found.as_array().unwrap().len(), COUNT);
    for (found, served) in found.as_array().unwrap().iter().zip(checkpoints::checkpoints(JOB)) {
        assert_eq!(found["id"], served["id"]);
        assert_eq!(found["metrics"]["train_loss"], served["metrics"]["train_loss"]);
    }
    // One for the job, and three pages.
    assert_eq!((api.requests().len(), api.connections()), (1 + 1 + 3, 2));

    let none = result(program_for(&api).args(["ftjob-abc123", "checkpoints=true"]));
    assert_eq!(none["checkpoints"], "[]");
}

#[test]
fn the_newest_checkpoint_comes_first_whatever_the_servers_order() {
    let api = SampleApi::start();
    let mut ascending = checkpoints::checkpoints(JOB);
    ascending.reverse();
    let page = |data: &[Value], has_more: bool| {
        answering(response("200 OK", &[], &json!({ "data": data, "has_more": has_more }).to_string()))
    };
    let found = || answering(response("200 OK", &[], &job(JOB).to_string()));
    // The pages overlap.
    api.play([found(), page(&ascending[..99], true), page(&ascending[90..], false)]);
    let with = parsed(&result(program_for(&api).args([JOB, "checkpoints=true"]))["checkpoints"]);
    let ids = |checkpoints: &[Value]| checkpoints.iter().map(|found| found["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(with.as_array().unwrap()), ids(&checkpoints::checkpoints(JOB)));

    let many: Vec<_> = (0..1001).map(|number| json!({ "id": number.to_string() })).collect();
    api.play([found(), page(&many, false)]);
    let line = failure(1, program_for(&api).args([JOB, "checkpoints=true"]));
    assert!(line.ends_with("the job has more than 1000 checkpoints"), "{line}");
    let before = api.connections();
    api.play([found(), page(&ascending[..1], true), page(&ascending[1..2], true), page(&ascending[..1], true)]);
    let line = failure(1, program_for(&api).args([JOB, "checkpoints=true"]));
    assert!(line.contains("a page of checkpoints that has nothing new, and says that there are more"), "{line}");
    assert_eq!(api.connections() - before, 4);
    api.play([found(), answering(response("200 OK", &[], r#"{"data":null}"#))]);
    assert_eq!(result(program_for(&api).args([JOB, "checkpoints=true"]))["checkpoints"], "[]");
}

#[test]
fn checkpoints_are_read_after_a_wait_and_of_the_most_recent_job() {
    let api = SampleApi::start();
    let mut running = job(JOB);
    running["status"] = json!("running");
    // The wait takes longer than the timeout, which what is read after it has anew.
    api.moves(JOB, [running.clone(), running.clone(), running, job(JOB)]);
    let found = result(program_for(&api).args([
        JOB,
        "wait=2m",
        "timeout=4s",
        "require_status=succeeded",
        "require_available=30d",
        "checkpoints=true",
    ]));
    assert_eq!(parsed(&found["checkpoints"]).as_array().unwrap().len(), COUNT);
    assert_eq!(found["fine_tuned_model_available"], "true");
    let newest = result(program_for(&api).args(["most_recent=true", "checkpoints=true"]));
    assert_eq!(newest["checkpoints"], "[]");
}

#[test]
fn errors_say_what_was_read() {
    let api = SampleApi::start();
    let found = || answering(response("200 OK", &[], &job(JOB).to_string()));
    api.play([found(), refusing("404 Not Found", "Unknown request URL")]);
    let line = failure(1, program_for(&api).args([JOB, "checkpoints=true"]));
    assert!(line.starts_with("could not read the checkpoints of fine-tuning job ftjob-dpo: "), "{line}");
    assert!(line.contains("HTTP 404: Unknown request URL"), "{line}");
}
