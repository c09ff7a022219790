//! Cause to line: what a user reads, whole. HOST stands for the sample API's address. Certificates and proxies have
//! tables of their own, in `tls.rs` and `proxy.rs`.

use crate::support::program::{failure, program, program_for, refusing_address};
use crate::support::sample_api::{self, SampleApi, answering, error, response};

const NOT_READ: &str = "could not read fine-tuning job ftjob-abc123: ";

fn line(exit_code: i32, api: &SampleApi, arguments: &[&str]) -> String {
    let line = failure(exit_code, program_for(api).arg("ftjob-abc123").args(arguments));
    line.replace(&api.address.to_string(), "HOST")
}

#[test]
fn refusals_and_unusable_responses_are_explained() {
    let json = |status: &str, message: &str, code: &str| {
        response(
            status,
            &[("x-request-id", "req_1"), ("x-should-retry", "false")],
            &error(message, None, Some(code)).to_string(),
        )
    };
    let plain = |status: &str, kind: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nx-should-retry: false\r\n\r\n{body}")
            .into_bytes()
    };
    for (answer, expected) in [
        (
            json("401 Unauthorized", "Incorrect API key provided.", "invalid_api_key"),
            "HOST answered HTTP 401: Incorrect API key provided (request ID req_1); check the API key in OPENAI_API_KEY",
        ),
        (
            json(
                "403 Forbidden",
                "Country, region, or territory not supported",
                "unsupported_country_region_territory",
            ),
            "HOST answered HTTP 403: Country, region, or territory not supported (request ID req_1); check what the API key \
             in OPENAI_API_KEY may do, and for which organization and project",
        ),
        (
            json("404 Not Found", "Could not find fine tune: ftjob-abc123", "fine_tune_not_found"),
            "HOST answered HTTP 404: Could not find fine tune: ftjob-abc123 (request ID req_1); check the ID, \
             OPENAI_BASE_URL, and that the API key in OPENAI_API_KEY belongs to the job's project",
        ),
        (
            json("429 Too Many Requests", "Rate limit reached for requests", "rate_limit_exceeded"),
            "HOST answered HTTP 429: Rate limit reached for requests (request ID req_1); reduce the request rate",
        ),
        (
            response(
                "429 Too Many Requests",
                &[("x-request-id", "req_1")],
                &error("You exceeded your current quota.", None, Some("insufficient_quota")).to_string(),
            ),
            "HOST answered HTTP 429: You exceeded your current quota (request ID req_1); check the organization's plan and \
             billing",
        ),
        (
            response(
                "429 Too Many Requests",
                &[],
                r#"{"error":{"message":"RateLimitError: OpenAIException - You exceeded your current quota, please check your plan.","code":"429"}}"#,
            ),
            "HOST answered HTTP 429: RateLimitError: OpenAIException - You exceeded your current quota, please check your \
             plan; check the organization's plan and billing",
        ),
        (
            response("500 Internal Server Error", &[], r#"{"message":"upstream: You exceeded your current quota"}"#),
            "HOST answered HTTP 500: upstream: You exceeded your current quota; check the organization's plan and billing",
        ),
        (
            response("501 Not Implemented", &[], r#"{"message":"fine-tuning is not offered here"}"#),
            "HOST answered HTTP 501: fine-tuning is not offered here; check OPENAI_BASE_URL",
        ),
        (
            json("500 Internal Server Error", "The server had an error", "server_error"),
            "HOST answered HTTP 500: The server had an error (request ID req_1); try again later",
        ),
        (
            plain("502 Bad Gateway", "text/html", "<html><h1>502 Bad Gateway</h1></html>"),
            "HOST answered HTTP 502: Bad Gateway; try again later",
        ),
        (plain("404 Not Found", "text/html", "<html>"), "HOST answered HTTP 404: Not Found; check the ID and OPENAI_BASE_URL"),
        (
            plain("404 Not Found", "text/plain", "404 page not found\n"),
            "HOST answered HTTP 404: page not found; check the ID and OPENAI_BASE_URL",
        ),
        (
            plain("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#),
            "HOST answered HTTP 404: Not Found; check the ID and OPENAI_BASE_URL",
        ),
        (
            plain("404 Not Found", "application/json", r#"{"message":"no such job"}"#),
            "HOST answered HTTP 404: no such job; check the ID and OPENAI_BASE_URL",
        ),
        (
            plain(
                "422 Unprocessable Entity",
                "application/json",
                r#"{"detail":[{"type":"x","loc":["path","job",0],"msg":"Too short."},{"loc":[],"msg":"other"}]}"#,
            ),
            "HOST answered HTTP 422: path.job.0: Too short; check OPENAI_BASE_URL",
        ),
        (
            plain("400 Bad Request", "application/json", r#"{"detail":{"error":"no such deployment"}}"#),
            "HOST answered HTTP 400: no such deployment; check OPENAI_BASE_URL",
        ),
        (
            plain("400 Bad Request", "application/json", r#"{"detail":{"loc":["query"],"msg":"no"}}"#),
            "HOST answered HTTP 400: query: no; check OPENAI_BASE_URL",
        ),
        (
            plain("400 Bad Request", "application/json", r#"{"errors":["quota of the team","x"]}"#),
            "HOST answered HTTP 400: quota of the team; check OPENAI_BASE_URL",
        ),
        (
            plain("400 Bad Request", "application/json", r#"{"errors":[{"message":"bad route"}]}"#),
            "HOST answered HTTP 400: bad route; check OPENAI_BASE_URL",
        ),
        (
            plain("400 Bad Request", "application/json", r#"{"error":{},"error_description":"no scope"}"#),
            "HOST answered HTTP 400: no scope; check OPENAI_BASE_URL",
        ),
        (
            plain("403 Forbidden", "text/plain", "\nBlocked by policy 7.\r\nAsk the platform team."),
            "HOST answered HTTP 403: Blocked by policy 7; check OPENAI_BASE_URL, and the API key in OPENAI_API_KEY",
        ),
        // It is no longer short.
        (
            plain("400 Bad Request", "text/plain", &"stack trace\n".repeat(100)),
            "HOST answered HTTP 400: Bad Request; check OPENAI_BASE_URL",
        ),
        (plain("400 Bad Request", "text/plain", "\0\u{1}"), "HOST answered HTTP 400: Bad Request; check OPENAI_BASE_URL"),
        (
            plain("418 I'm a teapot", "text/plain", ""),
            "HOST answered HTTP 418: I'm a teapot; check OPENAI_BASE_URL",
        ),
        (
            json("400 Bad Request", "Invalid job ID.", "invalid_request"),
            "HOST answered HTTP 400: Invalid job ID (request ID req_1)",
        ),
        (
            plain("403 Forbidden", "application/json", r#"{"error":"blocked by waf rule 7"}"#),
            "HOST answered HTTP 403: blocked by waf rule 7; check OPENAI_BASE_URL, and the API key in OPENAI_API_KEY",
        ),
        (
            plain("401 Unauthorized", "text/html", "<html><head><Title>\n Sign in </title></head></html>"),
            "HOST answered HTTP 401: Sign in; check OPENAI_BASE_URL, and the API key in OPENAI_API_KEY",
        ),
        (
            plain("503 Service Unavailable", "application/json", r#"{"message":"upstream draining"}"#),
            "HOST answered HTTP 503: upstream draining; try again later",
        ),
        (
            plain("401 Unauthorized", "application/json", r#"{"detail":"Authentication Error, no key."}"#),
            "HOST answered HTTP 401: Authentication Error, no key; check OPENAI_BASE_URL, and the API key in OPENAI_API_KEY",
        ),
        (
            plain("400 Bad Request", "text/html", "<html><title lang=en>400 No required SSL certificate was sent</title>"),
            "HOST answered HTTP 400: No required SSL certificate was sent; check OPENAI_BASE_URL",
        ),
        (
            response("308 Permanent Redirect", &[("location", "https://login.test/")], ""),
            "HOST answered HTTP 308: Permanent Redirect (to https://login.test/); redirects are not followed: set \
             OPENAI_BASE_URL to the API's own address",
        ),
        (plain("520 Unknown", "text/plain", ""), "HOST answered HTTP 520; try again later"),
        (
            response("404 Not Found", &[("apim-request-id", "a-1")], r#"{"error":{"code":"404","message":"Resource not found"}}"#),
            "HOST answered HTTP 404: Resource not found (request ID a-1); check the ID, OPENAI_BASE_URL, and that the \
             API key in OPENAI_API_KEY belongs to the job's project",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00".to_vec(),
            "HOST answered with Content-Encoding gzip, which this program does not support; check OPENAI_BASE_URL, and any \
             proxy that compresses responses",
        ),
        (
            plain("302 Found", "text/html", ""),
            "HOST answered HTTP 302: Found; redirects are not followed: set OPENAI_BASE_URL to the API's own address",
        ),
        (
            plain("200 OK", "text/html; charset=utf-8", "<html><title>Sign in to Wi-Fi</title></html>"),
            "HOST answered with text/html; charset=utf-8, not JSON; check OPENAI_BASE_URL, and that no proxy or login page \
             answers instead",
        ),
        (
            plain("200 OK", "application/json", &sample_api::job("ftjob-dpo").to_string()),
            "HOST answered with another job, ftjob-dpo; check OPENAI_BASE_URL",
        ),
    ] {
        let api = SampleApi::start();
        api.play([answering(answer)]);
        assert_eq!(line(1, &api, &[]), format!("{NOT_READ}{expected}"));
    }
}

#[test]
fn long_words_and_headers_leave_room_for_the_advice() {
    let api = SampleApi::start();
    let long = "long ".repeat(500);
    let headers = [("location", &*long), ("x-request-id", &*long)];
    api.play([answering(response("302 Found", &headers, &error(&long, None, None).to_string()))]);
    let line = line(1, &api, &[]);
    assert!(line.ends_with("redirects are not followed: set OPENAI_BASE_URL to the API's own address"), "{line}");
}

#[test]
fn advice_follows_the_code_and_names_where_the_value_came_from() {
    let refusal = |status: &str, code: &str| {
        answering(response(status, &[("x-should-retry", "false")], &error("No", None, Some(code)).to_string()))
    };
    let organization = "check SOURCE: the API key in OPENAI_API_KEY is not of that organization";
    let project = "check SOURCE: the API key in OPENAI_API_KEY is not of that project";
    let host = "set SOURCE to the address of the project's region, such as https://us.api.openai.com/v1";
    for (code, arguments, variables, source, advice) in [
        ("mismatched_organization", &[][..], &[("OPENAI_ORG_ID", "org-1")][..], "OPENAI_ORG_ID", organization),
        (
            "mismatched_organization",
            &["organization=org-2"],
            &[("OPENAI_ORG_ID", "org-1")],
            "organization",
            organization,
        ),
        ("mismatched_organization", &[], &[], "OPENAI_ORG_ID", organization),
        ("mismatched_project", &[], &[("OPENAI_PROJECT_ID", "proj-1")], "OPENAI_PROJECT_ID", project),
        ("mismatched_project", &["project=proj-2"], &[], "project", project),
        ("incorrect_hostname", &[], &[], "OPENAI_BASE_URL", host),
    ] {
        let api = SampleApi::start();
        api.play([refusal("401 Unauthorized", code)]);
        let line = failure(1, program_for(&api).arg("ftjob-abc123").args(arguments).envs(variables.iter().copied()));
        assert!(line.ends_with(&format!("HTTP 401: No; {}", advice.replace("SOURCE", source))), "{line}");
    }

    for (status, code, names_headers) in [
        ("401 Unauthorized", "invalid_api_key", true),
        ("403 Forbidden", "forbidden", true),
        ("401 Unauthorized", "mismatched_project", true),
        ("404 Not Found", "not_found", false),
    ] {
        let api = SampleApi::start();
        let line = |headers: &str| {
            api.play([refusal(status, code)]);
            failure(1, program_for(&api).env("OPENAI_CUSTOM_HEADERS", headers).arg("ftjob-abc123"))
        };
        assert_eq!(line("x-team: blue").ends_with("; check OPENAI_CUSTOM_HEADERS too"), names_headers, "{code}");
        assert!(!line("").contains("OPENAI_CUSTOM_HEADERS"));
        assert!(line("OpenAI-Project: proj-1").matches("OPENAI_CUSTOM_HEADERS").count() <= 1, "{code}");
    }
}

#[test]
fn a_body_that_is_cut_short_is_reported() {
    let api = SampleApi::start();
    api.play((0..3).map(|_| {
        answering(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1\r\n\r\n{\"object\":\"fine_",
        )
    }));
    let expected = "HOST sent a response that was cut short (request ID req_1) (after 3 attempts); try again later";
    assert_eq!(line(1, &api, &[]), format!("{NOT_READ}{expected}"));
}

#[test]
fn failed_connections_are_explained() {
    let api = SampleApi::start();
    let (free, _socket) = refusing_address();
    let refused = line(1, &api, &[&format!("base_url=http://{free}")]);
    let expected = format!("{free} refused the connection (after 3 attempts); check base_url and the network");
    assert_eq!(refused, format!("{NOT_READ}{expected}"));

    assert_eq!(
        line(2, &api, &["base_url=http://api.test/v1"]),
        "base_url is plain http, which would show the API key to the network on its way to api.test: use https, or set \
         allow_http to \"true\""
    );
}

#[test]
fn a_missing_key_is_a_usage_error() {
    assert_eq!(
        failure(2, program().arg("ftjob-abc123")),
        "no API key: set the environment variable OPENAI_API_KEY where this program runs, or name another variable with \
         api_key_env"
    );
}
