//! How a run ends: an exit code, and for an error one line on stderr.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::process::{self, ExitCode};

use anyhow::{Error, Result};

use super::message::Line;
use super::secret::Secrets;

pub fn exit_code(result: Result<()>, secrets: &Secrets) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => self::error(1, &error, secrets),
    }
}

/// Says what went wrong. Nothing is left to be done when stderr is closed.
pub fn error(exit_code: u8, error: &Error, secrets: &Secrets) -> ExitCode {
    let line = Line::new(&format!("{error:#}"), secrets);
    let _ = writeln!(stderr(), "{line}");
    ExitCode::from(exit_code)
}

/// Says how the program is used, in its own words alone.
pub fn usage(help: &str) -> ExitCode {
    let _ = stderr().write_all(help.as_bytes());
    ExitCode::from(2)
}

/// Ends the run of a panic like that of any other error, so that no lock is ever poisoned. The line names the place alone:
/// a panic's own text may quote what a server sent.
pub fn panic(panic: &PanicHookInfo) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(stderr(), "internal error at {place}: please report it, with the query");
    process::exit(1);
}

#[allow(clippy::disallowed_methods)] // what is written here is a `Line`, or the program's own words
fn stderr() -> io::Stderr {
    io::stderr()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn a_panic_is_one_line_and_exit_code_1() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "text::report::tests::panics", "--ignored", "--nocapture"])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("internal error at src"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }

    /// Run by the test above, in a process of its own.
    #[test]
    #[ignore = "ends the process"]
    fn panics() {
        std::panic::set_hook(Box::new(super::panic));
        panic!("secret");
    }
}
