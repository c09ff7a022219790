//! The form of a JSON Web Token (JWT, RFC 7519), and what it claims. Its signature is verified by whoever takes it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The longest token, in bytes.
pub const MAX_JWT: usize = 64 * 1024;

/// The form, for messages.
pub const FORM: &str = "a JWT: three parts of base64url with dots between them, at most 64 KiB";

/// Whether the text has the form of a token. Any other text may be a private key, say, and is sent to nobody.
pub fn is_jwt(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= MAX_JWT && text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// What a token claims; `None` if that cannot be read.
pub fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_has_three_parts() {
        for text in ["a.b.c", "eyJhbGciOiJub25lIn0.e30.x-_", &format!("{}.b.c", "a".repeat(MAX_JWT - 4))] {
            assert!(is_jwt(text));
        }
        let too_long = format!("{}.b.c", "a".repeat(MAX_JWT - 3));
        for text in ["", "a", "a.b", "a.b.c.d", "a..c", "a.b.", "a.b.c=", "a.b.c d", "a.b.é", "a/.b.c", &too_long] {
            assert!(!is_jwt(text), "{text:.20}");
        }
    }

    #[test]
    fn claims_are_read_from_the_second_part() {
        assert_eq!(claims("x.eyJzdWIiOiJhIn0.y"), Some(json!({ "sub": "a" })));
        for token in ["x", "x.!.y", "x.e30x.y", "x.W10.y", "x.YQ.y"] {
            assert_eq!(claims(token), None, "{token}");
        }
    }
}
