//! The command line: what one run of the program is to do.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};

use anyhow::{Context, Result, bail};
use lexopt::Arg::{Long, Short, Value};

use crate::query::{MAX_STDIN, Query, quoted_name};

pub enum Invocation {
    Run(Box<Query>),
    Help,
    Version,
    /// There are no arguments and stdin is a terminal: nobody will type JSON there.
    Usage,
}

/// Takes the query from the arguments, or from stdin when there are none.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut words = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(Invocation::Help),
            Long("version") | Short('V') => return Ok(Invocation::Version),
            Value(word) => words.push(word.into_string().ok().context("an argument is not UTF-8")?),
            Long(name) => bail!("unknown option {}; --help lists the options", quoted_name(name)),
            Short(_) => bail!("unknown option; --help lists the options"),
        }
    }
    if !words.is_empty() {
        return Ok(Invocation::Run(Query::from_words(words)?.into()));
    }
    if io::stdin().is_terminal() {
        return Ok(Invocation::Usage);
    }
    let mut bytes = Vec::new();
    io::stdin().take(MAX_STDIN + 1).read_to_end(&mut bytes).context("could not read the query on stdin")?;
    Ok(Invocation::Run(Query::from_json(&bytes)?.into()))
}

pub const VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n");

pub const HELP: &str = "\
Reads an OpenAI fine-tuning job and prints its attributes as one JSON object of strings.

Usage:
  openai-fine-tuning-job ID [KEY=VALUE …]
  openai-fine-tuning-job KEY=VALUE …
  openai-fine-tuning-job < QUERY.json    (a JSON object of strings, as Terraform's data \"external\" sends it)

Which jobs (give one of these):
  fine_tuning_job_id  the job with this ID, such as ftjob-abc123
  fine_tuning_job_ids the jobs with these IDs, as a JSON array of at most 1000
  most_recent         true: the newest job that matches the filters
  list                true: the newest jobs that match the filters, at most limit (default 20)

Filters, for most_recent and list:
  model, status, suffix, metadata (a JSON object of strings, every pair of which the job must have)

Other query keys:
  wait                wait until each job is succeeded, failed or cancelled, at most this long: such as 2h, at most 7d
  require_status      fail unless each job has this status, or one of several separated by commas
  availability        true: also look up whether the fine-tuned model is still served, and until when
  require_available   fail unless the fine-tuned model is served, and for this long from now: such as 30d
  checkpoints         true: also read the job's checkpoints
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
