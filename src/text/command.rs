//! What in a text CI runners take for a command. GitHub Actions obeys `##[…]` anywhere in a line and `::…::` at its
//! beginning (actions/runner, `ActionCommand.cs`), Azure Pipelines `##vso[…]` anywhere (azure-pipelines-agent, `Command.cs`),
//! TeamCity `##teamcity[…]`.

/// Where such commands are, by the place behind their `##`.
pub fn commands(text: &str) -> impl Iterator<Item = usize> {
    let is_command = |rest: &str| {
        rest.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')).starts_with('[')
    };
    // Overlapping ones too: the last two of `###[` are a command.
    let pairs = text.match_indices('#').filter(|(place, _)| text[place + 1..].starts_with('#'));
    pairs.map(|(place, _)| place + 2).filter(move |place| is_command(&text[*place..]))
}

/// The text with a blank in each command, which then commands nothing and can still be read. A word counts like the
/// beginning of a line, as Terraform wraps what it prints.
pub(super) fn without_commands(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut commands = commands(text).peekable();
    let mut begins_word = true;
    for (place, c) in text.char_indices() {
        if commands.next_if_eq(&place).is_some() {
            harmless.push(' ');
        }
        harmless.push(c);
        if begins_word && text[place..].starts_with("::") {
            // Behind the blank another word begins, as all of `:::error` has to be taken apart.
            harmless.push(' ');
        } else {
            begins_word = c == ' ';
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_lose_their_power() {
        for (text, expected) in [
            ("##vso[task.setvariable variable=x]y", "## vso[task.setvariable variable=x]y"),
            ("a##[error]b", "a## [error]b"),
            ("###[x", "### [x"),
            ("##a##[x", "##a## [x"),
            ("##VSO[x##vso[y", "## VSO[x## vso[y"),
            ("##teamcity[x]", "## teamcity[x]"),
            ("##[", "## ["),
            ("::error file=a::b", ": :error file=a::b"),
            ("a ::add-mask::b", "a : :add-mask::b"),
            (":::x", ": : :x"),
            ("a :::: b", "a : : : : b"),
        ] {
            assert_eq!(without_commands(text), expected);
        }
    }

    #[test]
    fn what_only_looks_like_a_command_stays() {
        for text in ["C::D", "10:30::", "# Heading", "## Heading", "#[derive]", "##", "##a", "a: b", ": b", "ä##ö"] {
            assert_eq!(without_commands(text), text);
        }
    }
}
