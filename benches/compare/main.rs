//! `make bench`: the helper beside what a user would take instead. Each does the same work, in turn: it reads the query
//! on stdin, asks the sample API over TLS on loopback, trusting the same bundle of authorities, and prints a flat map.
//! (curl alone gets the URL and prints the answer as it is: the least that any script around it takes.)

#[path = "../../tests/suite/certificates.rs"]
#[allow(dead_code)] // what only the tests use
mod certificates;
#[path = "../../tests/suite/engines.rs"]
#[allow(dead_code)]
mod engines;
mod many;
mod measure;
mod plan;
#[path = "../../tests/suite/relay.rs"]
#[allow(dead_code)]
mod relay;
mod report;
#[path = "../../tests/suite/sample_api/mod.rs"]
#[allow(dead_code)]
mod sample_api;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, thread};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::certificates::Authority;
use crate::many::{Seen, Taken};
use crate::measure::{Cost, instructions, measure, median};
use crate::relay::Relay;
use crate::report::{number, table};
use crate::sample_api::SampleApi;

/// An odd number, so that the median is one of the runs.
const ROUNDS: usize = 21;
const ROUND_TRIP: Duration = Duration::from_millis(50);
const JOB: &str = "ftjob-abc123";
const QUERY: &str = r#"{"fine_tuning_job_id":"ftjob-abc123"}"#;
const KEY: &str = "not-a-real-key";
const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const SDK: &str = "openai==3.54.0";
/// Where systems keep all their authorities in one file: Debian, Fedora, the others.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
const FOLDER: &str = "/etc/ssl/certs";

/// Fewer rounds of what takes long.
pub fn rounds(jobs: usize) -> usize {
    match jobs {
        0..=1 => ROUNDS,
        2..=10 => 7,
        11..=100 => 5,
        _ => 3,
    }
}

struct Contender {
    name: &'static str,
    /// What has to be on this machine for it.
    tools: &'static [&'static str],
    /// The program and its arguments. No shell reads them, but `$URL` is the API's base URL.
    command: Vec<String>,
    medians: Option<Medians>,
}

#[derive(Clone, Copy)]
struct Medians {
    wall: f64,
    cpu: f64,
    peak: f64,
    /// Wall time through the relay.
    far: f64,
}

/// What every program asks.
struct Api {
    server: SampleApi,
    near: String,
    far: String,
    bundle: PathBuf,
}

fn main() -> Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == measure::LAUNCH) {
        return measure::launch(arguments);
    }
    compare()?;
    Ok(ExitCode::SUCCESS)
}

fn compare() -> Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let helper = install_helper(&folder)?;
    let python = install_sdk(&folder);
    let tools = tools(&python);
    let authority = Authority::new();
    let (bundle, authorities) = bundle(&authority, &folder)?;
    let server = SampleApi::start_tls(authority.server("127.0.0.1"));
    let relay = Relay::start(server.address, ROUND_TRIP);
    let api = Api { near: server.url(), far: format!("https://{}/v1", relay.address), server, bundle };
    let engine = engines::set_up().and_then(|mut engines| engines.pop().context("there is no engine"));

    say("reading a job, each program in turn");
    let mut contenders = contenders(&helper, &python);
    read_in_turn(&mut contenders, &tools, &api)?;

    say("counting instructions");
    let count = |file: &Path, folder: &str| {
        let mut command = contenders[0].asking(&api.near, file);
        instructions(command.env("SSL_CERT_DIR", folder), QUERY)
    };
    let counts = [count(&authority.file(), ""), count(&api.bundle, ""), count(&api.bundle, FOLDER)];
    let size = fs::metadata(&helper)?.len() as f64 / 1e6;

    say("planning, with each program in turn");
    let answer = folder.join("answer.json");
    fs::write(&answer, measure(&contenders[0].asking(&api.near, &api.bundle), QUERY)?.1)?;
    let print = vec!["cat".into(), answer.display().to_string()];
    let mut programs = vec![&contenders[0].command, &print];
    programs.extend(contenders[2].medians.map(|_| &contenders[2].command));

    let mut text = read_table(&contenders);
    text += "\n";
    text += &match &engine {
        Ok(engine) => plan_table(&plan::plans(engine, &programs, &environment(&api.near, &api.bundle), &folder)?),
        Err(error) => format!("No plans: {error:#}.\n"),
    };

    say("reading many jobs, each way in turn");
    let many = many::many(&helper, engine.as_ref().ok(), &api, &folder)?;
    let newest = many::newest(&helper, &api)?;
    text += &format!("\n{}\n{}", many::times(&many), many::counts(&many));

    let [one, bundle, both] = counts.map(|count| count.map_or("not counted".into(), |count| format!("{count:.2}")));
    text += &format!(
        "\nInstructions of one read, in millions: {one} with one authority, {bundle} with the bundle, {both} with the \
         bundle and the system's folder. Size of the program: {size:.2} MB.\n\n"
    );
    let engine = engine.map_or("no Terraform".into(), |engine| engine.to_string());
    text += &format!("{}, {engine}; a bundle of {authorities} authorities.\n", conditions(&tools));
    writeln!(io::stdout(), "{text}")?;
    let read =
        contenders.iter().filter_map(|it| Some((it.name.into(), it.medians?.wall, it.name == contenders[0].name)));
    let read = report::chart("One read over TLS on loopback, wall time", &read.collect::<Vec<_>>());
    let charts = [("performance", read), ("many", many::chart(&many))];
    report::write(&text, &charts)?;

    writeln!(io::stdout(), "{}", verdicts(&contenders, counts, size, &many, newest)?)?;
    Ok(())
}

/// What the project promises itself.
fn verdicts(
    contenders: &[Contender],
    [_, bundle, both]: [Option<f64>; 3],
    size: f64,
    many: &[Vec<Taken>],
    newest: Seen,
) -> Result<String> {
    let ours = contenders[0].medians.context("the helper was not measured")?;
    let ratio = |number: usize, of: fn(Medians) -> f64| contenders[number].medians.map(|theirs| of(ours) / of(theirs));
    let three_round_trips = 3.0 * ROUND_TRIP.as_millis() as f64;
    let hundred = |way: usize| many[2].get(way);
    let of_blocks = |way: usize| Some(hundred(way)?.far / hundred(many::BLOCKS)?.far);
    let goals = [
        ("wall time / curl", ratio(1, |it| it.wall), 0.10),
        ("wall time / curl and jq", ratio(2, |it| it.wall), 0.07),
        ("wall time / Python, standard library", ratio(3, |it| it.wall), 0.025),
        ("wall time / Python, OpenAI's SDK", ratio(4, |it| it.wall), 0.006),
        ("peak memory / curl", ratio(1, |it| it.peak), 0.35),
        ("million instructions, bundle", bundle, 6.6),
        ("million instructions, bundle and folder", both, 10.0),
        ("ms with 50 ms of round trip", Some(ours.far), three_round_trips + 8.0),
        ("MB of program", Some(size), 2.5),
        ("plan of 100 jobs 50 ms away, one block / 100 blocks", of_blocks(many::ONE_BLOCK), 0.35),
        ("plan of 100 jobs 50 ms away, module / 100 blocks", of_blocks(many::MODULE), 0.35),
        ("handshakes of that module's plan", hundred(many::MODULE).map(|it| it.seen.handshakes as f64), 16.0),
        ("requests for the newest of 250 jobs", Some(newest.requests as f64), 3.0),
    ];
    let line = |(what, measured, most): (&str, Option<f64>, f64)| match measured {
        Some(measured) if measured <= most => format!("PASS {what}: {measured:.4}, at most {most}"),
        Some(measured) => format!("MISS {what}: {measured:.4}, at most {most}"),
        None => format!("not measured: {what}"),
    };
    Ok(goals.map(line).join("\n"))
}

/// The helper as a user gets it. What cargo builds beside a benchmark has features that only the benchmark needs.
fn install_helper(folder: &Path) -> Result<PathBuf> {
    let mut install = Command::new(env!("CARGO"));
    install.args(["install", "--quiet", "--locked", "--force", "--path", REPOSITORY, "--root"]).arg(folder);
    ensure!(install.status()?.success(), "the helper was not installed");
    Ok(folder.join("bin/openai-fine-tuning-job"))
}

/// A Python of its own, with OpenAI's SDK if it can be had.
fn install_sdk(folder: &Path) -> PathBuf {
    let python = folder.join("venv/bin/python");
    if !python.exists() {
        let _ = Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")).status();
    }
    let _ = Command::new(&python).args(["-m", "pip", "install", "--quiet", SDK]).status();
    python
}

/// The system's bundle with one more authority in it, and how many that makes.
fn bundle(authority: &Authority, folder: &Path) -> Result<(PathBuf, usize)> {
    let system = BUNDLES.iter().find_map(|file| fs::read_to_string(file).ok()).context("this system has no bundle")?;
    let text = system + &fs::read_to_string(authority.file())?;
    let file = folder.join("bundle.pem");
    fs::write(&file, &text)?;
    Ok((file, text.matches("BEGIN CERTIFICATE").count()))
}

/// Each tool that a contender needs, with what it says of its version, if it is there.
fn tools(python: &Path) -> Vec<(&'static str, Option<String>)> {
    let sdk = ["-c", "import openai; print('openai', openai.__version__)"];
    let version = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.split(" (").next()?.to_owned())
    };
    vec![
        ("curl", version("curl".as_ref(), &["--version"])),
        ("jq", version("jq".as_ref(), &["--version"])),
        ("Python", version(python, &["--version"])),
        ("openai", version(python, &sdk)),
    ]
}

fn contenders(helper: &Path, python: &Path) -> Vec<Contender> {
    let text = |path: &Path| path.display().to_string();
    let script = |name: &str| format!("{REPOSITORY}/benches/compare/{name}");
    let curl = ["curl", "-sSf", "-H", &format!("Authorization: Bearer {KEY}"), &format!("$URL/fine_tuning/jobs/{JOB}")];
    let contender = |name, tools, command| Contender { name, tools, command, medians: None };
    vec![
        contender("openai-fine-tuning-job", &[][..], vec![text(helper)]),
        contender("curl alone", &["curl"], curl.map(Into::into).to_vec()),
        contender("curl and jq", &["curl", "jq"], vec!["sh".into(), script("curl_jq.sh")]),
        contender("Python, standard library", &["Python"], vec![text(python), script("standard_library.py")]),
        contender("Python, OpenAI's SDK", &["Python", "openai"], vec![text(python), script("sdk.py")]),
    ]
}

impl Contender {
    fn asking(&self, url: &str, bundle: &Path) -> Command {
        let mut words = self.command.iter().map(|word| word.replace("$URL", url));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).envs(environment(url, bundle));
        command
    }
}

/// What all programs understand.
fn environment(url: &str, bundle: &Path) -> [(&'static str, String); 3] {
    [("OPENAI_API_KEY", KEY.into()), ("OPENAI_BASE_URL", url.into()), ("SSL_CERT_FILE", bundle.display().to_string())]
}

/// Each once to see that it prints the right values, then all in turn, so that what else the machine does meets all.
fn read_in_turn(contenders: &mut [Contender], tools: &[(&str, Option<String>)], api: &Api) -> Result<()> {
    let is_there = |tool: &&str| tools.iter().any(|(name, version)| name == tool && version.is_some());
    let mut present: Vec<_> = contenders.iter_mut().filter(|it| it.tools.iter().all(is_there)).collect();
    for contender in &present {
        let (_, printed) = measure(&contender.asking(&api.near, &api.bundle), QUERY)?;
        let printed: Value = serde_json::from_slice(&printed).context(contender.name)?;
        for key in ["id", "model", "status", "fine_tuned_model"] {
            ensure!(printed[key] == sample_api::job(JOB)[key], "{} prints another {key}: {printed}", contender.name);
        }
    }
    let (mut near, mut far) = (vec![Vec::new(); present.len()], vec![Vec::new(); present.len()]);
    for _ in 0..ROUNDS {
        for (url, costs) in [(&api.near, &mut near), (&api.far, &mut far)] {
            for (contender, costs) in present.iter().zip(costs) {
                costs.push(measure(&contender.asking(url, &api.bundle), QUERY)?.0);
            }
        }
    }
    for ((contender, near), far) in present.iter_mut().zip(near).zip(far) {
        let of = |costs: &[Cost], pick: fn(&Cost) -> f64| median(costs.iter().map(pick).collect());
        contender.medians = Some(Medians {
            wall: of(&near, |cost| cost.wall),
            cpu: of(&near, |cost| cost.cpu),
            peak: of(&near, |cost| cost.peak),
            far: of(&far, |cost| cost.wall),
        });
    }
    Ok(())
}

fn read_table(contenders: &[Contender]) -> String {
    let ours = contenders[0].medians;
    let row = |contender: &Contender| {
        let mut cells = vec![contender.name.to_owned()];
        match contender.medians.zip(ours) {
            None => cells.extend(vec!["missing".to_owned(); 5]),
            Some((it, ours)) => cells.extend([
                number(it.wall, "ms"),
                number(it.wall / ours.wall, "×"),
                number(it.cpu, "ms"),
                number(it.peak, "MB"),
                number(it.far, "ms"),
            ]),
        }
        cells
    };
    let head = ["reading one job", "wall time", "relative", "CPU time", "peak memory", "50 ms away"];
    table(&head, &contenders.iter().map(row).collect::<Vec<_>>())
}

fn plan_table(walls: &[[f64; 2]]) -> String {
    let names = ["openai-fine-tuning-job", "`cat` of the same answer", "curl and jq"];
    let row = |(name, [one, hundred]): (&str, &[f64; 2])| vec![name.into(), number(*one, "ms"), number(*hundred, "ms")];
    let mut rows: Vec<Vec<String>> = names.into_iter().zip(walls).map(row).collect();
    let share = |jobs: usize| match 1.0 - walls[1][jobs] / walls[0][jobs] {
        share if share < 0.01 => "lost in the noise".into(),
        share => format!("{:.0} %", share * 100.0),
    };
    rows.insert(1, vec!["its share".into(), share(0), share(1)]);
    table(&["`terraform plan`", "1 job", "100 jobs"], &rows)
}

/// On what machine, and with what. No path and no name of a host.
fn conditions(tools: &[(&str, Option<String>)]) -> String {
    let find = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        value.map_or(env::consts::OS.into(), |value| value.trim_matches(['\t', ' ', ':', '=', '"']).to_owned())
    };
    let (processor, system) = (find("/proc/cpuinfo", "model name"), find("/etc/os-release", "PRETTY_NAME"));
    let cores = thread::available_parallelism().map_or(0, Into::into);
    let tool = |(name, version): &(&str, Option<String>)| version.clone().unwrap_or(format!("{name} is missing"));
    let tools: Vec<_> = tools.iter().map(tool).collect();
    let [ten, hundred, thousand] = [10, 100, 1000].map(rounds);
    format!(
        "Medians of {ROUNDS} runs, of {ten} with 10 jobs, {hundred} with 100 and {thousand} with 1,000, on {processor}, \
         {cores} cores, {system}; {}",
        tools.join(", ")
    )
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
