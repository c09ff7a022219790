//! What the jobs must have for the run to succeed.

use anyhow::{Result, bail};

use crate::job::Job;
use crate::message::first_of;

/// # Errors
/// The status of a job is none of those wanted, with the reason that the API gives. Any will do if none is wanted.
pub fn status(jobs: &[Job], wanted: &[String]) -> Result<()> {
    let is_unmet = |job: &&Job| !wanted.is_empty() && wanted.iter().all(|wanted| wanted != job.status());
    let unmet: Vec<_> = jobs.iter().filter(is_unmet).collect();
    let Some(job) = unmet.first() else {
        return Ok(());
    };
    let mut reason = reason(job);
    if !job.is_final() {
        reason += "; set wait, such as 1h, to wait until it is final";
    }
    let of = first_of(unmet.len(), jobs.len());
    bail!("fine-tuning job {}{of} is {}, not {}{reason}", job.id(), job.progress(), wanted.join(" or "))
}

/// Why the job failed, as it goes on a sentence about its status.
fn reason(job: &Job) -> String {
    job.error().iter().map(|part| format!(": {part}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(attributes: Value) -> Job {
        let mut api = attributes;
        api["object"] = json!("fine_tuning.job");
        Job::new(api).unwrap()
    }

    #[test]
    fn an_unmet_status_comes_with_its_reason() {
        let job = |id: &str, status: &str, error: Value| job(json!({ "id": id, "status": status, "error": error }));
        let jobs = [
            job("a", "succeeded", json!(null)),
            job("b", "failed", json!({ "code": "c", "message": "m" })),
            job("d", "running", json!({})),
        ];
        let line = |jobs: &[Job], wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
            status(jobs, &wanted).err().map(|error| error.to_string())
        };
        assert_eq!(line(&jobs, &[]), None);
        assert_eq!(line(&jobs, &["succeeded", "failed", "running"]), None);
        assert_eq!(
            line(&jobs, &["succeeded"]).unwrap(),
            "fine-tuning job b (the first of 2 such among 3 jobs) is failed, not succeeded: c: m"
        );
        assert_eq!(
            line(&jobs[2..], &["succeeded", "failed"]).unwrap(),
            "fine-tuning job d is running, not succeeded or failed; set wait, such as 1h, to wait until it is final"
        );
    }
}
