//! Which characters of a server's text can be seen. Those that cannot be seen may hide a secret or a command, or turn the
//! text around.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// How many combining marks in a row stay: more pile up over the lines around them.
const MAX_MARKS: usize = 2;

/// The text in one line: white space of any kind is one blank, and what cannot be seen is left out. At most `most` characters
/// of it; returns whether that was all of the text.
pub(super) fn visible(text: &str, most: usize) -> (String, bool) {
    let mut line = String::new();
    let (mut length, mut marks) = (0, 0);
    let mut chars = text.chars();
    for c in chars.by_ref() {
        let is_shown = if c.is_whitespace() {
            !line.is_empty() && !line.ends_with(' ')
        } else if is_invisible(c) {
            false
        } else {
            marks = if is_mark(c) { marks + 1 } else { 0 };
            marks <= MAX_MARKS
        };
        if is_shown {
            line.push(if c.is_whitespace() { ' ' } else { c });
            length += 1;
        }
        if length == most {
            break;
        }
    }
    line.truncate(line.trim_end().len());
    (line, chars.next().is_none())
}

/// Whether a character shows nothing: controls, format characters, and Unicode's `Default_Ignorable_Code_Point`.
pub(super) fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Those that are not format characters. Source: `DerivedCoreProperties.txt` of Unicode 17.
    let is_ignorable = matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    is_ignorable || matches!(c.general_category(), GeneralCategory::Control | GeneralCategory::Format)
}

fn is_mark(c: char) -> bool {
    let category = c.general_category();
    !c.is_ascii() && matches!(category, GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        visible(text, usize::MAX).0
    }

    #[test]
    fn a_line_is_one_line_of_plain_text() {
        assert_eq!(line("a\r\n\tb \u{1b}[31mred\u{7} \u{202e}evil\u{2066}\u{2028}c\u{9b}"), "a b [31mred evil c");
        assert_eq!(line(" \u{a0}\u{3000}a\u{2003}\u{85}b\n"), "a b");
    }

    #[test]
    fn what_cannot_be_seen_is_left_out() {
        for hidden in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{202d}',
            '\u{2060}',
            '\u{2069}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e01ef}',
            '\u{7f}',
            '\0',
        ] {
            assert_eq!(line(&format!("sk-{hidden}01")), "sk-01", "{hidden:?}");
        }
        let shown = "ä 漢字 한글 e\u{301} עברית 🙂 ₀";
        assert_eq!(line(shown), shown);
    }

    #[test]
    fn combining_marks_do_not_pile_up() {
        assert_eq!(line(&format!("a{}b", "\u{336}".repeat(50))), "a\u{336}\u{336}b");
    }

    #[test]
    fn long_texts_are_read_in_part() {
        assert_eq!(visible("abc", 3), ("abc".into(), true));
        assert_eq!(visible("abcd", 3), ("abc".into(), false));
        assert_eq!(visible("a\u{ad}\u{ad}\n\n\nb", 3), ("a b".into(), true));
    }
}
