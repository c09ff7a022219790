//! Whether a name says that its value is a secret, such as `api-key`, `X-Auth-Token` or `apiKey`.

const WORDS: &[&str] = &[
    "auth",
    "authorization",
    "key",
    "apikey",
    "token",
    "secret",
    "cookie",
    "password",
    "credential",
    "credentials",
    "signature",
];

/// Whether one of the name's words says so. Words are parted by what is no letter, and by capitals.
pub(super) fn says_secret(name: &str) -> bool {
    let mut parted = String::new();
    let mut chars = name.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let is_next_small = chars.peek().is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (!before.is_ascii_uppercase() || is_next_small) {
            parted.push(' ');
        }
        parted.push(if c.is_ascii_alphabetic() { c.to_ascii_lowercase() } else { ' ' });
        before = c;
    }
    parted.split(' ').any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_of_a_name_count() {
        for name in
            ["key", "api-key", "API_KEY", "apiKey", "APIKey", "X-Auth-Token", "subscription-key", "Cookie", "a.key2"]
        {
            assert!(says_secret(name), "{name}");
        }
        for name in ["api-version", "ai_project_id", "x-author", "monkey", "keyboard", "tokens", "é-K", ""] {
            assert!(!says_secret(name), "{name}");
        }
    }
}
