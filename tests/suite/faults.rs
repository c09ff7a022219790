//! What can go wrong between the program and the API, over real sockets.

use std::io;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;

use crate::support::program::{KEY, PROGRAM, failure, program_for, result, wait_until, without_settings};
use crate::support::sample_api::{self, Connection, Fault, SampleApi, answering, response, silent};

/// The same fault for each attempt.
type Play = fn(&mut Connection) -> io::Result<()>;

fn times(count: usize, play: Play) -> impl Iterator<Item = Fault> {
    (0..count).map(move |_| Box::new(play) as Fault)
}

fn reset(connection: &Connection) -> io::Result<()> {
    SockRef::from(&connection.tcp).set_linger(Some(Duration::ZERO))?;
    connection.tcp.shutdown(Shutdown::Read)
}

/// The line, and the number of attempts, if each of them meets this fault.
fn line_after(play: Play, timeout: &str) -> (String, usize) {
    let api = SampleApi::start();
    api.play(times(3, play));
    let line = failure(1, program_for(&api).args(["ftjob-abc123", timeout]));
    let attempts = api.connections();
    assert_eq!(line.contains(&format!(" (after {attempts} attempts)")), attempts > 1, "{line}");
    (line, attempts)
}

const START: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

#[test]
fn each_fault_ends_in_one_line() {
    // What happens, how many attempts it is worth, and what the line says.
    let cases: &[(&str, usize, &str, Play)] = &[
        ("reset before the headers", 3, "no response from 127.0.0.1:", |c| {
            c.read_request()?;
            reset(c)
        }),
        ("closed before the headers", 3, "no response from 127.0.0.1:", |c| c.read_request().map(drop)),
        ("reset inside the headers", 3, "no response from 127.0.0.1:", |c| {
            c.answer(START)?;
            thread::sleep(Duration::from_millis(50));
            reset(c)
        }),
        ("reset inside the body", 3, "response from 127.0.0.1:", |c| {
            c.answer(START)?;
            c.write(b"content-length: 100\r\n\r\n{\"object\":")?;
            thread::sleep(Duration::from_millis(50));
            reset(c)
        }),
        ("a body shorter than its length", 3, "only part of a response from 127.0.0.1:", |c| {
            c.answer(START)?;
            c.write(b"content-length: 100\r\n\r\n{\"object\":")
        }),
        ("a close-delimited body that is cut", 3, "was cut short", |c| {
            c.answer(START)?;
            c.write(b"connection: close\r\n\r\n{\"object\":\"fine_tuning.jo")
        }),
        ("an empty body", 3, "answered with an empty body", |c| c.answer(&response("200 OK", &[], ""))),
        ("two lengths", 1, " sent a response with two Content-Length lines that differ; check OPENAI_BASE_URL", |c| {
            c.answer(START)?;
            c.write(b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}")
        }),
        (
            "a length in words",
            1,
            " sent a response with a Content-Length that is no number; check OPENAI_BASE_URL",
            |c| {
                c.answer(START)?;
                c.write(b"content-length: two\r\n\r\n{}")
            },
        ),
        ("a header line without a name", 1, " with a header line that has no valid name; check OPENAI_BASE_URL", |c| {
            c.answer(START)?;
            c.write(b"content type: x\r\n\r\n{}")
        }),
        (
            "a header line with a control",
            1,
            " with a header line that has no valid value; check OPENAI_BASE_URL",
            |c| {
                c.answer(START)?;
                c.write(b"x-name: a\0b\r\n\r\n{}")
            },
        ),
        ("many header lines", 1, " sent a response with too many header lines; check OPENAI_BASE_URL", |c| {
            c.answer(START)?;
            (0..200).try_for_each(|n| c.write(format!("x-header-{n}: x\r\n").as_bytes()))?;
            c.write(b"content-length: 2\r\n\r\n{}")
        }),
        ("a broken chunk", 1, " sent a response with a body whose chunks are broken; check OPENAI_BASE_URL", |c| {
            c.answer(START)?;
            c.write(b"transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n")
        }),
        ("a chunk that is cut", 3, "only part of a response from 127.0.0.1:", |c| {
            c.answer(START)?;
            c.write(b"transfer-encoding: chunked\r\n\r\n100\r\n{\"object\":")
        }),
        ("something else than HTTP", 1, "does not speak HTTP; check OPENAI_BASE_URL", |c| {
            c.answer(b"220 ready\r\n\r\n")
        }),
        ("11 MiB", 1, "is over 10 MiB", |c| c.answer(&response("200 OK", &[], &" ".repeat(11 << 20)))),
        ("11 MiB in chunks", 1, "is over 10 MiB", |c| {
            c.answer(START)?;
            c.write(b"transfer-encoding: chunked\r\n\r\n")?;
            let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
            (0..11).try_for_each(|_| c.write(chunk.as_bytes()))
        }),
        ("endless headers", 1, " sent a response with too many header lines; check OPENAI_BASE_URL", |c| {
            c.answer(START)?;
            (0..100_000).try_for_each(|n| c.write(format!("x-header-{n}: x\r\n").as_bytes()))
        }),
        ("one endless header", 1, "are over 16 KiB", |c| {
            c.answer(START)?;
            c.write(b"x-header: ")?;
            (0..10_000).try_for_each(|_| c.write(&[b'x'; 1000]))
        }),
        (
            "HTML",
            1,
            "answered with text/html, not JSON; check OPENAI_BASE_URL, and that no proxy or login page answers instead",
            |c| {
                let page = "<html><title>Sign in to Wi-Fi</title></html>";
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", page.len());
                c.answer(format!("{head}{page}").as_bytes())
            },
        ),
        ("truncated JSON", 3, "was cut short", |c| {
            c.answer(&response("200 OK", &[], r#"{"object":"fine_tuning.job""#))
        }),
        ("broken JSON", 1, "JSON that cannot be parsed (", |c| c.answer(&response("200 OK", &[], "{\"object\" 1}"))),
        ("broken UTF-8", 1, "JSON that cannot be parsed (", |c| {
            c.answer(START)?;
            c.write(b"content-length: 7\r\n\r\n{\"\xff\":1}")
        }),
        ("another object", 1, r#"an object of type "list", not a fine-tuning job"#, |c| {
            c.answer(&response("200 OK", &[], r#"{"object":"list","data":[]}"#))
        }),
        ("an array", 1, "JSON that is not a fine-tuning job", |c| c.answer(&response("200 OK", &[], "[]"))),
        ("another job", 1, "answered with another job, ftjob-2023; check OPENAI_BASE_URL", |c| {
            c.answer(&response("200 OK", &[], &sample_api::job("ftjob-2023").to_string()))
        }),
        ("deep nesting", 1, "JSON that cannot be parsed (", |c| {
            let body = format!(r#"{{"metadata":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
            c.answer(&response("200 OK", &[], &body))
        }),
    ];
    thread::scope(|scope| {
        for &(name, attempts, expected, play) in cases {
            scope.spawn(move || {
                let (line, made) = line_after(play, "timeout=2m");
                assert!(line.contains(expected), "{name}: {expected:?} is not in {line:?}");
                assert_eq!(made, attempts, "{name}: {line}");
                println!("{name}: {line}");
            });
        }
    });
}

#[test]
fn responses_that_take_too_long_are_retried() {
    let slow: [(&str, Play); 2] = [
        ("no response from 127.0.0.1:", |c| {
            c.read_request()?;
            c.read_request().map(drop)
        }),
        ("only part of a response from 127.0.0.1:", |c| {
            c.answer(START)?;
            c.write(b"content-length: 100\r\n\r\n")?;
            (0..100).try_for_each(|_| {
                thread::sleep(Duration::from_secs(1));
                c.write(b" ")
            })
        }),
    ];
    thread::scope(|scope| {
        for (expected, play) in slow {
            scope.spawn(move || {
                let (line, attempts) = line_after(play, "timeout=3s");
                assert!(line.contains(expected) && line.contains(" within the timeout of 3s (after "), "{line}");
                // Each has a third of the timeout, and the pauses leave too little for another one.
                assert!(attempts <= 2, "{line}");
            });
        }
    });
}

#[test]
fn transient_errors_are_retried() {
    let errors: &[Play] = &[
        |c| c.answer(&response("429 Too Many Requests", &[("retry-after", "0.05")], "{}")),
        |c| c.answer(&response("502 Bad Gateway", &[("retry-after-ms", "10")], "<html>")),
        |c| c.answer(&response("400 Bad Request", &[("x-should-retry", "true")], "{}")),
        |c| {
            c.read_request()?;
            reset(c)
        },
        |c| c.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
        |c| c.answer(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"id\":\"\xc3"),
    ];
    for pair in errors.chunks(2) {
        let api = SampleApi::start();
        api.play(pair.iter().map(|&play| Box::new(play) as Fault));
        assert_eq!(result(program_for(&api).arg("ftjob-abc123"))["status"], "succeeded");
        assert_eq!(api.connections(), 3);
    }
}

#[test]
fn a_rate_limit_is_waited_out_for_as_long_as_timeout_allows() {
    let api = SampleApi::start();
    api.play(times(8, |c| c.answer(&response("429 Too Many Requests", &[("retry-after", "0.1")], "{}"))));
    assert_eq!(result(program_for(&api).arg("ftjob-abc123"))["status"], "succeeded");

    // Without a pause that the server names, the backoff grows: 0.5 s, 1 s, 2 s.
    let api = SampleApi::start();
    api.play(times(3, |c| c.answer(&response("429 Too Many Requests", &[], "{}"))));
    assert_eq!(result(program_for(&api).arg("ftjob-abc123"))["status"], "succeeded");

    let api = SampleApi::start();
    api.play(times(100, |c| c.answer(&response("503 Service Unavailable", &[("retry-after", "1")], "{}"))));
    let line = failure(1, program_for(&api).args(["ftjob-abc123", "timeout=4s"]));
    assert!(line.contains("answered HTTP 503: ") && line.contains(" attempts)"), "{line}");
    assert!(api.connections() <= 4, "{} attempts", api.connections());
}

#[test]
fn permanent_errors_are_not_retried() {
    let long: Play = |c| c.answer(&response("429 Too Many Requests", &[("retry-after", "120")], "{}"));
    let refused: Play = |c| c.answer(&response("503 Service Unavailable", &[("x-should-retry", "false")], "{}"));
    for (play, expected) in [
        (
            long,
            " (Retry-After is 2m, more than timeout leaves); reduce the request rate, or allow more time with \
             timeout",
        ),
        (refused, "answered HTTP 503: Service Unavailable; try again later"),
    ] {
        let api = SampleApi::start();
        api.play(times(1, play));
        let line = failure(1, program_for(&api).arg("ftjob-abc123"));
        assert!(line.ends_with(expected), "{line}");
        assert_eq!(api.connections(), 1);
    }
}

#[test]
fn the_key_is_redacted_wherever_it_comes_from() {
    let api = SampleApi::start();
    let echo: Play = |c| {
        let request = c.read_request()?.unwrap();
        let key = request.headers["authorization"].replace("Bearer ", "");
        let body = sample_api::error(&format!("Incorrect API key provided: {key}."), None, Some("invalid_api_key"));
        c.write(&response("401 Unauthorized", &[("x-request-id", &key)], &body.to_string()))
    };
    api.play(times(1, echo));
    let line = failure(1, program_for(&api).arg("ftjob-abc123"));
    assert!(
        line.contains("Incorrect API key provided: [redacted] (request ID [redacted]); check the API key"),
        "{line}"
    );

    let echo: Play = |c| {
        let request = c.read_request()?.unwrap();
        let mut job = sample_api::job("ftjob-abc123");
        job["metadata"] = json!({ "authorization": request.headers["authorization"] });
        c.write(&response("200 OK", &[], &job.to_string()))
    };
    api.play(times(1, echo));
    let line = failure(1, program_for(&api).arg("ftjob-abc123"));
    assert!(line.contains("sent a response that contains a secret"), "{line}");

    // Given as the ID by mistake, it shows neither when it could be one nor when it could not.
    let key = "k".repeat(600);
    let line = failure(2, program_for(&api).arg(KEY));
    assert!(line.starts_with("fine_tuning_job_id contains a secret (the API key, a token, or "), "{line}");
    let line = failure(2, program_for(&api).env("OPENAI_API_KEY", &key).arg(&key));
    assert!(line.contains("is a value of 600 characters, which is not a job ID"), "{line}");
    for argument in ["timeout", "allow_http", "most_recent", "base_url", "require_status", "api_key_env"] {
        failure(2, program_for(&api).args(["ftjob-abc123", &format!("{argument}={KEY}")]));
    }
    let other = format!("timeout={KEY}");
    failure(
        2,
        program_for(&api).env("OPENAI_API_KEY", "another-key").env("OTHER", KEY).args([
            "ftjob-x",
            "api_key_env=OTHER",
            &other,
        ]),
    );
    // In the place of a query key or an option, whether it is known as the key or not.
    for key in [KEY, "sk-proj-somebody-elses"] {
        let stdin = json!({ key: "1" }).to_string();
        for command in [
            program_for(&api).arg(format!("{key}=x")),
            program_for(&api).arg(format!("--{key}")),
            program_for(&api).args([&format!("{key}=x"), &format!("{key}=y")]),
            program_for(&api).write_stdin(stdin),
        ] {
            let line = failure(2, command);
            assert!(!line.contains(key), "{line}");
        }
    }
}

#[test]
fn the_key_is_not_sent_to_a_redirect_target() {
    let (api, elsewhere) = (SampleApi::start(), SampleApi::start());
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("{}/fine_tuning/jobs/ftjob-abc123", elsewhere.url());
        let redirect = response(status, &[("location", &location)], "");
        api.play([answering(redirect)]);
        let line = failure(1, program_for(&api).arg("ftjob-abc123"));
        assert!(line.contains("redirects are not followed: set OPENAI_BASE_URL to the API's own address"), "{line}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn no_text_of_a_server_garbles_the_line() {
    let api = SampleApi::start();
    let evil: Play = |c| {
        let message = format!("\u{1b}[2Jgone\r\n\u{202e}olleh\u{0} {}", "x".repeat(5000));
        let body = sample_api::error(&message, None, None).to_string();
        c.answer(&response("404 Not Found", &[("x-request-id", "req_after_the_long_text")], &body))
    };
    api.play(times(1, evil));
    let line = failure(1, program_for(&api).arg("ftjob-abc123"));
    assert!(line.contains("HTTP 404: [2Jgone olleh xxx") && line.contains("req_after_the_long_text"), "{line}");
}

#[test]
#[cfg(unix)]
fn a_signal_ends_the_program() {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use nix::sys::signal::{SigHandler, Signal, kill, signal};
    use nix::unistd::Pid;

    for sent in [Signal::SIGINT, Signal::SIGTERM] {
        let api = SampleApi::start();
        api.play([silent()]);
        let mut command = without_settings(Command::new(PROGRAM));
        command.arg("ftjob-abc123").envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &api.url())]);
        // A shell without job control has its background jobs, perhaps this test, ignore SIGINT.
        // SAFETY: signal(2) may be called between fork and exec.
        unsafe { command.pre_exec(move || Ok(signal(sent, SigHandler::SigDfl).map(drop)?)) };
        let mut child = command.spawn().unwrap();
        wait_until("the program has connected", || api.connections() == 1);
        kill(Pid::from_raw(child.id().try_into().unwrap()), sent).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(sent as i32));
    }
}

#[test]
fn two_hundred_processes_at_once_all_get_their_own_job() {
    let api = SampleApi::start();
    let ids: Vec<String> = sample_api::jobs().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    thread::scope(|scope| {
        for run in 0..200 {
            let (api, id) = (&api, &ids[run % ids.len()]);
            scope.spawn(move || assert_eq!(result(program_for(api).arg(id))["id"], id.as_str()));
        }
    });
    assert_eq!(api.requests().len(), 200);
}
