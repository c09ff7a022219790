//! Whose certificates are believed: what `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and nothing else, if either is set;
//! otherwise the system's authorities; those compiled in only where the system has none.

use std::ffi::OsString;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use memchr::{memchr, memmem};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts};

/// # Errors
/// A file or folder that a variable names and that has no certificate to offer: never a silent fallback.
pub fn root_certs() -> Result<RootCerts> {
    let [file, folders] =
        ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| env::var_os(name).filter(|value| !value.is_empty()));
    if file.is_none() && folders.is_none() {
        return Ok(system_root_certs());
    }
    let mut texts = Vec::new();
    if let Some(file) = &file {
        let read = in_file(Path::new(file)).and_then(at_least_one);
        texts.push(read.with_context(|| format!("SSL_CERT_FILE={}", Path::new(file).display()))?);
    }
    for folder in folders.iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty()) {
        let read = in_folder(&folder).and_then(at_least_one);
        texts.push(read.with_context(|| format!("SSL_CERT_DIR={}", folder.display()))?);
    }
    Ok(decode(&texts).into())
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
    found.map_or(RootCerts::WebPki, |text| decode(&[text]).into())
}

fn in_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context("cannot be read")
}

/// The text of the files that OpenSSL would read: those named by a hash, such as `5ed36f99.0`. A folder without any is
/// taken as one that nobody prepared for OpenSSL, and read whole.
fn in_folder(path: &Path) -> Result<Vec<u8>> {
    let entries = fs::read_dir(path).context("cannot be read")?;
    let names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    let any_hashed = names.iter().any(is_hash);
    let read = names.iter().filter(|name| !any_hashed || is_hash(name));
    Ok(read.filter_map(|name| in_file(&path.join(name)).ok()).collect::<Vec<_>>().concat())
}

fn is_hash(name: &OsString) -> bool {
    name.to_str().and_then(|name| name.split_once('.')).is_some_and(|(hash, number)| {
        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u8>().is_ok()
    })
}

fn at_least_one(text: Vec<u8>) -> Result<Vec<u8>> {
    let usable = |certificate: Certificate| RootCertStore::empty().add(CertificateDer::from(certificate.der())).is_ok();
    ensure!(blocks(&text).filter_map(decode_block).any(usable), "has no certificate in PEM form");
    Ok(text)
}

/// All certificates in some PEM texts, each once. (The reader in rustls-pki-types takes more instructions for a system's
/// bundle than all else in a run together.)
fn decode(texts: &[Vec<u8>]) -> Vec<Certificate<'static>> {
    let mut blocks: Vec<&[u8]> = texts.iter().flat_map(|text| blocks(text)).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks.into_iter().filter_map(decode_block).collect()
}

/// What stands between the certificates' BEGIN and END lines (RFC 7468).
fn blocks(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

    memmem::find_iter(pem, BEGIN).filter_map(|begin| {
        let block = &pem[begin + BEGIN.len()..];
        Some(block[..memchr(b'-', block)?].trim_ascii())
    })
}

fn decode_block(block: &[u8]) -> Option<Certificate<'static>> {
    let mut base64 = Vec::with_capacity(block.len());
    // All lines but the last are of one length, as a rule. To look for the end of each takes twice as long.
    let line = memchr(b'\n', block).map_or(block.len(), |end| end + 1);
    block.chunks(line).for_each(|line| base64.extend_from_slice(line.trim_ascii_end()));
    let der = BASE64_STANDARD.decode(&base64).or_else(|_| {
        base64.clear();
        base64.extend(block.iter().filter(|byte| !byte.is_ascii_whitespace()));
        BASE64_STANDARD.decode(&base64)
    });
    // Needed until the program ends, so that nothing is gained by giving it back.
    Some(Certificate::from_der(der.ok()?.leak()))
}
