//! The program in a pseudo-terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use nix::pty::openpty;

use super::program::{KEY, PROGRAM, assert_no_key, without_settings};
use super::sample_api::SampleApi;

/// Runs the program with these arguments, and returns the exit code and all that the terminal got.
pub fn in_terminal(api: &SampleApi, arguments: &[&str]) -> (Option<i32>, String) {
    let terminal = openpty(None, None).expect("a pseudo-terminal");
    let mut command = without_settings(Command::new(PROGRAM));
    command.args(arguments).envs([("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &api.url()), ("TERM", "xterm")]);
    // Without arguments the program looks whether stdin is a terminal.
    command.stdin(terminal.slave.try_clone().unwrap()).stdout(terminal.slave.try_clone().unwrap());
    let mut child = command.stderr(Stdio::from(terminal.slave)).spawn().expect("the program starts");
    // The other side is held by the program alone.
    drop(command);
    let mut output = Vec::new();
    // Linux says that the other side has gone with an error.
    let _ = File::from(terminal.master).read_to_end(&mut output);
    assert_no_key(&output);
    (child.wait().unwrap().code(), String::from_utf8(output).expect("UTF-8 on the terminal"))
}
