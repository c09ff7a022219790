//! Failures as their reader sees them: one line on stderr that no server can garble, and an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::settings::Secret;

/// The longest line, in characters.
const MAX_LINE: usize = 1000;
/// The most that is quoted of what a server said, in characters: what comes after it must still fit into the line.
const MAX_QUOTE: usize = 500;

/// Why the program ends without a result.
pub struct Failure {
    exit_code: u8,
    line: String,
}

impl Failure {
    /// A mistake in the query, the arguments or the environment, found before any request was made: exit code 2.
    pub fn by_caller(error: anyhow::Error) -> Self {
        Failure { exit_code: 2, line: format!("{error:#}") }
    }

    /// The same failure, without the key in its line.
    pub fn without(self, key: &Secret) -> Self {
        Failure { line: key.redact(&one_line(&self.line)), ..self }
    }

    /// Says on stderr what went wrong. Nothing is left to be done when stderr is closed.
    pub fn report(self) -> ExitCode {
        let _ = writeln!(io::stderr(), "{}", shorten(one_line(&self.line), MAX_LINE));
        ExitCode::from(self.exit_code)
    }
}

/// Anything that goes wrong from the first request on: exit code 1.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure { exit_code: 1, line: format!("{error:#}") }
    }
}

/// What a server said, fit to stand within a message.
pub fn quote(text: &str, key: &Secret) -> String {
    // The key goes before the text is cut: a cut could leave most of it.
    shorten(key.redact(&one_line(text)), MAX_QUOTE)
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

/// At most so many characters, and a sign that there were more.
pub fn shorten(mut text: String, most: usize) -> String {
    if let Some((cut, _)) = text.char_indices().nth(most) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_key_never_shows_not_even_in_parts() {
        let key = Secret::new("sk-0123456789".into());
        assert_eq!(quote("said sk-0123456789!", &key), "said [key]!");
        let long = format!("{}sk-0123456789", "x".repeat(MAX_QUOTE - 5));
        assert!(!quote(&long, &key).contains("sk-"));
        assert!(!quote("sk-01234\u{200b}56789", &key).contains("sk-0123456789"));
    }
}
