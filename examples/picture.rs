//! The README's picture, from a real run: `make picture` writes `docs/guard.svg`. Terraform plans with the module and the
//! sample API, and a guard stops it.

#[allow(dead_code)] // what only the tests use
#[path = "../tests/support/engines.rs"]
mod engines;
#[allow(dead_code)]
#[path = "../tests/support/sample_api/mod.rs"]
mod sample_api;

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anstyle_svg::{Term, WIN10_CONSOLE};
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::sample_api::SampleApi;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const COLUMNS: usize = 86;
const CONFIGURATION: &str = r#"module "support" {
  source = "./openai-fine-tuning-job/terraform"

  fine_tuning_job_id = "ftjob-today"
  require_available  = "60d"
}
"#;

fn main() -> Result<()> {
    let program = env::args_os().nth(1).context("usage: picture PROGRAM")?;
    let folder = tempfile::tempdir()?;
    let clone = folder.path().join("openai-fine-tuning-job");
    fs::create_dir(&clone)?;
    engines::output(Command::new("cp").arg("-R").arg(format!("{REPOSITORY}/terraform")).arg(&clone))?;
    fs::write(folder.path().join("main.tf"), CONFIGURATION)?;

    let api = SampleApi::start();
    // As OpenAI has announced it: https://developers.openai.com/api/docs/deprecations
    api.serves(json!([
        { "id": "gpt-4.1-2025-04-14", "object": "model", "shutdown_date": "2027-01-14" },
        { "id": "ft:gpt-4.1-2025-04-14:my-org:support:DeFgHiJk", "object": "model", "shutdown_date": null },
    ]));
    let engine = engines::first()?;
    engines::output(engine.command(folder.path()).args(["init", "-input=false"]))?;
    let mut plan = engine.command(folder.path());
    let name = Path::new(plan.get_program()).file_stem().unwrap_or_default().display().to_string();
    plan.args(["plan", "-input=false"]).env("PATH", engines::path_with(Path::new(&program))?);
    plan.envs([("OPENAI_API_KEY", "not-a-real-key"), ("OPENAI_BASE_URL", &api.url()), ("NO_PROXY", "127.0.0.1")]);
    let plan = plan.output()?;
    let said = String::from_utf8([plan.stdout, plan.stderr].concat())?;
    ensure!(said.contains("is served until"), "no guard stopped the plan: {said}");

    let shown = format!("$ cat main.tf\n{CONFIGURATION}\n$ {name} plan\n{}", said.trim_end());
    let shown = shown.lines().map(wrapped).collect::<Vec<_>>().join("\n");
    // A lighter red stands out on black.
    let picture = Term::new().palette(WIN10_CONSOLE).min_width_px(0).render_svg(&shown).replace("#C50F1F", "#FF6B68");
    fs::write(format!("{REPOSITORY}/docs/guard.svg"), picture)?;
    Ok(())
}

/// A line with breaks between words, for a narrow picture.
fn wrapped(line: &str) -> String {
    let mut column = 0;
    let break_before = |word: &str| {
        // Colours, such as `ESC [31m`, take no room.
        let mut parts = word.split('\x1b');
        let width = parts.next().map_or(0, |part| part.chars().count())
            + parts.filter_map(|part| part.split_once('m')).map(|(_, text)| text.chars().count()).sum::<usize>();
        let is_full = column + width > COLUMNS;
        column = if is_full { width } else { column + width };
        if is_full { format!("\n{word}") } else { word.to_owned() }
    };
    line.split_inclusive(' ').map(break_before).collect()
}
