//! The query as it comes: a JSON object of strings, or the same as `ID` and `KEY=VALUE` arguments. What the values mean
//! is for `request` to say.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest query that is read from stdin, in bytes. A query is a handful of short strings.
pub const MAX_STDIN: u64 = 1024 * 1024;

const FORM: &str = r#"a JSON object of strings, such as {"fine_tuning_job_id":"ftjob-abc123"}"#;

/// Every key that a query may have; serde refuses a key that is given twice.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Query {
    pub fine_tuning_job_id: Option<String>,
    pub fine_tuning_job_ids: Option<String>,
    pub most_recent: Option<String>,
    pub list: Option<String>,
    pub model: Option<String>,
    pub status: Option<String>,
    pub suffix: Option<String>,
    pub metadata: Option<String>,
    pub limit: Option<String>,
    pub wait: Option<String>,
    pub require_status: Option<String>,
    pub availability: Option<String>,
    pub require_available: Option<String>,
    pub checkpoints: Option<String>,
    pub timeout: Option<String>,
    pub base_url: Option<String>,
    pub organization: Option<String>,
    pub project: Option<String>,
    pub api_key_env: Option<String>,
    pub allow_http: Option<String>,

    /// Every other key.
    #[serde(flatten, skip_serializing)]
    unknown: BTreeMap<String, IgnoredAny>,
}

/// A value of the query. `""` is the same as leaving the key out.
pub fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

impl Query {
    pub fn from_words(words: Vec<String>) -> Result<Self> {
        let mut query = Map::new();
        for (position, word) in words.into_iter().enumerate() {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, value),
                None if position == 0 => ("fine_tuning_job_id", word.as_str()),
                None => bail!("invalid query: argument {} is not KEY=VALUE, such as timeout=60s", position + 1),
            };
            let is_new = query.insert(key.into(), value.into()).is_none();
            ensure!(is_new, "invalid query: the key {} is given twice", quoted_name(key));
        }
        let query: Query = serde_json::from_value(Value::Object(query)).context("invalid query")?;
        query.without_unknown_keys()
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() as u64 <= MAX_STDIN, "the query on stdin is over 1 MiB; it should be {FORM}");
        let text = std::str::from_utf8(bytes).context("the query on stdin is not UTF-8")?;
        // Tools on Windows put a byte order mark before it.
        let text = text.trim_start_matches('\u{feff}').trim();
        // serde's structs would also take an array, by position.
        ensure!(
            text.starts_with('{'),
            "the query on stdin is {}; it should be {FORM}",
            if text.is_empty() { "empty" } else { "not a JSON object" }
        );
        let query: Query = serde_json::from_str(text)
            .map_err(|error| anyhow!("invalid query on stdin: {error}; it should be {FORM}"))?;
        query.without_unknown_keys()
    }

    fn without_unknown_keys(self) -> Result<Self> {
        if let Some(unknown) = self.unknown.keys().next() {
            let known = serde_json::to_value(Query::default())?;
            let known: Vec<_> = known.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
            bail!("invalid query: unknown key {}; the keys are {}", quoted_name(unknown), known.join(", "));
        }
        Ok(self)
    }
}

/// The name of a key or an option, quoted only if it looks like one: it may be a secret in the wrong place.
pub fn quoted_name(name: &str) -> String {
    let looks_like_one = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if looks_like_one { format!("{name:?}") } else { "(not shown, as it may be a secret)".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Query> {
        Query::from_words(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_forms_give_the_same_query() {
        let line = words(&["ftjob-abc123", "timeout=90s", "project="]).unwrap();
        let json = r#" {"fine_tuning_job_id":"ftjob-abc123","timeout":"90s","project":null}"#;
        for query in [line, Query::from_json(json.as_bytes()).unwrap()] {
            assert_eq!(given(&query.fine_tuning_job_id), Some("ftjob-abc123"));
            assert_eq!(given(&query.timeout), Some("90s"));
            assert_eq!(given(&query.project), None);
        }
        assert!(Query::from_json(format!("\u{feff}{json}").as_bytes()).is_ok());
    }

    #[test]
    fn unknown_names_are_quoted_only_if_they_look_like_one() {
        let error = |word: &str| words(&["ftjob-abc123", word]).err().unwrap().to_string();
        assert!(error("timeot=60s").starts_with(r#"invalid query: unknown key "timeot"; the keys are "#));
        assert!(error("timeot=60s").contains(" timeout"));
        for secret in ["sk-proj-0123=1", "SECRET=1", "sekretsekretsekretsekretsekretsekretsekret=1"] {
            let error = error(secret);
            assert!(!error.contains(secret.strip_suffix("=1").unwrap()), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(10_000))]

        #[test]
        fn any_bytes_are_a_query_or_an_error(bytes: Vec<u8>) {
            let _ = Query::from_json(&bytes);
        }
    }
}
