//! The result on stdout: a job as flat strings, jobs by their IDs, a list of jobs, or models.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::slice;

use anyhow::{Context, Result, ensure};
use serde::{Serialize, Serializer};

use super::fields::{Added, FIELDS, Field, FieldType, added, typed};
use super::job::Job;
use super::view::{Flat, View};
use crate::text::{JsonText, write_json};

/// The longest result, in bytes. Terraform takes more, but then needs seconds and gigabytes for it.
const MAX_RESULT: usize = 16 * 1024 * 1024;

/// What a run found.
pub enum Output {
    One(Job),
    /// Each job's `job` text under its ID.
    ById(Vec<Job>),
    /// Newest first; `has_more` if there may be jobs beyond these.
    List {
        jobs: Vec<Job>,
        has_more: bool,
    },
    /// What is known about each model, as JSON text under its name.
    Models(BTreeMap<String, String>),
}

impl Output {
    pub fn jobs(&self) -> &[Job] {
        match self {
            Output::One(job) => slice::from_ref(job),
            Output::ById(jobs) | Output::List { jobs, .. } => jobs,
            Output::Models(_) => &[],
        }
    }

    pub fn jobs_mut(&mut self) -> &mut [Job] {
        match self {
            Output::One(job) => slice::from_mut(job),
            Output::ById(jobs) | Output::List { jobs, .. } => jobs,
            Output::Models(_) => &mut [],
        }
    }

    /// The JSON text of the result, with a newline at its end.
    ///
    /// # Errors
    /// A result that is too long for Terraform, with how many jobs would fit.
    pub fn render(&self, indented: bool) -> Result<String> {
        let mut text = Text { indented, ..Text::default() };
        match self {
            Output::One(job) => flat(job).iter().try_for_each(|(key, value)| text.add(key, value))?,
            Output::ById(jobs) => {
                let mut sorted: Vec<_> = jobs.iter().collect();
                sorted.sort_by_key(|job| job.id());
                sorted.iter().try_for_each(|job| text.add(job.id(), &JsonText(view(job))))?;
            }
            Output::List { jobs, has_more } => {
                text.add("has_more", &JsonText(has_more))?;
                text.add("ids", &JsonText(jobs.iter().map(Job::id).collect::<Vec<_>>()))?;
                text.add("jobs", &JsonText(Views(jobs)))?;
            }
            Output::Models(models) => models.iter().try_for_each(|(name, json)| text.add(name, json))?,
        }
        let text = text.end();
        match self {
            Output::One(_) | Output::Models(_) => text,
            Output::ById(jobs) | Output::List { jobs, .. } => text.with_context(|| fits(jobs)),
        }
    }
}

/// The text of a result, as far as that is not too long, and its length.
#[derive(Default)]
struct Text {
    indented: bool,
    text: Vec<u8>,
    length: usize,
}

impl Text {
    /// Adds a key, and a value whose JSON is a string.
    fn add(&mut self, key: &str, value: &impl Serialize) -> io::Result<()> {
        let begin = if self.length == 0 { "{" } else { "," };
        let (indentation, colon) = if self.indented { ("\n  ", ": ") } else { ("", ":") };
        write!(self, "{begin}{indentation}")?;
        write_json(&mut *self, &key)?;
        self.write_all(colon.as_bytes())?;
        write_json(self, value)
    }

    fn end(mut self) -> Result<String> {
        let begin = if self.length == 0 { "{" } else { "" };
        let indentation = if self.indented && self.length > 0 { "\n" } else { "" };
        writeln!(self, "{begin}{indentation}}}")?;
        let length = self.length - 1;
        ensure!(
            length <= MAX_RESULT,
            "the result has {length} bytes, more than the {MAX_RESULT} that Terraform handles well"
        );
        Ok(String::from_utf8(self.text)?)
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len();
        if self.length <= MAX_RESULT + 1 {
            self.text.extend_from_slice(bytes);
        } else {
            self.text = Vec::new();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many jobs fit into a result, for the message that all of them do not.
fn fits(jobs: &[Job]) -> String {
    let mut text = Text::default();
    let fitting = jobs.iter().take_while(|job| {
        let is_written = write_json(&mut text, &JsonText(view(job))).is_ok();
        is_written && text.length <= MAX_RESULT
    });
    format!("{} jobs are too many, read at most {} of these at once", jobs.len(), fitting.count())
}

/// The job as its JSON text has it.
fn view(job: &Job) -> View<'_> {
    typed(FIELDS, job.api(), job.looked_up())
}

struct Views<'a>(&'a [Job]);

impl Serialize for Views<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(view))
    }
}

/// The job's attributes as a map of strings, which is all that Terraform's external data source takes.
fn flat(job: &Job) -> BTreeMap<Cow<'_, str>, Flat<'_>> {
    let (api, looked_up) = (job.api(), job.looked_up());
    let value = |field: &Field| field.field_type.flat(field.value(api, looked_up));
    let mut flat: BTreeMap<_, _> = FIELDS.iter().map(|field| (flat_key(field.path).into(), value(field))).collect();
    flat.insert("job".into(), Flat::Later(Box::new(|| view(job))));
    flat.insert("raw_json".into(), Flat::Json(View::Api(api)));
    for Added { parents, name, value } in added(FIELDS, api) {
        let key = if parents.is_empty() { name } else { Cow::Owned(flat_key(&parents) + &name) };
        flat.entry(key).or_insert_with(|| FieldType::Json.flat(Some(value)));
    }
    flat
}

fn flat_key(path: &str) -> String {
    path.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn job(mut api: Value) -> Job {
        api["object"] = json!("fine_tuning.job");
        api["id"] = json!("ftjob-x");
        Job::new(api).unwrap()
    }

    /// The result for one job.
    fn result(job: Job) -> BTreeMap<String, String> {
        serde_json::from_str(&Output::One(job).render(false).unwrap()).unwrap()
    }

    #[test]
    fn added_fields_are_passed_on_and_documented_ones_keep_their_keys() {
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
        let flat = result(job(api));
        let job: Value = serde_json::from_str(&flat["job"]).unwrap();
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
    }

    #[test]
    fn the_size_of_results_is_limited() {
        let long = |bytes: usize| Output::One(job(json!({ "model": "x".repeat(bytes) }))).render(false);
        assert!(long(MAX_RESULT / 4).is_ok());
        assert!(long(MAX_RESULT / 3).is_err());
    }

    #[test]
    fn a_list_has_the_texts_of_its_jobs() {
        let job = |id: &str| Job::new(json!({ "object": "fine_tuning.job", "id": id })).unwrap();
        let list = Output::List { jobs: vec![job("b"), job("a")], has_more: true }.render(false).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["ids"], r#"["b","a"]"#);
        assert_eq!(list["jobs"], format!("[{},{}]", JsonText(view(&job("b"))), JsonText(view(&job("a")))));
        assert_eq!(list["has_more"], "true");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            Just(json!("auto")),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
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
        let name = prop_oneof![
            (0..FIELDS.len()).prop_map(|index| FIELDS[index].source),
            Just("added"),
            Just("job"),
            Just("suffix")
        ];
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
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn any_job_flattens_without_loss(api in any_job()) {
            let flat = result(job(api.clone()));
            for field in FIELDS {
                prop_assert!(flat.contains_key(&flat_key(field.path)), "{}", field.path);
            }
            let raw: Value = serde_json::from_str(&flat["raw_json"]).unwrap();
            prop_assert_eq!(raw.to_string(), job(api).api().to_string());

            let mut job: Value = serde_json::from_str(&flat["job"]).unwrap();
            for Added { parents, name, .. } in added(FIELDS, &raw) {
                let object = parents.split_terminator('.').fold(&mut job, |object, parent| &mut object[parent]);
                object.as_object_mut().unwrap().remove(&*name);
            }
            prop_assert_eq!(shape(&job, ""), shape(&serde_json::to_value(typed(FIELDS, &json!({}), &Value::Null)).unwrap(), ""));
            for field in FIELDS {
                let value = job.pointer(&format!("/{}", field.path.replace('.', "/"))).unwrap();
                let fits = match field.field_type {
                    FieldType::Text | FieldType::Json => value.is_string() || value.is_null(),
                    FieldType::Number => value.is_number() || value.is_null(),
                    FieldType::Flag => value.is_boolean() || value.is_null(),
                    FieldType::Texts => value.as_array().unwrap().iter().all(|item| item.is_string() || item.is_null()),
                    FieldType::Objects => value.as_array().unwrap().iter().all(|item| item.is_object() || item.is_null()),
                    FieldType::Map => value.as_object().unwrap().values().all(|item| item.is_string() || item.is_null()),
                };
                prop_assert!(fits, "{}: {value}", field.path);
            }
        }
    }
}
