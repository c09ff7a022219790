//! Values that must never be shown: the API key, and the values of custom headers.

use serde_json::Value;

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

/// All secrets of a run.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// In bytes. Shorter secrets are not redacted: they occur in other texts by chance.
    const SHORTEST: usize = 8;

    pub fn add(&mut self, secret: Secret) {
        if secret.0.len() >= Self::SHORTEST {
            self.0.push(secret);
            // A secret that contains another one is redacted whole.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.0.len()));
        }
    }

    /// The text with `[redacted]` wherever a secret stood.
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(&secret.0, "[redacted]"))
    }

    /// Whether a secret is in a compact JSON text, in a string or as a name.
    pub fn are_in_json(&self, json: &str) -> bool {
        self.0.iter().any(|secret| {
            let quoted = Value::from(secret.expose()).to_string();
            json.contains(&quoted[1..quoted.len() - 1])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        texts.iter().for_each(|text| secrets.add(Secret::new((*text).into())));
        secrets
    }

    #[test]
    fn secrets_are_redacted_whole() {
        let secrets = secrets(&["sk-012345", "sk-0123456789", "short"]);
        assert_eq!(secrets.redact("a sk-0123456789 b sk-012345 short"), "a [redacted] b [redacted] short");
    }

    #[test]
    fn a_secret_is_found_in_json_however_it_is_quoted() {
        let secrets = secrets(&[r#"sk-"quoted""#, "short"]);
        assert!(secrets.are_in_json(r#"{"x":"a sk-\"quoted\" b"}"#));
        assert!(!secrets.are_in_json(r#"{"x":"sk-short"}"#));
    }
}
