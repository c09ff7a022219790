//! `make bench`: the program beside what a user would take instead of it. `benches/README.md` says what is compared and
//! how; the tables there and the charts are written here.

#[path = "../../tests/support/certificates.rs"]
#[allow(dead_code)] // what only the tests use
mod certificates;
#[path = "../../tests/support/engines.rs"]
#[allow(dead_code)]
mod engines;
mod measure;
#[path = "../../tests/support/relay.rs"]
#[allow(dead_code)]
mod relay;
mod report;
#[path = "../../tests/support/sample_api/mod.rs"]
#[allow(dead_code)]
mod sample_api;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::engines::{Engine, output};
use crate::measure::{Bench, Contender, KEY};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare");
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/terraform");
const JOB: &str = "ftjob-abc123";
/// What only the goals compare, where the environment has `BASELINE`: another build of the program.
const BASELINE: &str = "baseline";

fn main() -> Result<()> {
    let bench = Bench::new(engines::target_folder()?.join("bench"))?;
    let program = bench.folder.join("bin/openai-fine-tuning-job");
    let python = bench.folder.join("venv/bin/python");
    let baseline = env::var_os("BASELINE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let engine = engines::set_up()?.pop().context("there is no engine")?;

    let query = json!({ "fine_tuning_job_id": JOB }).to_string();
    let mut curl = Command::new("curl");
    curl.args(["-sSf", "-H", &format!("Authorization: Bearer {KEY}"), &format!("$URL/fine_tuning/jobs/{JOB}")]);
    let mut contenders: Vec<Contender> = vec![
        ("openai-fine-tuning-job", Command::new(&program), query.clone()),
        ("curl alone", curl, String::new()),
        ("curl and jq", script("sh", "curl_jq.sh"), query.clone()),
        ("Python, standard library", script(&python, "standard_library.py"), query.clone()),
        ("Python, OpenAI's SDK", script(&python, "sdk.py"), query.clone()),
    ];
    contenders.extend(baseline.iter().map(|program| (BASELINE, Command::new(program), query.clone())));
    let one = bench.measure(contenders)?;
    for it in &one {
        let printed: Value = serde_json::from_str(&it.near.output).context(it.name)?;
        ensure!(printed["fine_tuned_model"] == sample_api::job(JOB)["fine_tuned_model"], "{}: {printed}", it.name);
    }

    let many = [1, 10, 100, 1000].map(|jobs| {
        let query = json!({ "fine_tuning_job_ids": json!(ids(jobs)).to_string() }).to_string();
        let mut each = Command::new("xargs");
        each.args(["-n", "1", "-P", "10"]).arg(&program); // as many at a time as Terraform runs
        let mut contenders: Vec<Contender> = vec![
            ("one process", Command::new(&program), query.clone()),
            ("a process for each", each, ids(jobs).join("\n")),
        ];
        contenders.extend(baseline.iter().map(|program| (BASELINE, Command::new(program), query.clone())));
        bench.measure(contenders)
    });
    let many = many.into_iter().collect::<Result<Vec<_>>>()?;

    let answer = bench.folder.join("answer.json");
    fs::write(&answer, &one[0].near.output)?;
    let plans = [1, 100].map(|jobs| {
        let configurations = configurations(jobs, &program, &answer).into_iter().enumerate();
        let plan = |(number, (name, configuration)): (usize, (_, Value))| {
            let plan = plan(&engine, &configuration, &bench.folder.join(format!("plans/{jobs}-{number}")))?;
            Ok((name, plan, String::new()))
        };
        bench.measure(configurations.map(plan).collect::<Result<_>>()?)
    });
    let plans = plans.into_iter().collect::<Result<Vec<_>>>()?;

    let conditions = output(script("sh", "conditions.sh").arg(&python).arg(&bench.bundle))?;
    let conditions = format!("{}; {engine}.", String::from_utf8(conditions.stdout)?.trim());
    report::write(&one, &many, &plans, &conditions)?;

    let newest = json!({ "most_recent": "true", "suffix": "support", "status": "succeeded" }).to_string();
    let newest = bench.run(&Command::new(&program), &newest, false)?;
    let [one_baseline, thousand_baseline] = [one.get(5), many[3].get(2)];
    for (goal, measured, most) in [
        ("one job, time / the baseline's", one_baseline.map(|it| one[0].near.time / it.near.time), 1.25),
        ("one job, time / curl's", Some(one[0].near.time / one[1].near.time), 0.14),
        ("one job, 50 ms away: three round trips and 8 ms", Some(one[0].far.time), 158.0),
        ("100 jobs, 50 ms away: ms", Some(many[2][0].far.time), 330.0),
        (
            "1,000 jobs, 50 ms away: time / the baseline's",
            thousand_baseline.map(|it| many[3][0].far.time / it.far.time),
            0.65,
        ),
        ("1,000 jobs: TLS handshakes", Some(many[3][0].far.counts[2] as f64), 32.0),
        ("plan of 100 jobs, 50 ms away: one block / 100", Some(plans[1][0].far.time / plans[1][2].far.time), 0.4),
        ("newest of 250 jobs: requests", Some(newest.counts[0] as f64), 3.0),
        ("size of the program, MB", Some(fs::metadata(&program)?.len() as f64 / 1e6), 3.0),
    ] {
        match measured {
            Some(it) => println!("{} {goal}: {it:.3}, at most {most}", if it <= most { "PASS" } else { "MISS" }),
            None => println!("skipped {goal}: BASELINE names no other build"),
        }
    }
    Ok(())
}

/// A file beside this one, run by this program.
fn script(interpreter: impl AsRef<Path>, name: &str) -> Command {
    let mut command = Command::new(interpreter.as_ref());
    command.arg(format!("{HERE}/{name}"));
    command
}

fn ids(jobs: usize) -> Vec<String> {
    (1..=jobs).map(|number| format!("ftjob-n{number}")).collect()
}

/// The ways to plan, in Terraform's JSON.
fn configurations(jobs: usize, program: &Path, answer: &Path) -> [(&'static str, Value); 6] {
    let ids = json!(ids(jobs));
    let data = |block: Value| json!({ "data": { "external": { "job": block } } });
    let module = |block: Value| json!({ "module": { "job": block } });
    let each = |program: Value| {
        let query = json!({ "fine_tuning_job_id": "ftjob-n${count.index + 1}" });
        data(json!({ "count": jobs, "program": program, "query": query }))
    };
    let one = json!({ "program": [program], "query": { "fine_tuning_job_ids": ids.to_string() } });
    let jobs = json!({
        "source": format!("{MODULE}//modules/jobs"), "program": [program], "fine_tuning_job_ids": ids,
    });
    let root = json!({
        "for_each": format!("${{toset({ids})}}"),
        "source": MODULE, "program": [program], "fine_tuning_job_id": "${each.value}",
    });
    [
        ("one `data \"external\"`", data(one)),
        ("the module `jobs`", module(jobs)),
        ("a `data \"external\"` for each", each(json!([program]))),
        ("the root module for each", module(root)),
        ("curl and jq for each", each(json!(["sh", format!("{HERE}/curl_jq.sh")]))),
        ("`cat` of an answer for each", each(json!(["cat", answer]))),
    ]
}

/// The command that plans with this configuration, for which all is set up here.
fn plan(engine: &Engine, configuration: &Value, folder: &Path) -> Result<Command> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("main.tf.json"), configuration.to_string())?;
    // Upgrading takes the modules anew.
    output(engine.command(folder).args(["init", "-upgrade", "-input=false", "-no-color"]))?;
    let mut plan = engine.command(folder);
    plan.args(["plan", "-input=false", "-no-color"]);
    Ok(plan)
}
