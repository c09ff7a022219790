//! Certificate authorities (CAs) and certificates, made for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SigningKey,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl CertificateAuthority {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        // Two CAs of one name would differ by their signatures alone.
        Self::named(&format!("CA {}", NUMBER.fetch_add(1, Ordering::Relaxed)), KeyPair::generate().unwrap(), |_| ())
    }

    pub fn named(name: &str, key: KeyPair, customize: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        customize(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        CertificateAuthority { issuer, folder }
    }

    /// A folder with `ca.pem` in it alone.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// This CA's certificate as a PEM file, for SSL_CERT_FILE.
    pub fn file(&self) -> PathBuf {
        self.folder().join("ca.pem")
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
        let (certificate, key) = self.certificate(params);
        server(certificate, key, versions, None)
    }

    /// A server that shows what `change` makes of its certificate.
    pub fn server_changing(&self, change: impl FnOnce(CertificateDer<'static>, &KeyPair) -> Vec<u8>) -> ServerConfig {
        let (certificate, key) = self.certificate(params("127.0.0.1"));
        server(change(certificate, self.issuer.key()).into(), key, rustls::ALL_VERSIONS, None)
    }

    /// A server whose certificate an intermediate CA has signed, which it does not send.
    pub fn server_without_intermediate(&self) -> ServerConfig {
        let intermediate = self.intermediate();
        let key = KeyPair::generate().unwrap();
        let certificate = self::params("127.0.0.1").signed_by(&key, &intermediate).unwrap();
        server(certificate.into(), key, rustls::ALL_VERSIONS, None)
    }

    /// A server that wants a certificate of its clients.
    pub fn server_wanting_a_client_certificate(&self) -> ServerConfig {
        self.server_asking_for_client_certificates(&["127.0.0.1"], self, true)
    }

    /// A server for these names that asks its clients for a certificate of a CA, and perhaps requires one.
    pub fn server_asking_for_client_certificates(
        &self,
        names: &[&str],
        clients: &Self,
        requires: bool,
    ) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(clients.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if requires { verifier } else { verifier.allow_unauthenticated() }.build().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let (certificate, key) = self.certificate(CertificateParams::new(names).unwrap());
        server(certificate, key, rustls::ALL_VERSIONS, Some(verifier))
    }

    /// A client's certificate for this key in PEM form, and that of the intermediate CA that signed it, if there is to be
    /// one.
    pub fn client(&self, key: &KeyPair, has_intermediate: bool) -> String {
        let mut params = params("client.test");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !has_intermediate {
            return params.signed_by(key, &self.issuer).unwrap().pem();
        }
        let intermediate = self.intermediate();
        params.signed_by(key, &intermediate).unwrap().pem() + &intermediate.pem()
    }

    fn intermediate(&self) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap()
    }

    fn certificate(&self, params: CertificateParams) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().into(), key)
    }
}

/// The same certificate in X.509 version 1: without its version and its extensions, and signed again.
pub fn version_1(certificate: CertificateDer<'static>, ca: &KeyPair) -> Vec<u8> {
    let [signed, algorithm, _] = elements(contents(&certificate))[..] else { panic!("not a certificate") };
    // RFC 5280, section 4.1: [0] is the version, [3] the extensions.
    let fields = elements(contents(signed)).into_iter().filter(|field| ![0xa0, 0xa3].contains(&field[0]));
    let signed = sequence(0x30, &fields.collect::<Vec<_>>().concat());
    let signature = sequence(0x03, &[vec![0], ca.sign(&signed).unwrap()].concat());
    sequence(0x30, &[&signed, algorithm, &signature].concat())
}

/// The same certificate, which says that it is signed with SHA-224 instead of SHA-256: this program accepts it as little as
/// SHA-1.
pub fn signed_with_sha_224(certificate: CertificateDer<'static>, _: &KeyPair) -> Vec<u8> {
    const ECDSA_WITH_SHA_256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let mut der = certificate.to_vec();
    for at in 0..der.len() - ECDSA_WITH_SHA_256.len() {
        if der[at..].starts_with(&ECDSA_WITH_SHA_256) {
            der[at + 7] = 0x01;
        }
    }
    der
}

/// What is in a DER element.
fn contents(element: &[u8]) -> &[u8] {
    &element[header(element).0..]
}

/// The DER elements that stand one behind the other.
fn elements(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (header, length) = header(bytes);
        let (element, rest) = bytes.split_at(header + length);
        elements.push(element);
        bytes = rest;
    }
    elements
}

/// The length of a DER element's header, and of its contents.
fn header(element: &[u8]) -> (usize, usize) {
    match element[1] {
        0x81 => (3, element[2].into()),
        0x82 => (4, u16::from_be_bytes([element[2], element[3]]).into()),
        length => (2, length.into()),
    }
}

fn sequence(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let length = match contents.len() {
        0..=0x7f => vec![length[1]],
        0x80..=0xff => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [&[tag], &*length, contents].concat()
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

/// A server whose certificate nobody signed but itself, and that certificate in PEM form.
pub fn self_signed(params: CertificateParams) -> (ServerConfig, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    (server(certificate.into(), key, rustls::ALL_VERSIONS, None), pem)
}

fn server(
    certificate: CertificateDer<'static>,
    key: KeyPair,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = match clients {
        Some(verifier) => config.with_client_cert_verifier(verifier),
        None => config.with_no_client_auth(),
    };
    // Not `with_single_cert`, which would refuse some of the certificates.
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    config.with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key))))
}
