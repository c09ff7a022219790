//! Text for stderr: one line that no server can garble, and that shows no secret.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use super::secret::Secrets;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most that is quoted of what a server said, in characters: what comes after it must still fit into the line.
const MAX_QUOTE: usize = 500;

/// What a server said, as part of a message.
pub fn quote(text: &str, secrets: &Secrets) -> String {
    // Redacted before it is cut: a cut could leave most of a secret.
    shorten(redacted_line(text, secrets), MAX_QUOTE)
}

/// The text in one line, with `[redacted]` in place of secrets.
pub(super) fn redacted_line(text: &str, secrets: &Secrets) -> String {
    // Before the blanks in a secret are folded, and where others stood within it.
    secrets.redact(&one_line(&secrets.redact(text)))
}

/// The text with its white space folded, and without anything that moves a terminal's cursor or turns its text around.
fn one_line(text: &str) -> String {
    let visible = |c: char| match c {
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let text: String = text.chars().map(visible).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first `most` characters, and an ellipsis if there were more.
pub fn shorten(mut text: String, most: usize) -> String {
    if let Some((cut, _)) = text.char_indices().nth(most) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// A duration in the form that the query takes, such as `1h30m`, no finer than a tenth of a second beyond the first.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let mut left = if millis < 1000 { millis } else { (millis + 50) / 100 * 100 };
    let mut text = String::new();
    for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if left >= millis {
            let _ = write!(text, "{}{unit}", left / millis);
            left %= millis;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A point in time, in Unix seconds, as people read it; none beyond the year 9999.
pub fn format_time(seconds: u64) -> Option<String> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    let mut text = String::new();
    write!(text, "{}", format_rfc3339_seconds(time)).ok()?;
    Some(text)
}

/// Its day in UTC, as `YYYY-MM-DD`.
pub fn format_date(seconds: u64) -> Option<String> {
    Some(format_time(seconds)?[..10].to_owned())
}

/// What follows the one job that a message names, where it holds for `count` of `total` jobs.
pub fn and_others(count: usize, total: usize) -> String {
    if count == 1 { String::new() } else { format!(" (and {} more of {total} jobs)", count - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Secret;

    #[test]
    fn a_line_is_one_line_of_plain_text() {
        let line = one_line("a\r\n\tb \u{1b}[31mred\u{7} \u{202e}evil\u{2066}\u{2028}c\u{9b}");
        assert_eq!(line, "a b [31mred evil c");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shorten("äöü".into(), 2), "äö…");
        assert_eq!(shorten("äöü".into(), 3), "äöü");
    }

    #[test]
    fn durations_are_rounded() {
        let millis = |millis: u64| duration(Duration::from_micros(millis * 1000 + 7));
        assert_eq!([583, 3_999, 1_864, 60_000, 90_049].map(millis), ["583ms", "4s", "1s900ms", "1m", "1m30s"]);
        assert_eq!([86_400_000 * 30, 86_400_000 + 3_600_000].map(millis), ["30d", "1d1h"]);
    }

    #[test]
    fn a_quote_shows_no_part_of_a_secret() {
        let mut secrets = Secrets::default();
        secrets.add(Secret::new("sk-0123456789".into()));
        assert_eq!(quote("said sk-0123456789!", &secrets), "said [redacted]!");
        let long = format!("{}sk-0123456789", "x".repeat(MAX_QUOTE - 5));
        assert!(!quote(&long, &secrets).contains("sk-"));
        secrets.add(Secret::new("two  blanks".into()));
        assert_eq!(quote("said two  blanks", &secrets), "said [redacted]");
    }
}
