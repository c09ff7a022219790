//! Installs what `.ci/dist` packed, in each way that the README names: from nothing to a job that is read from the sample
//! API. `make dist` runs both.

#[cfg(target_os = "linux")]
mod linux;
mod modules;
#[path = "../support/mod.rs"]
mod support;
mod wheel;

use std::path::{Path, PathBuf};
use std::{fs, process};

use assert_cmd::Command;

use support::engines::{output, target_folder};
use support::program::{KEY, result, without_settings};
use support::sample_api::SampleApi;

const NAME: &str = "openai-fine-tuning-job";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `target/dist/`.
fn dist() -> PathBuf {
    target_folder().unwrap().join("dist")
}

/// The one file that was packed whose name has this start and this end.
fn packed(start: &str, end: &str) -> PathBuf {
    let names = fs::read_dir(dist()).expect("`.ci/dist` has run").map(|entry| entry.unwrap().path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(start) && name.ends_with(end)
    };
    let found: Vec<_> = names.filter(fits).collect();
    assert_eq!(found.len(), 1, "{start}…{end}: {found:?}");
    found[0].clone()
}

/// Checks that this command runs the program of this version, and that it reads a job.
#[track_caller]
fn assert_reads_a_job(command: impl Fn() -> process::Command) {
    let version = Command::from_std(command()).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("{NAME} {VERSION}\n"));

    let api = SampleApi::start();
    let mut command = Command::from_std(without_settings(command()));
    command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", api.url());
    let job = result(command.write_stdin(r#"{"fine_tuning_job_id":"ftjob-abc123"}"#));
    assert_eq!(job["id"], "ftjob-abc123");
}

/// The program's file name on this system.
fn program_in(folder: &Path) -> PathBuf {
    folder.join(format!("{NAME}{}", std::env::consts::EXE_SUFFIX))
}

/// The program of the archive; all other packages must have the same.
fn unpacked(folder: &Path) -> PathBuf {
    let end = if cfg!(windows) { ".zip" } else { ".tar.gz" };
    let archive = packed(&format!("{NAME}-v{VERSION}-"), end);
    output(process::Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(folder)).unwrap();
    let name = archive.file_name().unwrap().to_string_lossy().into_owned();
    program_in(&folder.join(name.strip_suffix(end).unwrap()))
}

/// Checks that a file is the program of the archive.
#[track_caller]
fn assert_is_the_program(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    assert!(fs::read(file).unwrap() == fs::read(unpacked(folder.path())).unwrap(), "{}", file.display());
}

#[test]
fn the_archive_has_the_program_and_its_licences() {
    let folder = tempfile::tempdir().unwrap();
    let program = unpacked(folder.path());
    for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
        assert!(program.with_file_name(file).exists(), "{file}");
    }
    assert_reads_a_job(|| process::Command::new(&program));
}
