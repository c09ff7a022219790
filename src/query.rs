//! What is asked: a JSON object of strings on stdin, which is how Terraform's `data "external"` asks, or the same
//! query as `ID` and `KEY=VALUE` arguments. One struct states the keys; serde refuses all others, and duplicates.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::job::{FINAL_STATUSES, STATUSES};

/// A query is a handful of short strings; more than this on stdin, in bytes, is a mistake.
const MAX_STDIN: u64 = 1024 * 1024;

/// What one run of the program is to do.
pub enum Invocation {
    Read(Box<Query>),
    Help,
    Version,
    /// Nothing was asked and stdin is a terminal: nobody will type JSON there.
    Nothing,
}

/// The query as it was given, key by key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    fine_tuning_job_id: Text,
    wait: Text,
    require_status: Text,
    timeout: Text,
    pub base_url: Text,
    pub organization: Text,
    pub project: Text,
    pub api_key_env: Text,
    allow_http: Text,
}

/// A query's value. Null and `""` are the same as leaving the key out.
#[derive(Default, Deserialize)]
#[serde(from = "Option<String>")]
pub struct Text(Option<String>);

impl From<Option<String>> for Text {
    fn from(value: Option<String>) -> Self {
        Text(value.filter(|text| !text.is_empty()))
    }
}

impl Deref for Text {
    type Target = Option<String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Invocation {
    /// Takes the query from the arguments, or from stdin when there are none.
    ///
    /// # Errors
    /// The caller's mistakes in either form, as far as they show in the form alone.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self> {
        use lexopt::Arg::{Long, Short, Value};

        let mut parser = lexopt::Parser::from_args(args);
        let mut words = Vec::new();
        while let Some(arg) = parser.next()? {
            match arg {
                Long("help") | Short('h') => return Ok(Self::Help),
                Long("version") | Short('V') => return Ok(Self::Version),
                Value(word) => words.push(word.into_string().ok().context("an argument is not UTF-8")?),
                other => return Err(other.unexpected().into()),
            }
        }
        if !words.is_empty() {
            return Ok(Self::Read(Query::from_words(words)?.into()));
        }
        if io::stdin().is_terminal() {
            return Ok(Self::Nothing);
        }
        let mut bytes = Vec::new();
        io::stdin().take(MAX_STDIN + 1).read_to_end(&mut bytes).context("the query on stdin could not be read")?;
        Ok(Self::Read(Query::from_json(&bytes)?.into()))
    }
}

impl Query {
    fn from_words(words: Vec<String>) -> Result<Self> {
        let mut query = Map::new();
        for (position, word) in words.into_iter().enumerate() {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, value),
                None if position == 0 => ("fine_tuning_job_id", word.as_str()),
                None => bail!("argument {} is not KEY=VALUE, such as timeout=60s", position + 1),
            };
            ensure!(query.insert(key.into(), value.into()).is_none(), "the query key {key:?} is given twice");
        }
        serde_json::from_value(Value::Object(query)).context("the query is not right")
    }

    fn from_json(bytes: &[u8]) -> Result<Self> {
        const FORM: &str = r#"a JSON object of strings, such as {"fine_tuning_job_id":"ftjob-abc123"}"#;

        ensure!(bytes.len() as u64 <= MAX_STDIN, "the query on stdin is over 1 MiB; it should be {FORM}");
        let text = std::str::from_utf8(bytes).context("the query on stdin is not UTF-8")?;
        // Asked here because serde's structs also take arrays, by position.
        ensure!(
            text.trim_start().starts_with('{'),
            "the query on stdin is {}; it should be {FORM}",
            if text.trim().is_empty() { "empty" } else { "not a JSON object" }
        );
        serde_json::from_str(text).with_context(|| format!("the query on stdin is not right (it should be {FORM})"))
    }

    /// The ID of the job that is asked for, safe to put into a URL's path.
    pub fn fine_tuning_job_id(&self) -> Result<&str> {
        let Some(id) = self.fine_tuning_job_id.as_deref() else {
            bail!("the query has no fine_tuning_job_id: say which job to read, such as ftjob-abc123");
        };
        ensure!(
            is_id(id),
            "fine_tuning_job_id is {id:?}, which is not a job's ID: 1 to 128 letters, digits, hyphens or underscores"
        );
        Ok(id)
    }

    /// How long to wait for the job to be done; none if it is to be read as it is.
    pub fn wait(&self) -> Result<Option<Duration>> {
        self.wait.as_deref().map(|text| duration("wait", text, "7d")).transpose()
    }

    /// The statuses that the job may have; none if any will do.
    pub fn require_status(&self) -> Result<Vec<String>> {
        // Waiting ends when the job is done, so no other status can be asked for.
        let known = if self.wait.is_some() { FINAL_STATUSES } else { STATUSES };
        let wanted = self.require_status.iter().flat_map(|list| list.split(',')).map(str::trim);
        wanted
            .map(|status| {
                let waiting = if self.wait.is_some() { " after wait" } else { "" };
                ensure!(
                    known.contains(&status),
                    "require_status names {status:?}; it can name, separated by commas{waiting}: {}",
                    known.join(", ")
                );
                Ok(status.to_owned())
            })
            .collect()
    }

    /// How long all network work may take together; a minute unless the query says otherwise.
    pub fn timeout(&self) -> Result<Duration> {
        match self.timeout.as_deref() {
            Some(text) => duration("timeout", text, "1h"),
            None => Ok(Duration::from_secs(60)),
        }
    }

    /// Whether `base_url` may be plain http to a host that is not this machine.
    pub fn allow_http(&self) -> Result<bool> {
        flag("allow_http", &self.allow_http)
    }
}

/// Whether this can be an ID of the API's, which means that it can stand in a URL as it is.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

fn flag(key: &str, value: &Text) -> Result<bool> {
    match value.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => bail!(r#"{key} is {other:?}; it can be "true" or "false""#),
    }
}

fn duration(key: &str, text: &str, most: &str) -> Result<Duration> {
    // humantime also knows years and nanoseconds, words and blanks; a configuration needs one way to say it.
    let units_are_known =
        text.split(|c: char| c.is_ascii_digit()).all(|unit| ["", "d", "h", "m", "s", "ms"].contains(&unit));
    let parsed = humantime::parse_duration(text).ok().filter(|_| units_are_known);
    let Some(duration) = parsed else {
        bail!("{key} is {text:?}; it should be a duration in whole d, h, m, s or ms, such as 90s or 1h30m");
    };
    let limit = humantime::parse_duration(most)?;
    ensure!(
        !duration.is_zero() && duration <= limit,
        "{key} is {text:?}; it should be more than zero and at most {most}"
    );
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Query> {
        Query::from_words(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_forms_ask_the_same() {
        let line = words(&["ftjob-abc123", "timeout=90s", "project="]).unwrap();
        let json =
            Query::from_json(br#" {"fine_tuning_job_id":"ftjob-abc123","timeout":"90s","project":null}"#).unwrap();
        for query in [line, json] {
            assert_eq!(query.fine_tuning_job_id().unwrap(), "ftjob-abc123");
            assert_eq!(query.timeout().unwrap(), Duration::from_secs(90));
            assert!(query.project.is_none());
        }
    }

    #[test]
    fn durations_say_their_unit() {
        for (text, millis) in [("90s", 90_000), ("1h", 3_600_000), ("1m30s", 90_000), ("250ms", 250)] {
            assert_eq!(duration("timeout", text, "1h").unwrap(), Duration::from_millis(millis));
        }
        for text in ["90", "0s", "61m", "1.5s", "-1s", "1 h", "1y", "10us", "s", "1H", "99999999999999999999s"] {
            assert!(duration("timeout", text, "1h").is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(10_000))]

        #[test]
        fn any_bytes_are_a_query_or_an_error(bytes: Vec<u8>) {
            let _ = Query::from_json(&bytes);
        }

        #[test]
        fn any_object_of_known_keys_is_a_query_or_an_error(key in "[a-z_]{0,20}|timeout|base_url", value in ".*") {
            let text = serde_json::json!({ "fine_tuning_job_id": value, key: value }).to_string();
            if let Ok(query) = Query::from_json(text.as_bytes()) {
                let _ = (query.fine_tuning_job_id(), query.timeout(), query.allow_http());
            }
        }
    }
}
