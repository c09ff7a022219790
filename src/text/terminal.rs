//! What a person at a terminal sees of a run on stderr: one line that is kept up to date, and others above it.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use super::message::Line;

pub struct Terminal(ProgressBar);

#[allow(clippy::disallowed_methods)] // what is written here is a `Line`
impl Terminal {
    /// `None` if stderr is no terminal.
    pub fn new() -> Option<Self> {
        io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("waited {elapsed}, {msg}").expect("a valid template");
            Terminal(ProgressBar::no_length().with_style(style))
        })
    }

    /// Says what is going on, behind the time that has passed.
    pub fn show(&self, line: &Line) {
        self.0.set_message(line.to_string());
    }

    /// Leaves a line above that.
    pub fn print(&self, line: &Line) {
        self.0.println(line.to_string());
    }

    /// Brings the time up to date.
    pub fn tick(&self) {
        self.0.tick();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
