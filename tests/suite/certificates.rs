//! Authorities and certificates, made anew for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        // Two authorities of one name would be told apart by their signatures alone.
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("Authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("authority.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    /// A folder with `authority.pem` in it alone.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// This authority's certificate as a PEM file, for SSL_CERT_FILE.
    pub fn file(&self) -> PathBuf {
        self.folder().join("authority.pem")
    }

    /// A server that shows a certificate for this name or address.
    pub fn server(&self, name: &str) -> ServerConfig {
        self.server_with(params(name), rustls::ALL_VERSIONS)
    }

    pub fn server_with(
        &self,
        params: CertificateParams,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        server(certificate, key, versions)
    }
}

pub fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// The same, valid from the first year's first day to the second's.
pub fn params_between(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = params(name);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

/// A server whose certificate nobody signed but itself.
pub fn self_signed(params: CertificateParams) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    server(params.self_signed(&key).unwrap(), key, rustls::ALL_VERSIONS)
}

fn server(
    certificate: rcgen::Certificate,
    key: KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)
        .unwrap()
}
