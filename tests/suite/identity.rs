//! Workload identity: the program gets an access token for its identity, from servers that stand for OpenAI's.

use std::fs;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::openai::{OpenAi, access_token, bearers, identity, jwt, token};
use crate::support::program::{KEY, failure, program, result, run, wait_until};
use crate::support::sample_api::{Behaviour, Fault, RateLimit, SampleApi, answering, job, response, silent};

const IDS: [(&str, &str); 2] =
    [("OPENAI_IDENTITY_PROVIDER_ID", "idp_123"), ("OPENAI_SERVICE_ACCOUNT_ID", "svc_acct_456")];

fn file(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn without_start(line: &str) -> &str {
    line.strip_prefix("could not read fine-tuning job ftjob-abc123: ").unwrap_or(line)
}

/// Reads one job with this identity.
fn reading(openai: &OpenAi, identity: &str) -> Command {
    let mut command = openai.program_with_identity(identity);
    command.args(["ftjob-abc123", "timeout=20s"]);
    command
}

/// Reads a batch of so many jobs.
fn reading_many(openai: &OpenAi, count: usize) -> Command {
    let ids: Vec<_> = (1..=count).map(|number| format!("ftjob-n{number}")).collect();
    let mut command = openai.program_with_identity(&identity());
    command.args([format!("fine_tuning_job_ids={}", json!(ids)), "timeout=30s".into()]);
    command
}

#[test]
fn the_exchange_is_what_openai_documents() {
    let openai = OpenAi::start();
    let mut command = reading(&openai, &identity());
    command.env("OPENAI_CUSTOM_HEADERS", "x-custom: 1\nuser-agent: custom").env("OPENAI_ORG_ID", "org-1");
    command.env("OPENAI_PROJECT_ID", "proj-1").env("OPENAI_API_KEY", KEY);
    assert_eq!(result(&mut command)["status"], "succeeded");
    let requests = openai.exchange.requests();
    let [exchange] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&*exchange.method, &*exchange.path), ("POST", "/oauth/token"));
    let body: Value = serde_json::from_str(&exchange.body).unwrap();
    assert_eq!(
        body,
        json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": identity(),
            "identity_provider_id": "idp_123",
            "service_account_id": "svc_acct_456",
        })
    );
    let mut names: Vec<_> = exchange.headers.keys().map(String::as_str).collect();
    names.retain(|name| !["host", "content-length", "user-agent", "accept", "content-type"].contains(name));
    assert_eq!(names, [""; 0], "headers that are meant for the API");
    assert_eq!(exchange.headers["host"], "auth.openai.com");
    assert_eq!(exchange.headers["content-type"], "application/json");
    assert!(exchange.headers["user-agent"].starts_with("openai-fine-tuning-job/"));
    let api = openai.api.requests();
    assert_eq!(bearers(&api), [format!("Bearer {}", access_token(1))]);
    assert_eq!((&*api[0].headers["x-custom"], &*api[0].headers["openai-project"]), ("1", "proj-1"));
}

#[test]
fn the_first_identity_counts() {
    let folder = tempfile::tempdir().unwrap();
    let identity = |name: &str| jwt(&json!({ "sub": name }));
    let path = file(&folder, "token", &format!("\n {} \r\n", identity("file")));
    let github = SampleApi::start();
    let value = identity("github");
    github.handle(move |_| ("200 OK", json!({ "value": value })));
    let github_url = format!("http://{}/_apis/token?api-version=2.0", github.address);
    let variables = [
        ("OPENAI_IDENTITY_TOKEN_FILE", path, "file"),
        ("OPENAI_IDENTITY_TOKEN", identity("variable"), "variable"),
        ("TFC_WORKLOAD_IDENTITY_TOKEN_OPENAI", identity("terraform"), "terraform"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", github_url, "github"),
    ];
    for first in 0..variables.len() {
        let openai = OpenAi::start();
        let mut command = reading(&openai, "");
        command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token-0123456789").env("OPENAI_API_KEY", KEY);
        for (name, value, _) in &variables[first..] {
            command.env(name, value);
        }
        result(&mut command);
        let body: Value = serde_json::from_str(&openai.exchange.requests()[0].body).unwrap();
        assert_eq!(body["subject_token"], identity(variables[first].2), "{}", variables[first].0);
    }
}

#[test]
fn github_is_asked_for_an_identity() {
    let openai = OpenAi::start();
    let github =
        SampleApi::start_tls(openai.ca.server_asking_for_client_certificates(&["127.0.0.1"], &openai.clients, false));
    github.handle(|_| ("200 OK", json!({ "count": 1, "value": identity() })));
    for (audience, expected) in [("", "https%3A%2F%2Fapi.openai.com%2Fv1"), ("a&b=c d/é", "a%26b%3Dc%20d%2F%C3%A9")] {
        let mut command = reading(&openai, "");
        command.env(
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            format!("https://{}/a/b//idtoken/x?api-version=2.0&y=%2F", github.address),
        );
        command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request.token.0123456789").env("OPENAI_WIF_AUDIENCE", audience);
        command.env("OPENAI_CUSTOM_HEADERS", "x-custom: 1").env("OPENAI_ORG_ID", "org-1").env("NO_PROXY", "127.0.0.1");
        assert_eq!(result(&mut command)["status"], "succeeded");
        let requests = github.requests();
        let request = requests.last().unwrap();
        let path = format!("/a/b//idtoken/x?api-version=2.0&y=%2F&audience={expected}");
        assert_eq!((&*request.method, &*request.path, request.certificates), ("GET", &*path, 0));
        assert_eq!(request.headers["authorization"], "bearer request.token.0123456789");
        assert!(!request.headers.contains_key("x-custom") && !request.headers.contains_key("openai-organization"));
    }
}

#[test]
fn what_cannot_be_used_is_refused_before_any_request() {
    let openai = OpenAi::start();
    let folder = tempfile::tempdir().unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIGhvbm9sdWx1\n-----END PRIVATE KEY-----\n";
    let path = |name: &str, text: &str| file(&folder, name, text);
    let ids = "OPENAI_IDENTITY_PROVIDER_ID and OPENAI_SERVICE_ACCOUNT_ID ask for workload identity";
    let github = |url: &str| {
        vec![("ACTIONS_ID_TOKEN_REQUEST_URL", url.to_owned()), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t0123456789".into())]
    };
    let token_file = |path: String| vec![("OPENAI_IDENTITY_TOKEN_FILE", path)];
    let not_https = "ACTIONS_ID_TOKEN_REQUEST_URL is not a URL in https";
    for (variables, expected) in [
        (
            vec![],
            &*format!("{ids}, but there is no identity: in GitHub Actions, give the job permissions: id-token: write;"),
        ),
        (token_file(path("key.pem", key)), "it is not a JWT"),
        (token_file(path("empty", "")), "it is not a JWT"),
        (token_file(path("two", "a.b")), "it is not a JWT"),
        (token_file(path("long", &format!("{}.b.c", "a".repeat(64 * 1024)))), "it is not a JWT"),
        (token_file(folder.path().join("missing").to_str().unwrap().into()), "it could not be read"),
        (token_file(folder.path().to_str().unwrap().into()), "it could not be read"),
        (token_file(identity()), "OPENAI_IDENTITY_TOKEN_FILE should be the path of a file, not what is in it"),
        (vec![("OPENAI_IDENTITY_TOKEN", key.into())], "OPENAI_IDENTITY_TOKEN is not a JWT"),
        (vec![("OPENAI_IDENTITY_TOKEN", path("jwt", &identity()))], "OPENAI_IDENTITY_TOKEN is not a JWT"),
        (
            vec![("TFC_WORKLOAD_IDENTITY_TOKEN_OPENAI", "a..c".into())],
            "TFC_WORKLOAD_IDENTITY_TOKEN_OPENAI is not a JWT",
        ),
        (github("https://a.test")[..1].to_vec(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN is not"),
        (github("https://a.test")[1..].to_vec(), "ACTIONS_ID_TOKEN_REQUEST_URL is not"),
        (github("http://a.test/token?x"), not_https),
        (github("http://127.0.0.1.evil.test/token?x"), not_https),
        (github("ftp://127.0.0.1"), not_https),
        (github("/token"), not_https),
        (
            vec![("OPENAI_IDENTITY_TOKEN", identity()), ("OPENAI_CUSTOM_HEADERS", "authorization: Bearer x".into())],
            "has another Authorization: remove one of both",
        ),
        (
            vec![("OPENAI_IDENTITY_TOKEN", identity()), ("OPENAI_IDENTITY_PROVIDER_ID", "a b".into())],
            "OPENAI_IDENTITY_PROVIDER_ID contains a blank",
        ),
    ] {
        // A key beside it is no way out.
        let mut command = reading(&openai, "");
        let line =
            failure(2, command.envs(variables.iter().map(|(name, value)| (name, value))).env("OPENAI_API_KEY", KEY));
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("MC4CAQ") && !line.contains(&identity()[..20]), "{line}");
        if let [("OPENAI_IDENTITY_TOKEN_FILE", path)] = &variables[..]
            && path.starts_with('/')
        {
            assert!(line.starts_with(&format!("OPENAI_IDENTITY_TOKEN_FILE={path}: ")), "{line}");
        }
    }
    assert_eq!(openai.proxy.heads(), [""; 0]);
}

#[test]
fn the_access_token_goes_to_openai_alone() {
    let openai = OpenAi::start();
    for base_url in [
        "https://openai.com.evil.example/v1",
        "https://notopenai.com/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com.evil.example",
        "https://gateway.test/openai.com",
        "https://127.0.0.1:1/v1",
        "http://localhost:1/v1",
    ] {
        let mut command = reading(&openai, &identity());
        let line = failure(2, command.args([&*format!("base_url={base_url}"), "allow_http=true"]));
        assert!(
            line.starts_with("base_url leads to ") && line.ends_with("name the variable with its key in api_key_env")
        );
        let line = failure(2, reading(&openai, &identity()).args(["allow_http=true"]).env("OPENAI_BASE_URL", base_url));
        assert!(line.starts_with("OPENAI_BASE_URL leads to "), "{line}");
    }
    assert_eq!(openai.proxy.heads(), [""; 0]);
    for base_url in ["https://API.OpenAI.com/v1", "https://api.openai.com./v1", "https://api.openai.com:443/v1/"] {
        let mut command = reading(&openai, &identity());
        assert_eq!(result(command.arg(format!("base_url={base_url}")))["status"], "succeeded", "{base_url}");
    }
}

#[test]
fn a_named_key_wins_over_everything_else() {
    let openai = OpenAi::start();
    let mut command = reading(&openai, "");
    command.env("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer custom-0123456789").env("A_KEY", KEY);
    result(command.arg("api_key_env=A_KEY"));
    assert_eq!(bearers(&openai.api.requests()), [format!("Bearer {KEY}")]);
    assert_eq!(openai.exchange.connections(), 0);
}

#[test]
fn authorization_in_the_custom_headers_is_enough() {
    let api = SampleApi::start();
    let mut command = program();
    command.env("OPENAI_BASE_URL", api.url()).env("OPENAI_CUSTOM_HEADERS", "authorization: Bearer custom-0123456789");
    result(command.arg("ftjob-abc123"));
    // It wins over a key that nobody named, even one that could not be used.
    result(command.env("OPENAI_API_KEY", "a b"));
    assert_eq!(bearers(&api.requests()), ["Bearer custom-0123456789"; 2]);
    api.play([answering(response("401 Unauthorized", &[], r#"{"error":{"message":"no"}}"#))]);
    assert!(failure(1, &mut command).ends_with("; check Authorization in OPENAI_CUSTOM_HEADERS"));
}

#[test]
fn one_id_alone_is_explained_if_nothing_else_is_there() {
    let api = SampleApi::start();
    for ((set, value), (missing, _)) in [(IDS[0], IDS[1]), (IDS[1], IDS[0])] {
        let mut command = program();
        command.env("OPENAI_BASE_URL", api.url()).env(set, value).arg("ftjob-abc123");
        let line = failure(2, &mut command);
        assert_eq!(line, format!("{set} is set, but {missing} is not: workload identity takes both"));
        result(command.env("OPENAI_API_KEY", KEY));
    }
}

#[test]
fn one_exchange_serves_a_thousand_jobs() {
    let openai = OpenAi::start();
    result(&mut reading_many(&openai, 1000));
    assert_eq!(openai.exchange.requests().len(), 1);
    assert_eq!(openai.api.requests().len(), 1000);
}

#[test]
fn requests_that_are_refused_together_share_one_exchange() {
    let openai = OpenAi::start();
    // The first token is accepted for some requests, and then never again.
    let tokens = [(access_token(1), 40), (access_token(2), 1000)].into();
    openai.api.behave(Behaviour { tokens, delay: Duration::from_millis(5), ..Behaviour::default() });
    result(&mut reading_many(&openai, 200));
    assert_eq!(openai.exchange.requests().len(), 2);
}

#[test]
fn a_token_is_renewed_once_and_only_if_it_was_accepted() {
    for (accepted, exchanges) in [(vec![0], 1), (vec![1, 0], 2), (vec![1, 1, 0], 3)] {
        let openai = OpenAi::start();
        let tokens = (1..).zip(accepted).map(|(number, times)| (access_token(number), times)).collect();
        openai.api.behave(Behaviour { tokens, ..Behaviour::default() });
        openai.api.moves("ftjob-abc123", [with_status("running")]);
        let line = failure(1, reading(&openai, &identity()).arg("wait=30s"));
        assert!(line.contains("answered HTTP 401: Incorrect API key provided: [redacted]"), "{line}");
        assert!(line.ends_with("; check the service account in OPENAI_SERVICE_ACCOUNT_ID"), "{line}");
        assert_eq!(openai.exchange.requests().len(), exchanges);
    }
}

fn with_status(status: &str) -> Value {
    let mut job = job("ftjob-abc123");
    job["status"] = json!(status);
    job
}

#[test]
fn a_token_is_renewed_at_three_quarters_of_its_life() {
    for (expires_in, is_renewed) in [
        (json!(2), true),
        (json!(null), false),
        (json!(0), false),
        (json!("soon"), false),
        (json!(1e300), false),
        (json!(3600), false),
    ] {
        let openai = OpenAi::start();
        let mut number = 0;
        let life = expires_in.clone();
        openai.exchange.handle(move |_| {
            number += 1;
            ("200 OK", token(&access_token(number), life.clone()))
        });
        // Polls after 0, 1 and 2.5 s.
        openai.api.moves("ftjob-abc123", ["running", "running", "succeeded"].map(with_status));
        result(reading(&openai, &identity()).arg("wait=30s"));
        let exchanges = openai.exchange.requests().len();
        assert_eq!(exchanges > 1, is_renewed, "{expires_in}: {exchanges}");
        let bearers = bearers(&openai.api.requests());
        assert_eq!(bearers[0] != bearers[2], is_renewed, "{bearers:?}");
    }
}

#[test]
fn a_renewal_ahead_of_time_may_fail() {
    let openai = OpenAi::start();
    openai.exchange.handle({
        let mut first = Some(token(&access_token(1), json!(4)));
        // Later it is refused, which ends a run that needs another token.
        move |_| first.take().map_or(("403 Forbidden", json!({ "error": "access_denied" })), |token| ("200 OK", token))
    });
    // Its estimate has passed, so that it is polled each second.
    let mut running = with_status("running");
    running["estimated_finish"] = json!(1_700_000_000);
    openai.api.moves("ftjob-abc123", [running]);
    let start = Instant::now();
    let line = failure(1, reading(&openai, &identity()).arg("wait=60s"));
    assert!(line.contains("the token exchange failed: auth.openai.com answered HTTP 403: access_denied"), "{line}");
    assert!(start.elapsed() >= Duration::from_secs(4), "the token was given up while it lived");
    let expected = format!("Bearer {}", access_token(1));
    assert!(bearers(&openai.api.requests()).iter().all(|bearer| *bearer == expected));
}

#[test]
fn a_refused_exchange_is_explained_by_the_identitys_claims() {
    let openai = OpenAi::start();
    openai.exchange.handle(|_| {
        ("400 Bad Request", json!({ "error": "invalid_grant", "error_description": "The audience is not allowed." }))
    });
    let claims = json!({ "iss": "https://issuer.test", "aud": ["one", "two"], "sub": "repo:my-org/infra" });
    let line = failure(1, &mut reading(&openai, &jwt(&claims)));
    assert_eq!(
        without_start(&line),
        "the token exchange failed: auth.openai.com answered HTTP 400: invalid_grant: The audience is not allowed (request \
         ID req_sample1); the identity is of issuer https://issuer.test, audience one, two, subject repo:my-org/infra; check \
         OPENAI_IDENTITY_PROVIDER_ID and OPENAI_SERVICE_ACCOUNT_ID"
    );
    // A stranger's text is cut, and harmless.
    let claims = json!({ "iss": "a\u{1b}[31m\nb\u{202e}", "aud": 7, "sub": format!("::debug {}", "x".repeat(9000)) });
    let line = failure(1, &mut reading(&openai, &jwt(&claims)));
    assert!(line.contains("; the identity is of issuer a[31m b, audience 7, subject : :debug x"), "{line}");
    assert!(line.ends_with("…; check OPENAI_IDENTITY_PROVIDER_ID and OPENAI_SERVICE_ACCOUNT_ID"), "{line}");
    for unreadable in ["a.b.c", "e30.W10.c"] {
        let line = failure(1, &mut reading(&openai, unreadable));
        assert!(line.contains("; the claims of the identity cannot be read; check "), "{line}");
    }
    let line = failure(1, &mut reading(&openai, &jwt(&json!({}))));
    assert!(line.contains("of issuer (none), audience (none), subject (none)"), "{line}");
}

#[test]
fn the_exchange_is_retried_like_any_request() {
    let openai = OpenAi::start();
    let reset: Fault = Box::new(|connection| connection.read_request().map(drop));
    openai.exchange.play([answering(response("503 Service Unavailable", &[], "")), reset]);
    result(&mut reading(&openai, &identity()));
    let (window, status) = (Duration::from_secs(60), "429 Too Many Requests");
    let limit = RateLimit { requests: 0, window, retry_after_ms: Some(1), status };
    openai.exchange.behave(Behaviour { rate_limit: Some(limit), ..Behaviour::default() });
    let line = failure(1, openai.program_with_identity(&identity()).args(["ftjob-abc123", "timeout=2s"]));
    assert!(line.contains("auth.openai.com answered HTTP 429"), "{line}");
    assert_eq!(openai.api.requests().len(), 1);
}

#[test]
fn the_exchange_keeps_to_the_timeout_and_takes_the_proxy() {
    let openai = OpenAi::start();
    let reading = |timeout: &str| {
        let mut command = openai.program_with_identity(&identity());
        command.args(["ftjob-abc123", timeout]);
        command
    };
    openai.exchange.play([silent(), silent()]);
    let line = failure(1, &mut reading("timeout=1500ms"));
    let expected = "the token exchange failed: no response from auth.openai.com through the proxy ";
    assert!(without_start(&line).starts_with(expected), "{line}");
    assert!(
        line.contains(" within the timeout of 1s500ms ") && line.ends_with("; allow more time with timeout"),
        "{line}"
    );
    openai.proxy.refuse(["403 Forbidden"; 3]);
    let line = failure(1, &mut reading("timeout=20s"));
    assert!(line.contains(" answered HTTP 403 to CONNECT auth.openai.com; have it allow this host, or "), "{line}");
    assert_eq!(openai.api.connections(), 0);
}

#[test]
fn an_outage_of_the_exchange_ends_a_read_and_no_wait() {
    let outage = || answering(response("500 Internal Server Error", &[], ""));
    let openai = OpenAi::start();
    openai.exchange.play((0..3).map(|_| outage()));
    let line = failure(1, &mut reading(&openai, &identity()));
    let expected = "the token exchange failed: auth.openai.com answered HTTP 500: Internal Server Error (after 3 attempts); try again later";
    assert_eq!(without_start(&line), expected);
    openai.exchange.play((0..3).map(|_| outage()));
    let line = failure(1, &mut reading_many(&openai, 50));
    assert_eq!(line, format!("could not read any of 50 fine-tuning jobs: {expected}"));

    openai.exchange.play((0..4).map(|_| outage()));
    openai.api.moves("ftjob-abc123", ["running", "succeeded"].map(with_status));
    result(reading(&openai, &identity()).arg("wait=60s"));
}

#[test]
fn answers_that_are_no_token_are_errors() {
    let openai = OpenAi::start();
    for answer in [
        json!({}),
        json!([]),
        json!({ "access_token": "" }),
        json!({ "access_token": 7 }),
        json!({ "access_token": "a\r\nx: b" }),
    ] {
        openai.exchange.handle(move |_| ("200 OK", answer.clone()));
        let line = failure(1, &mut reading(&openai, &identity()));
        let expected = "auth.openai.com answered without an access token that can be used; try again later";
        assert_eq!(without_start(&line), expected);
    }
    openai.exchange.play([answering(response("302 Found", &[("location", "https://evil.test/")], ""))]);
    let line = failure(1, &mut reading(&openai, &identity()));
    let expected = "the token exchange failed: auth.openai.com answered HTTP 302: Found (to https://evil.test/); redirects are \
                    not followed: check that no proxy or login page answers instead";
    assert_eq!(without_start(&line), expected);
    assert!(openai.proxy.heads().iter().all(|head| head.starts_with("CONNECT auth.openai.com:443 ")));

    let github = SampleApi::start();
    for (status, answer, expected) in [
        ("200 OK", json!({ "value": "-----BEGIN PRIVATE KEY-----" }), "answered with a value that is not a JWT"),
        ("200 OK", json!({}), "answered with a value that is not a JWT"),
        (
            "403 Forbidden",
            json!({ "message": "no" }),
            "answered HTTP 403: no (request ID req_sample3); check that the job still runs",
        ),
    ] {
        github.handle(move |_| (status, answer.clone()));
        let mut command = reading(&openai, "");
        command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t0123456789");
        let line = failure(1, command.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("http://{}/x", github.address)));
        assert!(line.contains(expected) && !line.contains("BEGIN"), "{line}");
    }
}

#[test]
fn no_token_shows_whatever_a_server_echoes() {
    let openai = OpenAi::start();
    let github = SampleApi::start();
    let identity = jwt(&json!({ "iss": "https://issuer.test", "sub": "x" }));
    let answer = json!({ "value": identity.clone() });
    github.handle(move |_| ("200 OK", answer.clone()));
    let request_token = "header0123.payload0123.signature0123";
    let command = || {
        let mut command = reading(&openai, "");
        command.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("http://{}/x?y", github.address));
        command.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", request_token);
        command
    };
    let access = access_token(1);
    let mut secrets = vec![&*identity, request_token, &access];
    secrets.extend(identity.split('.').chain(request_token.split('.')));
    let check = |mut command: Command, api: Value| {
        let output = run(command.arg("wait=5s"));
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{api}: {shown}");
    };
    for secret in &secrets {
        // In the API's answer, as a job's text and in its words.
        let mut echo = with_status("succeeded");
        echo["metadata"] = json!({ "a": format!("x{secret}y") });
        openai.api.moves("ftjob-abc123", [echo.clone()]);
        openai.exchange.handle(move |_| ("200 OK", token(&access_token(1), json!(3600))));
        check(command(), echo);
        let body = json!({ "error": { "message": format!("no: {secret}") } });
        openai.api.play([answering(response("403 Forbidden", &[], &body.to_string()))]);
        check(command(), body);
        // In that of the exchange, which has not minted anything then.
        if *secret == access {
            continue;
        }
        let body = json!({ "error": "invalid", "error_description": format!("no: {secret}") });
        let answer = body.clone();
        openai.exchange.handle(move |_| ("401 Unauthorized", answer.clone()));
        check(command(), body);
    }
}

#[test]
fn a_file_is_read_anew_for_each_exchange() {
    let openai = OpenAi::start();
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| jwt(&json!({ "sub": name })));
    let path = file(&folder, "token", &first);
    openai
        .api
        .behave(Behaviour { tokens: [(access_token(1), 1), (access_token(2), 1)].into(), ..Behaviour::default() });
    openai.api.moves("ftjob-abc123", ["running", "running", "succeeded"].map(with_status));
    let mut command = reading(&openai, "");
    command.env("OPENAI_IDENTITY_TOKEN_FILE", &path).arg("wait=30s");
    let run = std::thread::spawn(move || failure(1, &mut command));
    wait_until("the job is read", || !openai.api.requests().is_empty());
    fs::write(&path, &second).unwrap();
    wait_until("the second exchange", || openai.exchange.requests().len() == 2);
    // What is no token at a renewal is an outage, which a wait survives.
    fs::write(&path, "not a token").unwrap();
    let identities: Vec<_> = openai.exchange.requests().iter().map(|request| request.body.clone()).collect();
    assert!(identities[0].contains(&first) && identities[1].contains(&second));
    let line = run.join().unwrap();
    assert!(line.contains(" is still running after 30s") && line.contains("it is not a JWT"), "{line}");
    assert!(!line.contains("not a token"), "{line}");
}
