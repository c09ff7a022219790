//! Jobs that are found in the list.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::batch::{numbered, parsed, refusing};
use crate::support::program::{failure, program_for, result};
use crate::support::sample_api::{Fault, LISTED, SampleApi, answering, numbered_job, response};

#[test]
fn the_most_recent_job_is_found_with_few_requests() {
    let api = SampleApi::start();
    let most_recent = |filters: &[&str]| result(program_for(&api).arg("most_recent=true").args(filters));
    let paths_since = |before: usize| api.paths().split_off(before);

    assert_eq!(most_recent(&[])["id"], format!("ftjob-n{LISTED}"));
    assert_eq!(paths_since(0), ["/v1/fine_tuning/jobs?limit=100"]);

    let before = api.requests().len();
    let support = most_recent(&["suffix=support", "status=succeeded", "model=gpt-4.1-2025-04-14"]);
    assert_eq!((&support["id"], &support["user_provided_suffix"]), (&json!("ftjob-n20"), &json!("support")));
    assert_eq!(paths_since(before).len(), 3);

    let before = api.requests().len();
    assert_eq!(most_recent(&[r#"metadata={"env":"prod"}"#])["id"], "ftjob-n40");
    assert_eq!(paths_since(before).len(), 1);
    assert_eq!(most_recent(&["suffix=tone", r#"metadata={"env":"prod"}"#, "status=succeeded"])["id"], "ftjob-n19");
    // It is a single job's result, in all its views.
    assert_eq!(most_recent(&["status=succeeded"]), result(program_for(&api).arg("ftjob-n20")));
}

#[test]
fn the_most_recent_job_is_picked_once_and_then_waited_for() {
    let api = SampleApi::start();
    let newest = format!("ftjob-n{LISTED}");
    let mut running = numbered_job(LISTED);
    running["status"] = json!("running");
    api.moves(&newest, [running, numbered_job(LISTED)]);
    assert_eq!(result(program_for(&api).args(["most_recent=true", "wait=2m"]))["id"], newest.as_str());
    assert_eq!(api.requests().len(), 1 + 2);

    // A job that is final already is not read again.
    let api = SampleApi::start();
    assert_eq!(result(program_for(&api).args(["most_recent=true", "wait=20s"]))["id"], newest.as_str());
    assert_eq!(api.requests().len(), 1);

    let line = failure(1, program_for(&api).args(["most_recent=true", "require_status=succeeded"]));
    assert_eq!(line, format!("require_status is not met: fine-tuning job {newest} is cancelled, not succeeded"));
}

#[test]
fn no_match_says_what_came_nearest() {
    let api = SampleApi::start();
    let line = |filters: &[&str]| failure(1, program_for(&api).arg("most_recent=true").args(filters));
    assert_eq!(
        line(&["status=running", "suffix=support"]),
        "there is no fine-tuning job with status running and suffix support: none of 250 jobs match; 125 match \
         except for status (cancelled, failed, succeeded)"
    );
    assert_eq!(
        line(&["model=gpt-5", r#"metadata={"env":"prod"}"#]),
        "there is no fine-tuning job with model gpt-5 and metadata env=prod: none of 40 jobs match; 40 match except for \
         model (davinci-002, gpt-4.1-2025-04-14)"
    );
    assert_eq!(
        line(&[r#"metadata={"env":"none"}"#]),
        "there is no fine-tuning job with metadata env=none: the API lists none"
    );
}

#[test]
fn a_list_has_as_many_jobs_as_its_limit() {
    let api = SampleApi::start();
    let list = |filters: &[&str]| {
        let list = result(program_for(&api).arg("list=true").args(filters));
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

/// A page of the list.
fn page(jobs: &[Value], has_more: bool) -> Fault {
    let page = json!({ "object": "list", "data": jobs, "has_more": has_more });
    answering(response("200 OK", &[], &page.to_string()))
}

#[test]
fn a_list_that_does_not_end_is_an_error() {
    let api = SampleApi::start();
    let expected = "the list of fine-tuning jobs does not end: the API sends no new job, and says that there are more";
    for (query, pages, requests) in [
        (["most_recent=true", "status=queued"], [1, 1, 1], 2),
        (["list=true", "limit=9"], [1, 1, 1], 2),
        (["list=true", "limit=9"], [1, 2, 1], 3),
    ] {
        let before = api.connections();
        api.play((0..10).map(|number| page(&[numbered_job(pages[number % 3])], true)));
        assert_eq!(failure(1, program_for(&api).args(query)), expected);
        assert_eq!(api.connections() - before, requests);
        // The rest of the pages is of no concern to the next case.
        api.forget_faults();
    }

    let api = SampleApi::start();
    api.play([refusing("403 Forbidden", "Missing scopes: api.fine_tuning.jobs.read")]);
    let line = failure(1, program_for(&api).arg("list=true"));
    assert!(
        line.starts_with("could not read the list of fine-tuning jobs: ") && line.contains("Missing scopes"),
        "{line}"
    );
}

#[test]
fn a_job_that_is_listed_twice_counts_once() {
    let api = SampleApi::start();
    api.play([page(&[4, 3].map(numbered_job), true), page(&[3, 2].map(numbered_job), false)]);
    let list = result(program_for(&api).args(["list=true", "limit=9"]));
    assert_eq!((&list["ids"], &list["has_more"]), (&json!(r#"["ftjob-n4","ftjob-n3","ftjob-n2"]"#), &json!("false")));
}

#[test]
fn the_most_recent_job_has_the_highest_time_of_its_page() {
    let api = SampleApi::start();
    for filters in [&[][..], &["status=cancelled"]] {
        api.play([page(&[47, 49, 48, 3].map(numbered_job), true)]);
        assert_eq!(result(program_for(&api).arg("most_recent=true").args(filters))["id"], "ftjob-n49");
    }
    // Only the first page that has a match counts.
    api.play([page(&[47, 49].map(numbered_job), true), page(&[7, 8, 6].map(numbered_job), true)]);
    assert_eq!(result(program_for(&api).args(["most_recent=true", "status=succeeded"]))["id"], "ftjob-n8");
}

#[test]
fn a_cancelled_job_has_two_spellings() {
    let api = SampleApi::start();
    for (spelling, other) in [("canceled", "cancelled"), ("cancelled", "canceled")] {
        let mut job = numbered_job(1);
        job["status"] = json!(spelling);
        api.play([page(&[job.clone()], false)]);
        let found = result(program_for(&api).args(["most_recent=true", &format!("status={other}")]));
        assert_eq!(found["status"], spelling);
        api.moves("ftjob-n1", [job]);
        for wait in ["wait=", "wait=10s"] {
            result(program_for(&api).args(["ftjob-n1", &format!("require_status=failed,{other}"), wait]));
        }
    }
}

#[test]
fn metadata_that_is_null_is_left_out() {
    let api = SampleApi::start();
    let found = result(program_for(&api).args(["most_recent=true", r#"metadata={"env":"prod","team":null}"#]));
    assert_eq!((&found["id"], api.requests().len()), (&json!("ftjob-n40"), 1));
    assert!(!api.paths()[0].contains("team"), "{}", api.paths()[0]);
}

#[test]
fn a_response_without_a_list_of_jobs_is_an_error() {
    for (page, expected) in [
        (r#"{"data":[],"has_more":"true"}"#, "a list of fine-tuning jobs whose has_more is neither true nor false"),
        (r#"{"object":"list"}"#, "JSON that is not a list of fine-tuning jobs"),
        ("[]", "JSON that is not a list of fine-tuning jobs"),
        (
            r#"{"data":[{"object":"fine_tuning.job","id":"a"},{"object":"model","id":"b"}]}"#,
            r#"a list of fine-tuning jobs whose entry 2 is an object of type "model", not a fine-tuning job"#,
        ),
        (
            r#"{"data":[{"object":"fine_tuning.job","id":"../x"}]}"#,
            "a list of fine-tuning jobs whose entry 1 is a job without a valid ID",
        ),
    ] {
        let api = SampleApi::start();
        api.play([answering(response("200 OK", &[], page))]);
        let line = failure(1, program_for(&api).arg("list=true"));
        assert!(line.ends_with(&format!("answered with {expected}; check OPENAI_BASE_URL")), "{line}");
    }
    let api = SampleApi::start();
    api.play([answering(response("200 OK", &[], r#"{"data":null}"#))]);
    assert_eq!(result(program_for(&api).arg("list=true")), json!({ "ids": "[]", "jobs": "[]", "has_more": "false" }));
}

#[test]
fn every_status_can_be_searched_for() {
    let api = SampleApi::start();
    for status in "validating_files queued created pending running pausing paused resuming succeeded failed cancelled \
                   canceled"
        .split(' ')
    {
        result(program_for(&api).args(["list=true", "limit=1", &format!("status={status}")]));
    }
}

#[test]
fn combinations_that_make_no_sense_are_usage_errors() {
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
        (&["ftjob-abc123", "suffix=false"], "suffix can only be used with most_recent or list"),
        (&["ftjob-abc123", "suffix=support"], "suffix can only be used with most_recent or list"),
        (&["ftjob-abc123", r#"metadata={"a":"b"}"#], "metadata can only be used with most_recent or list"),
        (&["most_recent=true", "limit=3"], "limit can only be used with list"),
        (
            &["list=true", "wait=1h"],
            "wait can only be used with fine_tuning_job_id, fine_tuning_job_ids or most_recent",
        ),
        (&["list=true", "require_status=failed"], "require_status can only be used with fine_tuning_job_id, "),
        (&["list=true", "require_available=30d"], "require_available can only be used with fine_tuning_job_id, "),
        (&["list=true", "checkpoints=true"], "checkpoints can only be used with fine_tuning_job_id or most_recent"),
        (
            &["fine_tuning_job_ids=[]", "checkpoints=true"],
            "checkpoints can only be used with fine_tuning_job_id or most_recent",
        ),
        (&["ftjob-abc123", "require_available=3651d"], "more than zero and at most 3650d"),
        (&["ftjob-abc123", "availability=yes"], r#"availability is "yes"; it can be "true" or "false""#),
        (&["list=true", "limit=0"], r#"limit is "0"; it should be a whole number from 1 to 10000"#),
        (&["list=true", "limit=1e3"], r#"limit is "1e3""#),
        (&["list=true", "status=succeded"], r#"status is "succeded"; it can be one of: validating_files, queued, "#),
        (&["list=true", r#"metadata={"a":1}"#], "metadata is not a JSON object of strings, such as "),
        (&["list=true", r#"metadata=["a"]"#], "metadata is not a JSON object of strings, such as "),
        (&["fine_tuning_job_ids=ftjob-a"], "fine_tuning_job_ids is not a JSON array of strings, such as "),
        (
            &["fine_tuning_job_ids=[null]"],
            "fine_tuning_job_ids has a null; if it may be left out, leave it out with compact()",
        ),
        (&[r#"model_ids=["a",null]"#], "model_ids has a null; if it may be left out, leave it out with compact()"),
        (
            &[r#"model_ids=["a b"]"#],
            r#"model_ids has "a b", which is not a model's name: 1 to 256 visible ASCII characters"#,
        ),
        (&["model_ids=[]", "list=true"], "the query can have only one of list, model_ids"),
        (&["model_ids=[]", "availability=true"], "availability can only be used with fine_tuning_job_id, "),
        (&["model_ids=[]", "wait=1h"], "wait can only be used with "),
        (&["model_ids=[]", "require_status=failed"], "require_status can only be used with "),
        (&["model_ids=[]", "checkpoints=true"], "checkpoints can only be used with "),
        (&["model_ids=[]", "limit=1"], "limit can only be used with list"),
        (&["model_ids=[]", "suffix=a"], "suffix can only be used with most_recent or list"),
        (&["model_ids=[]", "metadata={}"], "metadata can only be used with most_recent or list"),
        (
            &["list=true", &format!("metadata={}", json!({ "a".repeat(65): "b" }))],
            "metadata has a key of 65 characters; ",
        ),
        (
            &["list=true", &format!("metadata={}", json!({ "a": "b".repeat(513) }))],
            "metadata has a value of 513 characters; ",
        ),
        (&[r#"fine_tuning_job_ids=["a/b"]"#], r#"fine_tuning_job_ids has "a/b", which is not a job ID"#),
        (&[&too_many], "fine_tuning_job_ids has 1001 IDs; it can have at most 1000"),
    ] {
        let line = failure(2, program_for(&api).args(arguments));
        assert!(line.contains(expected), "{expected:?} is not in {line:?}");
    }
    assert_eq!(api.connections(), 0);
}
