//! `terraform plan` with the real provider, once with the helper and once with each of the other programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::engines::{self, Engine};
use crate::measure::{measure, median};
use crate::{ROUNDS, sample_api};

/// How many jobs a configuration reads.
pub const JOBS: [usize; 2] = [1, 100];

pub struct Plans {
    pub engine: String,
    /// For each program, the wall time with each number of jobs, in milliseconds.
    pub walls: Vec<[f64; JOBS.len()]>,
}

/// Plans with each program in turn. They get `environment`.
pub fn plans(programs: &[&Vec<String>], environment: &[(&str, String)], folder: &Path) -> Result<Plans> {
    let engine = engines::set_up()?.pop().context("there is no engine")?;
    let mut walls = Vec::new();
    for jobs in JOBS {
        let plans: Vec<Command> = programs
            .iter()
            .enumerate()
            .map(|(number, program)| {
                plan(&engine, program, jobs, environment, &folder.join(format!("{jobs}-{number}")))
            })
            .collect::<Result<_>>()?;
        let mut samples = vec![Vec::new(); plans.len()];
        for _ in 0..ROUNDS {
            for (plan, samples) in plans.iter().zip(&mut samples) {
                samples.push(measure(plan, "")?.0.wall);
            }
        }
        walls.push(samples.into_iter().map(median).collect::<Vec<_>>());
    }
    let walls = (0..programs.len()).map(|program| [walls[0][program], walls[1][program]]).collect();
    Ok(Plans { engine: engine.to_string(), walls })
}

fn plan(
    engine: &Engine,
    program: &[String],
    jobs: usize,
    environment: &[(&str, String)],
    folder: &Path,
) -> Result<Command> {
    let ids: Vec<String> = sample_api::jobs().iter().map(|job| job["id"].to_string()).collect();
    fs::create_dir_all(folder)?;
    let configuration = format!(
        "data \"external\" \"job\" {{\n  count   = {jobs}\n  program = {program:?}\n  \
         query   = {{ fine_tuning_job_id = element([{}], count.index) }}\n}}\n",
        ids.join(", ")
    );
    fs::write(folder.join("main.tf"), configuration)?;
    let output = engine.command(folder).args(["init", "-input=false", "-no-color"]).output()?;
    ensure!(output.status.success(), "init failed: {}", String::from_utf8_lossy(&output.stderr));
    let mut plan = engine.command(folder);
    plan.args(["plan", "-input=false", "-no-color"]).envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(plan)
}
