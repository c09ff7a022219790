//! Reads jobs by their IDs: one, or many over a few connections at once.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Error, Result, anyhow};

use crate::api::{Api, Look, PAGE};
use crate::http::CONNECTIONS;
use crate::job;
use crate::list::{self, MOST_JOBS};
use crate::retry::{Failed, Pass};

/// How many failures a message tells before it only counts them.
const TOLD: usize = 3;
/// From so many jobs on, the list may help: by their IDs they are more than two requests in a row.
const WORTH_THE_LIST: usize = 2 * CONNECTIONS + 1;

/// Reads all these jobs in one pass, or none. The looks come in the order of the IDs. After it nothing else can be asked.
///
/// # Errors
/// How many jobs could not be read, and why, in one sentence for the user.
pub fn all(api: &Api, ids: &[&str], pass: &Pass) -> Result<Vec<Look>> {
    let round = Round::new(api, ids, pass);
    let asked = if ids.len() < WORTH_THE_LIST {
        round.ask_for_each(CONNECTIONS)
    } else {
        thread::scope(|scope| {
            scope.spawn(|| round.look_through_list());
            let asked = round.ask_for_each(CONNECTIONS - 1);
            // Nobody waits for a page that is not needed any more.
            api.hang_up();
            asked
        })
    };
    asked.map_err(|failed| not_read(ids, &failed.why))?;
    let looks = round.into_looks();
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
    let round = Round::new(api, ids, pass);
    round.ask_for_each(CONNECTIONS)?;
    Ok(round.into_looks())
}

/// One look at each of many jobs, by several threads.
struct Round<'a> {
    api: &'a Api<'a>,
    pass: &'a Pass,
    jobs: Vec<(&'a str, OnceLock<Result<Look, Failed>>)>,
    /// The first of them that no thread has taken on.
    next: AtomicUsize,
}

impl<'a> Round<'a> {
    fn new(api: &'a Api, ids: &[&'a str], pass: &'a Pass) -> Self {
        let jobs = ids.iter().map(|id| (*id, OnceLock::new())).collect();
        Round { api, pass, jobs, next: AtomicUsize::new(0) }
    }

    /// Asks for each job by its ID, as far as it has not been found meanwhile, over so many connections at most.
    fn ask_for_each(&self, connections: usize) -> Result<(), Failed> {
        let work = || {
            while let Some((id, look)) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
                if look.get().is_some() {
                    continue;
                }
                match self.api.job(id, self.pass) {
                    Err(failed) if failed.concerns_all => {
                        self.next.store(self.jobs.len(), Ordering::Relaxed);
                        return Err(failed);
                    }
                    answer => look.get_or_init(|| answer),
                };
            }
            Ok(())
        };
        thread::scope(|scope| {
            // This thread works too, so that a single job needs no other.
            let others: Vec<_> = (1..connections.min(self.jobs.len())).map(|_| scope.spawn(work)).collect();
            work()?;
            others.into_iter().try_for_each(|other| other.join().expect("a panic would have ended the process"))
        })
    }

    /// Finds jobs in the API's list, where a request brings a hundred, as long as there are any to ask for. The list has
    /// the same objects (`FineTuningJob` in OpenAI's API reference). Nobody hears of a list that cannot be had: each job
    /// still can.
    fn look_through_list(&self) {
        let looks: BTreeMap<&str, _> = self.jobs.iter().map(|(id, look)| (*id, look)).collect();
        let (no_metadata, pass) = (BTreeMap::new(), self.pass.once());
        let mut pages = list::pages(self.api, PAGE, &no_metadata, &pass).take(MOST_JOBS / PAGE);
        while self.has_any_to_ask_for() {
            let Some(Ok(page)) = pages.next() else {
                return;
            };
            for job in page.jobs {
                if let Some(look) = looks.get(job::id(&job)) {
                    look.get_or_init(|| Ok(Look { job, poll_after: None }));
                }
            }
        }
    }

    fn has_any_to_ask_for(&self) -> bool {
        let mut not_taken_on = self.jobs.iter().skip(self.next.load(Ordering::Relaxed));
        not_taken_on.any(|(_, look)| look.get().is_none())
    }

    fn into_looks(self) -> Vec<Result<Look, Failed>> {
        self.jobs.into_iter().map(|(_, look)| look.into_inner().expect("every job was looked at")).collect()
    }
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
