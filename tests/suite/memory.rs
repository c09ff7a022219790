//! Whatever a server sends, the program takes no more than 256 MiB, and ends with one line. `tests/scripts/peak_memory.py` has
//! more rows, and says how much each takes.
#![cfg(target_os = "linux")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::resource::{Resource, setrlimit};
use serde_json::json;

use crate::support::program::{KEY, PROGRAM, without_settings};
use crate::support::sample_api::{Connection, Fault, SampleApi, response};

const LIMIT: u64 = 256 << 20;
const TEN_MIB: usize = (10 << 20) - 200;

/// What answers a path.
type Answer = fn(&str) -> String;

/// The job with this ID, with so many of an item that it has about 10 MiB.
fn job(id: &str, item: &str, most: usize) -> String {
    let items = vec![item; most.min(TEN_MIB / (item.len() + 1))].join(",");
    format!(r#"{{"object":"fine_tuning.job","id":"{id}","status":"succeeded","fine_tuned_model":"m","x":[{items}]}}"#)
}

/// Runs the program against these answers to a path, with 256 MiB. Returns the exit code, and what it wrote.
fn run(arguments: &[&str], answer: Answer) -> (Option<i32>, String) {
    let api = SampleApi::start();
    api.play((0..40).map(|_| {
        Box::new(move |connection: &mut Connection| match connection.read_request()? {
            Some(request) => connection.write(&response("200 OK", &[], &answer(&request.path))),
            None => Ok(()),
        }) as Fault
    }));
    let mut command = without_settings(Command::new(PROGRAM));
    command.args(arguments).arg("timeout=5m").envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &api.url())]);
    // SAFETY: setrlimit(2) may be called between fork and exec.
    unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_DATA, LIMIT, LIMIT)?)) };
    let output = command.output().expect("the program starts");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text:.300}");
    (output.status.code(), text)
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[test]
fn more_than_a_run_keeps_is_refused_in_one_line() {
    let ids = json!((0..8).map(|number| format!("ftjob-{number}")).collect::<Vec<_>>());
    let ids: &[&str] = &[&format!("fine_tuning_job_ids={ids}")];
    let one: &[&str] = &["ftjob-a"];
    let nested = |path: &str| job(id(path), &format!("{}0{}", r#"{"":"#.repeat(100), "}".repeat(100)), usize::MAX);
    let cases: [(&[&str], Answer, &str); 5] = [
        (one, |path| job(id(path), r#"{"":0}"#, usize::MAX), "over 500,000 values, too much to keep"),
        (ids, |path| job(id(path), r#"{"":0}"#, usize::MAX), "over 500,000 values, too much to keep"),
        (one, nested, "over 500,000 values, too much to keep"),
        (one, |path| job(id(path), r#"{"":0}"#, 101_000), "over 100,000 objects, too much to keep"),
        (ids, |path| job(id(path), "0", 490_000), "in all, too much to keep; read at most 1 of these jobs at once"),
    ];
    for (arguments, answer, expected) in cases {
        let (code, line) = run(arguments, answer);
        assert!(code == Some(1) && line.contains(expected), "{expected} is not in {line}");
    }
}

#[test]
fn no_thread_keeps_what_its_answers_needed() {
    let ids = json!((0..40).map(|number| format!("ftjob-{number}")).collect::<Vec<_>>());
    let (code, line) =
        run(&[&format!("fine_tuning_job_ids={ids}")], |_| format!(r#"{{"a":"{}",}}"#, r"\nx".repeat(TEN_MIB / 3 - 10)));
    assert!(code == Some(1) && line.contains("trailing comma"), "{line}");
}

#[test]
fn what_a_run_keeps_fits_into_the_memory() {
    const TWELVE: &str = r#"{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0,"l":0}"#;
    let (code, result) = run(&["ftjob-a", "availability=true"], |path| match id(path) {
        "models" => format!(r#"{{"data":[{}]}}"#, vec![r#"{"id":"m"}"#; TEN_MIB / 11].join(",")),
        id => job(id, TWELVE, 38_000),
    });
    assert!(code == Some(0) && result.contains(r#""fine_tuned_model_available":"true""#), "{result:.300}");
}
