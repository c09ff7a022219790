//! stdout, and whether anybody still reads it.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result};

/// Writes the whole text at once, so that nobody ever reads half a result.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("could not write the result to stdout")
}

/// Sleeps, but no longer than the reader of a pipe is there: it goes when whoever started the program is killed. Returns
/// whether there may still be a reader.
#[cfg(unix)]
pub fn sleep_while_read(pause: Duration) -> bool {
    use std::thread;
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let end = Instant::now() + pause;
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let timeout = Timespec::try_from(pause).ok();
    if poll(&mut stdout, timeout.as_ref()).is_ok() && stdout[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        return false;
    }
    // What else poll(2) may say of stdout ends no wait.
    thread::sleep(end.saturating_duration_since(Instant::now()));
    true
}

/// Sleeps. Only Unix tells that the reader of a pipe has gone before something is written.
#[cfg(not(unix))]
pub fn sleep_while_read(pause: Duration) -> bool {
    std::thread::sleep(pause);
    true
}
