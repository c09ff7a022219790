//! The values that are JSON texts: lists of IDs and of models' names, and metadata.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use super::query::{Query, quoted_value};
use crate::job::{MAX_ID, is_id};

/// The most jobs that one query can read by their IDs.
const MAX_IDS: usize = 1000;
/// The most models that one query can ask about, and the longest name of one, in characters. OpenAI's have about 60.
const MAX_MODELS: usize = 100;
const MAX_MODEL_NAME: usize = 256;
/// The API's own limits for metadata, in characters (the schema `Metadata` of openai/openai-openapi).
const MAX_METADATA_KEY: usize = 64;
const MAX_METADATA_VALUE: usize = 512;
/// In bytes, so that it fits into a URL, where a byte may take three. The API's limit of 16 pairs keeps it far below this.
const MAX_METADATA: usize = 16_000;

/// What a query key with a list may have in it.
pub(super) struct List {
    key: &'static str,
    most: usize,
    is_valid: fn(&str) -> bool,
    /// What one and several of them are called.
    one: &'static str,
    many: &'static str,
    form: &'static str,
    /// In characters.
    longest: usize,
    example: &'static str,
}

pub(super) const JOB_IDS: List = List {
    key: "fine_tuning_job_ids",
    most: MAX_IDS,
    is_valid: is_id,
    one: "job ID",
    many: "IDs",
    form: "letters, digits, hyphens or underscores",
    longest: MAX_ID,
    example: r#"["ftjob-a","ftjob-b"]"#,
};

pub(super) const MODEL_IDS: List = List {
    key: "model_ids",
    most: MAX_MODELS,
    is_valid: is_model_name,
    one: "model's name",
    many: "names",
    form: "visible ASCII characters",
    longest: MAX_MODEL_NAME,
    example: r#"["gpt-4.1-2025-04-14"]"#,
};

fn is_model_name(name: &str) -> bool {
    (1..=MAX_MODEL_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl List {
    /// Each once, in the order in which they are given.
    ///
    /// # Errors
    /// The value is no list, is too long, or has an item that should not be there. A null is an error, as a guard of nothing
    /// would always pass.
    pub(super) fn parse(&self, query: &Query) -> Result<Vec<String>> {
        let List { key, most, many, .. } = *self;
        let items: Option<Vec<Option<String>>> = serde_json::from_str(query.get(key).unwrap_or_default()).ok();
        let items = items.with_context(|| {
            format!("{key} is not a JSON array of strings, such as {} (in Terraform: jsonencode)", self.example)
        })?;
        ensure!(items.len() <= most, "{key} has {} {many}; it can have at most {most}", items.len());
        let mut seen = BTreeSet::new();
        let mut unique = Vec::new();
        for item in items {
            let item = item.with_context(|| {
                format!("{key} has a null; if it may be left out, leave it out with compact() in Terraform")
            })?;
            ensure!((self.is_valid)(&item), "{key} has {}, {}", quoted_value(&item), self.not_one());
            if seen.insert(item.clone()) {
                unique.push(item);
            }
        }
        Ok(unique)
    }

    pub(super) fn not_one(&self) -> String {
        format!("which is not a {}: 1 to {} {}", self.one, self.longest, self.form)
    }
}

/// The pairs that a job's metadata must have. A pair whose value is null is left out, like any filter that is null.
pub(super) fn metadata(text: &str) -> Result<BTreeMap<String, String>> {
    let pairs: Option<BTreeMap<String, Option<String>>> = serde_json::from_str(text).ok();
    let pairs = pairs
        .context(r#"metadata is not a JSON object of strings, such as {"env":"prod"} (in Terraform: jsonencode)"#)?;
    let pairs: BTreeMap<_, _> = pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let longest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    for (what, longest, most) in [
        ("key", longest(&mut pairs.keys()), MAX_METADATA_KEY),
        ("value", longest(&mut pairs.values()), MAX_METADATA_VALUE),
    ] {
        ensure!(longest <= most, "metadata has a {what} of {longest} characters; it can have at most {most}");
    }
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len() + "metadata".len()).sum();
    ensure!(bytes <= MAX_METADATA, "metadata has {bytes} bytes; it can have at most {MAX_METADATA}");
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(list: &List, value: &str) -> Result<Vec<String>, String> {
        let query = Query::from_words(vec![format!("{}={value}", list.key)]).unwrap();
        list.parse(&query).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_have_each_element_once_and_in_order() {
        assert_eq!(parsed(&JOB_IDS, r#"["b","a","b"]"#).unwrap(), ["b", "a"]);
        assert_eq!(parsed(&JOB_IDS, "[]").unwrap(), [""; 0]);
        let names = r#"["ft:gpt-4.1-2025-04-14:my-org::AbCdEfGh:ckpt-step-90","~!/[]"]"#;
        assert_eq!(parsed(&MODEL_IDS, names).unwrap().len(), 2);
        let hundred: Vec<_> = (0..100).map(|number| format!("{number:0256}")).collect();
        assert_eq!(parsed(&MODEL_IDS, &json!(hundred).to_string()).unwrap().len(), 100);
    }

    #[test]
    fn what_is_no_list_of_names_is_an_error() {
        let many = json!((0..101).map(|number| number.to_string()).collect::<Vec<_>>()).to_string();
        let long = json!(["x".repeat(257)]).to_string();
        for (value, expected) in [
            ("gpt-4.1", "is not a JSON array of strings, such as "),
            ("null", "is not a JSON array of strings, such as "),
            ("{}", "is not a JSON array of strings, such as "),
            ("[1]", "is not a JSON array of strings, such as "),
            (r#"["a",null]"#, "has a null; if it may be left out, leave it out with compact()"),
            (r#"[""]"#, r#"has "", which is not a model's name: 1 to 256 visible ASCII characters"#),
            (r#"["a b"]"#, r#"has "a b", which is not a model's name"#),
            (r#"["ä"]"#, r#"has "ä", which is not a model's name"#),
            (r#"["a\u0007"]"#, "which is not a model's name"),
            (r#"["sk-0123 4"]"#, "not shown, as it may be an API key"),
            (&long, "has a value of 257 characters, which is not a model's name"),
            (&many, "has 101 names; it can have at most 100"),
        ] {
            let error = parsed(&MODEL_IDS, value).unwrap_err();
            assert!(error.starts_with("model_ids ") && error.contains(expected), "{error}");
        }
        assert!(parsed(&JOB_IDS, "[null]").unwrap_err().contains("compact()"));
    }

    #[test]
    fn metadata_has_the_apis_limits_and_no_nulls() {
        assert_eq!(metadata(r#"{"a":"b","c":null}"#).unwrap(), BTreeMap::from([("a".into(), "b".into())]));
        // In characters.
        assert_eq!(metadata(&json!({ "ä".repeat(64): "ä".repeat(512) }).to_string()).unwrap().len(), 1);
        let many: BTreeMap<_, _> = (0..40).map(|number| (number.to_string(), "x".repeat(500))).collect();
        for (pairs, expected) in [
            (json!({ "x".repeat(65): "a" }), "metadata has a key of 65 characters; it can have at most 64"),
            (json!({ "a": "x".repeat(513) }), "metadata has a value of 513 characters; it can have at most 512"),
            (json!({ "a": 1 }), "metadata is not a JSON object of strings, such as "),
            (json!(null), "metadata is not a JSON object of strings, such as "),
            (json!(many), "metadata has 20390 bytes; it can have at most 16000"),
        ] {
            let error = metadata(&pairs.to_string()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
