//! JSON for stdout: what could command a CI runner or a terminal stands there as an escape, which is the same value.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::command::commands;
use super::visible::is_invisible;

/// Writes a value as compact JSON.
pub fn write_json(writer: impl Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(writer, Escaping))?)
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_plain = |byte: u8| byte.is_ascii() && byte != b'\x7f';
        if fragment.bytes().all(is_plain) && !fragment.contains("##") {
            return writer.write_all(fragment.as_bytes());
        }
        let mut commands = commands(fragment).peekable();
        let mut written = 0;
        for (place, c) in fragment.char_indices() {
            let end = place + c.len_utf8();
            let is_command = commands.next_if_eq(&end).is_some();
            if is_command || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[written..place])?;
                c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
                written = end;
            }
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

/// A value whose JSON text is a string, written without a copy of it.
pub struct JsonText<T>(pub T);

impl<T: Serialize> Serialize for JsonText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<T: Serialize> Display for JsonText<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// serde_json writes whole characters.
        struct Utf8<'a, 'b>(&'a mut fmt::Formatter<'b>);

        impl Write for Utf8<'_, '_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
                self.0.write_str(text).map_err(io::Error::other)?;
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        serde_json::to_writer(Utf8(f), &self.0).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(value: &impl Serialize) -> String {
        let mut written = Vec::new();
        write_json(&mut written, value).unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn what_could_command_is_escaped_and_all_else_is_not() {
        for (text, expected) in [
            ("##vso[x]", r##""#\u0023vso[x]""##),
            ("a###[x]##[", r##""a##\u0023[x]#\u0023[""##),
            ("\u{202e}\u{9b}\u{7f}\u{1b}", r#""\u202e\u009b\u007f\u001b""#),
            ("a\u{ad}b\u{2028}\u{e0041}c", r#""a\u00adb\u2028\udb40\udc41c""#),
            ("ä 🙂 ## C::D \\ \" #[x]", r###""ä 🙂 ## C::D \\ \" #[x]""###),
        ] {
            assert_eq!(written(&text), expected);
            assert_eq!(serde_json::from_str::<Value>(expected).unwrap(), text);
        }
    }

    #[test]
    fn text_within_text_is_escaped_outside() {
        let inner = json!({ "##[a": ["\u{202e}\u{1b}##vso[x]", { "grader": "{\"b\":\"##[\"}" }, 1.5, null] });
        let outer = written(&JsonText(&JsonText(&inner)));
        assert!(!outer.contains("##") && !outer.contains('\u{202e}'), "{outer}");
        let middle: String = serde_json::from_str(&outer).unwrap();
        let text: String = serde_json::from_str(&middle).unwrap();
        assert_eq!(text, inner.to_string());
    }
}
