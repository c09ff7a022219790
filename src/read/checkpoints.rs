//! A job's checkpoints: the models that were kept along the way, with their metrics.

use std::cmp::Ordering;

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::http::{Api, Deadline, Kind};
use crate::job::{CHECKPOINT_FIELDS, Job, typed};

/// Stores a job's checkpoints in it, newest first, each with the same attributes.
pub fn look_up(job: &mut Job, api: &Api, deadline: &Deadline) -> Result<()> {
    let mut checkpoints = api.checkpoints(job.id(), deadline).map_err(|mut error| {
        // The job has been read, so neither its ID nor the address is wrong.
        if matches!(error.kind, Kind::Status { status: 404, .. }) {
            error.advice = "leave out checkpoints if this server does not have them".into();
        } else if error.kind == Kind::TooMuch {
            error.advice = "leave out checkpoints".into();
        }
        anyhow!("could not read the checkpoints of fine-tuning job {}: {error}", job.id())
    })?;
    // Azure begins with the oldest.
    let age =
        |checkpoint: &Value| ["created_at", "step_number"].map(|key| checkpoint[key].as_f64().unwrap_or_default());
    checkpoints.sort_by(|one, other| age(other).partial_cmp(&age(one)).unwrap_or(Ordering::Equal));
    let typed = |checkpoint| serde_json::to_value(typed(CHECKPOINT_FIELDS, &checkpoint, &Value::Null));
    // They are replaced one after the other, so that no two copies of all are kept.
    job.set_checkpoints(checkpoints.into_iter().map(typed).collect::<Result<_, _>>()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::http::test_server;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// The checkpoints of a job at an API that answers `page` after a checkpoint's ID.
    fn checkpoints(page: impl Fn(Option<&str>) -> Value + Clone + Send + 'static) -> Result<Value> {
        let address = test_server::start(move |path| {
            assert!(path.starts_with("/v1/fine_tuning/jobs/a/checkpoints?limit=100"), "{path}");
            page(path.split_once("&after=").map(|(_, after)| after))
        });
        let endpoint = test_server::endpoint(&address.to_string());
        let mut job = Job::new(json!({ "object": "fine_tuning.job", "id": "a" })).unwrap();
        look_up(&mut job, &Api::new(&endpoint, None, TIMEOUT), &Deadline::timeout(TIMEOUT))?;
        Ok(job.looked_up()["checkpoints"].clone())
    }

    #[test]
    fn every_checkpoint_has_the_same_attributes() {
        let found = checkpoints(|_| {
            let first = json!({ "id": "b", "step_number": 2, "metrics": { "train_loss": 0.5, "extra": 1 } });
            json!({ "data": [first, { "id": "a", "metrics": null }] })
        });
        let found = found.unwrap();
        assert_eq!((&found[0]["metrics"]["train_loss"], &found[0]["metrics"]["extra"]), (&json!(0.5), &json!(1)));
        let empty = json!({
            "id": "a",
            "created_at": null,
            "fine_tuned_model_checkpoint": null,
            "step_number": null,
            "metrics": {
                "step": null,
                "train_loss": null,
                "train_mean_token_accuracy": null,
                "valid_loss": null,
                "valid_mean_token_accuracy": null,
                "full_valid_loss": null,
                "full_valid_mean_token_accuracy": null,
            },
        });
        assert_eq!(found[1], empty);
    }

    #[test]
    fn all_pages_are_read() {
        let found = checkpoints(|after| {
            let start: usize = after.map_or(250, |after| after.parse().unwrap());
            let data: Value = (0..start).rev().take(100).map(|number| json!({ "id": number.to_string() })).collect();
            json!({ "data": data, "has_more": start > 100 })
        });
        let found = found.unwrap();
        let ids: Vec<_> =
            found.as_array().unwrap().iter().map(|checkpoint| checkpoint["id"].as_str().unwrap()).collect();
        assert_eq!((ids.len(), ids[0], ids[249]), (250, "249", "0"));
    }

    #[test]
    fn each_checkpoint_counts_once_and_the_newest_comes_first() {
        let found = checkpoints(|after| {
            let checkpoint =
                |id: &str, time: u64, step: u64| json!({ "id": id, "created_at": time, "step_number": step });
            match after {
                None => json!({ "data": [checkpoint("a", 1, 1), checkpoint("b", 2, 2)], "has_more": true }),
                _ => json!({ "data": [checkpoint("b", 2, 2), checkpoint("d", 3, 5), checkpoint("c", 3, 4)] }),
            }
        });
        let ids: Vec<_> = found.unwrap().as_array().unwrap().iter().map(|found| found["id"].clone()).collect();
        assert_eq!(ids, ["d", "c", "b", "a"]);
        assert_eq!(checkpoints(|_| json!({ "data": null })).unwrap(), json!([]));
    }

    #[test]
    fn what_is_no_list_or_does_not_end_is_an_error() {
        let error = |page: Value| checkpoints(move |_| page.clone()).unwrap_err().to_string();
        for data in [json!([{ "id": "a" }]), json!([]), json!(null)] {
            let error = error(json!({ "data": data, "has_more": true }));
            let expected = "answered with a page of checkpoints that has nothing new, and says that there are more; ";
            assert!(error.contains(expected), "{error}");
        }
        let page = |count: usize| -> Value { (0..count).map(|number| json!({ "id": number.to_string() })).collect() };
        let in_one_page = move |count| checkpoints(move |_| json!({ "data": page(count), "has_more": false }));
        assert_eq!(in_one_page(1000).unwrap().as_array().unwrap().len(), 1000);
        assert!(in_one_page(1001).unwrap_err().to_string().ends_with(": the job has more than 1000 checkpoints"));
        for page in [json!([]), json!({}), json!({ "data": [1] })] {
            assert!(error(page).contains("JSON that is not a list of checkpoints"));
        }
        let endless = checkpoints(|after| {
            let start: usize = after.map_or(0, |after| after.parse().unwrap());
            json!({ "data": [{ "id": (start + 1).to_string() }], "has_more": true })
        });
        assert!(endless.unwrap_err().to_string().ends_with(": the job has more than 1000 checkpoints"));
    }
}
