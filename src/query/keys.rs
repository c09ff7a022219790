//! The table of query keys. Validation, the list of known keys in an error, and `--help` come from it.

use std::time::Duration;

use Form::{Flag, Text, UpTo};

use crate::http::MAX_TIMEOUT;
use crate::text::DAY;

/// A key that a query may have.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) group: Group,
    /// The selectors that it goes with.
    pub(super) partners: &'static [&'static str],
    pub(super) help: &'static str,
}

/// What the value of a key looks like.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// `"true"`, or `"false"`, which is the same as leaving the key out.
    Flag,
    /// A duration, at most this long.
    UpTo(Duration),
    Text,
}

/// Where `--help` lists a key. A query has exactly one selector.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Group {
    Selector,
    Filter,
    Other,
}

const ANY: &[&str] = &["fine_tuning_job_id", "fine_tuning_job_ids", "most_recent", "list", "model_ids"];
const JOBS: &[&str] = &["fine_tuning_job_id", "fine_tuning_job_ids", "most_recent", "list"];
const NAMED: &[&str] = &["fine_tuning_job_id", "fine_tuning_job_ids", "most_recent"];
const GUARDED: &[&str] = &["fine_tuning_job_id", "fine_tuning_job_ids", "most_recent", "model_ids"];
const ONE_JOB: &[&str] = &["fine_tuning_job_id", "most_recent"];
const SEARCH: &[&str] = &["most_recent", "list"];
const WEEK: Duration = DAY.saturating_mul(7);
const DECADE: Duration = DAY.saturating_mul(3650);

pub(super) const KEYS: &[Key] = &[
    selector("fine_tuning_job_id", Text, "the job with this ID, such as ftjob-abc123"),
    selector("fine_tuning_job_ids", Text, "the jobs with these IDs, as a JSON array of at most 1000"),
    selector("most_recent", Flag, "true: the newest job that matches the filters"),
    selector("list", Flag, "true: the newest jobs that match the filters, at most limit"),
    selector("model_ids", Text, "no job, but the models with these names, as a JSON array of at most 100"),
    filter("model", "the job's base model, such as gpt-4.1-2025-04-14"),
    filter("status", "its status, such as succeeded"),
    filter("suffix", "the suffix of its fine-tuned model's name"),
    filter("metadata", "a JSON object of strings, every pair of which the job must have"),
    other("limit", Text, &["list"], "how many jobs at most, 1 to 10000 (default 20)"),
    other("wait", UpTo(WEEK), NAMED, "wait until each job is final, at most this long: such as 2h, at most 7d"),
    other("require_status", Text, NAMED, "fail unless each job has this status, or one of several between commas"),
    other("availability", Flag, JOBS, "true: also look up if the fine-tuned model is still served, and until when"),
    other(
        "require_available",
        UpTo(DECADE),
        GUARDED,
        "fail unless the model is served now, and for this long from now: such as 30d, at most 3650d",
    ),
    other("checkpoints", Flag, ONE_JOB, "true: also read the job's checkpoints"),
    other(
        "timeout",
        UpTo(MAX_TIMEOUT),
        ANY,
        "how long all network work may take, retries included: such as 90s, at most 1h (default 60s)",
    ),
    other("base_url", Text, ANY, "the API's address (default $OPENAI_BASE_URL, else https://api.openai.com/v1)"),
    other("organization", Text, ANY, "the organization (default $OPENAI_ORG_ID)"),
    other("project", Text, ANY, "the project (default $OPENAI_PROJECT_ID)"),
    other("api_key_env", Text, ANY, "the NAME of the variable that holds the API key (default OPENAI_API_KEY)"),
    other("allow_http", Flag, ANY, "true: base_url may be plain http to another machine"),
];

const fn selector(name: &'static str, form: Form, help: &'static str) -> Key {
    Key { name, form, group: Group::Selector, partners: ANY, help }
}

const fn filter(name: &'static str, help: &'static str) -> Key {
    Key { name, form: Text, group: Group::Filter, partners: SEARCH, help }
}

const fn other(name: &'static str, form: Form, partners: &'static [&'static str], help: &'static str) -> Key {
    Key { name, form, group: Group::Other, partners, help }
}

/// The key with this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// All names in alphabetical order, for an error.
pub(super) fn names() -> String {
    let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    names.join(", ")
}

/// A group's lines in `--help`.
pub(super) fn help(group: Group) -> String {
    let keys = KEYS.iter().filter(|key| key.group == group);
    keys.map(|Key { name, help, .. }| format!("  {name:<21}{help}\n")).collect()
}
