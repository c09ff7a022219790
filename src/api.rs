//! OpenAI's fine-tuning API, as far as it is needed here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use serde_json::Value;

use crate::http::Client;
use crate::job;
use crate::query::is_id;
use crate::retry::{self, Failed, Pass};
use crate::settings::Settings;

/// The API's largest page, of jobs or of events.
pub const PAGE: usize = 100;
/// However soon the API wants to be asked again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// How many pages of events are read at most, to show people what they missed.
const MAX_EVENT_PAGES: usize = 10;

/// A job as it was at one moment.
pub struct Look {
    pub job: Value,
    /// How long the API wants to be left alone.
    pub poll_after: Option<Duration>,
}

/// A part of the list of jobs.
pub struct Page {
    pub jobs: Vec<Value>,
    pub has_more: bool,
}

/// Something that a job reported.
pub struct Event {
    pub id: String,
    /// Time, level and message, fit for a terminal.
    pub line: String,
}

pub struct Api<'a> {
    client: Client<'a>,
}

impl<'a> Api<'a> {
    /// Makes no request yet.
    ///
    /// # Errors
    /// Certificates that the environment names and that cannot be used.
    pub fn new(settings: &'a Settings) -> Result<Self> {
        Ok(Api { client: Client::new(settings)? })
    }

    /// Retrieves a fine-tuning job: `GET /fine_tuning/jobs/{id}` in OpenAI's API reference.
    ///
    /// # Errors
    /// Whatever keeps the job from being had within the pass.
    pub fn job(&self, id: &str, pass: &Pass) -> Result<Look, Failed> {
        pass.run(|budget| {
            let (headers, job) = self.client.get(&format!("fine_tuning/jobs/{id}"), &[], budget)?;
            // The header by which OpenAI's SDK for Python paces its own polling, `lib/_assistants_runs.py`.
            let poll_after = retry::seconds(&headers, "openai-poll-after-ms", 0.001);
            Ok(Look { job: self.check(job, id)?, poll_after: poll_after.map(|pause| pause.max(SHORTEST_PAUSE)) })
        })
    }

    /// Lists fine-tuning jobs, the newest first: `GET /fine_tuning/jobs` in OpenAI's API reference. A page begins behind
    /// the job `after`.
    ///
    /// # Errors
    /// Whatever keeps the page from being had within the pass.
    pub fn jobs(
        &self,
        limit: usize,
        after: Option<&str>,
        metadata: &BTreeMap<String, String>,
        pass: &Pass,
    ) -> Result<Page, Failed> {
        let mut query = vec![("limit".to_owned(), limit.to_string())];
        query.extend(after.map(|after| ("after".to_owned(), after.to_owned())));
        query.extend(metadata.iter().map(|(key, value)| (format!("metadata[{key}]"), value.clone())));
        pass.run(|budget| self.page(self.client.get("fine_tuning/jobs", &query, budget)?.1))
    }

    fn page(&self, mut answer: Value) -> Result<Page, Failed> {
        let is_job = |job: &Value| job["object"] == "fine_tuning.job" && job["id"].as_str().is_some_and(is_id);
        match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(jobs)) if jobs.iter().all(is_job) => {
                Ok(Page { jobs, has_more: answer["has_more"] == true })
            }
            _ => Err(self.unexpected("JSON that is not a list of fine-tuning jobs")),
        }
    }

    /// What the job reported since the event `newest`, oldest first; of one that was not looked at before, only what
    /// fits on a page. `GET /fine_tuning/jobs/{id}/events` in OpenAI's API reference.
    ///
    /// # Errors
    /// A page could not be had at once, or not before `deadline`.
    pub fn events_since(&self, id: &str, newest: Option<&str>, deadline: Instant) -> Result<Vec<Event>, Failed> {
        let mut query = vec![("limit".to_owned(), PAGE.to_string())];
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..MAX_EVENT_PAGES {
            let left = deadline.saturating_duration_since(Instant::now());
            let (_, page) =
                self.client.get(&format!("fine_tuning/jobs/{id}/events"), &query, left.min(self.client.attempt()))?;
            let data = page["data"].as_array().into_iter().flatten();
            let unseen = data.map_while(|event| {
                let id = event["id"].as_str().filter(|id| Some(*id) != newest)?;
                Some(Event { id: id.to_owned(), line: self.event_line(event) })
            });
            let seen_before = events.len();
            events.extend(unseen);
            let whole_page = events.len() - seen_before == PAGE;
            if newest.is_none() || !whole_page || page["has_more"] != true {
                break;
            }
            query.truncate(1);
            query.extend(events.last().map(|event| ("after".to_owned(), event.id.clone())));
        }
        events.reverse();
        Ok(events)
    }

    fn event_line(&self, event: &Value) -> String {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(event["created_at"].as_u64().unwrap_or(0)));
        let text = |key: &str| self.client.quote(event[key].as_str().unwrap_or_default());
        format!("{} {}: {}", time.and_then(job::format_time).unwrap_or_default(), text("level"), text("message"))
    }

    /// Better no data than another job's, or what merely looks like a job.
    fn check(&self, answer: Value, id: &str) -> Result<Value, Failed> {
        let wrong = match (answer["object"].as_str(), answer["id"].as_str()) {
            (Some("fine_tuning.job"), Some(answered)) if answered == id => return Ok(answer),
            (Some("fine_tuning.job"), Some(answered)) => format!("another job, {}", self.client.quote(answered)),
            (Some("fine_tuning.job"), None) => "a job that has no ID".into(),
            (Some(object), _) => {
                format!("an object of the kind {:?}, not a fine-tuning job", self.client.quote(object))
            }
            (None, _) => "JSON that is not a fine-tuning job".into(),
        };
        Err(self.unexpected(&wrong))
    }

    fn unexpected(&self, what: &str) -> Failed {
        Failed::never(format!("{} answered with {what}; check {}", self.client.host(), self.client.base_url_name()))
    }

    /// What is being asked fails now, and whatever would be asked later.
    pub fn hang_up(&self) {
        self.client.hang_up();
    }

    /// What a server said, fit for a terminal.
    pub fn quote(&self, text: &str) -> String {
        self.client.quote(text)
    }
}
