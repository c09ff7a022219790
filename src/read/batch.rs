//! Reads jobs by their IDs: all of them, or none with an error that gives each reason once.

use anyhow::{Error, Result, anyhow};

use crate::http::{Api, Deadline, RequestError};
use crate::job::Job;

/// How many failures a message shows before it only counts them.
const SHOWN: usize = 3;

/// Reads all these jobs, in the order of the IDs, or none.
pub fn read_all(api: &Api, ids: &[&str], deadline: &Deadline) -> Result<Vec<Job>> {
    let (mut jobs, mut errors) = (Vec::new(), Vec::new());
    for (id, result) in ids.iter().zip(api.jobs(ids, deadline)) {
        match result {
            Ok(job) => jobs.push(job),
            Err(error) => errors.push((*id, error)),
        }
    }
    if errors.is_empty() { Ok(jobs) } else { Err(could_not_read(ids.len(), &errors)) }
}

/// Why some of `count` jobs could not be read: each reason once, and advice once if it is the same for all.
pub(super) fn could_not_read(count: usize, errors: &[(&str, RequestError)]) -> Error {
    if let ([(id, error)], 1) = (errors, count) {
        return anyhow!("could not read fine-tuning job {id}: {error}");
    }
    let mut reasons: Vec<(&RequestError, Vec<&str>)> = Vec::new();
    for (id, error) in errors {
        match reasons.iter_mut().find(|(reason, _)| reason.message == error.message) {
            Some((_, ids)) => ids.push(id),
            None => reasons.push((error, vec![id])),
        }
    }
    if let ([(reason, ids)], true) = (&reasons[..], errors.len() == count) {
        return anyhow!("could not read any of {} fine-tuning jobs: {reason}", ids.len());
    }
    let advice = &errors[0].1.advice;
    let is_shared = errors.iter().all(|(_, error)| error.advice == *advice);
    let shown = reasons.iter().take(SHOWN).map(|(error, ids)| {
        let reason = if is_shared { error.reason() } else { error.to_string() };
        format!("{}: {reason}", list(ids))
    });
    let shown: Vec<_> = shown.collect();
    let rest: usize = reasons.iter().skip(SHOWN).map(|(_, ids)| ids.len()).sum();
    let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    let advice = if is_shared && !advice.is_empty() { format!("; {advice}") } else { String::new() };
    let how_many = if errors.len() == count { "any".into() } else { errors.len().to_string() };
    anyhow!("could not read {how_many} of {count} fine-tuning jobs: {}{rest}{advice}", shown.join("; "))
}

fn list(ids: &[&str]) -> String {
    let rest = ids.len().saturating_sub(SHOWN);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{rest}", ids.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Kind, Retry};

    fn error(message: &str) -> RequestError {
        RequestError::new(message.into(), "do".into(), Retry::Never, Kind::Connection)
    }

    #[test]
    fn each_reason_is_shown_once() {
        let line = |count: usize, errors: &[(&str, &str)]| {
            let errors: Vec<_> = errors.iter().map(|(id, message)| (*id, error(message))).collect();
            could_not_read(count, &errors).to_string()
        };
        assert_eq!(line(1, &[("a", "x")]), "could not read fine-tuning job a: x; do");
        assert_eq!(line(2, &[("a", "x"), ("b", "x")]), "could not read any of 2 fine-tuning jobs: x; do");
        assert_eq!(line(3, &[("a", "x"), ("b", "x")]), "could not read 2 of 3 fine-tuning jobs: a, b: x; do");
        assert_eq!(line(2, &[("a", "x"), ("b", "y")]), "could not read any of 2 fine-tuning jobs: a: x; b: y; do");
        let many: Vec<_> = (0..9)
            .map(|n| {
                (["a", "b", "c", "d", "e", "f", "g", "h", "i"][n], ["x", "1", "2", "3"][n.saturating_sub(4).min(3)])
            })
            .collect();
        assert_eq!(
            line(10, &many),
            "could not read 9 of 10 fine-tuning jobs: a, b, c and 2 more: x; f: 1; g: 2; and 2 more; do"
        );
    }
}
