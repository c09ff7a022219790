//! Values that must never be shown: keys and tokens, and what is secret in custom headers.

use std::sync::{Arc, RwLock};

use super::visible::visible;

/// A value that has no `Debug` and no `Display`: only `expose` returns its text.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Secret(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// All secrets of a run. They are found in every form in which a server may send one back: as they are, as JSON escapes, in
/// JSON text within JSON text, percent-encoded, and in HTML. Clones share them, as an access token becomes known only on the way.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<Known>>>);

#[derive(Clone)]
struct Known {
    text: Vec<u8>,
    /// Without its escapes, if it looks as if it had any.
    decoded: Vec<u8>,
    /// Whether a result that contains it is an error.
    ends_run: bool,
}

/// The most bytes that stand for one, of which up to eight are backslashes: those of three JSON texts within each other.
const LONGEST_ESCAPE: usize = 16;

impl Secrets {
    /// In bytes. Shorter secrets are not redacted: they occur in other texts by chance.
    const SHORTEST: usize = 8;

    pub fn add(&self, secret: Secret) {
        self.insert(&secret.0, true);
    }

    /// Adds a part of a secret. A result may contain it if it has no digit: then it may be a plain word.
    pub fn add_part(&self, part: &str) {
        self.insert(part, part.contains(|c: char| c.is_ascii_digit()));
    }

    fn insert(&self, text: &str, ends_run: bool) {
        let mut secrets = self.0.write().unwrap();
        // In messages its blanks are folded.
        for text in [text, &visible(text, usize::MAX).0] {
            let known = Known { text: text.into(), decoded: decode(text.as_bytes()), ends_run };
            let is_new = secrets.iter().all(|other| other.text != known.text || (ends_run && !other.ends_run));
            if is_new && known.decoded.len() >= Self::SHORTEST {
                secrets.push(known);
            }
        }
    }

    /// Adds a token and, if it is a JWT, its parts.
    pub fn add_token(&self, token: &str) {
        token.split('.').chain([token]).for_each(|part| self.add(Secret::new(part.to_owned())));
    }

    /// The text with `[redacted]` wherever a secret stood.
    pub fn redact(&self, text: &str) -> String {
        let secrets = self.0.read().unwrap();
        let mut redacted = String::with_capacity(text.len());
        let (mut shown, mut place) = (0, 0);
        while place < text.len() {
            let Some(mut end) = end_of_any(&secrets, text, place) else {
                place += 1;
                continue;
            };
            // Secrets may overlap; none of them is shown in part.
            let mut inside = place + 1;
            while inside < end {
                end = end.max(end_of_any(&secrets, text, inside).unwrap_or_default());
                inside += 1;
            }
            redacted.push_str(&text[shown..place]);
            redacted.push_str("[redacted]");
            (shown, place) = (end, end);
        }
        redacted.push_str(&text[shown..]);
        redacted
    }

    /// Whether a JSON text contains a secret, in a string or as a name, that no result may contain.
    pub fn are_in_json(&self, json: &str) -> bool {
        let all = self.0.read().unwrap();
        let secrets: Vec<_> = all.iter().filter(|known| known.ends_run).collect();
        let json = json.as_bytes();
        (0..json.len()).any(|place| {
            // Most secrets begin with another character: a private key alone has dozens of lines.
            let (first, decoded) = (json[place], next(&json[place..]).and_then(|(byte, _)| byte));
            let mut begun = secrets.iter().filter(|known| known.text[0] == first || decoded == Some(known.decoded[0]));
            begun.any(|known| known.end(json, place).is_some())
        })
    }

    /// How many bytes a secret can take in a text, in any of its forms.
    pub(super) fn longest(&self) -> usize {
        self.0.read().unwrap().iter().map(|known| known.text.len() * LONGEST_ESCAPE).max().unwrap_or_default()
    }
}

/// Where the longest secret ends that begins at this place, if any does.
fn end_of_any(secrets: &[Known], text: &str, place: usize) -> Option<usize> {
    let ends = secrets.iter().filter_map(|known| known.end(text.as_bytes(), place));
    ends.max().filter(|end| text.is_char_boundary(place) && text.is_char_boundary(*end))
}

impl Known {
    /// Where the secret ends if it begins at this place.
    fn end(&self, text: &[u8], place: usize) -> Option<usize> {
        let mut rest = &text[place..];
        if rest.starts_with(&self.text) {
            return Some(place + self.text.len());
        }
        let mut wanted = &self.decoded[..];
        while let Some((first, others)) = wanted.split_first() {
            let (byte, length) = next(rest)?;
            match byte {
                Some(byte) if byte == *first => wanted = others,
                // A backslash before a character of the secret.
                None if wanted.len() < self.decoded.len() => {}
                _ => return None,
            }
            rest = &rest[length..];
        }
        Some(text.len() - rest.len())
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((byte, length)) = next(rest) {
        decoded.extend(byte);
        rest = &rest[length..];
    }
    decoded
}

/// The first byte of a text without its escapes, and how many bytes stand for it; `None` at its end. Backslashes count for
/// nothing, so that it does not matter how often a text was quoted.
fn next(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let first = *text.first()?;
    let escaped = match first {
        b'\\' => {
            let backslashes = text.iter().take(8).take_while(|byte| **byte == b'\\').count();
            let unicode = text[backslashes..].strip_prefix(b"u").and_then(|rest| number(rest.get(..4)?, 16));
            unicode.filter(u8::is_ascii).map_or(Some((b'\\', backslashes)), |byte| Some((byte, backslashes + 5)))
        }
        b'%' => {
            let byte = |place: usize| number(text.get(place..place + 2)?, 16);
            // Encoded up to three times: `%25` is the percent sign of what follows it.
            let place = [5, 3]
                .into_iter()
                .find(|place| byte(*place).is_some() && text[1..*place].chunks(2).all(|digits| digits == b"25"));
            let place = place.unwrap_or(1);
            byte(place).map(|byte| (byte, place + 2))
        }
        b'&' => html(text),
        _ => None,
    };
    let (byte, length) = escaped.unwrap_or((first, 1));
    Some((Some(byte).filter(|byte| *byte != b'\\'), length))
}

/// A character of ASCII as HTML writes it, such as `&quot;`, `&#34;` or `&#x22;`.
fn html(text: &[u8]) -> Option<(u8, usize)> {
    let length = text.iter().take(LONGEST_ESCAPE).position(|byte| *byte == b';')?;
    let byte = match &text[1..length] {
        b"quot" => b'"',
        b"apos" => b'\'',
        b"amp" => b'&',
        b"lt" => b'<',
        b"gt" => b'>',
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    Some((byte, length + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Secrets {
        let secrets = Secrets::default();
        texts.iter().for_each(|text| secrets.add(Secret::new((*text).into())));
        secrets
    }

    #[test]
    fn secrets_are_redacted_whole() {
        let secrets = secrets(&["sk-012345", "sk-0123456789", "6789-overlaps", "short", "two  blanks"]);
        for (text, expected) in [
            ("a sk-0123456789 b sk-012345 short", "a [redacted] b [redacted] short"),
            ("a sk-0123456789-overlaps b", "a [redacted] b"),
            ("two  blanks, two blanks", "[redacted], [redacted]"),
            ("äsk-012345ä", "ä[redacted]ä"),
        ] {
            assert_eq!(secrets.redact(text), expected);
        }
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let key = r#"sk-"quo\ted%41/&<01"#;
        let secrets = secrets(&[key, r"\\\\\\\\\\"]);
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let once = json(key);
        for text in [
            key.to_owned(),
            once.clone(),
            json(&once),
            json(&json(&once)),
            once.replace("sk", r"\u0073\u006b").replace('/', r"\/"),
            r#"sk-\u0022quo\u005cted%41/\u0026\u003c01"#.into(),
            "sk-%22quo%5Cted%2541%2F%26%3C01".into(),
            "sk-%2522quo%255Cted%252541%252F%2526%253c01".into(),
            "sk-&quot;quo\\ted%41/&amp;&lt;01".into(),
            "sk-&#34;quo&#x5C;ted%41/&#38;&#x3c;01".into(),
            format!("{key:?}"),
        ] {
            let redacted = secrets.redact(&format!("<{text}>"));
            assert_eq!(redacted.trim_matches(['<', '>', '"', '\\']), "[redacted]", "{text}");
            assert!(secrets.are_in_json(&text), "{text}");
        }
        for other in [r#"{"x":"sk-quo"}"#, r"a\\\\\\\\\\\\\\\\b", "%", "%2", "%25", "&", "&;", "&#;", "\\u", "é%c3"] {
            assert!(!secrets.are_in_json(other), "{other}");
            assert_eq!(secrets.redact(other), other);
        }
    }

    #[test]
    fn a_result_may_contain_a_plain_word_of_a_secret() {
        let secrets = Secrets::default();
        secrets.add_part("production");
        secrets.add_part("0123456789");
        assert!(!secrets.are_in_json(r#"["production"]"#) && secrets.are_in_json(r#"["0123456789"]"#));
        assert_eq!(secrets.redact("production"), "[redacted]");
        secrets.add(Secret::new("production".into()));
        assert!(secrets.are_in_json(r#"["production"]"#));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(2_000))]

        #[test]
        fn no_text_is_garbled(text in r#"([sk01"\\%&u25#x;é]|quot|u0073){0,40}"#, secret in r#"[sk01"\\%&é]{8,12}"#) {
            let redacted = secrets(&[&secret]).redact(&format!("{text}{secret}{text}"));
            let is_known = decode(secret.as_bytes()).len() >= Secrets::SHORTEST;
            proptest::prop_assert!(!is_known || !redacted.contains(&secret), "{redacted}");
        }
    }
}
