//! The tables of documented fields, a job's and a checkpoint's: where each field is in the API's answer, and its type.

use std::borrow::Cow;

use serde_json::Value;

use super::view::{Fits, Flat, View};

use FieldType::{Flag, Json, Map, Number, Objects, Text, Texts};

/// A documented attribute of a job.
pub struct Field {
    /// Where it is in `job`; with `_` for `.` it is the flat key.
    pub path: &'static str,
    /// Where it is in the API's answer.
    pub source: &'static str,
    /// Whether it is in what was looked up about the job instead.
    is_looked_up: bool,
    /// Where some servers have it instead, as a string.
    alternative: Option<&'static str>,
    pub field_type: FieldType,
}

/// What the API documents a field to be. In `job`, a value of any other type counts as null.
#[derive(Clone, Copy, PartialEq)]
pub enum FieldType {
    Text,
    Number,
    Flag,
    /// An array of strings.
    Texts,
    /// An array of objects.
    Objects,
    /// An object of strings.
    Map,
    /// Any JSON; in `job`, its text.
    Json,
}

/// Source: the fine-tuning job object in OpenAI's API reference; `user_provided_suffix` and `organization_id` are in
/// its examples.
pub const FIELDS: &[Field] = &[
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
    field("user_provided_suffix", Text).or("suffix"),
    field("result_files", Texts),
    field("integrations", Objects),
    field("metadata", Map),
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
    field("error", Text).from("error.message").or("error"),
    field("error_code", Text).from("error.code"),
    field("error_param", Text).from("error.param"),
    field("fine_tuned_model_available", Flag).looked_up(),
    field("fine_tuned_model_shutdown_date", Text).looked_up(),
    field("checkpoints", Objects).looked_up(),
];

/// Source: the fine-tuning job checkpoint object in OpenAI's API reference.
pub const CHECKPOINT_FIELDS: &[Field] = &[
    field("id", Text),
    field("created_at", Number),
    field("fine_tuned_model_checkpoint", Text),
    field("step_number", Number),
    field("metrics.step", Number),
    field("metrics.train_loss", Number),
    field("metrics.train_mean_token_accuracy", Number),
    field("metrics.valid_loss", Number),
    field("metrics.valid_mean_token_accuracy", Number),
    field("metrics.full_valid_loss", Number),
    field("metrics.full_valid_mean_token_accuracy", Number),
];

const fn field(path: &'static str, field_type: FieldType) -> Field {
    Field { path, source: path, is_looked_up: false, alternative: None, field_type }
}

impl Field {
    const fn from(self, source: &'static str) -> Self {
        Field { source, ..self }
    }

    const fn or(self, alternative: &'static str) -> Self {
        Field { alternative: Some(alternative), ..self }
    }

    const fn looked_up(self) -> Self {
        Field { is_looked_up: true, ..self }
    }

    /// The value in the API's answer, or in what was looked up. The hyperparameters at the top are those used, wherever
    /// the API has them: newer answers have `"auto"` or nothing there, and the numbers under the job's method.
    pub fn value<'a>(&self, api: &'a Value, looked_up: &'a Value) -> Option<&'a Value> {
        if self.is_looked_up {
            return get(looked_up, self.source);
        }
        let value = get(api, self.source).filter(|value| !value.is_null());
        if value.is_some_and(|value| value != "auto") {
            return value;
        }
        if self.source.starts_with("hyperparameters.") {
            let method = get(api, "method.type").and_then(Value::as_str).unwrap_or_default();
            return get(api, &format!("method.{method}.{}", self.source)).filter(|value| !value.is_null()).or(value);
        }
        value.or_else(|| get(api, self.alternative?).filter(|value| value.is_string()))
    }
}

impl FieldType {
    /// The value as a string, as Terraform's external data source takes it.
    pub fn flat(self, value: Option<&Value>) -> Flat<'_> {
        match (value, self) {
            (None | Some(Value::Null), Texts | Objects) => Flat::Text("[]"),
            (None | Some(Value::Null), Map) => Flat::Text("{}"),
            (None | Some(Value::Null), _) => Flat::Text(""),
            (Some(Value::String(text)), _) => Flat::Text(text),
            (Some(value), _) => Flat::Json(View::Api(value)),
        }
    }

    /// The value with the documented type.
    pub fn typed(self, value: Option<&Value>) -> View<'_> {
        let leaf = |fits: Fits| value.filter(|value| fits(value)).map_or(View::Null, View::Api);
        let items = |fits| View::Items(value.and_then(Value::as_array).map_or(&[], Vec::as_slice), fits);
        match self {
            Text => leaf(Value::is_string),
            Number => leaf(Value::is_number),
            Flag => leaf(Value::is_boolean),
            Texts => items(Value::is_string),
            Objects => items(Value::is_object),
            Map => value
                .and_then(Value::as_object)
                .map_or_else(View::object, |members| View::Members(members, Value::is_string)),
            Json => value.filter(|value| !value.is_null()).map_or(View::Null, View::Text),
        }
    }
}

/// A field that the API sends beyond the table.
pub struct Added<'a> {
    /// The documented objects around it, each with a dot behind it.
    pub parents: String,
    pub name: Cow<'a, str>,
    pub value: &'a Value,
}

/// The fields of an answer that the table does not have.
pub fn added<'a>(table: &[Field], api: &'a Value) -> Vec<Added<'a>> {
    fn walk<'a>(table: &[Field], parents: &str, object: &'a Value, found: &mut Vec<Added<'a>>) {
        for (name, value) in object.as_object().into_iter().flatten() {
            let path = format!("{parents}{name}");
            let inside = format!("{path}.");
            if table.iter().any(|field| field.source == path) {
                continue;
            } else if table.iter().any(|field| field.source.starts_with(&inside)) {
                walk(table, &inside, value, found);
            } else if parents == "error." {
                // `error` is the message itself, so what else is in it goes beside it.
                found.push(Added { parents: String::new(), name: format!("error_{name}").into(), value });
            } else {
                found.push(Added { parents: parents.into(), name: name.into(), value });
            }
        }
    }
    let mut found = Vec::new();
    walk(table, "", api, &mut found);
    found.retain(|added| {
        let path = format!("{}{}", added.parents, added.name);
        table.iter().all(|field| field.path != path)
    });
    found
}

/// The object with real types and the same attributes for every one of its kind, as a provider's data source would have
/// it.
pub fn typed<'a>(table: &'a [Field], api: &'a Value, looked_up: &'a Value) -> View<'a> {
    let mut object = View::object();
    let mut insert = |parents: Cow<'a, str>, name: Cow<'a, str>, value| {
        let parents = parents.split_terminator('.').map(|parent| parent.to_owned().into());
        let parent = parents.fold(&mut object, |object, parent| object.members().entry(parent).or_insert(View::Null));
        parent.members().entry(name).or_insert(value);
    };
    for field in table {
        let (parents, name) = field.path.rsplit_once('.').unwrap_or(("", field.path));
        insert(parents.into(), name.into(), field.field_type.typed(field.value(api, looked_up)));
    }
    for Added { parents, name, value } in added(table, api) {
        insert(parents.into(), name, View::Api(value));
    }
    object
}

fn get<'a>(api: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(api, |object, key| object.get(key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(path: &str, api: &Value) -> Value {
        let field = FIELDS.iter().find(|field| field.path == path).unwrap();
        field.value(api, &Value::Null).cloned().unwrap_or_default()
    }

    #[test]
    fn each_hyperparameter_comes_from_where_it_is_stated() {
        let api = json!({
            "hyperparameters": { "n_epochs": "auto", "batch_size": 8 },
            "method": { "type": "dpo", "dpo": { "hyperparameters": { "n_epochs": 2, "batch_size": 9, "learning_rate_multiplier": 0.5 } } },
        });
        assert_eq!(value("hyperparameters.n_epochs", &api), 2);
        assert_eq!(value("hyperparameters.batch_size", &api), 8);
        assert_eq!(value("hyperparameters.learning_rate_multiplier", &api), 0.5);

        let undecided = json!({ "hyperparameters": { "n_epochs": "auto" }, "method": { "type": "supervised" } });
        assert_eq!(value("hyperparameters.n_epochs", &undecided), "auto");
        let without_a_method = json!({ "hyperparameters": { "n_epochs": "auto" } });
        assert_eq!(value("hyperparameters.n_epochs", &without_a_method), "auto");
        assert!(matches!(Number.typed(Some(&json!("auto"))), View::Null));
    }

    #[test]
    fn some_servers_have_a_field_elsewhere() {
        assert_eq!(value("user_provided_suffix", &json!({ "suffix": "azure" })), "azure");
        assert_eq!(value("user_provided_suffix", &json!({ "user_provided_suffix": null, "suffix": "azure" })), "azure");
        assert_eq!(value("user_provided_suffix", &json!({ "user_provided_suffix": "a", "suffix": "b" })), "a");
        assert_eq!(value("error", &json!({ "error": "plain" })), "plain");
        assert_eq!(value("error", &json!({ "error": {} })), Value::Null);
        assert_eq!(value("error", &json!({ "error": { "message": null, "code": "c" } })), Value::Null);
    }
}
