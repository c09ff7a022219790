//! Reads jobs by their IDs: one, or many over a few connections at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Error, Result, anyhow};

use crate::api::{Api, Look};
use crate::http::CONNECTIONS;
use crate::retry::{Failed, Pass};

/// How many failures a message tells before it only counts them.
const TOLD: usize = 3;

/// Reads all these jobs in one pass, or none. The looks come in the order of the IDs.
///
/// # Errors
/// How many jobs could not be read, and why, in one sentence for the user.
pub fn all(api: &Api, ids: &[&str], pass: &Pass) -> Result<Vec<Look>> {
    let looks = looks(api, ids, pass).map_err(|failed| not_read(ids, &failed.why))?;
    let failures = ids.iter().zip(&looks).filter_map(|(id, look)| Some((*id, &*look.as_ref().err()?.why)));
    match some_not_read(ids, &failures.collect::<Vec<_>>()) {
        Some(error) => Err(error),
        None => Ok(looks.into_iter().flatten().collect()),
    }
}

/// Looks at each job once. What goes wrong with one of them does not keep the others from being looked at.
///
/// # Errors
/// What every other request would meet too; the rest is then not asked for.
pub fn looks(api: &Api, ids: &[&str], pass: &Pass) -> Result<Vec<Result<Look, Failed>>, Failed> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut looks = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(id) = ids.get(index) else {
                return Ok(looks);
            };
            match api.job(id, pass) {
                Err(failed) if failed.concerns_all => {
                    next.store(ids.len(), Ordering::Relaxed);
                    return Err(failed);
                }
                look => looks.push((index, look)),
            }
        }
    };
    let mut looks = thread::scope(|scope| {
        // This thread works too, so that a single job needs no other.
        let others: Vec<_> = (1..CONNECTIONS.min(ids.len())).map(|_| scope.spawn(work)).collect();
        let mut looks = work()?;
        for other in others {
            looks.extend(other.join().expect("a panic would have ended the process")?);
        }
        Ok(looks)
    })?;
    looks.sort_unstable_by_key(|(index, _)| *index);
    Ok(looks.into_iter().map(|(_, look)| look).collect())
}

/// None of the jobs was read, all for one reason.
pub fn not_read(ids: &[&str], why: &str) -> Error {
    match ids {
        [id] => anyhow!("fine-tuning job {id} was not read: {why}"),
        _ => anyhow!("{} fine-tuning jobs were not read: {why}", ids.len()),
    }
}

/// Some of the jobs were not read, each for its own reason; none if there are no failures.
pub fn some_not_read(ids: &[&str], failures: &[(&str, &str)]) -> Option<Error> {
    match (ids, failures) {
        (_, []) => None,
        ([_], [(_, why)]) => Some(not_read(ids, why)),
        _ => {
            let told: Vec<_> = failures.iter().take(TOLD).map(|(id, why)| format!("{id}: {why}")).collect();
            let rest = failures.len().checked_sub(TOLD).filter(|rest| *rest > 0);
            let rest = rest.map(|rest| format!("; and {rest} more")).unwrap_or_default();
            let (count, of) = (failures.len(), ids.len());
            Some(anyhow!("{count} of {of} fine-tuning jobs were not read: {}{rest}", told.join("; ")))
        }
    }
}
