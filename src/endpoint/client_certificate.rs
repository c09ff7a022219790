//! The client certificate for mutual TLS, in the files that OpenAI's own command-line tool reads (`pkg/cmd/mtls.go` of
//! openai/openai-cli).

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey};

use super::variables::{self, Env, path};
use crate::text::Secret;

/// The variable with the file of the certificate, leaf first, then its intermediates.
pub const CERTIFICATE_VARIABLE: &str = "OPENAI_MTLS_CLIENT_CERT_FILE";
/// The variable with the file of its private key.
pub const KEY_VARIABLE: &str = "OPENAI_MTLS_CLIENT_KEY_FILE";

/// The longest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A certificate with its key, and what of the key must not be shown.
pub(super) type ClientCertificate = (ClientCert, Vec<Secret>);

/// Loads the certificate and its key, if the environment names them.
///
/// # Errors
/// A file that cannot be used, or only one of the two. No content of a file is quoted.
pub(super) fn load(env: &Env) -> Result<Option<ClientCertificate>> {
    let (certificate, key) = match (path(CERTIFICATE_VARIABLE, env)?, path(KEY_VARIABLE, env)?) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => bail!("{CERTIFICATE_VARIABLE} is set, but {KEY_VARIABLE} is not: set both, or neither"),
        (None, Some(_)) => bail!("{KEY_VARIABLE} is set, but {CERTIFICATE_VARIABLE} is not: set both, or neither"),
    };
    let in_certificate = || format!("{CERTIFICATE_VARIABLE}={}", certificate.display());
    let in_key = || format!("{KEY_VARIABLE}={}", key.display());
    let chain = read(&certificate).and_then(|pem| certificates(&pem)).with_context(in_certificate)?;
    let pem = read(&key).with_context(in_key)?;
    let der = private_key(&pem).with_context(in_key)?;
    let usable_key = any_supported_type(&der).ok().context(
        "its private key is malformed, or not of a kind that this program supports: RSA with 2048 to 4096 bits, P-256, \
         P-384 or Ed25519",
    );
    match CertifiedKey::new(chain.clone(), usable_key.with_context(in_key)?).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let error = anyhow!("it is not the key of the first certificate in {CERTIFICATE_VARIABLE}");
            return Err(error.context(in_key()));
        }
        Err(_) => {
            let error = anyhow!("its first certificate is malformed, or of X.509 version 1");
            return Err(error.context(in_certificate()));
        }
    }
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key = PrivateKey::from_pem(&pem).ok().context("its private key cannot be read").with_context(in_key)?;
    Ok(Some((ClientCert::new_with_certs(&chain, key), secrets(&pem))))
}

/// The file without the byte order mark that some editors put before its text.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = variables::read(path, MAX_FILE + 1)?;
    ensure!(bytes.len() as u64 <= MAX_FILE, "it is over {} MiB", MAX_FILE >> 20);
    ensure!(!bytes.trim_ascii().is_empty(), "it is empty");
    let bom = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    Ok(bytes.split_off(bom))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    // An error of the parser quotes the file.
    let chain: Option<Vec<_>> = CertificateDer::pem_slice_iter(pem).map(Result::ok).collect();
    let chain = chain.context("one of its blocks is not valid PEM")?;
    ensure!(
        !chain.is_empty() || !contains(pem, "PRIVATE KEY-----"),
        "it has a private key and no certificate: that file belongs into {KEY_VARIABLE}"
    );
    ensure!(!chain.is_empty(), "it has no certificate in PEM format");
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    let key = PrivateKeyDer::pem_slice_iter(pem).find_map(Result::ok);
    key.with_context(|| {
        if contains(pem, "BEGIN ENCRYPTED PRIVATE KEY") || contains(pem, "Proc-Type: 4,ENCRYPTED") {
            "its private key is encrypted, and this program asks for no password: decrypt it with openssl pkey -in FILE \
             -out OTHER"
                .to_owned()
        } else if contains(pem, "PRIVATE KEY-----") {
            "its private key is not valid PEM in PKCS#8, PKCS#1 or SEC 1".to_owned()
        } else if contains(pem, "BEGIN CERTIFICATE") {
            format!("it has a certificate and no private key: that file belongs into {CERTIFICATE_VARIABLE}")
        } else {
            "it has no private key in PEM format".to_owned()
        }
    })
}

fn contains(pem: &[u8], text: &str) -> bool {
    pem.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The lines of the private keys in a PEM text, and each key in one line.
fn secrets(pem: &[u8]) -> Vec<Secret> {
    let text = String::from_utf8_lossy(pem);
    let blocks = text.split("-----BEGIN ").skip(1).filter_map(|block| block.split_once("PRIVATE KEY-----"));
    let keys = blocks.map(|(_, rest)| rest.split("-----").next().unwrap_or_default());
    keys.flat_map(|key| key.lines().map(|line| line.trim().to_owned()).chain([key.split_whitespace().collect()]))
        .map(Secret::new)
        .collect()
}
