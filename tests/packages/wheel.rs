//! The wheel, with pip and with uv.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;

use crate::support::engines::{self, output, target_folder};
use crate::support::program::{KEY, without_settings};
use crate::support::sample_api::SampleApi;
use crate::{NAME, VERSION, assert_is_the_program, assert_reads_a_job, dist, packed, program_in};

const SCRIPTS: &str = if cfg!(windows) { "Scripts" } else { "bin" };

/// The folder of `uv` and `uvx`, which `.ci/dist` has installed.
fn uv_folder() -> PathBuf {
    target_folder().unwrap().join("dist-tools/venv").join(SCRIPTS)
}

/// `uv` or `uvx`, which finds the wheel in the place of an index, and keeps all it has in this folder.
fn uv(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(uv_folder().join(program));
    set_up_uv(&mut command, folder);
    command
}

fn set_up_uv(command: &mut Command, folder: &Path) {
    command.env("UV_NO_INDEX", "1").env("UV_FIND_LINKS", dist()).env("UV_NO_CONFIG", "1").env("UV_OFFLINE", "1");
    command.env("UV_PYTHON_DOWNLOADS", "never").env("UV_CACHE_DIR", folder.join("cache"));
    command.env("UV_TOOL_DIR", folder.join("tools")).env("UV_TOOL_BIN_DIR", folder.join("bin"));
}

/// A new virtual environment's Python.
fn python() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let python = if cfg!(windows) { "python" } else { "python3" };
    output(Command::new(python).args(["-m", "venv"]).arg(folder.path())).unwrap();
    let python = folder.path().join(SCRIPTS).join("python");
    (folder, python)
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--isolated", "--disable-pip-version-check"]);
    command
}

#[test]
fn pip_installs_it_and_removes_it() {
    let (folder, python) = python();
    let requirement = format!("{NAME}=={VERSION}");
    let mut install = pip(&python);
    output(install.args(["install", "--no-index", "--find-links"]).arg(dist()).arg(requirement)).unwrap();
    let program = program_in(&folder.path().join(SCRIPTS));
    assert_is_the_program(&program);
    assert_reads_a_job(|| Command::new(&program));

    output(pip(&python).args(["uninstall", "--yes", NAME])).unwrap();
    assert!(!program.exists());
}

/// What pip of such a machine looks for: HashiCorp's image is Alpine, whose musl is newer than 1.1.
#[cfg(target_os = "linux")]
#[test]
fn one_wheel_is_for_glibc_and_for_alpine() {
    let (folder, python) = python();
    let cpu = env::consts::ARCH;
    for platform in ["manylinux_2_17", "manylinux2014", "musllinux_1_1"] {
        let mut download = pip(&python);
        download.args(["download", "--no-index", "--only-binary=:all:", NAME, "--find-links"]).arg(dist());
        download.arg("--platform").arg(format!("{platform}_{cpu}")).current_dir(folder.path());
        output(&mut download).unwrap();
    }
    for platform in ["unknown-linux-musl", "manylinux_2_28"] {
        let mut install = uv("uv", folder.path());
        install.args(["pip", "install", "--python-platform", &format!("{cpu}-{platform}")]);
        output(install.arg("--target").arg(folder.path().join(platform)).arg(NAME)).unwrap();
    }
}

#[test]
fn uvx_runs_it() {
    let folder = tempfile::tempdir().unwrap();
    assert_reads_a_job(|| {
        let mut command = uv("uvx", folder.path());
        command.arg("--quiet").arg(format!("{NAME}@{VERSION}"));
        command
    });
}

#[test]
fn uv_installs_it_as_a_tool() {
    let folder = tempfile::tempdir().unwrap();
    output(uv("uv", folder.path()).args(["tool", "install", NAME])).unwrap();
    assert_reads_a_job(|| Command::new(program_in(&folder.path().join("bin"))));
    output(uv("uv", folder.path()).args(["tool", "uninstall", NAME])).unwrap();
    assert!(!program_in(&folder.path().join("bin")).exists());
}

/// Nothing is installed before the first plan.
#[test]
fn engines_run_it_through_uvx() {
    let configuration = format!(
        r#"
        data "external" "job" {{
          program = ["uvx", "{NAME}@{VERSION}"]
          query   = {{ fine_tuning_job_id = "ftjob-abc123" }}
        }}
        output "id" {{
          value = data.external.job.result.id
        }}
        "#
    );
    for engine in engines::set_up().unwrap() {
        let api = SampleApi::start();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("main.tf"), &configuration).unwrap();
        let command = || {
            let mut command = without_settings(engine.command(folder.path()));
            set_up_uv(&mut command, folder.path());
            command.env("PATH", engines::path_with(&uv_folder().join("uvx")).unwrap());
            command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", api.url());
            command
        };
        output(command().args(["init", "-input=false"])).unwrap();
        output(command().args(["apply", "-auto-approve", "-input=false"])).unwrap();
        let id = output(command().args(["output", "-raw", "id"])).unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&id), "ftjob-abc123", "{engine}");
    }
}

#[test]
fn the_page_on_the_index_is_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = packed("openai_fine_tuning_job-", ".whl");
    let (_python, python) = python();
    output(Command::new(python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(folder.path())).unwrap();
    let metadata = folder.path().join(format!("openai_fine_tuning_job-{VERSION}.dist-info/METADATA"));
    let metadata = fs::read_to_string(metadata).unwrap().replace("\r\n", "\n");
    let (head, page) = metadata.split_once("\n\n").unwrap();
    assert_eq!(page.trim(), crate::support::program::text("README.md").replace("\r\n", "\n").trim());
    for line in [&*format!("Version: {VERSION}"), "License-Expression: MIT OR Apache-2.0"] {
        assert!(head.lines().any(|it| it == line), "{line} is not in {head}");
    }
}
