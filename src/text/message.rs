//! Text for stderr: one line that no server can garble, and that shows no secret.

use std::fmt::{self, Display, Formatter, Write};
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use super::command::without_commands;
use super::secret::Secrets;
use super::visible::visible;

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most that is quoted of what a server said, in characters: what comes after it must still fit into the line.
const MAX_QUOTE: usize = 500;

/// How much of a text is read at most, in characters that can be seen.
const MAX_TEXT: usize = 64 * 1024;

/// A text for stderr. There is no other way to make one, and nothing else is written there: so no text from outside can
/// garble it, command a CI runner, or show a secret.
pub struct Line(String);

impl Line {
    /// The longest line, in characters.
    const LONGEST: usize = 1000;

    pub fn new(text: &str, secrets: &Secrets) -> Self {
        Line(quote_at_most(text, Self::LONGEST, secrets))
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a server said, as part of a message.
pub fn quote(text: &str, secrets: &Secrets) -> String {
    quote_at_most(text, MAX_QUOTE, secrets)
}

/// The text in one line, at most so many characters of it, with `[redacted]` in place of secrets, and no power over who
/// shows it. What cannot be seen goes first, as it could hide a secret; what redaction leaves could be a command; and a cut
/// before redaction could leave most of a secret.
pub fn quote_at_most(text: &str, most: usize, secrets: &Secrets) -> String {
    let (line, is_whole) = visible(text, MAX_TEXT);
    let mut line = secrets.redact(&line);
    if !is_whole {
        // The end of what was read may be a part of a secret.
        let certain = (0..=line.len().saturating_sub(secrets.longest())).rfind(|end| line.is_char_boundary(*end));
        line.truncate(certain.unwrap_or_default());
        line.push('…');
    }
    shorten(without_commands(&line), most)
}

/// The first `most` characters, and an ellipsis if there were more.
fn shorten(mut text: String, most: usize) -> String {
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

/// A point in time, in Unix seconds, as people read it; `None` beyond the year 9999.
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

/// What follows the one job that a message names, if the message holds for `count` of `total` jobs.
pub fn and_others(count: usize, total: usize) -> String {
    if count == 1 { String::new() } else { format!(" (and {} more of {total} jobs)", count - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Secret;

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
        let secrets = Secrets::default();
        secrets.add(Secret::new("sk-0123456789".into()));
        assert_eq!(quote("said sk-0123456789!", &secrets), "said [redacted]!");
        let long = format!("{}sk-0123456789", "x".repeat(MAX_QUOTE - 5));
        assert!(!quote(&long, &secrets).contains("sk-"));
        let longer = format!("{}sk-0123456789", "x".repeat(MAX_TEXT - 5));
        assert!(!quote_at_most(&longer, usize::MAX, &secrets).contains("sk-"));
    }

    #[test]
    fn a_quote_has_no_power() {
        let secrets = Secrets::default();
        secrets.add(Secret::new("sk-0123456789".into()));
        for (text, expected) in [
            ("#\u{200b}#vso[x]\n::error::y", "## vso[x] : :error::y"),
            ("##sk-0123456789", "## [redacted]"),
            ("sk-0123456789##[x", "[redacted]## [x"),
            ("s\u{ad}k-01234\u{2060}56789", "[redacted]"),
            ("s\u{34f}k-\u{1b}01234\u{e0041}56789", "[redacted]"),
        ] {
            assert_eq!(Line::new(text, &secrets).to_string(), expected);
        }
    }
}
