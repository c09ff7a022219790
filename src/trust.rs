//! Whose certificates are believed: what `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and nothing else, if either is set;
//! otherwise the system's authorities; those compiled in only where the system has none.

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// # Errors
/// A file or folder that a variable names and that has no certificate to offer: never a silent fallback.
pub fn root_certs() -> Result<RootCerts> {
    let [file, folders] =
        ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| env::var_os(name).filter(|value| !value.is_empty()));
    if file.is_none() && folders.is_none() {
        return Ok(system_root_certs());
    }
    let mut certificates = Vec::new();
    if let Some(file) = &file {
        certificates = in_file(Path::new(file))
            .and_then(at_least_one)
            .with_context(|| format!("SSL_CERT_FILE names {}", Path::new(file).display()))?;
    }
    for folder in folders.iter().flat_map(env::split_paths) {
        let found = in_folder(&folder)
            .and_then(at_least_one)
            .with_context(|| format!("SSL_CERT_DIR names {}", folder.display()))?;
        certificates.extend(found);
    }
    Ok(certificates.into())
}

#[cfg(any(windows, target_os = "macos"))]
fn system_root_certs() -> RootCerts {
    RootCerts::PlatformVerifier
}

/// The first bundle there is, and a folder only if there is none: with the same authorities, a folder costs far more.
#[cfg(not(any(windows, target_os = "macos")))]
fn system_root_certs() -> RootCerts {
    let system = openssl_probe::probe();
    let bundle = system.cert_file.iter().map(|file| in_file(file));
    let folders = system.cert_dir.iter().map(|folder| in_folder(folder));
    let found = bundle.chain(folders).find_map(|found| found.and_then(at_least_one).ok());
    found.map_or(RootCerts::WebPki, RootCerts::from)
}

fn in_file(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = fs::read(path).context("which cannot be read")?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(certificates.collect())
}

/// Reads the files that OpenSSL would: those named by a hash, such as `5ed36f99.0`. A folder without any is taken as
/// one that nobody prepared for OpenSSL, and read whole.
fn in_folder(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let entries = fs::read_dir(path).context("which cannot be read")?;
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    let any_hashed = names.iter().any(is_hash);
    let read = names.iter().filter(|name| !any_hashed || is_hash(name));
    Ok(read.flat_map(|name| in_file(&path.join(name)).unwrap_or_default()).collect())
}

fn is_hash(name: &OsString) -> bool {
    name.to_str().and_then(|name| name.split_once('.')).is_some_and(|(hash, number)| {
        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u8>().is_ok()
    })
}

fn at_least_one(certificates: Vec<Certificate<'static>>) -> Result<Vec<Certificate<'static>>> {
    let usable =
        |certificate: &Certificate| RootCertStore::empty().add(CertificateDer::from(certificate.der())).is_ok();
    ensure!(certificates.iter().any(usable), "which has no certificate in PEM form");
    Ok(certificates)
}
