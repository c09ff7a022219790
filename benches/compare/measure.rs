//! What one run of a program takes.
//!
//! A process starts out with the peak memory of the one that started it, and the benchmark holds a server and all
//! results. So it runs itself anew, as a launcher that does nothing but start the program and say what it used.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The first argument that makes this program the launcher.
pub const LAUNCH: &str = "launch";

/// In milliseconds and megabytes. Of several processes, times add up; the peak is that of the largest.
#[derive(Clone)]
pub struct Cost {
    pub wall: f64,
    pub cpu: f64,
    pub peak: f64,
}

/// The launcher: runs what the arguments say, and adds a line of numbers to stderr.
pub fn launch(mut arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let mut command = Command::new(arguments.next().context("launch what?")?);
    let start = Instant::now();
    let status = command.args(arguments).status()?;
    let wall = start.elapsed().as_micros();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = (used.user_time() + used.system_time()).num_microseconds();
    // In KiB; in bytes on macOS.
    let peak = used.max_rss() * if cfg!(target_os = "macos") { 1 } else { 1024 };
    eprintln!("{wall} {cpu} {peak}");
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command through the launcher. Gives back what it printed, too.
pub fn measure(command: &Command, input: &str) -> Result<(Cost, Vec<u8>)> {
    let output = run(&[env::current_exe()?.as_os_str(), LAUNCH.as_ref()], command, input)?;
    let stderr = String::from_utf8(output.stderr)?;
    let numbers: Vec<f64> = stderr.lines().last().unwrap_or_default().split(' ').flat_map(str::parse).collect();
    let [wall, cpu, peak] = numbers[..] else { unreachable!("the launcher said {stderr}") };
    Ok((Cost { wall: wall / 1e3, cpu: cpu / 1e3, peak: peak / 1e6 }, output.stdout))
}

/// User instructions in millions, where Valgrind or perf can count them.
pub fn instructions(command: &Command, input: &str) -> Option<f64> {
    let callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"].map(OsStr::new);
    let perf = ["perf", "stat", "-x,", "-e", "instructions:u"].map(OsStr::new);
    let count = |tool: &[&OsStr], pick: fn(&str) -> Option<&str>| {
        let output = run(tool, command, input).ok()?;
        let stderr = String::from_utf8(output.stderr).ok()?;
        stderr.lines().find_map(pick)?.trim().parse::<f64>().ok()
    };
    let count = count(&callgrind, |line| line.split("Collected : ").nth(1))
        .or_else(|| count(&perf, |line| line.split_once(",,instructions").map(|(count, _)| count)))?;
    Some(count / 1e6)
}

/// Runs a command behind a tool, in the command's own environment, to which only PATH and HOME are added.
fn run(tool: &[&OsStr], command: &Command, input: &str) -> Result<Output> {
    let mut child = Command::new(tool[0]);
    child.args(&tool[1..]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        child.current_dir(folder);
    }
    child.env_clear().envs(["PATH", "HOME"].iter().filter_map(|name| Some((name, env::var_os(name)?))));
    child.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {stderr}", command.get_program().display());
    Ok(output)
}

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
