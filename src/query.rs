//! What is asked: a JSON object of strings on stdin, which is how Terraform's `data "external"` asks, or the same
//! query as `ID` and `KEY=VALUE` arguments. One struct states the keys; serde refuses all others, and duplicates.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::ops::Deref;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::job::{FINAL_STATUSES, STATUSES};
use crate::list::{Filters, MOST_JOBS};

/// A query is a handful of short strings; more than this on stdin, in bytes, is a mistake.
const MAX_STDIN: u64 = 1024 * 1024;
/// As many jobs by ID as one query can ask for.
const MOST_IDS: usize = 1000;
/// As many jobs as a list has unless the query says otherwise.
const DEFAULT_LIMIT: usize = 20;

const NO_ID: &str = "which is not a job's ID: 1 to 128 letters, digits, hyphens or underscores";

/// What one run of the program is to do.
pub enum Invocation {
    Read(Box<Query>),
    Help,
    Version,
    /// Nothing was asked and stdin is a terminal: nobody will type JSON there.
    Nothing,
}

/// Which jobs are asked for.
pub enum Selector {
    Job(String),
    Jobs(Vec<String>),
    MostRecent(Filters),
    List(Filters, usize),
}

/// The query as it was given, key by key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    fine_tuning_job_id: Text,
    fine_tuning_job_ids: Text,
    most_recent: Text,
    list: Text,
    model: Text,
    status: Text,
    suffix: Text,
    metadata: Text,
    limit: Text,
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
        serde_json::from_value(Value::Object(query)).map_err(|error| not_right("the query", &error))
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
        serde_json::from_str(text).map_err(|error| not_right("the query on stdin", &error))
    }

    /// Which jobs are asked for.
    pub fn selector(&self) -> Result<Selector> {
        let most_recent = flag("most_recent", &self.most_recent)?;
        let list = flag("list", &self.list)?;
        let selectors = [
            ("fine_tuning_job_id", self.fine_tuning_job_id.is_some()),
            ("fine_tuning_job_ids", self.fine_tuning_job_ids.is_some()),
            ("most_recent", most_recent),
            ("list", list),
        ];
        let given: Vec<_> = selectors.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        let filtered = most_recent || list;
        for (key, value, fits, partners) in [
            ("model", &self.model, filtered, "most_recent or list"),
            ("status", &self.status, filtered, "most_recent or list"),
            ("suffix", &self.suffix, filtered, "most_recent or list"),
            ("metadata", &self.metadata, filtered, "most_recent or list"),
            ("limit", &self.limit, list, "list"),
            ("wait", &self.wait, !list, "fine_tuning_job_id, fine_tuning_job_ids or most_recent"),
            ("require_status", &self.require_status, !list, "fine_tuning_job_id, fine_tuning_job_ids or most_recent"),
        ] {
            ensure!(value.is_none() || fits, "{key} goes with {partners}");
        }
        match given[..] {
            [] => bail!(
                "the query has no fine_tuning_job_id, such as ftjob-abc123 (nor fine_tuning_job_ids, most_recent or list): \
                 say which job to read"
            ),
            ["fine_tuning_job_id"] => Ok(Selector::Job(self.fine_tuning_job_id()?)),
            ["fine_tuning_job_ids"] => Ok(Selector::Jobs(self.fine_tuning_job_ids()?)),
            ["most_recent"] => Ok(Selector::MostRecent(self.filters()?)),
            ["list"] => Ok(Selector::List(self.filters()?, self.limit()?)),
            _ => bail!("the query can have only one of {}", given.join(", ")),
        }
    }

    fn fine_tuning_job_id(&self) -> Result<String> {
        let id = self.fine_tuning_job_id.clone().unwrap_or_default();
        ensure!(is_id(&id), "fine_tuning_job_id is {}, {NO_ID}", shown(&id));
        Ok(id)
    }

    /// Each ID once, in the order in which they are given.
    fn fine_tuning_job_ids(&self) -> Result<Vec<String>> {
        let text = self.fine_tuning_job_ids.as_deref().unwrap_or_default();
        let all: Vec<String> = serde_json::from_str(text).with_context(|| {
            r#"fine_tuning_job_ids is not a JSON array of strings, such as ["ftjob-a","ftjob-b"] (in Terraform: jsonencode)"#
        })?;
        ensure!(all.len() <= MOST_IDS, "fine_tuning_job_ids has {} IDs; it can have at most {MOST_IDS}", all.len());
        if let Some(other) = all.iter().find(|id| !is_id(id)) {
            bail!("fine_tuning_job_ids has {}, {NO_ID}", shown(other));
        }
        let mut seen = BTreeSet::new();
        Ok(all.iter().filter(|id| seen.insert(*id)).cloned().collect())
    }

    fn filters(&self) -> Result<Filters> {
        if let Some(status) = self.status.as_deref() {
            ensure!(
                STATUSES.contains(&status),
                "status is {}; it can be one of: {}",
                shown(status),
                STATUSES.join(", ")
            );
        }
        let metadata = match self.metadata.as_deref() {
            None => BTreeMap::new(),
            Some(text) => serde_json::from_str(text).context(
                r#"metadata is not a JSON object of strings, such as {"env":"prod"} (in Terraform: jsonencode)"#,
            )?,
        };
        Ok(Filters { model: self.model.clone(), status: self.status.clone(), suffix: self.suffix.clone(), metadata })
    }

    fn limit(&self) -> Result<usize> {
        let Some(text) = self.limit.as_deref() else {
            return Ok(DEFAULT_LIMIT);
        };
        let limit = text.parse().ok().filter(|limit| (1..=MOST_JOBS).contains(limit));
        limit.with_context(|| format!("limit is {}; it should be a whole number from 1 to {MOST_JOBS}", shown(text)))
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
                    "require_status is {}; it can be, or be several separated by commas{waiting}: {}",
                    shown(self.require_status.as_deref().unwrap_or_default()),
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

/// What serde says of a query, which has keys rather than fields.
fn not_right(query: &str, error: &serde_json::Error) -> Error {
    anyhow!("{query} is not right: {}", error.to_string().replacen(" field `", " key `", 1))
}

/// A value as it stands in a message: nobody needs to see all of a long one, least of all if it is a key.
fn shown(value: &str) -> String {
    match value.chars().count() {
        ..=100 => format!("{value:?}"),
        length => format!("a value of {length} characters"),
    }
}

fn flag(key: &str, value: &Text) -> Result<bool> {
    match value.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => bail!(r#"{key} is {}; it can be "true" or "false""#, shown(other)),
    }
}

fn duration(key: &str, text: &str, most: &str) -> Result<Duration> {
    // humantime also knows years and nanoseconds, words and blanks; a configuration needs one way to say it.
    let units_are_known =
        text.split(|c: char| c.is_ascii_digit()).all(|unit| ["", "d", "h", "m", "s", "ms"].contains(&unit));
    let parsed = humantime::parse_duration(text).ok().filter(|_| units_are_known);
    let Some(duration) = parsed else {
        bail!("{key} is {}; it should be a duration in whole d, h, m, s or ms, such as 90s or 1h30m", shown(text));
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
            assert!(matches!(query.selector().unwrap(), Selector::Job(id) if id == "ftjob-abc123"));
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
        fn any_object_of_known_keys_is_a_query_or_an_error(key in "[a-z_]{0,20}|timeout|base_url|fine_tuning_job_ids|metadata|limit", value in ".*") {
            let text = serde_json::json!({ "fine_tuning_job_id": value, key: value }).to_string();
            if let Ok(query) = Query::from_json(text.as_bytes()) {
                let _ = (query.selector(), query.timeout(), query.allow_http());
            }
        }
    }
}
