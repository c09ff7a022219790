//! What the README says, as far as it takes no engine to see that it is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::protocol::DOCUMENTED_KEYS;
use crate::support::markdown::{code_blocks, codes_in_tables};
use crate::support::program::{failure, program, program_for, run, text};
use crate::support::sample_api::{self, SampleApi};

/// The blocks of one language, without what indents them.
fn blocks(language: &str) -> Vec<String> {
    let blocks = code_blocks("README.md", language).into_iter();
    blocks.map(|block| block.lines().map(|line| format!("{}\n", line.trim())).collect()).collect()
}

#[test]
fn shell_examples_print_what_is_shown() {
    let api = SampleApi::start();
    for block in blocks("console") {
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
        [format!("model = {}\n", model("ftjob-today")), format!("fine_tuned_model = {}\n", model("ftjob-abc123"))];
    assert_eq!(blocks("text"), expected);
}

#[test]
fn both_commands_are_targets_of_make() {
    let makefile = text("Makefile");
    let commands = blocks("sh").concat();
    let targets: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("make ")).collect();
    assert_eq!(targets, ["demo", "test"]);
    for target in targets {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "make {target}");
    }
}

#[test]
fn every_key_has_its_row() {
    let (queries, results) = (codes_in_tables("README.md", "### Query"), codes_in_tables("README.md", "### Result"));
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
fn the_help_lists_the_variables_of_the_table() {
    let help = String::from_utf8(run(program().arg("--help")).stdout).unwrap();
    let (_, help) = help.split_once("Environment:\n").unwrap();
    let is_variable =
        |word: &&str| word.len() > 4 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let listed: BTreeSet<_> =
        help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_variable).collect();
    let rows = codes_in_tables("README.md", "### Environment");
    let rows: BTreeSet<_> = rows.iter().map(String::as_str).filter(is_variable).collect();
    assert_eq!(&listed - &rows, ["TFC_WORKLOAD_IDENTITY_AUDIENCE_OPENAI"].into());
    assert_eq!(&rows - &listed, [].into());
}

#[test]
fn every_message_in_the_table_is_one_of_the_program() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path()).filter(|path| path.is_dir());
    let sources = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let text: String = sources.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    // As the compiler joins them.
    let text = text.split("\\\n").map(str::trim_start).collect::<String>();
    for phrase in codes_in_tables("README.md", "## Troubleshooting") {
        let start = phrase.trim_end_matches(|c: char| c.is_ascii_digit() || c == '…');
        assert!(text.contains(start), "no message says {phrase:?}");
    }
}
