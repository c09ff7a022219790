//! What the jobs must have for the run to succeed: a status, or a model that is served for long enough.

use std::time::Duration;

use anyhow::{Result, bail};

use super::models::{Availability, Models};
use crate::job::{Job, base_of, is_same_status};
use crate::text::{DAY, and_others, duration, format_date};

/// How many jobs a message shows before it only counts them.
const SHOWN: usize = 3;

/// Checks that every job has one of the statuses that are wanted, if any are.
///
/// # Errors
/// A job has another status, with the reason that the API gives.
pub fn status(jobs: &[Job], wanted: &[String]) -> Result<()> {
    let is_met = |job: &Job| wanted.is_empty() || wanted.iter().any(|wanted| is_same_status(wanted, job.status()));
    let unmet: Vec<_> = jobs.iter().filter(|job| !is_met(job)).collect();
    let Some(job) = unmet.first() else {
        return Ok(());
    };
    let (id, others, progress) = (job.id(), and_others(unmet.len(), jobs.len()), job.progress());
    bail!(
        "require_status is not met: fine-tuning job {id}{others} is {progress}, not {}{}",
        wanted.join(" or "),
        reason(job)
    )
}

/// Checks that every job's model is served now, and for as long as `wanted` from `now`, in Unix seconds. A model
/// without an announced shutdown counts as served without end.
pub fn jobs_available(jobs: &[Job], models: &Models, wanted: Duration, now: u64) -> Result<()> {
    let unmet = jobs.iter().map(|job| {
        Ok(match models.of_job(job)? {
            None => Some(format!(
                "fine-tuning job {} is {} and names no fine-tuned model{}",
                job.id(),
                job.progress(),
                reason(job)
            )),
            Some(found) => {
                let subject = format!("the model {} of fine-tuning job {}", found.name, job.id());
                unavailable(&subject, &found, wanted, now)
            }
        })
    });
    available(unmet.collect::<Result<_>>()?, "jobs")
}

/// The same of models by their names.
pub fn models_available(names: &[String], models: &Models, wanted: Duration, now: u64) -> Result<()> {
    let unmet = names.iter().map(|name| {
        let found = models.find(name, base_of(name))?;
        Ok(unavailable(&format!("the model {name}"), &found, wanted, now))
    });
    available(unmet.collect::<Result<_>>()?, "models")
}

/// Fails if there is a reason for any of these jobs or models, with the first reasons.
fn available(unmet: Vec<Option<String>>, what: &str) -> Result<()> {
    let count = unmet.len();
    let unmet: Vec<_> = unmet.into_iter().flatten().collect();
    match &unmet[..] {
        [] => Ok(()),
        [line] if count == 1 => bail!("require_available is not met: {line}"),
        lines => {
            let shown: Vec<_> = lines.iter().take(SHOWN).map(String::as_str).collect();
            let rest = lines.len().saturating_sub(SHOWN);
            let rest = if rest > 0 { format!("; and {rest} more") } else { String::new() };
            bail!("{} of {count} {what} do not meet require_available: {}{rest}", lines.len(), shown.join("; "))
        }
    }
}

/// Why a model is not served for long enough; `None` if it is.
fn unavailable(subject: &str, found: &Availability, wanted: Duration, now: u64) -> Option<String> {
    let date = |seconds| format_date(seconds).unwrap_or_default();
    let base = found.base;
    if !found.is_listed {
        let known = match found.base_shutdown {
            _ if base == found.name => "it is not in the list of models".into(),
            Some(time) if time <= now => format!("its base model {base} was shut down on {}", date(time)),
            Some(time) => format!("its base model {base} is served until {}, so it may have been deleted", date(time)),
            None if found.is_base_listed => format!("its base model {base} still is, so it may have been deleted"),
            None => format!("nor is its base model {base}"),
        };
        return Some(format!("{subject} is no longer served ({known})"));
    }
    let end = found.shutdown()?;
    let (date, left) = (date(end), Duration::from_secs(end.saturating_sub(now)));
    if left >= wanted {
        return None;
    }
    let is_own = found.own_shutdown.is_some();
    if left.is_zero() {
        let what = if is_own { "it".into() } else { format!("its base model {base}") };
        return Some(format!("{subject} is still listed, but {what} was to be shut down on {date}"));
    }
    let why = if is_own { String::new() } else { format!(" (its base model {base} is shut down then)") };
    let left = match left.as_secs() / DAY.as_secs() {
        0 => "less than a day from now".into(),
        1 => "1 day from now".into(),
        days => format!("{days} days from now"),
    };
    let wanted = duration(wanted);
    Some(format!("{subject} is served until {date}{why}, {left}, not for {wanted}"))
}

/// Why the job has its status, and what to do about it, as it goes on a sentence about that.
fn reason(job: &Job) -> String {
    let advice = match job.status() {
        _ if job.is_final() => "",
        _ if job.is_paused() => "; resume it first",
        _ => "; set wait, such as 1h, to wait until it is final",
    };
    job.error().iter().map(|part| format!(": {part}")).chain([advice.into()]).collect()
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
        assert_eq!(line(&[job("e", "cancelled", json!(null)), job("f", "canceled", json!(null))], &["canceled"]), None);
        let paused = "require_status is not met: fine-tuning job g is paused, not succeeded; resume it first";
        assert_eq!(line(&[job("g", "paused", json!(null))], &["succeeded"]).unwrap(), paused);
        assert_eq!(
            line(&jobs, &["succeeded"]).unwrap(),
            "require_status is not met: fine-tuning job b (and 1 more of 3 jobs) is failed, not succeeded: c: m"
        );
        assert_eq!(
            line(&jobs[2..], &["succeeded", "failed"]).unwrap(),
            "require_status is not met: fine-tuning job d is running, not succeeded or failed; set wait, such as 1h, to wait until it is final"
        );
    }

    #[test]
    fn an_unavailable_model_comes_with_what_is_known() {
        let models = Models::of_entries([
            json!({ "id": "base", "shutdown_date": "2026-12-04" }),
            json!({ "id": "old", "shutdown_date": "2026-10-23" }),
            json!({ "id": "young" }),
            json!({ "id": "ft:base" }),
            json!({ "id": "ft:own", "shutdown_date": "2026-11-25" }),
            json!({ "id": "ft:young" }),
        ]);
        let now = 1_795_478_400; // 2026-11-24
        let job = |model: &str, base: &str| {
            job(json!({ "id": "ftjob-a", "model": base, "fine_tuned_model": model, "status": "succeeded" }))
        };
        let line = |jobs: &[Job], wanted: u32, now| {
            jobs_available(jobs, &models, DAY * wanted, now).err().map(|error| error.to_string())
        };
        assert_eq!(line(&[job("ft:base", "base"), job("ft:young", "young")], 10, now), None);
        for (model, base, expected) in [
            (
                "ft:base",
                "base",
                "is served until 2026-12-04 (its base model base is shut down then), 10 days from now, not for 30d",
            ),
            ("ft:own", "base", "is served until 2026-11-25, 1 day from now, not for 30d"),
            ("ft:gone", "old", "is no longer served (its base model old was shut down on 2026-10-23)"),
            ("ft:gone", "young", "is no longer served (its base model young still is, so it may have been deleted)"),
            ("ft:gone", "ancient", "is no longer served (nor is its base model ancient)"),
        ] {
            let expected =
                format!("require_available is not met: the model {model} of fine-tuning job ftjob-a {expected}");
            assert_eq!(line(&[job(model, base)], 30, now).unwrap(), expected);
        }
        let noon = now + DAY.as_secs() / 2;
        assert!(line(&[job("ft:own", "base")], 30, noon).unwrap().contains(", less than a day from now, "));
        let later = now + DAY.as_secs() * 30;
        for (model, base, expected) in [
            ("ft:base", "base", "is still listed, but its base model base was to be shut down on 2026-12-04"),
            ("ft:own", "base", "is still listed, but it was to be shut down on 2026-11-25"),
        ] {
            let expected =
                format!("require_available is not met: the model {model} of fine-tuning job ftjob-a {expected}");
            assert_eq!(line(&[job(model, base)], 1, later).unwrap(), expected);
        }

        let running = super::tests::job(json!({ "id": "ftjob-b", "status": "running" }));
        let expected = "require_available is not met: fine-tuning job ftjob-b is running and names no fine-tuned model; set wait, such as 1h, to wait until it is final";
        assert_eq!(line(&[running], 1, now).unwrap(), expected);

        let jobs = ["ft:a", "ft:b", "ft:c", "ft:d", "ft:base"].map(|model| job(model, "base"));
        let line = line(&jobs, 1, now).unwrap();
        assert!(line.starts_with("4 of 5 jobs do not meet require_available: the model ft:a of "), "{line}");
        assert!(line.ends_with("; and 1 more") && !line.contains("ft:d"), "{line}");
    }
    #[test]
    fn a_model_by_its_name_is_judged_like_that_of_a_job() {
        let models = Models::of_entries([
            json!({ "id": "base", "shutdown_date": "2026-12-04" }),
            json!({ "id": "base.ft-0123:ckpt-step-90" }),
            json!({ "id": "young" }),
        ]);
        let now = 1_795_478_400; // 2026-11-24
        let line = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            models_available(&names, &models, DAY * 30, now).err().map(|error| error.to_string())
        };
        assert_eq!(line(&["young"]), None);
        assert_eq!(line(&[]), None);
        for (name, expected) in [
            ("base", "is served until 2026-12-04, 10 days from now, not for 30d"),
            (
                "base.ft-0123:ckpt-step-90",
                "is served until 2026-12-04 (its base model base is shut down then), 10 days from now, not for 30d",
            ),
            ("gone", "is no longer served (it is not in the list of models)"),
            ("ft:young:gone", "is no longer served (its base model young still is, so it may have been deleted)"),
        ] {
            assert_eq!(line(&[name]).unwrap(), format!("require_available is not met: the model {name} {expected}"));
        }
        let line = line(&["young", "base", "gone"]).unwrap();
        assert!(
            line.starts_with("2 of 3 models do not meet require_available: the model base is served until"),
            "{line}"
        );
    }
}
