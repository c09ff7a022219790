//! From one job to a thousand: one process for all of them beside one for each, on their own and in real plans.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::engines::Engine;
use crate::measure::{measure, median};
use crate::plan::plan;
use crate::report::{self, number, table};
use crate::sample_api::{LISTED, SampleApi};
use crate::{Api, REPOSITORY, environment, rounds};

/// How many jobs are read by their IDs.
pub const JOBS: [usize; 4] = [1, 10, 100, 1000];
/// As many processes at a time as Terraform runs unless it is told otherwise.
const PARALLEL: &str = "10";
/// The API's largest page.
const PAGE: usize = 100;

/// The ways to read them. The plans need Terraform.
pub const WAYS: [&str; 5] = [
    "one process",
    "a process for each",
    "plan: one `data \"external\"`",
    "plan: the module `jobs`, typed",
    "plan: a `data \"external\"` for each",
];
pub const ONE_BLOCK: usize = 2;
pub const MODULE: usize = 3;
pub const BLOCKS: usize = 4;

/// What one way takes for one number of jobs.
pub struct Taken {
    near: f64,
    pub far: f64,
    /// What the API saw of the last run 50 ms away.
    pub seen: Seen,
}

#[derive(Clone, Copy, Default)]
pub struct Seen {
    pub requests: usize,
    connections: usize,
    pub handshakes: usize,
}

impl Seen {
    fn so_far(server: &SampleApi) -> Self {
        Seen { requests: server.requests().len(), connections: server.connections(), handshakes: server.handshakes() }
    }

    fn since(self, before: Seen) -> Self {
        Seen {
            requests: self.requests - before.requests,
            connections: self.connections - before.connections,
            handshakes: self.handshakes - before.handshakes,
        }
    }
}

/// For each number of jobs, what each way takes. They take turns.
pub fn many(helper: &Path, engine: Option<&Engine>, api: &Api, folder: &Path) -> Result<Vec<Vec<Taken>>> {
    let of = |jobs: usize| {
        let mut commands = commands(helper, engine, jobs, folder)?;
        let (mut near, mut far) = (vec![Vec::new(); commands.len()], vec![Vec::new(); commands.len()]);
        let mut seen = vec![Seen::default(); commands.len()];
        for _ in 0..rounds(jobs) {
            for (url, walls) in [(&api.near, &mut near), (&api.far, &mut far)] {
                for (way, (command, input)) in commands.iter_mut().enumerate() {
                    let before = Seen::so_far(&api.server);
                    walls[way].push(measure(command.envs(environment(url, &api.bundle)), input)?.0.wall);
                    let now = Seen::so_far(&api.server).since(before);
                    let most = jobs + LISTED.div_ceil(PAGE);
                    ensure!(now.requests <= most, "{}: {} requests for {jobs} jobs", WAYS[way], now.requests);
                    seen[way] = now;
                }
            }
        }
        let walls = near.into_iter().zip(far);
        Ok(walls.zip(seen).map(|((near, far), seen)| Taken { near: median(near), far: median(far), seen }).collect())
    };
    JOBS.into_iter().map(of).collect()
}

/// Each with what it gets on stdin.
fn commands(helper: &Path, engine: Option<&Engine>, jobs: usize, folder: &Path) -> Result<Vec<(Command, String)>> {
    let ids: Vec<String> = (1..=jobs).map(|number| format!("ftjob-n{number}")).collect();
    let list = json!(ids).to_string();
    let mut each = Command::new("xargs");
    each.args(["-n", "1", "-P", PARALLEL]).arg(helper);
    let query = json!({ "fine_tuning_job_ids": list }).to_string();
    let mut commands = vec![(Command::new(helper), query), (each, ids.join("\n"))];
    let Some(engine) = engine else {
        return Ok(commands);
    };
    let configurations = [
        format!(
            "data \"external\" \"jobs\" {{\n  program = [{helper:?}]\n  \
             query   = {{ fine_tuning_job_ids = jsonencode({list}) }}\n}}\n"
        ),
        format!(
            "module \"jobs\" {{\n  source              = \"{REPOSITORY}/terraform//modules/jobs\"\n  \
             program             = [{helper:?}]\n  fine_tuning_job_ids = {list}\n}}\n"
        ),
        // With for_each, a thousand blocks would cost Terraform itself 20 s more.
        format!(
            "data \"external\" \"job\" {{\n  count   = {jobs}\n  program = [{helper:?}]\n  \
             query   = {{ fine_tuning_job_id = \"ftjob-n${{count.index + 1}}\" }}\n}}\n"
        ),
    ];
    for (number, configuration) in configurations.iter().enumerate() {
        let folder = folder.join(format!("{jobs}-by-id-{number}"));
        commands.push((plan(engine, configuration, &folder)?, String::new()));
    }
    Ok(commands)
}

/// What the API sees when the newest of its jobs that fit is looked for.
pub fn newest(helper: &Path, api: &Api) -> Result<Seen> {
    let before = Seen::so_far(&api.server);
    let query = json!({ "most_recent": "true", "suffix": "support", "status": "succeeded" }).to_string();
    measure(Command::new(helper).envs(environment(&api.near, &api.bundle)), &query)?;
    Ok(Seen::so_far(&api.server).since(before))
}

pub fn times(many: &[Vec<Taken>]) -> String {
    rows("time on loopback / 50 ms away", many, |it| format!("{} / {}", number(it.near, "ms"), number(it.far, "ms")))
}

pub fn counts(many: &[Vec<Taken>]) -> String {
    rows("requests, connections, TLS handshakes, 50 ms away", many, |Taken { seen, .. }| {
        format!("{}, {}, {}", seen.requests, seen.connections, seen.handshakes)
    })
}

/// How the cost of a plan 50 ms away grows: a block for each job beside the module.
pub fn chart(many: &[Vec<Taken>]) -> String {
    let bars = JOBS.iter().zip(many).flat_map(|(jobs, ways)| {
        let plural = if *jobs == 1 { "" } else { "s" };
        [(BLOCKS, "a block for each"), (MODULE, "the module")].into_iter().filter_map(move |(way, name)| {
            Some((format!("{jobs} job{plural}, {name}"), ways.get(way)?.far, way == MODULE))
        })
    });
    report::chart("Planning with many jobs, 50 ms away, wall time", &bars.collect::<Vec<_>>())
}

fn rows(head: &str, many: &[Vec<Taken>], cell: fn(&Taken) -> String) -> String {
    let row = |(way, name): (usize, &&str)| {
        let cells = many.iter().map(|ways| ways.get(way).map_or("missing".into(), cell));
        [name.to_string()].into_iter().chain(cells).collect()
    };
    table(&[head, "1 job", "10 jobs", "100 jobs", "1,000 jobs"], &WAYS.iter().enumerate().map(row).collect::<Vec<_>>())
}
