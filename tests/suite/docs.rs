//! What the README and the pages in `docs/` say, as far as it takes no engine to see that it is so; and all links.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::protocol::DOCUMENTED_KEYS;
use crate::support::markdown::{anchors, code_blocks, codes_in_tables, files, links};
use crate::support::program::{failure, program, program_for, run, text};
use crate::support::sample_api::{self, SampleApi};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const REFERENCE: &str = "docs/reference.md";
/// The most words that the README may have: a new user decides on one screen.
const MAX_WORDS: usize = 1500;

#[test]
fn shell_examples_print_what_is_shown() {
    let api = SampleApi::start();
    for block in files().iter().flat_map(|file| code_blocks(file, "console")) {
        for (line, shown) in block.split("$ ").skip(1).filter_map(|line| line.split_once('\n')) {
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some("openai-fine-tuning-job"));
            let said = run(program_for(&api).args(words));
            let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
            match shown.trim_end().strip_suffix('…') {
                Some(start) => assert!(said.starts_with(start), "{line}: {said}"),
                None => assert_eq!(said, shown, "{line}"),
            }
        }
    }
}

#[test]
fn the_output_shown_is_that_of_the_sample_jobs() {
    let model = |id| sample_api::job(id)["fine_tuned_model"].to_string();
    let expected =
        [format!("fine_tuned_model = {}\n", model("ftjob-abc123")), format!("model = {}\n", model("ftjob-today"))];
    assert_eq!(code_blocks("README.md", "text"), expected);
}

#[test]
fn both_commands_are_targets_of_make() {
    let makefile = text("Makefile");
    let commands = code_blocks("README.md", "sh").concat();
    let targets: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("make ")).collect();
    assert_eq!(targets, ["demo", "test"]);
    for target in targets {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "make {target}");
    }
}

#[test]
fn every_key_has_its_row() {
    let (queries, results) = (codes_in_tables(REFERENCE, "## Query"), codes_in_tables(REFERENCE, "## Result"));
    let known = failure(2, program_for(&SampleApi::start()).arg("unknown=key"));
    let (_, known) = known.split_once("the keys are ").unwrap();
    for key in known.split(", ") {
        assert!(queries.iter().any(|row| row == key), "{key} is not in the table of queries");
    }
    for key in DOCUMENTED_KEYS.split_whitespace() {
        let fits = |row: &String| row.strip_suffix('*').map_or(row == key, |start| key.starts_with(start));
        assert!(results.iter().any(fits), "{key} is not in the table of results");
    }
}

#[test]
fn every_message_in_the_table_is_one_of_the_program() {
    let folders = fs::read_dir(Path::new(REPOSITORY).join("src")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path()).filter(|path| path.is_dir());
    let sources = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let text: String = sources.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    // As the compiler joins them.
    let text = text.split("\\\n").map(str::trim_start).collect::<String>();
    let sections = ["## Query and environment", "## The server's answer", "## The network", "## Guards and waits"];
    for phrase in sections.iter().flat_map(|section| codes_in_tables("docs/troubleshooting.md", section)) {
        let start = phrase.trim_end_matches(|c: char| c.is_ascii_digit() || c == '…');
        assert!(text.contains(start), "no message says {phrase:?}");
    }
}

#[test]
fn the_help_lists_the_variables_of_the_table() {
    let help = String::from_utf8(run(program().arg("--help")).stdout).unwrap();
    let (_, help) = help.split_once("Environment:\n").unwrap();
    let is_variable =
        |word: &&str| word.len() > 4 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let listed: BTreeSet<_> =
        help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_variable).collect();
    let rows = codes_in_tables(REFERENCE, "## Environment");
    assert_eq!(listed, rows.iter().map(String::as_str).collect());
}

#[test]
fn the_help_fits_on_two_screens() {
    let help = String::from_utf8(run(program().arg("--help")).stdout).unwrap();
    let widest = help.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(widest.chars().count() <= 120, "{widest}");
    assert!(help.lines().count() <= 64, "{} lines", help.lines().count());
}

#[test]
fn the_readme_is_short_and_begins_with_a_picture() {
    let readme = text("README.md");
    let words = readme.split_whitespace().count();
    assert!(words <= MAX_WORDS, "the README has {words} words");
    assert!(readme.lines().take(40).any(|line| line.starts_with("![")));
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for file in files() {
        for link in links(&text(&file)) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { file.clone() } else { within_repository(&file, path) };
            let place = Path::new(REPOSITORY).join(&target);
            let has_anchor = || target.ends_with(".md") && anchors(&text(&target)).iter().any(|it| it == anchor);
            if !place.exists() || !anchor.is_empty() && !has_anchor() {
                dead.push(format!("{file}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let mut reached = vec!["README.md".to_owned()];
    let mut next = 0;
    while let Some(file) = reached.get(next).cloned() {
        for link in links(&text(&file)) {
            let mut target = within_repository(&file, link.split('#').next().unwrap_or_default());
            if Path::new(REPOSITORY).join(&target).join("README.md").exists() {
                target += "/README.md";
            }
            if target.ends_with(".md") && !link.starts_with("https://") && !reached.contains(&target) {
                reached.push(target);
            }
        }
        next += 1;
    }
    let lost: Vec<_> = files().into_iter().filter(|file| !reached.contains(file)).collect();
    assert!(lost.is_empty(), "no way leads from the README to {lost:?}");
}

#[test]
fn pictures_bring_their_own_background() {
    // On a page whose theme is not the system's, text without one vanishes.
    for picture in
        files().iter().flat_map(|file| links(&text(file)).into_iter().map(|link| within_repository(file, &link)))
    {
        if picture.ends_with(".svg") {
            let svg = text(&picture);
            assert!(svg.contains("<rect width=\"100%\" height=\"100%\""), "{picture} has no background");
            assert!(!svg.contains("prefers-color-scheme"), "{picture} follows the system's theme");
        }
    }
}

/// Where a relative link leads, as a path within the repository.
fn within_repository(file: &str, link: &str) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}
