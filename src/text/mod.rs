//! What leaves the program: one line for people on stderr, and the result on stdout.

mod message;
pub mod report;
mod secret;
pub mod stdout;

pub use message::{DAY, and_others, duration, format_date, format_time, quote, shorten};
pub use secret::{Secret, Secrets};
