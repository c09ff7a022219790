//! A job as the API sends it, and the three views of it that a result has: flat strings, `job` with real types, and
//! `raw_json`. The table of fields below is the only place that knows what the API documents.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use humantime::format_rfc3339_seconds;
use serde_json::Value;

/// The longest result, in bytes. Terraform takes more, but then needs seconds and gigabytes for it.
const MAX_RESULT: usize = 16 * 1024 * 1024;

/// A documented attribute of a job.
struct Field {
    /// Where it stands in `job`; with `_` for `.` it is the flat key.
    path: &'static str,
    /// Where it stands in the API's answer.
    source: &'static str,
    kind: Kind,
}

/// What the API documents a field to be. Whatever else it sends counts as null in `job`.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Number,
    /// An array of strings.
    Texts,
    /// An array of objects.
    Objects,
    /// An object of strings.
    Map,
    /// Any JSON; in `job`, its text.
    Json,
}

use Kind::{Json, Number, Objects, Text, Texts};

/// Source: the fine-tuning job object in OpenAI's API reference; `user_provided_suffix` and `organization_id` stand in
/// its examples.
const FIELDS: &[Field] = &[
    field("id", Text),
    field("object", Text),
    field("model", Text),
    field("created_at", Number),
    field("finished_at", Number),
    field("estimated_finish", Number),
    field("fine_tuned_model", Text),
    field("organization_id", Text),
    field("status", Text),
    field("training_file", Text),
    field("validation_file", Text),
    field("trained_tokens", Number),
    field("seed", Number),
    field("user_provided_suffix", Text),
    field("result_files", Texts),
    field("integrations", Objects),
    field("metadata", Kind::Map),
    field("hyperparameters.n_epochs", Number),
    field("hyperparameters.batch_size", Number),
    field("hyperparameters.learning_rate_multiplier", Number),
    field("method.type", Text),
    field("method.supervised.hyperparameters.n_epochs", Number),
    field("method.supervised.hyperparameters.batch_size", Number),
    field("method.supervised.hyperparameters.learning_rate_multiplier", Number),
    field("method.dpo.hyperparameters.n_epochs", Number),
    field("method.dpo.hyperparameters.batch_size", Number),
    field("method.dpo.hyperparameters.learning_rate_multiplier", Number),
    field("method.dpo.hyperparameters.beta", Number),
    field("method.reinforcement.hyperparameters.n_epochs", Number),
    field("method.reinforcement.hyperparameters.batch_size", Number),
    field("method.reinforcement.hyperparameters.learning_rate_multiplier", Number),
    field("method.reinforcement.hyperparameters.compute_multiplier", Number),
    field("method.reinforcement.hyperparameters.eval_interval", Number),
    field("method.reinforcement.hyperparameters.eval_samples", Number),
    field("method.reinforcement.hyperparameters.reasoning_effort", Text),
    field("method.reinforcement.grader", Json),
    field("error", Text).from("error.message"),
    field("error_code", Text).from("error.code"),
    field("error_param", Text).from("error.param"),
];

const fn field(path: &'static str, kind: Kind) -> Field {
    Field { path, source: path, kind }
}

impl Field {
    const fn from(self, source: &'static str) -> Self {
        Field { source, ..self }
    }

    /// The API's value. The hyperparameters at the top are those used, wherever the API states them: newer answers have
    /// `"auto"` or nothing there, and the numbers under the job's method.
    fn value<'a>(&self, api: &'a Value) -> Option<&'a Value> {
        let value = get(api, self.source);
        let stated = value.is_some_and(|value| !value.is_null() && value != "auto");
        if stated || !self.source.starts_with("hyperparameters.") {
            return value;
        }
        let method = get(api, "method.type")?.as_str()?;
        get(api, &format!("method.{method}.{}", self.source)).filter(|value| !value.is_null()).or(value)
    }
}

impl Kind {
    fn flat(self, value: Option<&Value>) -> String {
        match (value, self) {
            (None | Some(Value::Null), Texts | Objects) => "[]".into(),
            (None | Some(Value::Null), Kind::Map) => "{}".into(),
            (None | Some(Value::Null), _) => String::new(),
            (Some(Value::String(text)), _) => text.clone(),
            (Some(value), _) => value.to_string(),
        }
    }

    fn typed(self, value: Option<&Value>) -> Value {
        let or_null = |value: &Value, fits: fn(&Value) -> bool| if fits(value) { value.clone() } else { Value::Null };
        let array = |fits| {
            let items = value.and_then(Value::as_array).into_iter().flatten();
            items.map(|item| or_null(item, fits)).collect()
        };
        match self {
            Text => value.map_or(Value::Null, |value| or_null(value, Value::is_string)),
            Number => value.map_or(Value::Null, |value| or_null(value, Value::is_number)),
            Texts => array(Value::is_string),
            Objects => array(Value::is_object),
            Kind::Map => {
                let pairs = value.and_then(Value::as_object).into_iter().flatten();
                let texts = pairs.map(|(key, value)| (key.clone(), or_null(value, Value::is_string)));
                Value::Object(texts.collect())
            }
            Json => match value {
                None | Some(Value::Null) => Value::Null,
                Some(value) => value.to_string().into(),
            },
        }
    }
}

/// The statuses that the API documents, and `paused`, which it sends too. It may send others.
pub const STATUSES: &[&str] = &["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"];

/// Those of `STATUSES` that a job keeps.
pub const FINAL_STATUSES: &[&str] = &["succeeded", "failed", "cancelled"];

pub fn is_done(api: &Value) -> bool {
    FINAL_STATUSES.contains(&status(api))
}

/// When the job is expected to be done, if the API says so.
pub fn estimated_finish(api: &Value) -> Option<SystemTime> {
    // 0 stands in the API reference's own example.
    let seconds = api["estimated_finish"].as_u64().filter(|seconds| *seconds > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The status, and for a job that is not done when it should be.
pub fn progress(api: &Value) -> String {
    let finish = estimated_finish(api).and_then(format_time).filter(|_| !is_done(api));
    let finish = finish.map(|time| format!(" (estimated finish {time})")).unwrap_or_default();
    format!("{}{finish}", status(api))
}

/// A point in time as people read it; none beyond the year 9999.
pub fn format_time(time: SystemTime) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", format_rfc3339_seconds(time)).ok()?;
    Some(text)
}

/// # Errors
/// The status of a job is none of those, with the reason that the API gives.
pub fn require_status(jobs: &[Value], wanted: &[String]) -> Result<()> {
    let unmet = |api: &&Value| !wanted.is_empty() && wanted.iter().all(|wanted| wanted != status(api));
    let unmet: Vec<&Value> = jobs.iter().filter(unmet).collect();
    let Some(api) = unmet.first() else {
        return Ok(());
    };
    let mut reason = String::new();
    for part in ["code", "message"].iter().filter_map(|part| api["error"][part].as_str()) {
        reason += &format!(": {part}");
    }
    if !is_done(api) {
        reason += "; set wait, such as 1h, to wait until it is done";
    }
    let others = match unmet.len() - 1 {
        0 => String::new(),
        others => format!(" (nor are {others} more of {} jobs)", jobs.len()),
    };
    bail!("fine-tuning job {} is {}, not {}{others}{reason}", id(api), progress(api), wanted.join(" or "))
}

pub fn id(api: &Value) -> &str {
    api["id"].as_str().unwrap_or_default()
}

fn status(api: &Value) -> &str {
    api["status"].as_str().unwrap_or("in an unknown state")
}

/// The result for one job, the first, as the text that goes to stdout.
///
/// # Errors
/// A result that is longer than Terraform should be asked to take.
pub fn result(jobs: &[Value], indented: bool) -> Result<String> {
    text(&flat(&jobs[0]), indented)
}

/// The result for several jobs: each one's `job` text under its ID.
///
/// # Errors
/// As `result`, with the number of jobs that it could be.
pub fn results(jobs: &[Value], indented: bool) -> Result<String> {
    let entries = jobs.iter().map(|api| (id(api).to_owned(), typed(api, &added(api)).to_string()));
    let entries: BTreeMap<_, _> = entries.collect();
    text(&entries, indented).with_context(|| fits(jobs.len(), entries.values()))
}

/// The result for a list of jobs, newest first, that has all there are.
///
/// # Errors
/// As `results`.
pub fn whole_list(jobs: &[Value], indented: bool) -> Result<String> {
    list(jobs, false, indented)
}

/// The result for a list of jobs that could go on.
///
/// # Errors
/// As `results`.
pub fn first_of_list(jobs: &[Value], indented: bool) -> Result<String> {
    list(jobs, true, indented)
}

fn list(jobs: &[Value], has_more: bool, indented: bool) -> Result<String> {
    let ids: Value = jobs.iter().map(|api| api["id"].clone()).collect();
    let typed: Value = jobs.iter().map(|api| typed(api, &added(api))).collect();
    let entries = [("ids", ids.to_string()), ("jobs", typed.to_string()), ("has_more", has_more.to_string())];
    let entries: BTreeMap<_, _> = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    text(&entries, indented).with_context(|| {
        let each = typed.as_array().into_iter().flatten().map(Value::to_string);
        fits(jobs.len(), each.collect::<Vec<_>>().iter())
    })
}

fn text(entries: &BTreeMap<String, String>, indented: bool) -> Result<String> {
    let text = if indented { serde_json::to_string_pretty(entries)? } else { serde_json::to_string(entries)? };
    ensure!(
        text.len() <= MAX_RESULT,
        "the result has {} bytes, more than the {MAX_RESULT} that Terraform can take well",
        text.len()
    );
    Ok(text + "\n")
}

/// How many jobs fit into a result, for the message that all do not.
fn fits<'a>(count: usize, texts: impl Iterator<Item = &'a String>) -> String {
    let lengths = texts.scan(0, |sum, text| {
        // As it stands in the result: a JSON text within a JSON string.
        *sum += Value::from(text.as_str()).to_string().len();
        Some(*sum)
    });
    let fitting = lengths.take_while(|length| *length <= MAX_RESULT).count();
    format!("{count} jobs are too many, ask for at most {fitting} of these at once")
}

/// The job's attributes as a map of strings, all that Terraform's external data source can take.
fn flat(api: &Value) -> BTreeMap<String, String> {
    let documented = FIELDS.iter().map(|field| (flat_key(field.path), field.kind.flat(field.value(api))));
    let mut flat: BTreeMap<_, _> = documented.collect();
    let added = added(api);
    flat.insert("job".into(), typed(api, &added).to_string());
    flat.insert("raw_json".into(), api.to_string());
    for Added { parents, name, value } in &added {
        flat.entry(flat_key(parents) + name).or_insert_with(|| Json.flat(Some(value)));
    }
    flat
}

fn flat_key(path: &str) -> String {
    path.replace('.', "_")
}

/// The job with real types and the same attributes for every job, as a provider's data source would have it.
fn typed(api: &Value, added: &[Added]) -> Value {
    let mut job = Value::Null;
    let mut insert = |parents: &str, name: &str, value| {
        let parents = parents.split_terminator('.');
        let object = parents.fold(&mut job, |object, parent| &mut object[parent]);
        if object.get(name).is_none() {
            object[name] = value;
        }
    };
    for field in FIELDS {
        let (parents, name) = field.path.rsplit_once('.').unwrap_or(("", field.path));
        insert(parents, name, field.kind.typed(field.value(api)));
    }
    for Added { parents, name, value } in added {
        insert(parents, name, (*value).clone());
    }
    job
}

/// A field that the API sends beyond the table.
struct Added<'a> {
    /// The documented objects it stands in, each with a dot behind it.
    parents: String,
    name: String,
    value: &'a Value,
}

fn added(api: &Value) -> Vec<Added<'_>> {
    fn walk<'a>(parents: &str, object: &'a Value, found: &mut Vec<Added<'a>>) {
        for (name, value) in object.as_object().into_iter().flatten() {
            let path = format!("{parents}{name}");
            let inside = format!("{path}.");
            if FIELDS.iter().any(|field| field.source == path) {
                continue;
            } else if FIELDS.iter().any(|field| field.source.starts_with(&inside)) {
                walk(&inside, value, found);
            } else if parents == "error." {
                // `error` is the message itself, so whatever else is in it stands beside it.
                found.push(Added { parents: String::new(), name: format!("error_{name}"), value });
            } else {
                found.push(Added { parents: parents.into(), name: name.clone(), value });
            }
        }
    }
    let mut found = Vec::new();
    walk("", api, &mut found);
    found.retain(|added| FIELDS.iter().all(|field| field.path != format!("{}{}", added.parents, added.name)));
    found
}

fn get<'a>(api: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(api, |object, key| object.get(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn hyperparameters_are_taken_each_from_where_it_is_stated() {
        let api = json!({
            "hyperparameters": { "n_epochs": "auto", "batch_size": 8 },
            "method": { "type": "dpo", "dpo": { "hyperparameters": { "n_epochs": 2, "batch_size": 9, "learning_rate_multiplier": 0.5 } } },
        });
        let used = json!({ "n_epochs": 2, "batch_size": 8, "learning_rate_multiplier": 0.5 });
        assert_eq!(typed(&api, &added(&api))["hyperparameters"], used);

        let undecided = json!({ "hyperparameters": { "n_epochs": "auto" }, "method": { "type": "supervised" } });
        assert_eq!(flat(&undecided)["hyperparameters_n_epochs"], "auto");
        assert_eq!(typed(&undecided, &[])["hyperparameters"]["n_epochs"], Value::Null);
    }

    #[test]
    fn added_fields_pass_through_and_documented_ones_keep_their_keys() {
        let api = json!({
            "error": { "message": "why", "request_id": "req_1" },
            "hyperparameters": { "warmup": 0.1 },
            "method": { "type": "new", "new": { "x": null } },
            "error_code": "not the documented one",
            "hyperparameters_n_epochs": 7,
            "job": "not the job",
            "a.b": [1],
            "on": true,
        });
        let (flat, job) = (flat(&api), typed(&api, &added(&api)));
        for (key, value) in [
            ("error", "why"),
            ("error_code", ""),
            ("error_request_id", "req_1"),
            ("hyperparameters_warmup", "0.1"),
            ("hyperparameters_n_epochs", ""),
            ("method_new", r#"{"x":null}"#),
            ("a.b", "[1]"),
            ("on", "true"),
        ] {
            assert_eq!(flat[key], value, "{key}");
        }
        assert_eq!((&job["error"], &job["error_code"]), (&json!("why"), &Value::Null));
        assert_eq!(job["error_request_id"], "req_1");
        assert_eq!(job["hyperparameters"]["warmup"], json!(0.1));
        assert_eq!(job["method"]["new"], json!({ "x": null }));
        assert_eq!(job["a.b"], json!([1]));
        assert_eq!(flat["job"], job.to_string());
    }

    #[test]
    fn results_have_a_limit() {
        let long = |bytes: usize| result(&[json!({ "id": "x".repeat(bytes) })], false);
        assert!(long(MAX_RESULT / 4).is_ok());
        assert!(long(MAX_RESULT / 3).is_err());
    }

    /// Any JSON, with numbers in spellings that must not change.
    fn any_json() -> impl Strategy<Value = Value> {
        let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?(e[+-][0-9]{1,2})?";
        let leaf = prop_oneof![
            Just(Value::Null),
            Just(json!("auto")),
            any::<bool>().prop_map(Value::from),
            number.prop_map(|digits| digits.parse().unwrap()),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_.]{1,8}|n_epochs|hyperparameters|type|code", inner, 0..4)
                    .prop_map(|object| Value::Object(object.into_iter().collect())),
            ]
        })
    }

    /// An object with anything under the documented names, and under others.
    fn any_job() -> impl Strategy<Value = Value> {
        let name = prop_oneof![(0..FIELDS.len()).prop_map(|index| FIELDS[index].source), Just("added"), Just("job")];
        prop::collection::vec((name, any_json()), 0..6).prop_map(|values| {
            let mut job = json!({});
            for (path, value) in values {
                let mut place = &mut job;
                for key in path.split('.') {
                    if !place.is_object() {
                        *place = json!({});
                    }
                    place = &mut place[key];
                }
                *place = value;
            }
            job
        })
    }

    /// A value's type as far as Terraform would see a difference: null fits every leaf.
    fn shape(value: &Value, path: &str) -> Value {
        match value {
            Value::Object(object) if path != "metadata" => {
                Value::Object(object.iter().map(|(key, value)| (key.clone(), shape(value, key))).collect())
            }
            Value::Object(_) => json!("map"),
            Value::Array(_) => json!("list"),
            _ => json!("leaf"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_job_flattens_without_loss(api in any_job()) {
            let flat = flat(&api);
            for field in FIELDS {
                prop_assert!(flat.contains_key(&flat_key(field.path)), "{}", field.path);
            }
            let raw: Value = serde_json::from_str(&flat["raw_json"]).unwrap();
            prop_assert_eq!(raw.to_string(), api.to_string());

            let mut job: Value = serde_json::from_str(&flat["job"]).unwrap();
            for Added { parents, name, .. } in added(&api) {
                let object = parents.split_terminator('.').fold(&mut job, |object, parent| &mut object[parent]);
                object.as_object_mut().unwrap().remove(&name);
            }
            prop_assert_eq!(shape(&job, ""), shape(&typed(&json!({}), &[]), ""));
            for field in FIELDS {
                let value = get(&job, field.path).unwrap();
                let fits = match field.kind {
                    Text | Json => value.is_string() || value.is_null(),
                    Number => value.is_number() || value.is_null(),
                    Texts => value.as_array().unwrap().iter().all(|item| item.is_string() || item.is_null()),
                    Objects => value.as_array().unwrap().iter().all(|item| item.is_object() || item.is_null()),
                    Kind::Map => value.as_object().unwrap().values().all(|item| item.is_string() || item.is_null()),
                };
                prop_assert!(fits, "{}: {value}", field.path);
            }
        }
    }
}
