//! Reads an OpenAI fine-tuning job, for Terraform's `data "external"` or in a shell.
//!
//! The program follows the external program protocol: the query is a JSON object of strings on stdin, the result one
//! JSON object of strings on stdout. On failure stdout stays empty, stderr has one line that says what to do, and the
//! exit code is 2 when the caller can mend it before any request is made, else 1.

mod api;
mod http;
mod job;
mod list;
mod message;
mod proxy;
mod query;
mod read;
mod retry;
mod settings;
mod trust;
mod wait;

use std::io::{self, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::process::{self, ExitCode};
use std::{env, panic};

use anyhow::Context;
use serde_json::Value;

use crate::api::Api;
use crate::message::Failure;
use crate::query::{Invocation, Query, Selector};
use crate::retry::Pass;
use crate::settings::Settings;

fn main() -> ExitCode {
    panic::set_hook(Box::new(report_panic));
    match run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run() -> Result<ExitCode, Failure> {
    match Invocation::from_args(env::args_os().skip(1)).map_err(Failure::by_caller)? {
        Invocation::Help => print(HELP)?,
        Invocation::Version => print(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n"))?,
        Invocation::Nothing => {
            let _ = io::stderr().write_all(HELP.as_bytes());
            return Ok(ExitCode::from(2));
        }
        Invocation::Read(query) => {
            let settings = Settings::new(&query).map_err(Failure::by_caller)?;
            let result = answer(&query, &settings).map_err(|failure| failure.without(&settings.key))?;
            print(&result)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The result as it goes to stdout.
fn answer(query: &Query, settings: &Settings) -> Result<String, Failure> {
    let selector = query.selector().map_err(Failure::by_caller)?;
    let wait = query.wait().map_err(Failure::by_caller)?;
    let required = query.require_status().map_err(Failure::by_caller)?;
    // Never taken apart: the end of the process does that faster than giving back every certificate would.
    let api = ManuallyDrop::new(Api::new(settings).map_err(Failure::by_caller)?);

    let pass = || Pass::new(settings.timeout);
    let read = |ids: &[&str]| -> anyhow::Result<Vec<Value>> {
        let looks = match wait {
            Some(wait) => wait::until_done(&api, ids, wait, settings.timeout)?,
            None => read::all(&api, ids, &pass())?,
        };
        Ok(looks.into_iter().map(|look| look.job).collect())
    };
    type View = fn(&[Value], bool) -> anyhow::Result<String>;
    let (jobs, view): (_, View) = match &selector {
        Selector::Job(id) => (read(&[id])?, job::result),
        Selector::Jobs(ids) => (read(&ids.iter().map(String::as_str).collect::<Vec<_>>())?, job::results),
        Selector::MostRecent(filters) => match list::most_recent(&api, filters, &pass())? {
            newest if wait.is_some() => (read(&[job::id(&newest)])?, job::result),
            newest => (vec![newest], job::result),
        },
        Selector::List(filters, limit) => {
            let found = list::list(&api, filters, *limit, &pass())?;
            (found.jobs, if found.has_more { job::first_of_list } else { job::whole_list })
        }
    };
    job::require_status(&jobs, &required)?;
    Ok(view(&jobs, io::stdout().is_terminal())?)
}

/// Writes the whole of stdout at once, so that nobody ever reads half a result.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("the result could not be written to stdout")
}

/// One line like any other failure's. It names the place alone: a panic's own text may quote what a server sent.
fn report_panic(panic: &panic::PanicHookInfo) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(io::stderr(), "internal error at {place}: please report it, with what was asked");
    process::exit(1);
}

const HELP: &str = "\
Reads an OpenAI fine-tuning job and prints its attributes as one JSON object of strings.

Usage:
  openai-fine-tuning-job ID [KEY=VALUE …]
  openai-fine-tuning-job KEY=VALUE …
  openai-fine-tuning-job < QUERY.json    (a JSON object of strings, as Terraform's data \"external\" sends it)

Which jobs (give one of these):
  fine_tuning_job_id  the job with this ID, such as ftjob-abc123
  fine_tuning_job_ids the jobs with these IDs, as a JSON array of at most 1000
  most_recent         true: the newest job that passes the filters
  list                true: the newest jobs that pass the filters, at most limit (default 20)

Filters, for most_recent and list:
  model, status, suffix, metadata (a JSON object of strings, every pair of which the job has to have)

Other query keys:
  wait                wait until each job is succeeded, failed or cancelled, for so long at most: such as 2h, at most 7d
  require_status      fail unless each job has this status, or one of several separated by commas
  timeout             for all network work, retries included: such as 90s or 1m30s, at most 1h (default 60s)
  base_url            the API's address (default $OPENAI_BASE_URL, else https://api.openai.com/v1)
  organization        (default $OPENAI_ORG_ID)
  project             (default $OPENAI_PROJECT_ID)
  api_key_env         the NAME of the variable that holds the API key (default OPENAI_API_KEY)
  allow_http          true: base_url may be plain http to another machine

Options:
  -h, --help          print this
  -V, --version       print the version
";

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn a_panic_is_one_line_and_exit_code_1() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::panics", "--ignored", "--nocapture"])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("internal error at src"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }

    /// Run by the test above, in a process of its own.
    #[test]
    #[ignore = "ends the process"]
    fn panics() {
        std::panic::set_hook(Box::new(super::report_panic));
        panic!("secret");
    }
}
