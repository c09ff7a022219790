//! `terraform plan` with the real provider, once with the helper and once with each of the other programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::engines::Engine;
use crate::measure::{measure, median};
use crate::{rounds, sample_api};

/// How many jobs a configuration reads.
pub const JOBS: [usize; 2] = [1, 100];

/// For each program, the wall time with each number of jobs, in milliseconds. The programs take turns, and get
/// `environment`.
pub fn plans(
    engine: &Engine,
    programs: &[&Vec<String>],
    environment: &[(&str, String)],
    folder: &Path,
) -> Result<Vec<[f64; JOBS.len()]>> {
    let ids: Vec<String> = sample_api::jobs().iter().map(|job| job["id"].to_string()).collect();
    let ids = ids.join(", ");
    let mut walls = vec![[0.0; JOBS.len()]; programs.len()];
    for (column, jobs) in JOBS.into_iter().enumerate() {
        let mut plans = Vec::new();
        for (number, program) in programs.iter().enumerate() {
            let configuration = format!(
                "data \"external\" \"job\" {{\n  count   = {jobs}\n  program = {program:?}\n  \
                 query   = {{ fine_tuning_job_id = element([{ids}], count.index) }}\n}}\n"
            );
            let mut plan = plan(engine, &configuration, &folder.join(format!("{jobs}-{number}")))?;
            plan.envs(environment.iter().map(|(name, value)| (name, value)));
            plans.push(plan);
        }
        let mut samples = vec![Vec::new(); plans.len()];
        for _ in 0..rounds(jobs) {
            for (plan, samples) in plans.iter().zip(&mut samples) {
                samples.push(measure(plan, "")?.0.wall);
            }
        }
        for (walls, samples) in walls.iter_mut().zip(samples) {
            walls[column] = median(samples);
        }
    }
    Ok(walls)
}

/// A plan of this configuration, which is set up here.
pub fn plan(engine: &Engine, configuration: &str, folder: &Path) -> Result<Command> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("main.tf"), configuration)?;
    // Upgrading takes the modules anew.
    let output = engine.command(folder).args(["init", "-upgrade", "-input=false", "-no-color"]).output()?;
    ensure!(output.status.success(), "init failed: {}", String::from_utf8_lossy(&output.stderr));
    let mut plan = engine.command(folder);
    plan.args(["plan", "-input=false", "-no-color"]);
    Ok(plan)
}
