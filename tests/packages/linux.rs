//! The Debian package and the image, each in a root file system that has nothing else: what starts there is static.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::geteuid;
use serde_json::Value;

use crate::support::certificates::CertificateAuthority;
use crate::support::engines::output;
use crate::support::program::{KEY, failure, result};
use crate::support::sample_api::SampleApi;
use crate::{NAME, VERSION, assert_is_the_program, assert_reads_a_job, packed};

/// A command that needs to be root's.
fn as_root(program: &str) -> Command {
    if geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    // With the environment that the test sets.
    command.args(["--non-interactive", "--preserve-env", program]);
    command
}

/// The program at this path of a root file system.
fn program_in(root: &Path, path: &str) -> Command {
    let mut command = as_root("chroot");
    command.arg(root).arg(path);
    command
}

/// All files below a folder, as paths within it, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let found = output(Command::new("find").args([".", "!", "-type", "d"]).current_dir(folder)).unwrap().stdout;
    let mut found: Vec<_> = String::from_utf8(found).unwrap().lines().map(PathBuf::from).collect();
    found.sort();
    found
}

#[test]
fn the_debian_package_installs_runs_and_removes_cleanly() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let dpkg = |args: &[&str]| {
        let mut command = as_root("dpkg");
        output(command.arg(format!("--root={}", root.display())).arg("--log=/dev/null").args(args)).unwrap()
    };
    let package = packed(&format!("{NAME}_{VERSION}"), ".deb");

    dpkg(&["--install", package.to_str().unwrap()]);
    let installed = String::from_utf8(dpkg(&["--status", NAME]).stdout).unwrap();
    assert!(installed.contains("Status: install ok installed") && !installed.contains("Depends:"), "{installed}");
    assert_is_the_program(&root.join("usr/bin").join(NAME));
    assert_reads_a_job(|| program_in(root, &format!("/usr/bin/{NAME}")));

    dpkg(&["--purge", NAME]);
    assert_eq!(files(root).iter().filter(|file| !file.starts_with("./var/lib/dpkg")).count(), 0, "{:?}", files(root));
}

/// The image's root file system, unpacked into this folder, and its configuration.
fn unpack_image(folder: &Path) -> (PathBuf, Value) {
    let (layout, root) = (folder.join("layout"), folder.join("root"));
    fs::create_dir(&layout).unwrap();
    fs::create_dir(&root).unwrap();
    let unpack = |archive: &Path, folder: &Path| {
        output(Command::new("tar").arg("--no-same-owner").arg("-xf").arg(archive).arg("-C").arg(folder)).unwrap();
    };
    unpack(&packed(&format!("{NAME}-v{VERSION}-"), ".oci.tar"), &layout);
    let blob = |descriptor: &Value| layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"));
    let json = |file: PathBuf| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
    let manifest = json(blob(&json(layout.join("index.json"))["manifests"][0]));
    for layer in manifest["layers"].as_array().unwrap() {
        unpack(&blob(layer), &root);
    }
    (root, json(blob(&manifest["config"])))
}

#[test]
fn the_image_is_the_program_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (root, image) = unpack_image(folder.path());
    let program = format!("./{NAME}");
    assert_eq!(files(&root), ["./licenses/LICENSE-APACHE", "./licenses/LICENSE-MIT", &program].map(PathBuf::from));
    assert_eq!(image["config"]["Entrypoint"], serde_json::json!([format!("/{NAME}")]));
    assert_eq!(image["config"]["Labels"]["org.opencontainers.image.version"], VERSION);
    assert_is_the_program(&root.join(NAME));
    assert_reads_a_job(|| program_in(&root, &format!("/{NAME}")));
}

/// Without a file of its own it has the root certificates that are compiled in, among which the sample's CA is not.
#[test]
fn the_image_verifies_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let (root, _) = unpack_image(folder.path());
    let ca = CertificateAuthority::new();
    let api = SampleApi::start_tls(ca.server("127.0.0.1"));
    let command = |ca: Option<&str>| {
        let mut command = Command::new("env");
        command.args(["-i", &format!("OPENAI_API_KEY={KEY}"), &format!("OPENAI_BASE_URL={}", api.url())]);
        command.args(ca.map(|file| format!("SSL_CERT_FILE={file}")));
        let chroot = program_in(&root, &format!("/{NAME}"));
        command.arg("PATH=/usr/sbin:/usr/bin").arg(chroot.get_program()).args(chroot.get_args()).arg("ftjob-abc123");
        assert_cmd::Command::from_std(command)
    };
    let message = failure(1, &mut command(None));
    assert!(message.contains("is not among the root certificates"), "{message}");

    fs::copy(ca.file(), root.join("ca.pem")).unwrap();
    assert_eq!(result(&mut command(Some("/ca.pem")))["id"], "ftjob-abc123");
}
