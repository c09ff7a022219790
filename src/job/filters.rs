//! What a job must have to be found in the list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use super::job::{Job, is_same_status};

/// How many values a message shows, and how long they may be, in bytes.
const SHOWN: usize = 3;
const MAX_SHOWN: usize = 500;

/// What a job must have, exactly. Every job matches if nothing is given.
#[derive(Default)]
pub struct Filters {
    pub model: Option<String>,
    pub status: Option<String>,
    pub suffix: Option<String>,
    /// Pairs that must all be in the job's metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Filters {
    /// The names of the filters that a job does not match, with what it has instead.
    pub fn mismatches<'a>(&self, job: &'a Job) -> Vec<(&'static str, &'a str)> {
        let mut mismatches = Vec::new();
        for (name, wanted, actual) in [
            ("model", &self.model, job.api()["model"].as_str()),
            ("status", &self.status, job.api()["status"].as_str()),
            ("suffix", &self.suffix, job.suffix()),
        ] {
            let is_met = match (wanted, actual) {
                (None, _) => true,
                (Some(wanted), Some(actual)) if name == "status" => is_same_status(wanted, actual),
                (Some(wanted), actual) => actual == Some(wanted),
            };
            if !is_met {
                mismatches.push((name, actual.unwrap_or("none")));
            }
        }
        // An API that does not know the parameter sends all jobs.
        if self.metadata.iter().any(|(key, value)| job.api()["metadata"][key] != value.as_str()) {
            mismatches.push(("metadata", "other"));
        }
        mismatches
    }
}

impl Display for Filters {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let attributes = [("model", &self.model), ("status", &self.status), ("suffix", &self.suffix)];
        let attributes = attributes.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let metadata = self.metadata.iter().map(|(key, value)| format!("metadata {key}={value}"));
        let filters: Vec<_> = attributes.chain(metadata).collect();
        if filters.is_empty() { Ok(()) } else { write!(f, " with {}", filters.join(" and ")) }
    }
}

/// The jobs that did not match, and which filter came nearest to matching.
#[derive(Default)]
pub struct Mismatches {
    jobs: usize,
    /// Of the jobs that match all filters but one, by that one's name: how many, and examples of what they have instead.
    by_one: BTreeMap<&'static str, (usize, BTreeSet<String>)>,
}

impl Mismatches {
    /// Counts a job with these mismatches.
    pub fn add(&mut self, mismatches: &[(&'static str, &str)]) {
        self.jobs += 1;
        if let [(name, instead)] = *mismatches {
            let (count, all_instead) = self.by_one.entry(name).or_default();
            *count += 1;
            let is_short = instead.len() <= MAX_SHOWN;
            all_instead.insert(if is_short { instead.into() } else { format!("a value of {} bytes", instead.len()) });
            if all_instead.len() > SHOWN {
                all_instead.pop_last();
            }
        }
    }
}

impl Display for Mismatches {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.jobs == 0 {
            return f.write_str("the API lists none");
        }
        write!(f, "none of {} jobs match", self.jobs)?;
        if let Some((name, (count, instead))) = self.by_one.iter().max_by_key(|(_, (count, _))| count) {
            let instead: Vec<_> = instead.iter().map(String::as_str).collect();
            write!(f, "; {count} match except for {name} ({})", instead.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(attributes: Value) -> Job {
        let mut api = attributes;
        api["object"] = json!("fine_tuning.job");
        api["id"] = json!("ftjob-x");
        Job::new(api).unwrap()
    }

    #[test]
    fn every_filter_must_match_exactly() {
        let filters = Filters {
            model: Some("m".into()),
            suffix: Some("s".into()),
            metadata: BTreeMap::from([("env".into(), "prod".into())]),
            ..Filters::default()
        };
        let metadata = json!({ "env": "prod", "more": "x" });
        let matching = job(json!({ "model": "m", "user_provided_suffix": "s", "metadata": metadata }));
        assert_eq!(filters.mismatches(&matching), []);
        let azure = job(json!({ "model": "m", "suffix": "s", "metadata": metadata }));
        assert_eq!(filters.mismatches(&azure), []);
        let other = job(json!({ "model": "M", "suffix": "s", "metadata": null }));
        assert_eq!(filters.mismatches(&other), [("model", "M"), ("metadata", "other")]);
        assert_eq!(filters.to_string(), " with model m and suffix s and metadata env=prod");
        assert_eq!(Filters::default().to_string(), "");
    }

    #[test]
    fn a_cancelled_job_has_two_spellings() {
        for wanted in ["canceled", "cancelled"] {
            let filters = Filters { status: Some(wanted.into()), ..Filters::default() };
            for status in ["canceled", "cancelled"] {
                assert_eq!(filters.mismatches(&job(json!({ "status": status }))), []);
            }
            assert_eq!(filters.mismatches(&job(json!({}))), [("status", "none")]);
        }
    }

    #[test]
    fn the_nearest_mismatch_is_shown() {
        let filters = Filters { status: Some("running".into()), suffix: Some("s".into()), ..Filters::default() };
        let mut mismatches = Mismatches::default();
        for (status, suffix) in [("failed", "s"), ("succeeded", "s"), ("running", "t"), ("failed", "t")] {
            mismatches.add(&filters.mismatches(&job(json!({ "status": status, "suffix": suffix }))));
        }
        let expected = "none of 4 jobs match; 2 match except for status (failed, succeeded)";
        assert_eq!(mismatches.to_string(), expected);
        assert_eq!(Mismatches::default().to_string(), "the API lists none");

        for number in 0..1_000 {
            mismatches.add(&[("status", number.to_string().as_str())]);
        }
        mismatches.add(&[("status", "0".repeat(1_000_000).as_str())]);
        assert!(mismatches.to_string().ends_with("; 1003 match except for status (0, 1, 10)"), "{mismatches}");
    }
}
