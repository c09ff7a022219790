//! What a person at a terminal sees of a wait: one line that is kept up to date, and above it the events of a job that
//! is waited for alone.

use std::time::{Duration, Instant};

use crate::http::{Api, Deadline, Event};
use crate::text::stdout::sleep_while_read;
use crate::text::{Line, Terminal};

pub(super) struct Progress<'a> {
    api: &'a Api<'a>,
    terminal: Terminal,
    /// The ID of the newest event that was shown.
    newest: Option<String>,
}

impl<'a> Progress<'a> {
    /// `None` if stderr is no terminal: Terraform would show all of it with an error.
    pub(super) fn new(api: &'a Api<'a>) -> Option<Self> {
        Some(Progress { api, terminal: Terminal::new()?, newest: None })
    }

    /// Shows the status for the length of a pause, and first what the job with this ID reported. Returns whether
    /// anybody still reads the result.
    pub(super) fn show(&mut self, status: &str, id: Option<&str>, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        self.terminal.show(&Line::new(status, self.api.secrets()));
        if let Some(id) = id {
            // Without its events the wait goes on.
            let events = self.api.events_since(id, self.newest.as_deref(), &Deadline::timeout(pause));
            for Event { id, line } in events.unwrap_or_default() {
                self.terminal.print(&line);
                self.newest = Some(id);
            }
        }
        loop {
            self.terminal.tick();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            } else if !sleep_while_read(left.min(Duration::from_secs(1))) {
                return false;
            }
        }
    }
}
