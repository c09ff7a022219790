//! The query as it comes: a JSON object of strings, or the same as `ID` and `KEY=VALUE` arguments. What the values mean
//! is for `request` to say.

use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::keys;

/// The longest query that is read from stdin, in bytes. A query is a handful of short strings.
pub(super) const MAX_STDIN: u64 = 1024 * 1024;

const FORM: &str = r#"a JSON object of strings, such as {"fine_tuning_job_id":"ftjob-abc123"}"#;

/// The values that a query gives to its keys.
#[derive(Default)]
pub struct Query {
    values: BTreeMap<&'static str, String>,
    /// The first key that is not in the table.
    unknown: Option<String>,
}

impl Query {
    pub(super) fn from_words(words: Vec<String>) -> Result<Self> {
        let mut query = Query::default();
        let mut has_id = false;
        for (position, word) in words.into_iter().enumerate() {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, value),
                None if !has_id => ("fine_tuning_job_id", word.as_str()),
                None => bail!("invalid query: argument {} is not KEY=VALUE, such as timeout=60s", position + 1),
            };
            has_id |= !word.contains('=');
            let is_new = query.insert(key, value.into());
            ensure!(is_new, "invalid query: the key {} is given twice", quoted_name(key));
        }
        query.without_unknown_keys()
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() as u64 <= MAX_STDIN, "the query on stdin is over 1 MiB; it should be {FORM}");
        let text = std::str::from_utf8(bytes).context("the query on stdin is not UTF-8")?;
        // Tools on Windows put a byte order mark before it.
        let text = text.trim_start_matches('\u{feff}').trim();
        ensure!(
            text.starts_with('{'),
            "the query on stdin is {}; it should be {FORM}",
            if text.is_empty() { "empty" } else { "not a JSON object" }
        );
        let query: Query = serde_json::from_str(text)
            .map_err(|error| anyhow!("invalid query on stdin: {error}; it should be {FORM}"))?;
        query.without_unknown_keys()
    }

    /// The keys that have a value, with it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.as_str())).filter(|(_, value)| !value.is_empty())
    }

    /// The value of a key of the table. `""` is the same as leaving the key out.
    pub fn get(&self, key: &str) -> Option<&str> {
        debug_assert!(keys::find(key).is_some(), "{key}");
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the key is given for the first time.
    fn insert(&mut self, key: &str, value: String) -> bool {
        let Some(key) = keys::find(key) else {
            let is_new = self.unknown.as_deref() != Some(key);
            self.unknown.get_or_insert_with(|| key.to_owned());
            return is_new;
        };
        self.values.insert(key.name, value).is_none()
    }

    fn without_unknown_keys(self) -> Result<Self> {
        if let Some(unknown) = &self.unknown {
            bail!(
                "invalid query for version {} of the program: unknown key {}; the keys are {}",
                env!("CARGO_PKG_VERSION"),
                quoted_name(unknown),
                keys::names()
            );
        }
        Ok(self)
    }
}

/// A map by itself would take the last of several values for one key.
impl<'de> Deserialize<'de> for Query {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QueryVisitor;

        impl<'de> Visitor<'de> for QueryVisitor {
            type Value = Query;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Query, A::Error> {
                let mut query = Query::default();
                while let Some(key) = map.next_key::<String>()? {
                    if keys::find(&key).is_none() {
                        map.next_value::<IgnoredAny>()?;
                        query.insert(&key, String::new());
                        continue;
                    }
                    let value: Option<String> = map.next_value()?;
                    if !query.insert(&key, value.unwrap_or_default()) {
                        return Err(A::Error::custom(format_args!("the key {key:?} is given twice")));
                    }
                }
                Ok(query)
            }
        }

        deserializer.deserialize_map(QueryVisitor)
    }
}

/// The name of a key or an option, quoted only if it looks like one: it may be a secret in the wrong place.
pub(super) fn quoted_name(name: &str) -> String {
    let looks_like_one = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if looks_like_one { format!("{name:?}") } else { "(not shown, as it may be a secret)".into() }
}

/// A value as messages quote it: nobody needs to see all of a long one, and nobody should see a key.
pub(super) fn quoted_value(value: &str) -> String {
    match value.chars().count() {
        _ if value.starts_with("sk-") => "not shown, as it may be an API key".into(),
        ..=100 => format!("{value:?}"),
        length => format!("a value of {length} characters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Query> {
        Query::from_words(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_forms_give_the_same_query() {
        let line = words(&["timeout=90s", "ftjob-abc123", "project="]).unwrap();
        let json = r#" {"fine_tuning_job_id":"ftjob-abc123","timeout":"90s","project":null}"#;
        for query in [line, Query::from_json(json.as_bytes()).unwrap()] {
            assert_eq!(query.get("fine_tuning_job_id"), Some("ftjob-abc123"));
            assert_eq!(query.get("timeout"), Some("90s"));
            assert_eq!(query.get("project"), None);
        }
        assert!(Query::from_json(format!("\u{feff}{json}").as_bytes()).is_ok());
    }

    #[test]
    fn unknown_names_are_quoted_only_if_they_look_like_one() {
        let error = |word: &str| words(&["ftjob-abc123", word]).err().unwrap().to_string();
        let expected =
            concat!("invalid query for version ", env!("CARGO_PKG_VERSION"), " of the program: unknown key ");
        assert!(error("timeot=60s").starts_with(&format!(r#"{expected}"timeot"; the keys are "#)));
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
