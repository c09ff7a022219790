//! The query, validated: what a run is to do. Nothing is parsed after this, and every error here is the caller's mistake.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::json_values::{JOB_IDS, MODEL_IDS, metadata};
use super::keys::{self, Form, Group, KEYS, Key};
use super::query::{Query, quoted_value};
use crate::endpoint::{Endpoint, Overrides, WorkloadIdentity};
use crate::job::{FINAL_STATUSES, Filters, STATUSES, is_id};
use crate::text::{self, Secrets};

/// How many jobs a list has unless the query says otherwise, and at most.
const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 10_000;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Request {
    pub selector: Selector,
    /// How long to wait until the jobs are final; `None` if they are to be read as they are.
    pub wait: Option<Duration>,
    /// The statuses that a job may have; empty if it may have any.
    pub require_status: Vec<String>,
    /// Whether to look up if the models are still served.
    pub availability: bool,
    /// For how long from now the models must be served; `None` if they need not be.
    pub require_available: Option<Duration>,
    /// Whether to read the job's checkpoints.
    pub checkpoints: bool,
    /// For all network work together: one job, all IDs, all pages, or one poll of a wait.
    pub timeout: Duration,
    pub endpoint: Endpoint,
    /// What is exchanged for the endpoint's access token, if that is its credential.
    pub identity: Option<WorkloadIdentity>,
}

/// Which jobs to read, or which models to look up.
pub enum Selector {
    One(String),
    Many(Vec<String>),
    MostRecent(Filters),
    List { filters: Filters, limit: usize },
    Models(Vec<String>),
}

impl Request {
    /// The query's own mistakes are reported before those of the environment, which `env` reads.
    pub fn new(query: &Query, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let selector = selector(query)?;
        let wait = duration(query, "wait")?;
        let require_status = require_status(query)?;
        let require_available = duration(query, "require_available")?;
        let availability = flag(query, "availability")? || require_available.is_some();
        let checkpoints = flag(query, "checkpoints")?;
        let timeout = duration(query, "timeout")?.unwrap_or(DEFAULT_TIMEOUT);
        let overrides = Overrides {
            base_url: query.get("base_url"),
            organization: query.get("organization"),
            project: query.get("project"),
            key_variable: query.get("api_key_env"),
            allow_http: flag(query, "allow_http")?,
        };
        let endpoint = Endpoint::new(overrides, env)?;
        let identity = WorkloadIdentity::new(&endpoint, env)?;
        without_secrets(query, &endpoint.secrets)?;
        Ok(Request {
            selector,
            wait,
            require_status,
            availability,
            require_available,
            checkpoints,
            timeout,
            endpoint,
            identity,
        })
    }
}

/// Exactly one selector, and only keys that go with it.
fn selector(query: &Query) -> Result<Selector> {
    let mut given = Vec::new();
    for key in KEYS {
        let is_given = if key.form == Form::Flag { flag(query, key.name)? } else { query.get(key.name).is_some() };
        if is_given {
            given.push(key);
        }
    }
    let selectors: Vec<_> = given.iter().filter(|key| key.group == Group::Selector).map(|key| key.name).collect();
    let [selector] = selectors[..] else {
        ensure!(selectors.is_empty(), "the query can have only one of {}", selectors.join(", "));
        let others: Vec<_> =
            KEYS.iter().filter(|key| key.group == Group::Selector).skip(1).map(|key| key.name).collect();
        bail!(
            "the query has no fine_tuning_job_id, such as ftjob-abc123 (nor {}): say which job to read",
            any_of(&others)
        );
    };
    for Key { name, partners, .. } in given {
        ensure!(partners.contains(&selector), "{name} can only be used with {}", any_of(partners));
    }
    match selector {
        "fine_tuning_job_id" => Ok(Selector::One(one_id(query)?)),
        "fine_tuning_job_ids" => Ok(Selector::Many(JOB_IDS.parse(query)?)),
        "most_recent" => Ok(Selector::MostRecent(filters(query)?)),
        "model_ids" => Ok(Selector::Models(MODEL_IDS.parse(query)?)),
        _ => Ok(Selector::List { filters: filters(query)?, limit: limit(query)? }),
    }
}

/// Such as `a, b or c`.
fn any_of(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => names.concat(),
    }
}

fn one_id(query: &Query) -> Result<String> {
    let id = query.get("fine_tuning_job_id").unwrap_or_default();
    ensure!(is_id(id), "fine_tuning_job_id is {}, {}", quoted_value(id), JOB_IDS.not_one());
    Ok(id.to_owned())
}

fn filters(query: &Query) -> Result<Filters> {
    let text = |key| query.get(key).map(ToOwned::to_owned);
    if let Some(status) = query.get("status") {
        ensure!(
            STATUSES.contains(&status),
            "status is {}; it can be one of: {}",
            quoted_value(status),
            STATUSES.join(", ")
        );
    }
    let metadata = query.get("metadata").map_or_else(|| Ok(BTreeMap::new()), metadata)?;
    Ok(Filters { model: text("model"), status: text("status"), suffix: text("suffix"), metadata })
}

fn limit(query: &Query) -> Result<usize> {
    let Some(text) = query.get("limit") else {
        return Ok(DEFAULT_LIMIT);
    };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.with_context(|| format!("limit is {}; it should be a whole number from 1 to {MAX_LIMIT}", quoted_value(text)))
}

fn require_status(query: &Query) -> Result<Vec<String>> {
    let Some(text) = query.get("require_status") else {
        return Ok(Vec::new());
    };
    // A wait ends when the job is final, so no other status makes sense with it.
    let waits = query.get("wait").is_some();
    let known = if waits { FINAL_STATUSES } else { STATUSES };
    let statuses: Vec<_> = text.split(',').map(|status| status.trim().to_owned()).collect();
    ensure!(
        statuses.iter().all(|status| known.contains(&status.as_str())),
        "require_status is {}; it can be one of these{}, or several separated by commas: {}",
        quoted_value(text),
        if waits { " with wait" } else { "" },
        known.join(", ")
    );
    Ok(statuses)
}

/// Terraform keeps the query in its state, where no secret should be.
fn without_secrets(query: &Query, secrets: &Secrets) -> Result<()> {
    for (key, value) in query.iter() {
        // Also what the escapes of a JSON text or of a URL stand for.
        let json = serde_json::from_str::<Value>(value).unwrap_or_default();
        let url = percent_decode_str(value).decode_utf8_lossy();
        let texts = [Value::from(value), json, Value::from(url)];
        let is_there = texts.iter().any(|text| secrets.are_in_json(&text.to_string()));
        ensure!(
            !is_there,
            "{key} contains a secret (the API key, a token, or a value in OPENAI_CUSTOM_HEADERS or OPENAI_BASE_URL), which \
             would get into Terraform's state: take it out of the query"
        );
    }
    Ok(())
}

fn flag(query: &Query, key: &str) -> Result<bool> {
    match query.get(key) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => bail!(r#"{key} is {}; it can be "true" or "false""#, quoted_value(other)),
    }
}

fn duration(query: &Query, key: &str) -> Result<Option<Duration>> {
    let (Some(text), Some(Key { form: Form::UpTo(most), .. })) = (query.get(key), keys::find(key)) else {
        return Ok(None);
    };
    // humantime also knows years and nanoseconds, words and blanks; a configuration needs one way to say it.
    let units_are_known =
        text.split(|c: char| c.is_ascii_digit()).all(|unit| ["", "d", "h", "m", "s", "ms"].contains(&unit));
    let parsed = humantime::parse_duration(text).ok().filter(|_| units_are_known);
    let Some(duration) = parsed else {
        bail!(
            "{key} is {}; it should be a duration such as 90s or 1m30s, in whole d, h, m, s or ms",
            quoted_value(text)
        );
    };
    ensure!(
        !duration.is_zero() && duration <= *most,
        "{key} is {}; it should be more than zero and at most {}",
        quoted_value(text),
        text::duration(*most)
    );
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env(name: &str) -> Option<OsString> {
        (name == "OPENAI_API_KEY").then(|| "not-a-real-key".into())
    }

    fn request(words: &[&str], env: &dyn Fn(&str) -> Option<OsString>) -> Result<Request> {
        Request::new(&Query::from_words(words.iter().map(ToString::to_string).collect())?, env)
    }

    #[test]
    fn durations_have_units_and_limits() {
        let duration = |text: &str| duration(&Query::from_words(vec![format!("timeout={text}")])?, "timeout");
        for (text, millis) in [("90s", 90_000), ("1h", 3_600_000), ("1m30s", 90_000), ("250ms", 250)] {
            assert_eq!(duration(text).unwrap(), Some(Duration::from_millis(millis)));
        }
        for text in ["90", "0s", "61m", "1.5s", "-1s", "1 h", "1y", "10us", "s", "1H", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("").unwrap(), None);
    }

    #[test]
    fn the_query_is_validated_before_the_environment() {
        for word in ["fine_tuning_job_id=a/b", "timeout=1", "base_url=ftp://x", "project=a b", "api_key_env=sk-x"] {
            let mut words = vec![word];
            if !word.starts_with("fine_tuning") {
                words.insert(0, "ftjob-x");
            }
            let key = word.split('=').next().unwrap();
            let error = request(&words, &|_| None).err().unwrap().to_string();
            assert!(error.starts_with(key), "{error}");
        }
        assert!(request(&["ftjob-x"], &|_| None).err().unwrap().to_string().starts_with("no API key"));
    }

    #[test]
    fn a_secret_in_the_query_is_an_error() {
        let secret = "not-a-real-key";
        let escaped = secret.replace('-', "\\u002d");
        for word in [
            format!("fine_tuning_job_ids=[\"a\",\"{secret}\"]"),
            format!("fine_tuning_job_ids=[\"{escaped}\"]"),
            format!("model_ids=[\"x-{secret}\"]"),
            format!("fine_tuning_job_id={secret}"),
            format!("model_ids=[\"{}\"]", secret.replace('-', "%2D")),
        ] {
            let error = request(&[&word], &env).err().unwrap().to_string();
            assert!(error.contains(" contains a secret (") && !error.contains(secret), "{error}");
        }
        for word in
            [format!("metadata={{\"{secret}\":\"x\"}}"), format!("suffix={secret}"), format!("project={secret}")]
        {
            let error = request(&["most_recent=true", &word], &env).err().unwrap().to_string();
            assert!(error.contains(" contains a secret (") && !error.contains(secret), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(1_000))]

        #[test]
        fn any_object_of_known_keys_is_a_request_or_an_error(key in "timeout|base_url|fine_tuning_job_ids|model_ids|metadata|limit|wait|api_key_env", value in ".*") {
            let text = json!({ "fine_tuning_job_id": "ftjob-x", key: value }).to_string();
            let _ = Query::from_json(text.as_bytes()).and_then(|query| Request::new(&query, &env));
        }
    }
}
