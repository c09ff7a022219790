//! A job as the API sends it, and the three views of it that a result has: flat strings, `job` with real types, and
//! `raw_json`. The table of fields below is the only place that knows what the API documents.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
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
        get(api, &format!("method.{method}.{}", self.source)).or(value)
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

/// The result for one job, as the text that goes to stdout.
///
/// # Errors
/// A result that is longer than Terraform should be asked to take.
pub fn result(api: &Value, indented: bool) -> Result<String> {
    let flat = flat(api);
    let text = if indented { serde_json::to_string_pretty(&flat)? } else { serde_json::to_string(&flat)? };
    ensure!(
        text.len() <= MAX_RESULT,
        "the job's result has {} bytes, more than the {MAX_RESULT} that Terraform can take well",
        text.len()
    );
    Ok(text + "\n")
}

/// The job's attributes as a map of strings, all that Terraform's external data source can take.
fn flat(api: &Value) -> BTreeMap<String, String> {
    let documented = FIELDS.iter().map(|field| (flat_key(field.path), field.kind.flat(field.value(api))));
    let mut flat: BTreeMap<_, _> = documented.collect();
    flat.insert("job".into(), typed(api).to_string());
    flat.insert("raw_json".into(), api.to_string());
    for Added { parents, name, value } in added(api) {
        flat.entry(flat_key(&format!("{parents}{name}"))).or_insert_with(|| Json.flat(Some(value)));
    }
    flat
}

fn flat_key(path: &str) -> String {
    path.replace('.', "_")
}

/// The job with real types and the same attributes for every job, as a provider's data source would have it.
fn typed(api: &Value) -> Value {
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
    for Added { parents, name, value } in added(api) {
        insert(&parents, &name, value.clone());
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
