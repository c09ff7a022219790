//! Whether models are still served, and until when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use anyhow::{Result, anyhow, bail};
use humantime::parse_rfc3339;
use serde_json::{Value, json};

use crate::http::{Api, Deadline, Kind};
use crate::job::{Job, base_of};
use crate::text::{DAY, format_date, quote_at_most};

/// How much of a date that cannot be read is quoted, in characters.
const MAX_QUOTED: usize = 100;

/// What the list of models says of those that are asked about, by their names.
#[derive(Default)]
pub struct Models(HashMap<String, Shutdown>);

/// When a model is shut down, in Unix seconds: at midnight in UTC, as the day begins. `None` if no date is announced; the
/// error is what the list has instead of a date that can be read.
type Shutdown = Result<Option<u64>, String>;

/// What is known about one model.
pub(super) struct Availability<'a> {
    pub(super) name: &'a str,
    /// The base model; the same name if the model is one itself.
    pub(super) base: &'a str,
    pub(super) is_listed: bool,
    pub(super) is_base_listed: bool,
    /// From the model's own entry.
    pub(super) own_shutdown: Option<u64>,
    /// From the entry of its base, if its own has no date.
    pub(super) base_shutdown: Option<u64>,
}

impl Availability<'_> {
    /// A fine-tuned model is served only until its base model is shut down (OpenAI's deprecations page).
    pub(super) fn shutdown(&self) -> Option<u64> {
        self.own_shutdown.or(self.base_shutdown)
    }
}

impl Models {
    /// Reads the list for the models of these jobs; sends no request if they have none.
    pub fn of_jobs(api: &Api, jobs: &[Job], deadline: &Deadline) -> Result<Self> {
        let names = jobs.iter().filter_map(|job| Some([job.model()?, base_of(job.model()?), job.base_model()]));
        let names = names.flatten().collect();
        // The jobs have been read, so the address is right.
        Self::read(api, &names, deadline, |_| "leave out availability if this server does not list models".into())
    }

    /// Reads the list for the models with these names.
    pub fn named(api: &Api, names: &[String], deadline: &Deadline) -> Result<Self> {
        let names = names.iter().flat_map(|name| [name.as_str(), base_of(name)]).collect();
        Self::read(api, &names, deadline, |advice| format!("{advice}; model_ids takes a server that lists models"))
    }

    /// `if_missing` makes the advice for a server that has no list of models.
    fn read(
        api: &Api,
        names: &BTreeSet<&str>,
        deadline: &Deadline,
        if_missing: impl Fn(&str) -> String,
    ) -> Result<Self> {
        let mut models = Models::default();
        let entries = if names.is_empty() { Ok(Vec::new()) } else { api.models(names, deadline) };
        let entries = entries.map_err(|mut error| {
            match error.kind {
                // The API's answer to a missing scope.
                Kind::Status { status: 401 | 403, from_api: true } => {
                    error.advice += "; the key needs the permission to list models (api.model.read)";
                }
                Kind::Status { status: 404, .. } => error.advice = if_missing(&error.advice),
                _ => {}
            }
            anyhow!("could not read the list of models: {error}")
        })?;
        entries.iter().for_each(|entry| models.add(entry, |text| quote_at_most(text, MAX_QUOTED, api.secrets())));
        Ok(models)
    }

    /// Adds an entry of the list.
    fn add(&mut self, entry: &Value, quote: impl Fn(&str) -> String) {
        let name = entry["id"].as_str().unwrap_or_default().to_owned();
        let shutdown = shutdown(entry).map_err(|(field, value)| format!("{field} {}", quote(&value.to_string())));
        self.0.insert(name, shutdown);
    }

    #[cfg(test)]
    pub(super) fn of_entries(entries: impl IntoIterator<Item = Value>) -> Self {
        let mut models = Models::default();
        entries.into_iter().for_each(|entry| models.add(&entry, ToOwned::to_owned));
        models
    }

    /// Stores in a job whether its model, if it has one, is in the list, and when that is shut down.
    ///
    /// # Errors
    /// A date that counts cannot be read.
    pub fn look_up(&self, job: &mut Job) -> Result<()> {
        if let Some(found) = self.of_job(job)? {
            let (is_listed, date) = (found.is_listed, found.shutdown().and_then(format_date));
            job.set_availability(is_listed, date);
        }
        Ok(())
    }

    /// What is known about a job's model, if it has one. If the list has no date for the job's base model, which may be
    /// missing or an alias, the base that the model's own name begins with counts.
    pub(super) fn of_job<'a>(&self, job: &'a Job) -> Result<Option<Availability<'a>>> {
        let Some(model) = job.model() else {
            return Ok(None);
        };
        let has_date = |base: &&str| !matches!(self.0.get(*base), None | Some(Ok(None)));
        let base = [job.base_model(), base_of(model)].into_iter().filter(|base| *base != model).find(has_date);
        self.find(model, base.unwrap_or_else(|| job.base_model())).map(Some)
    }

    /// The JSON text of what is known about each of these models, by its name.
    ///
    /// # Errors
    /// A date that counts cannot be read.
    pub fn texts(&self, names: &[String]) -> Result<BTreeMap<String, String>> {
        let text = |name: &String| {
            let found = self.find(name, base_of(name))?;
            let date = found.shutdown().and_then(format_date);
            let model = json!({ "id": name, "available": found.is_listed, "shutdown_date": date });
            Ok((name.clone(), model.to_string()))
        };
        names.iter().map(text).collect()
    }

    /// What is known about a model with this base. Its base's date counts if its own entry has none.
    ///
    /// # Errors
    /// A date that counts cannot be read: no guard must pass because the list has a form that is not known.
    pub(super) fn find<'a>(&self, name: &'a str, base: &'a str) -> Result<Availability<'a>> {
        let date = |of: &str| match self.0.get(of) {
            None => Ok(None),
            Some(Ok(date)) => Ok(*date),
            Some(Err(instead)) => {
                let whose = if of == name { String::new() } else { format!(" (the base model of {name})") };
                bail!("cannot tell when the model {of}{whose} is shut down: the list of models has {instead}")
            }
        };
        let own_shutdown = date(name)?;
        let base_shutdown = if own_shutdown.is_none() && base != name { date(base)? } else { None };
        let (is_listed, is_base_listed) = (self.0.contains_key(name), self.0.contains_key(base));
        Ok(Availability { name, base, is_listed, is_base_listed, own_shutdown, base_shutdown })
    }
}

/// When a model is shut down, or the field that cannot be read and its value. OpenAI has a date (`shutdown_date`, the schema
/// `Model` of openai/openai-openapi), Azure Unix seconds (`deprecation.inference`, the data-plane API's `Models - List`).
fn shutdown(model: &Value) -> Result<Option<u64>, (&'static str, &Value)> {
    let (date, deprecation) = (&model["shutdown_date"], &model["deprecation"]);
    if !date.is_null() {
        let day = date.as_str().map_or_else(|| day_of_seconds(date), day_of_text);
        return day.map(Some).ok_or(("shutdown_date", date));
    } else if !deprecation.is_null() && !deprecation.is_object() {
        return Err(("deprecation", deprecation));
    }
    match &deprecation["inference"] {
        Value::Null => Ok(None),
        seconds => day_of_seconds(seconds).map(Some).ok_or(("deprecation.inference", seconds)),
    }
}

/// The day of a time in Unix seconds; `None` if it is no number, or not in the years 1970 to 9999.
fn day_of_seconds(seconds: &Value) -> Option<u64> {
    let seconds = seconds.as_f64().filter(|seconds| *seconds >= 0.0)? as u64;
    format_date(seconds)?;
    Some(seconds - seconds % DAY.as_secs())
}

/// The day of a date such as `2026-10-23`, which a time may follow, such as `T00:00:00Z`.
fn day_of_text(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked("2026-10-23".len())?;
    let (time, zone) = match rest {
        "" => ("00:00", ""),
        _ => rest.strip_prefix(['T', ' '])?.split_at_checked("00:00".len())?,
    };
    let is_zone = zone.chars().all(|c| c.is_ascii_digit() || ":.+- ZUTCGM".contains(c));
    let time = parse_rfc3339(&format!("{date}T{time}:00Z")).ok().filter(|_| is_zone)?;
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(seconds - seconds % DAY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_two_forms() {
        for (model, date) in [
            (json!({ "shutdown_date": "2026-10-23" }), Some("2026-10-23")),
            (json!({ "shutdown_date": "2026-10-23T00:00:00Z" }), Some("2026-10-23")),
            (json!({ "shutdown_date": "2026-10-23 17:30:59.25+02:00" }), Some("2026-10-23")),
            (json!({ "shutdown_date": "2028-02-29T23:59" }), Some("2028-02-29")),
            (json!({ "shutdown_date": 1_792_713_600 }), Some("2026-10-23")),
            (json!({ "deprecation": { "inference": 1_792_713_600 } }), Some("2026-10-23")),
            (json!({ "deprecation": { "inference": 1_792_713_600.5 } }), Some("2026-10-23")),
            (json!({ "deprecation": { "inference": 253_402_300_799_u64 } }), Some("9999-12-31")),
            (json!({ "shutdown_date": null, "deprecation": { "inference": 1_792_799_999 } }), Some("2026-10-23")),
            (json!({ "deprecation": { "inference": 0 } }), Some("1970-01-01")),
            (json!({ "deprecation": { "fine_tune": 1 } }), None),
            (json!({ "deprecation": { "inference": null } }), None),
            (json!({ "deprecation": null }), None),
            (json!({}), None),
        ] {
            assert_eq!(shutdown(&model).unwrap().and_then(format_date).as_deref(), date, "{model}");
        }
    }

    #[test]
    fn what_is_no_date_is_an_error() {
        let texts = [
            "23 Oct 2026",
            "soon",
            "",
            "2026-02-30",
            "2026-23-10",
            "2026-10-23x",
            "2026-10-23 soon",
            "2026-10-23T25:00",
            "2026-10-23T",
            "1969-12-31",
            "20261023",
            "2026-1-2",
            "1792713600",
            "２026-10-23",
        ];
        let dates = texts.map(Value::from).into_iter().chain([
            json!({ "date": "2026-10-23" }),
            json!(["2026-10-23"]),
            json!(true),
            json!(-1),
            json!(1_792_713_600_000_u64),
            json!(1e300),
        ]);
        for date in dates {
            assert_eq!(shutdown(&json!({ "shutdown_date": date })), Err(("shutdown_date", &date)));
        }
        for seconds in [json!("1792713600"), json!([1]), json!({}), json!(false), json!(253_402_300_800_u64)] {
            let model = json!({ "deprecation": { "inference": seconds } });
            assert_eq!(shutdown(&model), Err(("deprecation.inference", &seconds)));
        }
        for deprecation in [json!("2026-10-23"), json!([]), json!(true), json!(1_792_713_600)] {
            assert_eq!(shutdown(&json!({ "deprecation": deprecation })), Err(("deprecation", &deprecation)));
        }
    }

    #[test]
    fn the_models_own_date_comes_before_that_of_its_base() {
        let models = Models::of_entries([
            json!({ "id": "base", "shutdown_date": "2026-10-23" }),
            json!({ "id": "ft:own", "shutdown_date": "2026-12-31" }),
            json!({ "id": "ft:base" }),
            json!({ "id": "ft:none" }),
            json!({ "id": "alias" }),
            json!({ "id": "alias-2026", "shutdown_date": "2026-10-24" }),
        ]);
        for (model, base, available, date) in [
            (json!("ft:own"), "base", json!(true), json!("2026-12-31")),
            (json!("ft:base"), "base", json!(true), json!("2026-10-23")),
            // The job went on from a fine-tuned model.
            (json!("ft:base"), "ft:base:my-org::AbCdEfGh", json!(true), json!("2026-10-23")),
            (json!("base.ft-bbbb"), "base.ft-aaaa-tone", json!(false), json!("2026-10-23")),
            // The model's own name begins with that of its base.
            (json!("ft:alias-2026:my-org::AbCdEfGh"), "alias", json!(false), json!("2026-10-24")),
            (json!("base.ft-bbbb"), "", json!(false), json!("2026-10-23")),
            (json!("base.ft-bbbb"), "elsewhere", json!(false), json!("2026-10-23")),
            (json!("ft:gone"), "base", json!(false), json!("2026-10-23")),
            (json!("ft:none"), "other", json!(true), json!(null)),
            (json!(null), "base", json!(null), json!(null)),
        ] {
            let api = json!({ "object": "fine_tuning.job", "id": "a", "model": base, "fine_tuned_model": model });
            let mut job = Job::new(api).unwrap();
            models.look_up(&mut job).unwrap();
            assert_eq!(job.looked_up()["fine_tuned_model_available"], available, "{model}");
            assert_eq!(job.looked_up()["fine_tuned_model_shutdown_date"], date, "{model}");
        }
    }

    #[test]
    fn only_a_date_that_counts_must_be_readable() {
        let models = Models::of_entries([
            json!({ "id": "base", "shutdown_date": "soon" }),
            json!({ "id": "ft:base:own", "shutdown_date": "2026-12-31" }),
            json!({ "id": "ft:base:none" }),
        ]);
        let error = |name: &str| models.find(name, base_of(name)).err().map(|error| error.to_string());
        assert_eq!(error("ft:base:own"), None);
        assert_eq!(error("other"), None);
        let instead = r#"is shut down: the list of models has shutdown_date "soon""#;
        assert_eq!(error("base").unwrap(), format!("cannot tell when the model base {instead}"));
        for name in ["ft:base:none", "ft:base:gone"] {
            let expected = format!("cannot tell when the model base (the base model of {name}) {instead}");
            assert_eq!(error(name).unwrap(), expected);
        }
    }
}
