//! The command line: what one run of the program is to do.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};

use anyhow::{Context, Error, Result, anyhow};
use lexopt::Arg::{Long, Short, Value};

use super::keys::{self, Form, Group};
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
            Long(name) => {
                let name = name.to_owned();
                let value = parser.optional_value().map(|value| format!("={}", value.to_string_lossy()));
                return Err(unknown_option(&(name + &value.unwrap_or_default())));
            }
            Short(first) => {
                let rest = parser.optional_value().unwrap_or_default();
                return Err(unknown_option(&format!("{first}{}", rest.to_string_lossy())));
            }
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

/// The error for an option that is not known. Some people put dashes before a key.
fn unknown_option(option: &str) -> Error {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    let Some(key) = keys::find(&name.replace('-', "_")) else {
        return anyhow!("unknown option {}; --help lists the options", quoted_name(name));
    };
    let may_be_secret = matches!(key.name, "api_key_env" | "base_url") || value.starts_with("sk-");
    let value = match (value, key.form) {
        ("", Form::Flag) => "true",
        (value, _) if (1..=40).contains(&value.len()) && !may_be_secret => value,
        _ => "VALUE",
    };
    anyhow!("unknown option {}; write it without dashes: {}={value}", quoted_name(key.name), key.name)
}

pub const VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n");

/// The whole of `--help`: at most 120 columns, and two screens.
pub fn help() -> String {
    let [selectors, filters, others] = [Group::Selector, Group::Filter, Group::Other].map(keys::help);
    format!(
        "\
Reads OpenAI fine-tuning jobs, or looks models up, and prints one JSON object of strings.

Usage:
  openai-fine-tuning-job ID [KEY=VALUE …]    (the ID may stand anywhere)
  openai-fine-tuning-job KEY=VALUE …
  openai-fine-tuning-job < QUERY.json        (a JSON object of strings, as Terraform's data \"external\" sends it)

Examples:
  openai-fine-tuning-job ftjob-abc123 wait=2h require_status=succeeded
  openai-fine-tuning-job model_ids='[\"gpt-4.1-2025-04-14\"]' require_available=30d

What to read (give one of these):
{selectors}
Filters, for most_recent and list:
{filters}
Other query keys:
{others}
Environment:
{ENVIRONMENT}
Options:
  -h, --help           print this
  -V, --version        print the version

Exit codes:
  0 if the result is on stdout; 2 for a usage error, which is found before any request is sent; else 1
"
    )
}

/// The variables that are read.
const ENVIRONMENT: &str = "  \
  OPENAI_API_KEY: the API key
  OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID: where requests go, and for whom, unless the query says so
  OPENAI_CUSTOM_HEADERS: lines of Name: value, sent with every request to the API
  OPENAI_IDENTITY_PROVIDER_ID, OPENAI_SERVICE_ACCOUNT_ID: with both, workload identity in place of a key
  OPENAI_IDENTITY_TOKEN_FILE, OPENAI_IDENTITY_TOKEN: the identity, a JWT; not needed in GitHub Actions and HCP Terraform
  TFC_WORKLOAD_IDENTITY_AUDIENCE_OPENAI: in a workspace of HCP Terraform, has each run get an identity
  OPENAI_WIF_AUDIENCE: in GitHub Actions, the audience of the identity (default https://api.openai.com/v1)
  OPENAI_MTLS_CLIENT_CERT_FILE, OPENAI_MTLS_CLIENT_KEY_FILE: PEM files of a client certificate and its key
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY: proxies, and what bypasses them
  SSL_CERT_FILE, SSL_CERT_DIR: the root certificates (CAs), in place of the system's
";
