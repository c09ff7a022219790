//! What a hostile server may say, over the whole program: nothing of it commands a CI runner or a terminal, shows a secret,
//! or alters a value.

use std::process::Output;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::program::program;
use crate::support::sample_api::{self, Connection, Fault, SampleApi, response};

/// Half of all keys in the world need no escape in JSON. This one does.
const SECRET: &str = r#"not-a-"real\key-0123456789"#;
/// Sent as `Cookie: env=production; sid=…`.
const COOKIE: &str = "not-a-real-session-0123456789";

/// How long the random answers go on at most.
const MOST: Duration = Duration::from_secs(60);

/// What a text has been built of.
fn pieces() -> Vec<String> {
    let json = |text: &str| Value::from(text).to_string();
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let html = SECRET.replace('"', "&quot;");
    let hidden: String = SECRET.chars().flat_map(|c| [c, '\u{ad}', '\u{200d}', '\u{e0041}']).collect();
    let texts = [
        "##vso[task.setvariable variable=x]y",
        "##[error]e",
        "##[",
        "##teamcity[x]",
        "::error file=a::b",
        "\n::add-mask::x\r\n",
        " :::stop-commands::x",
        "#\u{200b}#[x",
        "#\u{1b}#vso[x",
        "\u{1b}[2J\u{9b}31m\u{7}",
        "\u{202e}olleh\u{2066}",
        "\u{3164}\u{115f}\u{fe0f}\u{fff9}\u{2028}",
        "a\u{336}\u{336}\u{336}\u{336}\u{336}",
        "C::D 10:30:: # Heading",
        "## Heading",
        "\"\\'&%41",
        "ä漢🙂",
        "##",
        "#",
        "[x]",
        ":",
        " ",
        "word",
        "-",
        SECRET,
        COOKIE,
    ];
    let mut pieces: Vec<String> = texts.map(Into::into).into();
    pieces.extend([json(SECRET), json(&json(SECRET)), percent, html, hidden, "x".repeat(70), "x ".repeat(480)]);
    pieces
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces()), 1..6).prop_map(|pieces| pieces.concat())
}

/// A text without any form of a secret, so that it may be in a result.
fn clean_text() -> impl Strategy<Value = String> {
    let clean =
        |piece: &String| !piece.contains("0123456789") && !piece.contains("%41") && !piece.contains('\u{e0041}');
    let pieces: Vec<_> = pieces().into_iter().filter(clean).filter(|piece| !piece.contains("%30")).collect();
    prop::collection::vec(prop::sample::select(pieces), 1..6).prop_map(|pieces| pieces.concat())
}

fn value(text: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
    let other = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!([1, null])),
        Just(json!("2026-10-23")),
    ];
    let leaf = prop_oneof![4 => text.clone().prop_map(Value::from), 1 => other];
    let map =
        prop::collection::vec((text, leaf.clone()), 1..3).prop_map(|pairs| Value::Object(pairs.into_iter().collect()));
    prop_oneof![6 => leaf, 1 => map]
}

/// Where a server puts its text.
const MEMBERS: &[&str] = &[
    "object",
    "id",
    "status",
    "model",
    "fine_tuned_model",
    "suffix",
    "training_file",
    "metadata",
    "error",
    "seed",
    "method",
    "hyperparameters",
    "result_files",
    "integrations",
    "deprecation",
    "shutdown_date",
    "fine_tuned_model_checkpoint",
    "level",
    "message",
    "detail",
    "code",
    "added",
];

fn object(text: BoxedStrategy<String>) -> impl Strategy<Value = Value> {
    let members = prop::collection::vec((prop::sample::select(MEMBERS), value(text.clone())), 1..7);
    let named = (text, members);
    named.prop_map(|(name, members)| {
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
        Value::Object(members.chain([(name, json!(1))]).collect())
    })
}

/// A job with the ID that was asked for, mostly; else whatever the server says in its place.
fn job_at(path: &str, members: &Value) -> Value {
    let mut job = json!({ "object": "fine_tuning.job", "id": "ftjob-a", "status": "succeeded" });
    job["fine_tuned_model"] = json!("ft:base:a");
    for (name, value) in members.as_object().unwrap() {
        job[name] = value.clone();
    }
    if path.contains("/jobs/") && members.get("id").is_none_or(|id| !id.is_null()) {
        job["object"] = json!("fine_tuning.job");
        job["id"] = json!(path.rsplit('/').next().unwrap());
    }
    job
}

fn answer(path: &str, members: &Value) -> Value {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    if path.ends_with("/models") {
        let mut model = members.clone();
        model["id"] = json!("ft:base:a");
        json!({ "data": [model, { "id": "base" }] })
    } else if ["/jobs", "/checkpoints", "/events"].iter().any(|list| path.ends_with(list)) {
        json!({ "data": [job_at(path, members)], "has_more": false })
    } else {
        job_at(path, members)
    }
}

const VIEWS: &[&[&str]] = &[
    &["ftjob-a"],
    &["ftjob-a", "require_status=failed"],
    &["ftjob-a", "availability=true"],
    &["ftjob-a", "require_available=30d"],
    &["ftjob-a", "checkpoints=true"],
    &["ftjob-a", "wait=100ms"],
    &[r#"fine_tuning_job_ids=["ftjob-a","ftjob-b","ftjob-c"]"#],
    &["list=true"],
    &["list=true", "status=failed"],
    &["most_recent=true"],
    &["most_recent=true", "suffix=none"],
];

/// Runs a view against a server that answers all its requests in the same way.
fn run(view: &[&str], answer: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> Output {
    let api = SampleApi::start();
    let play = move |answer: &dyn Fn(&str) -> Vec<u8>, connection: &mut Connection| match connection.read_request()? {
        Some(request) => connection.write(&answer(&request.path)),
        None => Ok(()),
    };
    api.play((0..40).map(|_| {
        let answer = answer.clone();
        Box::new(move |connection: &mut Connection| play(&answer, connection)) as Fault
    }));
    let headers = format!("Cookie: env=production; sid={COOKIE}\nx-env: production");
    let environment =
        [("OPENAI_API_KEY", SECRET), ("OPENAI_CUSTOM_HEADERS", &headers), ("OPENAI_BASE_URL", &api.url())];
    program().args(view).args(["timeout=10s"]).envs(environment).output().expect("the program starts")
}

/// What a runner would obey in this text, if anything.
fn obeyed(text: &str) -> Option<&'static str> {
    // .NET ignores in a search what cannot be seen.
    let seen: String = text.chars().filter(|c| !is_hidden(*c)).collect::<String>().to_lowercase();
    let anywhere = ["##[", "##vso[", "##teamcity["].into_iter().find(|command| seen.contains(command));
    // Terraform wraps what it prints, so any word may begin a line.
    anywhere.or_else(|| seen.split(char::is_whitespace).any(|word| word.starts_with("::")).then_some("::"))
}

fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe0f}' | '\u{feff}' | '\u{fff9}' | '\u{e0000}'..='\u{e0fff}'
    ) || c.is_control()
}

/// Whether a secret is in a text, as it is or escaped in any way.
fn shows_secret(text: &str) -> bool {
    let bare = |text: &str| text.replace(['\\', '"'], "").replace("&quot;", "");
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    // Also a long part of one, where a message was cut.
    [text, &decoded].iter().any(|text| [SECRET, COOKIE].iter().any(|secret| bare(text).contains(&bare(secret)[..20])))
}

/// Checks what the program wrote. Returns the result, if there is one.
fn check(output: &Output) -> Result<Option<Value>, String> {
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    let shown = if output.status.success() { &stdout } else { &stderr };
    let silent = if output.status.success() { &stderr } else { &stdout };
    let line = shown.strip_suffix('\n').ok_or("no whole line")?;
    for (is_wrong, what) in [
        (!matches!(output.status.code(), Some(0 | 1)), "an unusual end"),
        (!silent.is_empty(), "more than one output"),
        (line.is_empty() || line.contains('\n'), "not one line"),
        (line.chars().any(is_hidden), "a character that cannot be seen"),
        (line.contains(&"\u{336}".repeat(3)) && !output.status.success(), "a pile of marks"),
        (shows_secret(line), "a secret"),
        (line.contains("internal error"), "a panic"),
        (!output.status.success() && line.chars().count() > 1001, "a long line"),
        (!output.status.success() && obeyed(line).is_some(), "a command"),
        // In JSON a word begins within quotes: no line begins with it.
        (["##[", "##vso[", "##teamcity["].iter().any(|command| line.contains(command)), "a command"),
    ] {
        if is_wrong {
            return Err(format!("{what} in {shown:?} and {silent:?}"));
        }
    }
    Ok(output.status.success().then(|| serde_json::from_str(line).expect("a JSON result")))
}

/// Runs the test of a strategy for a number of cases, but not for long.
fn for_any<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, cases: u32, test: impl Fn(T) -> Result<(), String>) {
    let start = Instant::now();
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, max_shrink_time: 30_000, ..Config::with_cases(cases) });
    let result = runner
        .run(&strategy, |value| if start.elapsed() > MOST { Ok(()) } else { test(value).map_err(TestCaseError::fail) });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn no_response_commands_anything_or_shows_a_secret() {
    let members = object(text().boxed());
    for_any((prop::sample::select(VIEWS), members), 60, |(view, members)| {
        let output = run(view, move |path| response("200 OK", &[], &answer(path, &members).to_string()));
        check(&output).map(drop)
    });
}

#[test]
fn no_refusal_commands_anything_or_shows_a_secret() {
    let form = |form: usize, text: &str| match form {
        0 => sample_api::error(text, None, Some(text)).to_string(),
        1 => json!({ "error": text }).to_string(),
        2 => json!({ "message": text }).to_string(),
        3 => json!({ "detail": text }).to_string(),
        4 => format!("<html><title>{text}</title>"),
        _ => text.to_owned(),
    };
    let statuses =
        ["200 OK", "302 Found", "400 Bad Request", "401 Unauthorized", "404 Not Found", "500 Internal Server Error"];
    let strategy = (prop::sample::select(VIEWS), prop::sample::select(statuses.to_vec()), 0..6_usize, text());
    for_any(strategy, 60, move |(view, status, number, text)| {
        let header: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).take(2000).collect();
        let output = run(view, move |_| {
            let headers = [("x-request-id", &*header), ("location", &*header), ("x-should-retry", "false")];
            let response = String::from_utf8(response(status, &headers, &form(number, &text))).unwrap();
            let kind = if number == 0 { "application/json" } else { &header };
            response.replacen("application/json", kind, 1).into_bytes()
        });
        check(&output).map(drop)
    });
}

#[test]
fn a_result_has_every_value_as_it_was_sent() {
    for_any(object(clean_text().boxed()), 40, |mut members| {
        members.as_object_mut().unwrap().retain(|name, _| name != "id");
        let sent = job_at("/v1/fine_tuning/jobs/ftjob-a", &members);
        let body = sent.to_string();
        let output = run(&["ftjob-a"], move |_| response("200 OK", &[], &body));
        let result = check(&output)?.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let json = |key: &str| serde_json::from_str::<Value>(result[key].as_str().unwrap()).unwrap();
        let is_same =
            json("raw_json") == sent && (!sent["status"].is_string() || json("job")["status"] == sent["status"]);
        if is_same { Ok(()) } else { Err(format!("{result} is not {sent}")) }
    });
}

#[test]
fn jobs_within_jobs_are_escaped_outside() {
    let members = json!({ "status": "##vso[x]\u{202e}\u{1b}", "metadata": { "##[a": "::b" } });
    for view in [VIEWS[6], VIEWS[7], &["list=true", "limit=1"]] {
        let sent = members.clone();
        let output = run(view, move |path| response("200 OK", &[], &answer(path, &sent).to_string()));
        let result = check(&output).unwrap().expect("a result");
        let text = result.get("jobs").or(result.get("ftjob-a")).and_then(Value::as_str).unwrap();
        let jobs: Value = serde_json::from_str(text).unwrap();
        let job = jobs.get(0).unwrap_or(&jobs);
        assert_eq!((&job["status"], &job["metadata"]), (&members["status"], &members["metadata"]));
    }
}

#[test]
fn what_cannot_be_seen_leaves_no_message_empty() {
    for hidden in ["\u{ad}", " "] {
        let members = json!({ "status": hidden.repeat(100_000) });
        let output = run(VIEWS[1], move |path| response("200 OK", &[], &answer(path, &members).to_string()));
        assert!(check(&output).unwrap().is_none());
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(
            line.starts_with("require_status is not met: fine-tuning job ftjob-a is ") && line.contains("not failed"),
            "{line}"
        );
    }
}

#[test]
fn what_only_looks_like_a_command_can_be_read() {
    let words = "C::D 10:30:: # Heading ## Heading #[x] a::b";
    let body = sample_api::error(words, None, None).to_string();
    let output = run(&["ftjob-a"], move |_| response("400 Bad Request", &[], &body));
    assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");

    // A header that is no secret, and a plain word of a cookie.
    let members = json!({ "metadata": { "env": "production" } });
    let output = run(&["ftjob-a"], move |path| response("200 OK", &[], &answer(path, &members).to_string()));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn ids_and_cursors_of_a_server_are_limited() {
    let long = "x".repeat(70_000);
    for (view, path, data) in [
        (VIEWS[4], "/checkpoints", json!([{ "id": long }])),
        (VIEWS[7], "/jobs", json!([{ "object": "fine_tuning.job", "id": long }])),
    ] {
        let output = run(view, move |asked| {
            let list = json!({ "data": data, "has_more": true });
            let body = if asked.contains(&format!("{path}?")) { list } else { answer(asked, &json!({})) };
            response("200 OK", &[], &body.to_string())
        });
        assert!(check(&output).unwrap().is_none());
    }
    let metadata: Value = (0..200).map(|number| (format!("k{number}"), json!("ä".repeat(300)))).collect();
    let output = run(&["list=true", &format!("metadata={metadata}")], |_| panic!("a request"));
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)) && !line.contains("internal error"), "{line}");
}
