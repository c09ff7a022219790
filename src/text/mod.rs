//! What leaves the program: one line for people on stderr, and the result on stdout.

mod command;
mod json;
mod message;
pub mod report;
mod secret;
pub mod stdout;
mod terminal;
mod visible;

pub use json::{JsonText, write_json};
pub use message::{DAY, Line, and_others, duration, format_date, format_time, quote, quote_at_most};
pub use secret::{Secret, Secrets};
pub use terminal::Terminal;
