//! Looks through the list of jobs, newest first, for those that fit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::{iter, mem};

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;

use crate::api::{Api, PAGE, Page};
use crate::job;
use crate::message::shorten;
use crate::retry::Pass;

/// More jobs than this are not looked through: an API that gives the same page for ever must not be asked for ever.
pub const MOST_JOBS: usize = 10_000;
/// How many values a message tells.
const TOLD: usize = 3;

/// What a job has to have, exactly. All jobs fit where nothing is given.
#[derive(Default)]
pub struct Filters {
    pub model: Option<String>,
    pub status: Option<String>,
    pub suffix: Option<String>,
    /// Pairs that all have to be in the job's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// What was found.
pub struct Listing {
    /// Newest first.
    pub jobs: Vec<Value>,
    /// Whether there are jobs that were not looked through.
    pub has_more: bool,
}

/// The newest job that fits.
///
/// # Errors
/// No job fits, with the nearest miss; or the list could not be read.
pub fn most_recent(api: &Api, filters: &Filters, pass: &Pass) -> Result<Value> {
    let mut misses = Misses::default();
    let mut found = search(api, filters, 1, pass, |job| misses.count(job, filters))?;
    found
        .jobs
        .pop()
        .ok_or_else(|| anyhow!("there is no fine-tuning job{}: {misses}", shorten(filters.to_string(), 300)))
}

/// The newest jobs that fit, `limit` at most.
///
/// # Errors
/// The list could not be read.
pub fn list(api: &Api, filters: &Filters, limit: usize, pass: &Pass) -> Result<Listing> {
    search(api, filters, limit, pass, |_| ())
}

/// `missed` is told of each job that does not fit.
fn search(api: &Api, filters: &Filters, limit: usize, pass: &Pass, mut missed: impl FnMut(&Value)) -> Result<Listing> {
    // Where the API can pass every filter itself, one page of just these jobs should do.
    let first = if filters.attributes().next().is_none() { limit.min(PAGE) } else { PAGE };
    let (mut jobs, mut has_more) = (Vec::new(), false);
    for page in pages(api, first, &filters.metadata, pass) {
        let page = page?;
        has_more = page.has_more;
        for job in page.jobs {
            match filters.misses(&job).is_empty() {
                true if jobs.len() < limit => jobs.push(job),
                true => has_more = true,
                false => missed(&job),
            }
        }
        if jobs.len() == limit {
            break;
        }
    }
    Ok(Listing { jobs, has_more })
}

/// The pages of the list, the newest jobs first: one of `first` jobs, then such of the API's largest size. An error is
/// the last that comes.
///
/// # Errors
/// A page could not be read, or the list does not end.
pub fn pages(
    api: &Api,
    first: usize,
    metadata: &BTreeMap<String, String>,
    pass: &Pass,
) -> impl Iterator<Item = Result<Page>> {
    let (mut size, mut after, mut looked_through, mut has_more) = (first, None, 0, true);
    let does_not_end = |looked_through| {
        format!(
            "the list of fine-tuning jobs does not end: {looked_through} jobs were looked through; narrow the search \
             with metadata"
        )
    };
    iter::from_fn(move || {
        mem::take(&mut has_more).then(|| {
            ensure!(looked_through < MOST_JOBS, does_not_end(looked_through));
            let page = api.jobs(size, after.as_deref(), metadata, pass);
            let page = page.map_err(|failed| anyhow!("the list of fine-tuning jobs was not read: {}", failed.why))?;
            looked_through += page.jobs.len();
            let last = page.jobs.last().map(|job| job::id(job).to_owned());
            let gets_on = if last.is_some() { last != after } else { !page.has_more };
            ensure!(gets_on, does_not_end(looked_through));
            has_more = page.has_more;
            (after, size) = (last, PAGE);
            Ok(page)
        })
    })
}

impl Filters {
    /// What the API cannot be asked for: the filter's name, the job's attribute, and the value it has to have.
    fn attributes(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        let attributes = [
            ("model", "model", &self.model),
            ("status", "status", &self.status),
            ("suffix", "user_provided_suffix", &self.suffix),
        ];
        attributes.into_iter().filter_map(|(name, attribute, value)| Some((name, attribute, value.as_deref()?)))
    }

    /// The names of the filters that a job does not pass, with what it has instead.
    fn misses<'a>(&self, job: &'a Value) -> Vec<(&'static str, &'a str)> {
        let attributes = self.attributes().filter(|(_, attribute, value)| job[attribute] != *value);
        let attributes = attributes.map(|(name, attribute, _)| (name, job[attribute].as_str().unwrap_or("none")));
        // An API that does not know the parameter sends all jobs.
        let metadata = self.metadata.iter().any(|(key, value)| job["metadata"][key] != value.as_str());
        attributes.chain(metadata.then_some(("metadata", "other"))).collect()
    }
}

impl Display for Filters {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let attributes = self.attributes().map(|(name, _, value)| format!("{name} {value}"));
        let metadata = self.metadata.iter().map(|(key, value)| format!("metadata {key}={value}"));
        let mut joint = " with ";
        for filter in attributes.chain(metadata) {
            write!(f, "{joint}{filter}")?;
            joint = " and ";
        }
        Ok(())
    }
}

/// What was looked through without a fit, and what came nearest.
#[derive(Default)]
struct Misses {
    looked_through: usize,
    /// Of the jobs that do not pass one filter alone, by its name: how many, and what they have instead.
    by_one: BTreeMap<&'static str, (usize, BTreeSet<String>)>,
}

impl Misses {
    fn count(&mut self, job: &Value, filters: &Filters) {
        self.looked_through += 1;
        if let [(name, instead)] = filters.misses(job)[..] {
            let (count, all_instead) = self.by_one.entry(name).or_default();
            *count += 1;
            all_instead.insert(instead.to_owned());
        }
    }
}

impl Display for Misses {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} jobs were looked through", self.looked_through)?;
        if let Some((name, (count, instead))) = self.by_one.iter().max_by_key(|(_, (count, _))| count) {
            let instead: Vec<_> = instead.iter().take(TOLD).map(String::as_str).collect();
            write!(f, ", {count} of them fit but for their {name} ({})", instead.join(", "))?;
        }
        Ok(())
    }
}
