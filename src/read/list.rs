//! Finds jobs in the list, newest first.

use anyhow::{Result, anyhow, ensure};

use crate::http::{Api, Deadline, MAX_PAGE};
use crate::job::{Filters, Job, Mismatches};

/// The newest job that matches.
///
/// # Errors
/// No job matches, with what came nearest; or the list could not be read.
pub fn most_recent(api: &Api, filters: &Filters, deadline: &Deadline) -> Result<Job> {
    let mut mismatches = Mismatches::default();
    let (mut jobs, _) = search(api, filters, 1, deadline, &mut mismatches)?;
    jobs.pop().ok_or_else(|| anyhow!("{}: {mismatches}", api.quote(&format!("there is no fine-tuning job{filters}"))))
}

/// The newest jobs that match, at most `limit`, and whether there may be more of them.
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
    // Where the API applies all filters itself, one page of just these jobs should do.
    let mut size = if filters.are_all_the_apis() { limit.min(MAX_PAGE) } else { MAX_PAGE };
    let (mut jobs, mut after) = (Vec::new(), None);
    loop {
        let page = api.page(size, after.as_deref(), &filters.metadata, deadline);
        let page = page.map_err(|error| anyhow!("could not read the list of fine-tuning jobs: {error}"))?;
        let last = page.jobs.last().map(|job| job.id().to_owned());
        let mut has_more = page.has_more;
        let is_new = if last.is_some() { last != after } else { !has_more };
        ensure!(is_new, "the list of fine-tuning jobs does not end: the API sends the same page again");
        for job in page.jobs {
            let mismatch = filters.mismatches(&job);
            if !mismatch.is_empty() {
                mismatches.add(&mismatch);
            } else if jobs.len() < limit {
                jobs.push(job);
            } else {
                has_more = true;
            }
        }
        if jobs.len() == limit || !has_more {
            return Ok((jobs, has_more));
        }
        (after, size) = (last, MAX_PAGE);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
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
        let found = list(&Api::new(&endpoint, timeout), &filters, limit, &Deadline::timeout(timeout));
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
        assert_eq!((found.unwrap().0.len(), &*requests[0]), (1, "/v1/fine_tuning/jobs?limit=1"));
    }

    #[test]
    fn a_long_list_is_read_to_its_end() {
        let filters = Filters { status: Some("running".into()), ..Filters::default() };
        let (found, requests) = find(12_000, filters, 1);
        let (jobs, has_more) = found.unwrap();
        assert_eq!((jobs.len(), has_more, requests.len()), (0, false, 120));
    }

    #[test]
    fn the_same_page_again_is_an_error() {
        let address =
            test_server::start(|_| json!({ "has_more": true, "data": [{ "object": "fine_tuning.job", "id": "a" }] }));
        let endpoint = test_server::endpoint(&address.to_string());
        let timeout = Duration::from_secs(60);
        let filters = Filters { metadata: BTreeMap::from([("a".into(), "b".into())]), ..Filters::default() };
        let error = most_recent(&Api::new(&endpoint, timeout), &filters, &Deadline::timeout(timeout)).err().unwrap();
        assert!(error.to_string().contains("does not end"), "{error}");
    }
}
