//! The main job, to watch; `make demo` runs it. The program reads a job, then Terraform reads it with the README's
//! configuration. `JOB` names the job. With `OPENAI_API_KEY` too it is a real one, else the sample API stands in.

#[allow(dead_code)] // what only the tests use
#[path = "../tests/support/engines.rs"]
mod engines;
#[allow(dead_code)]
#[path = "../tests/support/sample_api/mod.rs"]
mod sample_api;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, anyhow, ensure};

use crate::sample_api::SampleApi;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long whatever runs at an interrupt may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let result = match args.iter().map(Path::new).collect::<Vec<_>>()[..] {
        [program] => supervise(program),
        [program, folder] => demo(program, folder).map(|()| ExitCode::SUCCESS),
        _ => Err(anyhow!("usage: demo PROGRAM, where PROGRAM is openai-fine-tuning-job as cargo built it")),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "demo: {error:#}");
        ExitCode::FAILURE
    })
}

/// Runs the demo in a temporary folder and as a process group of its own, so that one signal reaches all of it: Ctrl-C
/// does, and so does a signal to this process alone. Then nothing is left running, and nothing on disk.
fn supervise(program: &Path) -> Result<ExitCode> {
    let (sender, interrupts) = mpsc::channel();
    ctrlc::set_handler(move || {
        let _ = sender.send(());
    })?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(env::current_exe()?);
    // Go and Terraform put their own temporary files there too.
    command.arg(program).arg(folder.path()).env("TMPDIR", folder.path()).stdin(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut demo = command.spawn()?;
    let group = demo.id();
    let signal = |name| Command::new("sh").args(["-c", &format!("kill -s {name} -- -{group}")]).status();

    let mut interrupted = None;
    let status = loop {
        if interrupts.recv_timeout(Duration::from_millis(20)).is_ok() {
            interrupted = Some(Instant::now());
            signal("INT")?;
        }
        if interrupted.is_some_and(|since| since.elapsed() > GRACE) {
            signal("KILL")?;
        }
        if let Some(status) = demo.try_wait()? {
            break status;
        }
    };
    match interrupted {
        Some(_) => Ok(ExitCode::from(130)),
        None if status.success() => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}

fn demo(program: &Path, folder: &Path) -> Result<()> {
    // An interrupt ends what runs at the time, Terraform in good order, and only then the demo.
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))?;
    let given = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let job = given("JOB");
    let is_real = job.is_some() && given("OPENAI_API_KEY").is_some();
    let job = job.unwrap_or_else(|| "ftjob-abc123".into());
    let mut environment = Vec::new();
    if is_real {
        say(&format!("# reads the job {job} with your API key"))?;
    } else {
        let api = SampleApi::start();
        say(&format!(
            "# no job of yours is read, as that takes OPENAI_API_KEY and JOB: {} is a sample API",
            api.url()
        ))?;
        environment.extend([("OPENAI_API_KEY", "not-a-real-key".to_owned()), ("OPENAI_BASE_URL", api.url())]);
        environment.extend(["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"].map(|name| (name, String::new())));
        environment.extend(["NO_PROXY", "no_proxy"].map(|name| (name, "127.0.0.1".to_owned())));
    }

    if engines::has_to_be_built()? {
        say(
            "# neither terraform nor tofu is on the PATH: after the program itself, OpenTofu is built with Go, once, in 5 to 15 minutes",
        )?;
    }

    let program = program.canonicalize().with_context(|| format!("{} is not built", program.display()))?;
    let read = |arguments: &[&str]| {
        say(&format!("\n$ openai-fine-tuning-job {}", arguments.join(" ")))?;
        Command::new(&program).args(arguments).envs(environment.clone()).status().context("the program does not start")
    };
    // With your own key, it may not have the permission to list models.
    let arguments: &[&str] = if is_real { &[&job] } else { &[&job, "availability=true"] };
    let status = read(arguments)?;
    ensure!(status.success(), "the program failed: {status}");
    if !is_real && job == "ftjob-abc123" {
        ensure!(!read(&[&job, "require_available=30d"])?.success(), "the guard did not stop");
    }

    let readme = include_str!("../README.md");
    let example = readme.split("```hcl\n").find(|block| block.starts_with("data "));
    let example = example.and_then(|block| block.split("```").next()).context("the README has no data source")?;
    let example = example.replace("ftjob-abc123", &job);
    fs::write(folder.join("main.tf"), &example)?;
    let engine = engines::first()?;
    environment.push(("PATH", engines::path_with(&program)?.into_string().ok().context("PATH is not UTF-8")?));
    let (mut init, mut apply) = (engine.command(folder), engine.command(folder));
    run(init.args(["init", "-input=false"]).stdout(Stdio::null()).envs(environment.clone()))?;
    let name = Path::new(apply.get_program()).file_stem().unwrap_or_default().display();
    say(&format!("\n$ cat main.tf\n{example}\n$ {name} apply"))?;
    if !io::stdout().is_terminal() {
        environment.push(("TF_CLI_ARGS", "-no-color".into()));
    }
    run(apply.args(["apply", "-input=false", "-auto-approve"]).envs(environment))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} does not start", command.get_program().display()))?;
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    ensure!(status.success(), "{} failed: {status}", command.get_program().display());
    Ok(())
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
