//! The same API elsewhere: an Azure resource, and a gateway that wants a header of its own.

use serde_json::json;

use crate::batch::parsed;
use crate::support::program::{KEY, failure, program_for, result, run};
use crate::support::sample_api::servers::{GATEWAY_HEADER, Server, gateway_id};
use crate::support::sample_api::{self, SampleApi, answering, error, response};

const PENDING: &str = "ftjob-0b2d4f6a8c0e4f1d9b3a5c7e9f1a3b5c";
const CANCELED: &str = "ftjob-1c3e5a7b9d1f4e2c8a4b6d8f0a2c4e6b";
const SUCCEEDED: &str = "ftjob-2d4f6b8c0e2a4f3d9c5b7e9f1a3d5c7e";
const FAILED: &str = "ftjob-3e5a7c9d1f3b4a5e8d6c8f0a2b4e6d8f";

/// The program with the header that the gateway wants.
fn program_for_gateway(api: &SampleApi) -> assert_cmd::Command {
    let mut command = program_for(api);
    let (name, value) = GATEWAY_HEADER;
    command.env("OPENAI_CUSTOM_HEADERS", format!("\n{name}: {value}\r\nx-team: blue\n"));
    command
}

#[test]
fn azures_jobs_are_read_and_found() {
    let api = SampleApi::start_as(Server::Azure, None);
    let succeeded = result(program_for(&api).args([SUCCEEDED, "require_available=30d"]));
    assert_eq!((&succeeded["user_provided_suffix"], &succeeded["suffix"]), (&json!("support"), &json!("support")));
    assert_eq!(succeeded["hyperparameters_n_epochs"], "3");
    assert_eq!(succeeded["fine_tuned_model_shutdown_date"], "2099-11-30");
    assert_eq!(api.requests()[0].path, format!("/openai/v1/fine_tuning/jobs/{SUCCEEDED}"));

    let pending = parsed(&result(program_for(&api).arg(PENDING))["job"]);
    assert_eq!((&pending["status"], &pending["result_files"]), (&json!("pending"), &json!([])));
    assert_eq!(pending["trainingType"], "developerTier");
    result(program_for(&api).args([PENDING, "require_status=pending"]));

    let found = result(program_for(&api).args(["most_recent=true", "suffix=support", "status=succeeded"]));
    assert_eq!(found["id"], SUCCEEDED);
    let list = result(program_for(&api).args(["list=true", "suffix=support"]));
    assert_eq!(parsed(&list["ids"]), json!([PENDING, CANCELED, SUCCEEDED]));
    assert_eq!(result(program_for(&api).args(["most_recent=true", "status=canceled"]))["id"], CANCELED);
}

#[test]
fn errors_of_azure_are_reported() {
    let api = SampleApi::start_as(Server::Azure, None);
    let line = failure(1, program_for(&api).arg("ftjob-none"));
    let expected = "answered HTTP 404: The specified job could not be found (request ID req_sample1); check the ID";
    assert!(line.contains(expected), "{line}");
    let line = failure(1, program_for(&api).args([FAILED, "require_status=succeeded"]));
    assert!(line.ends_with("is failed, not succeeded: jobFailed: The training file has too few examples."), "{line}");
}

#[test]
fn a_wait_ends_with_azures_final_statuses() {
    let api = SampleApi::start_as(Server::Azure, None);
    let job = |status: &str| {
        let mut job = Server::Azure.jobs().unwrap().remove(0);
        job["status"] = json!(status);
        job
    };
    api.moves(PENDING, [job("pending"), job("pausing"), job("canceled")]);
    assert_eq!(result(program_for(&api).args([PENDING, "wait=2m"]))["status"], "canceled");
    let line = failure(1, program_for(&api).args([CANCELED, "wait=2m", "require_status=succeeded,failed"]));
    assert!(line.ends_with("is canceled, not succeeded or failed"), "{line}");
}

#[test]
fn a_gateways_jobs_are_read_and_found() {
    let api = SampleApi::start_as(Server::Gateway, None);
    let (succeeded, failed) = (gateway_id("succeeded"), gateway_id("failed"));
    assert!(succeeded.len() > 184);
    // A byte order mark stands before each of its bodies.
    let found = result(program_for_gateway(&api).args([&succeeded, "availability=true"]));
    assert_eq!((&found["error"], &found["fine_tuned_model_available"]), (&json!(""), &json!("true")));
    assert_eq!(result(program_for_gateway(&api).arg(&failed))["error"], "The upstream refused the training file.");
    let newest = result(program_for_gateway(&api).args(["most_recent=true", "suffix=tone", "status=succeeded"]));
    assert_eq!(newest["id"], succeeded);
    assert_eq!(result(program_for_gateway(&api).args([&succeeded, "wait=2m"]))["status"], "succeeded");
    let line = failure(1, program_for_gateway(&api).args([&failed, "require_status=succeeded"]));
    assert!(line.ends_with("is failed, not succeeded: The upstream refused the training file."), "{line}");
    let sent = &api.requests()[0].headers;
    assert_eq!((sent["x-team"].as_str(), sent["x-gateway-key"].as_str()), ("blue", GATEWAY_HEADER.1));

    let line = failure(1, program_for(&api).arg(&succeeded));
    let expected = "answered HTTP 401: missing gateway key; check OPENAI_BASE_URL, and the API key in OPENAI_API_KEY";
    assert!(line.ends_with(expected), "{line}");
    let line = failure(1, program_for_gateway(&api).arg("ftjob-none"));
    assert!(line.ends_with("answered HTTP 404: no route for this job; check the ID and OPENAI_BASE_URL"), "{line}");
}

#[test]
fn the_query_of_the_base_url_goes_with_every_request() {
    let api = SampleApi::start();
    let base_url = format!("{}/?api-version=2024-10-21&x=%2F", api.url());
    result(program_for(&api).args([
        "ftjob-dpo",
        "checkpoints=true",
        "availability=true",
        &format!("base_url={base_url}"),
    ]));
    result(program_for(&api).env("OPENAI_BASE_URL", &base_url).args(["list=true", "limit=101"]));
    let before = "?api-version=2024-10-21&x=%2F";
    let (job, list) = ("/v1/fine_tuning/jobs/ftjob-dpo", "/v1/fine_tuning/jobs");
    assert_eq!(
        api.paths(),
        [
            format!("{job}{before}"),
            format!("{job}/checkpoints{before}&limit=100"),
            format!("{job}/checkpoints{before}&limit=100&after=ftckpt_151"),
            format!("{job}/checkpoints{before}&limit=100&after=ftckpt_51"),
            format!("/v1/models{before}"),
            format!("{list}{before}&limit=100"),
            format!("{list}{before}&limit=100&after=ftjob-n151"),
        ]
    );
    // Messages show the address without it.
    let line = failure(1, program_for(&api).args(["ftjob-none", &format!("base_url={base_url}")]));
    assert!(!line.contains("api-version"), "{line}");
}

#[test]
fn a_secret_in_the_query_of_the_base_url_never_shows() {
    let api = SampleApi::start();
    let base_url = format!("{}?subscription-key=subscription%2B0123", api.url());
    for echo in ["subscription%2B0123", "subscription+0123"] {
        api.play([answering(response("400 Bad Request", &[], &error(echo, None, None).to_string()))]);
        let line = failure(1, program_for(&api).env("OPENAI_BASE_URL", &base_url).arg("ftjob-abc123"));
        assert!(line.ends_with("HTTP 400: [redacted]"), "{line}");
        let line =
            failure(2, program_for(&api).env("OPENAI_BASE_URL", &base_url).args(["ftjob-a", &format!("model={echo}")]));
        assert!(!line.contains(echo), "{line}");
    }
    let line = failure(2, program_for(&api).args(["ftjob-abc123", &format!("base_url={base_url}")]));
    assert!(line.starts_with("base_url has ") && !line.contains("0123"), "{line}");
}

#[test]
fn a_secret_in_the_query_is_a_usage_error() {
    let api = SampleApi::start();
    let value = GATEWAY_HEADER.1;
    for secret in [KEY, value] {
        for (selector, key, text) in [
            (secret, "timeout", "9s".to_owned()),
            ("most_recent=true", "suffix", secret.to_owned()),
            ("most_recent=true", "metadata", json!({ "a": format!("x{secret}x") }).to_string()),
            ("most_recent=true", "metadata", json!({ secret: "a" }).to_string()),
            ("ftjob-abc123", "base_url", format!("{}?x={secret}", api.url())),
            ("timeout=9s", "model_ids", json!(["gpt-4.1", secret]).to_string()),
        ] {
            let line = failure(2, program_for_gateway(&api).args([selector, &format!("{key}={text}")]));
            let key = if selector == secret { "fine_tuning_job_id" } else { key };
            assert!(line.starts_with(&format!("{key} contains a secret (")) && !line.contains(secret), "{line}");
        }
    }
    // Shorter ones occur by chance.
    result(program_for(&api).env("OPENAI_API_KEY", "abc123").arg("ftjob-abc123"));
    assert_eq!(api.requests().len(), 1);
}

#[test]
fn custom_headers_replace_the_programs_own() {
    let api = SampleApi::start();
    let long = "x".repeat(20_000);
    let headers = format!(
        "Authorization: Bearer another-key-0123456789\nuser-agent: agent\nopenai-project: proj-custom\nX-A: 1\n\
         x-a: 2\nx-long: {long}"
    );
    let mut command = program_for(&api);
    result(command.env("OPENAI_CUSTOM_HEADERS", headers).args(["ftjob-abc123", "project=proj-query"]));
    let sent = &api.requests()[0].headers;
    for (name, value) in [
        ("authorization", "Bearer another-key-0123456789"),
        ("user-agent", "agent"),
        ("openai-project", "proj-custom"),
        ("x-a", "2"),
        ("x-long", &long),
    ] {
        assert_eq!(sent[name], value);
    }
}

#[test]
fn custom_headers_that_could_break_a_request_are_usage_errors() {
    let api = SampleApi::start();
    for header in [
        "Host: secret",
        "content-length: 7secret",
        "a b: secret",
        ": secret",
        "x: sec\u{7}ret",
        "x: sécret",
        "x-token=secret",
    ] {
        let line = failure(2, program_for(&api).env("OPENAI_CUSTOM_HEADERS", header).arg("ftjob-abc123"));
        assert!(line.starts_with("OPENAI_CUSTOM_HEADERS, line 1: the ") && !line.contains("cret"), "{line}");
    }
    assert_eq!(api.connections(), 0);
}

#[test]
fn values_of_custom_headers_never_show() {
    let value = GATEWAY_HEADER.1;
    let api = SampleApi::start_as(Server::Gateway, None);
    let mut echo = sample_api::job("ftjob-abc123");
    echo["metadata"] = json!({ "header": value });
    let mut outputs = Vec::new();
    let mut note = |arguments: &[&str]| outputs.push(run(program_for_gateway(&api).args(arguments)));
    note(&[&gateway_id("succeeded")]);
    note(&["list=true"]);
    note(&["ftjob-none"]);
    note(&[value]);
    note(&["ftjob-abc123", value]);
    note(&[&format!("--{value}")]);
    note(&[&format!("timeout={value}")]);
    note(&[&format!("{value}=x")]);
    api.play([answering(response("400 Bad Request", &[], &error(value, None, None).to_string()))]);
    note(&["ftjob-abc123"]);
    api.play([answering(response("200 OK", &[], &echo.to_string()))]);
    note(&["ftjob-abc123"]);
    let refused = String::from_utf8_lossy(&outputs.last().unwrap().stderr).into_owned();
    assert!(refused.contains("sent a response that contains a secret"), "{refused}");
    for output in outputs {
        let text = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&text).contains(value), "{}", String::from_utf8_lossy(&text));
    }
}

/// Each of Azure's and the gateway's jobs has the attributes of OpenAI's.
#[test]
fn every_servers_jobs_have_the_same_attributes() {
    let attributes = |api: &SampleApi, id: &str| -> Vec<String> {
        let job = parsed(&result(program_for_gateway(api).arg(id))["job"]);
        let documented = job
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| !["suffix", "trainingType", "error_innererror"].contains(&key.as_str()));
        documented.cloned().collect()
    };
    let expected = attributes(&SampleApi::start(), "ftjob-abc123");
    for server in [Server::Azure, Server::Gateway] {
        let api = SampleApi::start_as(server, None);
        for job in server.jobs().unwrap() {
            assert_eq!(attributes(&api, job["id"].as_str().unwrap()), expected, "{}", job["id"]);
        }
    }
}
