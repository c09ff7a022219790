//! The command line: what one run of the program is to do.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};

use anyhow::{Context, Result, bail};
use lexopt::Arg::{Long, Short, Value};

use super::keys::{self, Group};
use super::query::{MAX_STDIN, Query, quoted_name};

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

/// The whole of `--help`.
pub fn help() -> String {
    let [selectors, filters, others] = [Group::Selector, Group::Filter, Group::Other].map(keys::help);
    format!(
        "\
Reads an OpenAI fine-tuning job and prints its attributes as one JSON object of strings.

Usage:
  openai-fine-tuning-job ID [KEY=VALUE …]
  openai-fine-tuning-job KEY=VALUE …
  openai-fine-tuning-job < QUERY.json    (a JSON object of strings, as Terraform's data \"external\" sends it)

Which jobs (give one of these):
{selectors}
Filters, for most_recent and list:
{filters}
Other query keys:
{others}
Options:
  -h, --help          print this
  -V, --version       print the version
"
    )
}
