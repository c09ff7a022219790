//! Reads OpenAI fine-tuning jobs, and which models are served, for Terraform's `data "external"` or in a shell.
//!
//! The program follows the external program protocol: the query is a JSON object of strings on stdin, the result one
//! JSON object of strings on stdout. On failure stdout stays empty, stderr has one line that says what to do, and the
//! exit code is 2 for a usage error, which is found before any request is sent, else 1.

// Nothing but `text` writes to stderr: see clippy.toml.
#![deny(clippy::disallowed_methods, clippy::disallowed_macros)]

mod endpoint;
mod http;
mod job;
mod query;
mod read;
mod text;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::SystemTime;
use std::{env, panic};

use anyhow::Result;

use crate::http::{Api, Deadline};
use crate::job::{Job, Output};
use crate::query::cli::{self, Invocation};
use crate::query::{Request, Selector};
use crate::read::{Models, batch, checkpoints, list, require, wait};
use crate::text::{report, stdout};

fn main() -> ExitCode {
    panic::set_hook(Box::new(report::panic));
    let env = |name: &str| env::var_os(name);
    let mut secrets = endpoint::secrets(None, &env);
    let request = match cli::parse(env::args_os().skip(1)) {
        Ok(Invocation::Run(query)) => {
            secrets = endpoint::secrets(query.get("api_key_env"), &env);
            Request::new(&query, &env)
        }
        Ok(Invocation::Help) => return report::exit_code(stdout::print(&cli::help()), &secrets),
        Ok(Invocation::Version) => return report::exit_code(stdout::print(cli::VERSION), &secrets),
        Ok(Invocation::Usage) => return report::usage(&cli::help()),
        Err(error) => Err(error),
    };
    match request {
        Ok(request) => report::exit_code(run(&request), &request.endpoint.secrets),
        Err(usage_error) => report::error(2, &usage_error, &secrets),
    }
}

fn run(request: &Request) -> Result<()> {
    http::give_large_blocks_back();
    let api = Api::new(&request.endpoint, request.identity.as_ref(), request.timeout);
    let deadline = Deadline::timeout(request.timeout);
    let mut output = read(request, &api, &deadline)?;
    require::status(output.jobs(), &request.require_status)?;
    let deadline = if request.wait.is_some() { Deadline::timeout(request.timeout) } else { deadline };
    look_up(request, &api, output.jobs_mut(), &deadline)?;
    stdout::print(&output.render(io::stdout().is_terminal())?)
}

fn read(request: &Request, api: &Api, deadline: &Deadline) -> Result<Output> {
    let by_id = |ids: &[&str]| match request.wait {
        Some(wait) => wait::until_final(api, ids, wait, request.timeout),
        None => batch::read_all(api, ids, deadline),
    };
    let one = |id: &str| by_id(&[id]).map(|mut jobs| Output::One(jobs.remove(0)));
    match &request.selector {
        Selector::One(id) => one(id),
        Selector::Many(ids) => Ok(Output::ById(by_id(&ids.iter().map(String::as_str).collect::<Vec<_>>())?)),
        Selector::MostRecent(filters) => {
            let newest = list::most_recent(api, filters, deadline)?;
            if request.wait.is_some() && !newest.is_final() { one(newest.id()) } else { Ok(Output::One(newest)) }
        }
        Selector::List { filters, limit } => {
            let (jobs, has_more) = list::list(api, filters, *limit, deadline)?;
            Ok(Output::List { jobs, has_more })
        }
        Selector::Models(names) => {
            let models = Models::named(api, names, deadline)?;
            if let Some(wanted) = request.require_available {
                require::models_available(names, &models, wanted, unix_now())?;
            }
            Ok(Output::Models(models.texts(names)?))
        }
    }
}

/// Looks up what the request wants to know beyond the jobs themselves.
fn look_up(request: &Request, api: &Api, jobs: &mut [Job], deadline: &Deadline) -> Result<()> {
    if request.checkpoints {
        jobs.iter_mut().try_for_each(|job| checkpoints::look_up(job, api, deadline))?;
    }
    if request.availability {
        let models = Models::of_jobs(api, jobs, deadline)?;
        jobs.iter_mut().try_for_each(|job| models.look_up(job))?;
        if let Some(wanted) = request.require_available {
            require::jobs_available(jobs, &models, wanted, unix_now())?;
        }
    }
    Ok(())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
