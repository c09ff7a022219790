//! Finds jobs in the list, newest first.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use anyhow::{Result, anyhow, bail, ensure};

use crate::http::{Api, Deadline};
use crate::job::{Filters, Job, Mismatches};
use crate::text::quote;

/// The longest list that is read: a server could go on without end.
const MAX_PAGES: usize = 1000;
const MAX_LISTED: usize = 100_000;

/// The newest job that matches, of those on the first page that has one.
///
/// # Errors
/// No job matches, with what came nearest; or the list could not be read.
pub fn most_recent(api: &Api, filters: &Filters, deadline: &Deadline) -> Result<Job> {
    let mut mismatches = Mismatches::default();
    let (mut jobs, _) = search(api, filters, 1, deadline, &mut mismatches)?;
    jobs.pop().ok_or_else(|| {
        anyhow!("{}: {mismatches}", quote(&format!("there is no fine-tuning job{filters}"), api.secrets()))
    })
}

/// The newest jobs that match, at most `limit`, and whether there may be more of them. A job that is listed twice counts
/// once.
pub fn list(api: &Api, filters: &Filters, limit: usize, deadline: &Deadline) -> Result<(Vec<Job>, bool)> {
    search(api, filters, limit, deadline, &mut Mismatches::default())
}

/// Reads page after page until there are enough jobs that match; counts those that do not.
fn search(
    api: &Api,
    filters: &Filters,
    limit: usize,
    deadline: &Deadline,
    mismatches: &mut Mismatches,
) -> Result<(Vec<Job>, bool)> {
    let (mut jobs, mut after) = (Vec::new(), None);
    // Only the hashes of the IDs are kept: they are small whatever the server sends.
    let (mut seen, hasher) = (HashSet::new(), RandomState::new());
    for _ in 0..MAX_PAGES {
        let page = api.page(after.as_deref(), &filters.metadata, deadline);
        let page = page.map_err(|error| anyhow!("could not read the list of fine-tuning jobs: {error}"))?;
        after = page.jobs.last().map(|job| job.id().to_owned());
        let seen_before = seen.len();
        for job in page.jobs {
            if !seen.insert(hasher.hash_one(job.id())) {
                continue;
            }
            let mismatch = filters.mismatches(&job);
            if mismatch.is_empty() {
                jobs.push(job);
            } else {
                mismatches.add(&mismatch);
            }
        }
        if jobs.len() >= limit || !page.has_more {
            let has_more = page.has_more || jobs.len() > limit;
            // Some servers begin with the oldest.
            jobs.sort_by(|one, other| other.created_at().total_cmp(&one.created_at()));
            jobs.truncate(limit);
            return Ok((jobs, has_more));
        }
        ensure!(
            seen.len() > seen_before,
            "the list of fine-tuning jobs does not end: the API sends no new job, and says that there are more"
        );
        if seen.len() > MAX_LISTED {
            break;
        }
    }
    bail!("the list of fine-tuning jobs is too long: more than {MAX_LISTED} jobs or {MAX_PAGES} pages were read");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::http::test_server;

    /// Searches a list of `count` jobs, whose newest has the highest number. Returns the result, and the requests.
    fn find(count: usize, filters: Filters, limit: usize) -> (Result<(Vec<Job>, bool)>, Vec<String>) {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let noted = requests.clone();
        let address = test_server::start(move |path| {
            noted.lock().unwrap().push(path.to_owned());
            let query = path.split('?').nth(1).unwrap();
            let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            let size: usize = parameter("limit").unwrap().parse().unwrap();
            let before = parameter("after").map_or(count, |after| after.parse().unwrap());
            let numbers = (0..before).rev().take(size);
            let job = |number| json!({ "object": "fine_tuning.job", "id": number, "status": "succeeded" });
            let data: Value = numbers.map(|number| job(number.to_string())).collect();
            json!({ "has_more": before > size, "data": data })
        });
        let endpoint = test_server::endpoint(&address.to_string());
        let timeout = Duration::from_secs(60);
        let found = list(&Api::new(&endpoint, None, timeout), &filters, limit, &Deadline::timeout(timeout));
        let requests = requests.lock().unwrap().clone();
        (found, requests)
    }

    #[test]
    fn pages_follow_one_another_until_there_are_enough() {
        let (found, requests) = find(250, Filters::default(), 120);
        let (jobs, has_more) = found.unwrap();
        assert_eq!((jobs[0].id(), jobs[119].id(), jobs.len(), has_more), ("249", "130", 120, true));
        let path = "/v1/fine_tuning/jobs?limit=100";
        assert_eq!(requests, [path.to_owned(), format!("{path}&after=150")]);

        let (found, requests) = find(250, Filters::default(), 1000);
        assert_eq!((found.unwrap().0.len(), requests.len()), (250, 3));
        let (found, requests) = find(250, Filters::default(), 1);
        assert_eq!((found.unwrap().0.len(), requests.len()), (1, 1));
    }

    #[test]
    fn a_long_list_is_read_to_its_end() {
        let filters = Filters { status: Some("running".into()), ..Filters::default() };
        let (found, requests) = find(12_000, filters, 1);
        let (jobs, has_more) = found.unwrap();
        assert_eq!((jobs.len(), has_more, requests.len()), (0, false, 120));
    }

    /// Calls the API, whose list is at first the page with the first of these jobs, and then those behind `after`.
    fn with_pages<T>(
        pages: impl Fn(Option<&str>) -> Value + Clone + Send + 'static,
        call: impl Fn(&Api, &Deadline) -> T,
    ) -> T {
        let address = test_server::start(move |path| pages(path.split_once("&after=").map(|(_, after)| after)));
        let endpoint = test_server::endpoint(&address.to_string());
        let timeout = Duration::from_secs(60);
        call(&Api::new(&endpoint, None, timeout), &Deadline::timeout(timeout))
    }

    fn page(jobs: &[(&str, u64)], has_more: bool) -> Value {
        let job = |(id, time): &(&str, u64)| json!({ "object": "fine_tuning.job", "id": id, "created_at": time });
        json!({ "data": jobs.iter().map(job).collect::<Value>(), "has_more": has_more })
    }

    #[test]
    fn a_list_that_does_not_end_is_an_error() {
        for next in [
            |_: &str| page(&[], true),
            |_: &str| page(&[("a", 1)], true),
            |after: &str| page(&[(if after == "a" { "b" } else { "a" }, 1)], true),
        ] {
            let pages = move |after: Option<&str>| after.map_or_else(|| page(&[("a", 1)], true), next);
            let filters = Filters { model: Some("other".into()), ..Filters::default() };
            let error = with_pages(pages, |api, deadline| most_recent(api, &filters, deadline)).err().unwrap();
            assert!(error.to_string().contains("does not end"), "{error}");
        }
        // Each page has a new job, for as long as anybody asks.
        let pages = |after: Option<&str>| {
            let number: u64 = after.map_or(0, |after| after.parse().unwrap()) + 1;
            page(&[(&number.to_string(), number)], true)
        };
        let error = with_pages(pages, |api, deadline| list(api, &Filters::default(), 10_000, deadline)).err().unwrap();
        assert!(error.to_string().contains("more than 100000 jobs or 1000 pages"), "{error}");
    }

    #[test]
    fn a_job_counts_once() {
        let pages = |after: Option<&str>| match after {
            None => page(&[("d", 4), ("c", 3)], true),
            Some("c") => page(&[("c", 3), ("b", 2)], true),
            _ => page(&[("b", 2), ("a", 1)], false),
        };
        let (jobs, has_more) = with_pages(pages, |api, deadline| list(api, &Filters::default(), 20, deadline)).unwrap();
        assert_eq!((jobs.iter().map(Job::id).collect::<Vec<_>>(), has_more), (vec!["d", "c", "b", "a"], false));
    }

    #[test]
    fn the_newest_comes_first_in_whatever_order_they_are_listed() {
        let pages = |_: Option<&str>| page(&[("a", 1), ("c", 3), ("b", 2)], true);
        let newest = with_pages(pages, |api, deadline| most_recent(api, &Filters::default(), deadline)).unwrap();
        assert_eq!(newest.id(), "c");
        let (jobs, has_more) = with_pages(pages, |api, deadline| list(api, &Filters::default(), 2, deadline)).unwrap();
        assert_eq!((jobs.iter().map(Job::id).collect::<Vec<_>>(), has_more), (vec!["c", "b"], true));
    }
}
