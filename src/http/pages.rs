//! The API's lists that come in pages: jobs, a job's checkpoints, and what it reported.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::api::Api;
use super::client::Request;
use super::deadline::Deadline;
use super::error::{Kind, RequestError, Retry};
use super::{response, send};
use crate::job::{Charge, Cost, Job, MAX_ID};
use crate::text::{Line, format_time, quote};

/// The API's largest page, of jobs or of events.
const MAX_PAGE: usize = 100;
/// How many checkpoints are read at most; a job has a few hundred.
const MAX_CHECKPOINTS: usize = 1000;
/// How many pages of events are read at most, to show people what they missed.
const MAX_EVENT_PAGES: usize = 10;

/// A part of the list of jobs.
pub struct Page {
    pub jobs: Vec<Job>,
    pub has_more: bool,
}

/// Something that a job reported.
pub struct Event {
    pub id: String,
    /// Time, level and message.
    pub line: Line,
}

impl Api<'_> {
    /// Lists fine-tuning jobs, the newest first: `GET /fine_tuning/jobs` in OpenAI's API reference. A page begins behind
    /// the job `after`.
    pub fn page(
        &self,
        after: Option<&str>,
        metadata: &BTreeMap<String, String>,
        deadline: &Deadline,
    ) -> Result<Page, RequestError> {
        let mut query = page_query(after);
        query.extend(metadata.iter().map(|(key, value)| (format!("metadata[{key}]"), value.clone())));
        let (mut answer, _) = self.get("fine_tuning/jobs", query, deadline)?;
        let entries = self.entries(&mut answer, "fine-tuning jobs")?;
        let mut jobs = Vec::with_capacity(entries.len());
        for (place, entry) in (1..).zip(entries) {
            let job = Job::new(entry).map_err(|entry| {
                let what = self.not_a_job(&entry);
                self.unexpected(&format!("a list of fine-tuning jobs whose entry {place} is {what}"))
            })?;
            // The page is given up, each job counts by itself: most may be dropped.
            let charge = self.budget.take(Cost::of_value(job.api()));
            let charge = charge.map_err(|error| response::too_much(self.client.endpoint(), &error))?;
            jobs.push(job.charged(charge));
        }
        Ok(Page { jobs, has_more: self.has_more(&answer, "fine-tuning jobs")? })
    }

    /// The job's checkpoints, each once, in the server's order: `GET /fine_tuning/jobs/{id}/checkpoints` in OpenAI's API
    /// reference.
    pub fn checkpoints(&self, id: &str, deadline: &Deadline) -> Result<Vec<Value>, RequestError> {
        let path = format!("fine_tuning/jobs/{id}/checkpoints");
        let mut checkpoints: Vec<Value> = Vec::new();
        let (mut seen, mut after) = (HashSet::new(), None);
        loop {
            let (mut page, charge) = self.get(&path, page_query(after.as_deref()), deadline)?;
            charge.keep();
            let entries = self.entries_with_ids(&mut page, "checkpoints")?;
            after = entries.last().map(|last| text(&last["id"]));
            let seen_before = seen.len();
            checkpoints.extend(entries.into_iter().filter(|entry| seen.insert(text(&entry["id"]))));
            let has_more = self.has_more(&page, "checkpoints")?;
            if checkpoints.len() > MAX_CHECKPOINTS || (checkpoints.len() == MAX_CHECKPOINTS && has_more) {
                let message = format!("the job has more than {MAX_CHECKPOINTS} checkpoints");
                return Err(RequestError::new(message, String::new(), Retry::Never, Kind::Response));
            } else if !has_more {
                return Ok(checkpoints);
            } else if seen.len() == seen_before {
                return Err(self.unexpected("a page of checkpoints that has nothing new, and says that there are more"));
            }
        }
    }

    /// What the job reported since the event `newest`, oldest first; without one, only what fits on a page.
    /// `GET /fine_tuning/jobs/{id}/events` in OpenAI's API reference.
    pub fn events_since(
        &self,
        id: &str,
        newest: Option<&str>,
        deadline: &Deadline,
    ) -> Result<Vec<Event>, RequestError> {
        let path = format!("fine_tuning/jobs/{id}/events");
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..MAX_EVENT_PAGES {
            let after = events.last().map(|event| event.id.as_str());
            let (page, _) = self.get(&path, page_query(after), deadline)?;
            let data = page["data"].as_array().into_iter().flatten();
            let unseen = data.take(MAX_PAGE).map_while(|event| {
                let id = event["id"].as_str().filter(|id| Some(*id) != newest && id.len() <= MAX_ID)?;
                Some(Event { id: id.to_owned(), line: self.event_line(event) })
            });
            let seen_before = events.len();
            events.extend(unseen);
            let is_whole_page = events.len() - seen_before == MAX_PAGE;
            if newest.is_none() || !is_whole_page || page["has_more"] != true {
                break;
            }
        }
        events.reverse();
        Ok(events)
    }

    fn get(
        &self,
        path: &str,
        query: Vec<(String, String)>,
        deadline: &Deadline,
    ) -> Result<(Value, Charge), RequestError> {
        let read = |body: &[u8]| self.tree(body);
        send::get(&self.client, Request::get(path.into(), query, &read), deadline)
    }

    fn event_line(&self, event: &Value) -> Line {
        let time = event["created_at"].as_u64().and_then(format_time).unwrap_or_default();
        let text = |key: &str| quote(event[key].as_str().unwrap_or_default(), self.secrets());
        Line::new(&format!("{time} {}: {}", text("level"), text("message")), self.secrets())
    }

    /// Takes the entries out of a list. Some servers have null in place of an empty list.
    fn entries(&self, answer: &mut Value, what: &str) -> Result<Vec<Value>, RequestError> {
        match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(entries)) => Ok(entries),
            Some(Value::Null) => Ok(Vec::new()),
            _ => Err(self.unexpected(&format!("JSON that is not a list of {what}"))),
        }
    }

    /// Whether there are more pages. A list that ends early because nobody understood it would look whole.
    fn has_more(&self, answer: &Value, what: &str) -> Result<bool, RequestError> {
        match answer["has_more"] {
            Value::Bool(has_more) => Ok(has_more),
            Value::Null => Ok(false),
            _ => Err(self.unexpected(&format!("a list of {what} whose has_more is neither true nor false"))),
        }
    }

    /// The same of a list whose entries all have an ID that fits into a URL.
    fn entries_with_ids(&self, answer: &mut Value, what: &str) -> Result<Vec<Value>, RequestError> {
        let entries = self.entries(answer, what)?;
        if entries.iter().any(|entry| !entry["id"].is_string()) {
            return Err(self.unexpected(&format!("JSON that is not a list of {what}")));
        }
        let is_long = |entry: &Value| entry["id"].as_str().is_some_and(|id| id.len() > MAX_ID);
        let what = format!("a list of {what} with an ID of over {MAX_ID} bytes");
        if entries.iter().any(is_long) { Err(self.unexpected(&what)) } else { Ok(entries) }
    }
}

/// The query for the page that begins behind the entry `after`.
fn page_query(after: Option<&str>) -> Vec<(String, String)> {
    let mut query = vec![("limit".to_owned(), MAX_PAGE.to_string())];
    query.extend(after.map(|after| ("after".to_owned(), after.to_owned())));
    query
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_server::with_api;
    use super::*;

    #[test]
    fn only_a_list_of_jobs_is_a_page() {
        let page = |answer| with_api(answer, |api, deadline| api.page(None, &BTreeMap::new(), deadline));
        let job = json!({ "object": "fine_tuning.job", "id": "a" });
        let answer = page(json!({ "data": [job], "has_more": true })).unwrap();
        assert_eq!((answer.jobs.len(), answer.has_more), (1, true));
        for empty in [json!([]), json!(null)] {
            let answer = page(json!({ "data": empty })).unwrap();
            assert_eq!((answer.jobs.len(), answer.has_more), (0, false));
        }
        for answer in [json!([]), json!({}), json!({ "data": {} }), json!({ "data": "" })] {
            let error = page(answer).err().unwrap();
            assert!(error.to_string().ends_with("JSON that is not a list of fine-tuning jobs; check base_url"));
        }
        for (entry, expected) in [
            (json!({}), "JSON that is not a fine-tuning job"),
            (json!(1), "JSON that is not a fine-tuning job"),
            (json!({ "object": "model" }), r#"an object of type "model", not a fine-tuning job"#),
            (json!({ "object": "fine_tuning.job", "id": "../x" }), "a job without a valid ID"),
        ] {
            let error = page(json!({ "data": [job, entry] })).err().unwrap().to_string();
            let expected =
                format!("answered with a list of fine-tuning jobs whose entry 2 is {expected}; check base_url");
            assert!(error.ends_with(&expected), "{error}");
        }
    }
}
