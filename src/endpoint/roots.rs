//! The root certificates: those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and no others, if either is set;
//! otherwise the system's. Those compiled in are used only if the system has none.

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts};

/// Loads the root certificates. `file` and `folders` are the values of the two variables; several folders are separated
/// as in `PATH`.
///
/// # Errors
/// A file or folder that a variable names and that has no certificate.
pub(super) fn load(file: Option<OsString>, folders: Option<OsString>) -> Result<RootCerts> {
    if file.is_none() && folders.is_none() {
        return Ok(system());
    }
    let mut certificates = Vec::new();
    if let Some(file) = &file {
        let found = in_file(Path::new(file)).and_then(at_least_one);
        certificates.extend(found.with_context(|| format!("SSL_CERT_FILE={}", Path::new(file).display()))?);
    }
    for folder in folders.iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty()) {
        let found = in_folder(&folder).and_then(at_least_one);
        certificates.extend(found.with_context(|| format!("SSL_CERT_DIR={}", folder.display()))?);
    }
    ensure!(!certificates.is_empty(), "SSL_CERT_DIR names no folder");
    Ok(root_certs(certificates))
}

#[cfg(any(windows, target_os = "macos"))]
fn system() -> RootCerts {
    RootCerts::PlatformVerifier
}

/// The first bundle that is found, and a folder only if there is none: it holds the same certificates in many files.
#[cfg(not(any(windows, target_os = "macos")))]
fn system() -> RootCerts {
    let system = openssl_probe::probe();
    first_found(&system.cert_file, &system.cert_dir).map_or(RootCerts::WebPki, root_certs)
}

#[cfg(not(any(windows, target_os = "macos")))]
fn first_found<'a>(
    files: impl IntoIterator<Item = &'a std::path::PathBuf>,
    folders: impl IntoIterator<Item = &'a std::path::PathBuf>,
) -> Option<Vec<CertificateDer<'static>>> {
    let bundles = files.into_iter().map(|file| in_file(file));
    let folders = folders.into_iter().map(|folder| in_folder(folder));
    bundles.chain(folders).find_map(|found| found.and_then(at_least_one).ok())
}

fn root_certs(certificates: Vec<CertificateDer>) -> RootCerts {
    let certificates: Vec<_> = certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    certificates.into()
}

/// The first byte of a byte order mark in UTF-8.
const BYTE_ORDER_MARK: u8 = 0xef;

fn in_file(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let mut pem = fs::read(path).context("it could not be read")?;
    if pem.contains(&BYTE_ORDER_MARK) {
        // Some editors begin a file with one. It is no part of the line that begins a certificate.
        pem = String::from_utf8_lossy(&pem).replace('\u{feff}', "\n").into_bytes();
    }
    Ok(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect())
}

/// The certificates in the files that OpenSSL would read: those named by a hash, such as `5ed36f99.0`. A folder without
/// any has not been prepared for OpenSSL, and all its files are read. Only regular files are read: a FIFO may
/// never end.
fn in_folder(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let entries = fs::read_dir(path).context("it could not be read")?;
    let is_file = |name: &OsString| path.join(name).is_file();
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).filter(is_file).collect();
    let any_hashed = names.iter().any(is_hash);
    let names = names.iter().filter(|name| !any_hashed || is_hash(name));
    Ok(names.filter_map(|name| in_file(&path.join(name)).ok()).flatten().collect())
}

fn is_hash(name: &OsString) -> bool {
    name.to_str().and_then(|name| name.split_once('.')).is_some_and(|(hash, number)| {
        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u8>().is_ok()
    })
}

fn at_least_one(certificates: Vec<CertificateDer>) -> Result<Vec<CertificateDer>> {
    let usable = |certificate: &CertificateDer| RootCertStore::empty().add(certificate.clone()).is_ok();
    ensure!(certificates.iter().any(usable), "it has no certificate in PEM format");
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(["a.test".into()]).unwrap().cert.pem()
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    fn count(file: Option<PathBuf>, folders: Option<&OsString>) -> Result<usize> {
        match load(file.map(Into::into), folders.cloned())? {
            RootCerts::Specific(certificates) => Ok(certificates.len()),
            _ => panic!("not the named certificates"),
        }
    }

    #[test]
    fn files_and_folders_add_up() {
        let (one, two) = (pem(), pem() + "text between\r\n" + &pem().replace('\n', "\r\n"));
        let (first, second) = (folder(&[("a.pem", &one), ("notes", "text")]), folder(&[("b.pem", &two)]));
        let folders = env::join_paths([first.path(), second.path()]).unwrap();
        assert_eq!(count(Some(second.path().join("b.pem")), None).unwrap(), 2);
        assert_eq!(count(None, Some(&folders)).unwrap(), 3);
        assert_eq!(count(Some(first.path().join("a.pem")), Some(&folders)).unwrap(), 4);
    }

    #[test]
    #[cfg(not(any(windows, target_os = "macos")))]
    fn the_systems_bundle_comes_before_its_folder() {
        let folder = folder(&[("bundle", &(pem() + &pem())), ("other", &pem()), ("empty", "")]);
        let path = |name: &str| folder.path().join(name);
        let count = |file: &str| first_found(&[path(file)], &[folder.path().into()]).unwrap().len();
        assert_eq!([count("bundle"), count("empty")], [2, 3]);
        assert!(first_found(&[path("empty")], &[path("missing")]).is_none());
    }

    #[test]
    fn byte_order_marks_are_ignored() {
        let pem = format!("\u{feff}{}\u{feff}{}", pem(), pem());
        let folder = folder(&[("a.pem", &pem)]);
        assert_eq!(count(Some(folder.path().join("a.pem")), None).unwrap(), 2);
    }

    #[test]
    #[cfg(unix)]
    fn only_regular_files_of_a_folder_are_read() {
        let folder = folder(&[("a.pem", &pem())]);
        for name in ["fifo.pem", "0a1b2c3d.0"] {
            let made = std::process::Command::new("mkfifo").arg(folder.path().join(name)).status().unwrap();
            assert!(made.success());
        }
        std::os::unix::fs::symlink(folder.path().join("a.pem"), folder.path().join("link.pem")).unwrap();
        fs::create_dir(folder.path().join("0a1b2c3d.1")).unwrap();
        assert_eq!(count(None, Some(&folder.path().into())).unwrap(), 2);
    }

    #[test]
    fn only_hashed_names_count_in_a_folder_that_has_any() {
        let folder = folder(&[("0a1b2c3d.0", &pem()), ("0a1b2c3d.x", &pem()), ("other.pem", &pem())]);
        assert_eq!(count(None, Some(&folder.path().into())).unwrap(), 1);
    }

    #[test]
    fn what_is_named_must_have_a_certificate() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let folder = folder(&[("empty", ""), ("broken", broken), ("not-base64", &broken.replace("AAAA", "!"))]);
        for name in ["empty", "broken", "not-base64"] {
            let error = count(Some(folder.path().join(name)), None).unwrap_err();
            assert!(format!("{error:#}").ends_with(": it has no certificate in PEM format"), "{error:#}");
        }
        let error = count(Some(folder.path().join("missing")), None).unwrap_err();
        assert!(format!("{error:#}").contains(": it could not be read: "), "{error:#}");
        assert!(count(None, Some(&folder.path().into())).is_err());
        assert_eq!(
            count(None, Some(&env::join_paths(["", ""]).unwrap())).unwrap_err().to_string(),
            "SSL_CERT_DIR names no folder"
        );
    }
}
