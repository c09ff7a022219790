//! Says why a TLS handshake failed: what is wrong, and how to fix it.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, OtherError};

use super::error::{Kind, RequestError, Retry};
use crate::endpoint::{CERTIFICATE_VARIABLE, Endpoint};
use crate::text::{Secrets, format_date, quote_at_most};

/// What is wrong, and what to do about it.
type Explanation = (String, String);

const UNTRUSTED: (&str, &str) = (
    "its certificate is self-signed, or signed by a certificate authority (CA) that is not among the root certificates, \
     or it does not send its intermediate certificate",
    "set SSL_CERT_FILE to the CA's PEM file, or have it send its whole chain",
);
const BAD_SIGNATURE: (&str, &str) = (
    "the signature of its certificate cannot be verified",
    "if the CA was re-created under the same name, set SSL_CERT_FILE to its new PEM file; if an RSA key has fewer than \
     2048 bits, have it replaced",
);
const WRONG_PURPOSE: (&str, &str) =
    ("its certificate is not meant for a server", "have it reissued with the extended key usage serverAuth");
const REVOKED: (&str, &str) = ("its certificate has been revoked", "have it replaced");
const OLD_TLS: (&str, &str) = (
    "it supports no version or cipher suite of TLS that this program does",
    "have it support TLS 1.2 or 1.3 with a modern cipher suite",
);
const RENEW: &str = "have it renewed, or correct this machine's clock";

/// The longest list of a certificate's names in a message, in characters: it may have a hundred.
const MAX_NAMES: usize = 200;

/// Explains a failed handshake with `peer`, which is named in `source`. What certificates say is not retried; all else may be
/// transient.
pub(super) fn explain(error: &rustls::Error, peer: &str, source: &str, endpoint: &Endpoint) -> RequestError {
    let transient = Retry::After(None);
    let ((reason, advice), retry) = match error {
        rustls::Error::InvalidCertificate(error) => (certificate(error, source, &endpoint.secrets), Retry::Never),
        rustls::Error::AlertReceived(alert) => self::alert(*alert, source, endpoint),
        rustls::Error::InvalidMessage(_) => {
            (("it does not speak TLS".into(), format!("check the scheme and the port in {source}")), Retry::Never)
        }
        rustls::Error::PeerIncompatible(_) => (explained(OLD_TLS), transient),
        rustls::Error::General(_) => (explained(("this system could not verify it", "try again later")), transient),
        _ => (("it violates the TLS protocol".into(), format!("check {source}")), transient),
    };
    let message = format!("the TLS handshake with {peer} failed: {reason}");
    RequestError::new(message, advice, retry, Kind::Connection)
}

fn explained((reason, advice): (&str, &str)) -> Explanation {
    (reason.into(), advice.into())
}

/// What the peer says, and whether that may pass.
fn alert(alert: AlertDescription, source: &str, endpoint: &Endpoint) -> (Explanation, Retry) {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        HandshakeFailure, InsufficientSecurity, ProtocolVersion, UnknownCA, UnrecognisedName, UnsupportedCertificate,
    };

    let explanation = match alert {
        CertificateRequired | BadCertificate | UnknownCA | AccessDenied => {
            return (client_certificate(alert, source, endpoint), Retry::Never);
        }
        CertificateExpired | CertificateRevoked | CertificateUnknown | UnsupportedCertificate
            if endpoint.client_certificate.is_some() =>
        {
            return (client_certificate(alert, source, endpoint), Retry::Never);
        }
        ProtocolVersion => explained(OLD_TLS),
        // Also what servers with TLS 1.2 say when a client certificate is missing.
        HandshakeFailure | InsufficientSecurity => refused(endpoint),
        UnrecognisedName => ("it does not serve this host name".into(), format!("check {source}")),
        other => (format!("it ended the handshake with TLS alert {}", u8::from(other)), "try again later".into()),
    };
    (explanation, Retry::After(None))
}

/// The peer wants a client certificate, or another one.
fn client_certificate(alert: AlertDescription, source: &str, endpoint: &Endpoint) -> Explanation {
    use AlertDescription::{CertificateExpired, CertificateRequired, CertificateRevoked, UnknownCA};

    if source != endpoint.base_url.name {
        return explained((
            "it requires a client certificate, which this program sends to no proxy",
            "have it accept clients without one",
        ));
    }
    if endpoint.client_certificate.is_none() {
        return ("it requires a client certificate".into(), endpoint.certificate_advice());
    }
    let (reason, advice) = match alert {
        CertificateExpired => ("it says that the client certificate has expired", "have it renewed"),
        CertificateRevoked => ("it says that the client certificate has been revoked", "have it replaced"),
        UnknownCA => (
            "it does not know the certificate authority (CA) of the client certificate",
            "have the CA registered there, and put the intermediate certificates behind the first one",
        ),
        CertificateRequired => ("it accepts no client certificate of this kind", "use one that it accepts"),
        _ => ("it does not accept the client certificate", "use one that it accepts"),
    };
    (reason.into(), format!("check {CERTIFICATE_VARIABLE}: {advice}"))
}

fn refused(endpoint: &Endpoint) -> Explanation {
    let certificate = endpoint.certificate_advice();
    let kinds = "with a modern cipher suite and an RSA, P-256, P-384 or Ed25519 certificate";
    (
        "it requires another client certificate than it got, or has no cipher suite or kind of certificate in common with \
         this program"
            .into(),
        format!("{certificate} if it requires one, else have it work {kinds}"),
    )
}

fn certificate(error: &CertificateError, source: &str, secrets: &Secrets) -> Explanation {
    use CertificateError::*;

    match error {
        // From the verifiers of macOS and Windows, which do not say which of both.
        Expired => explained(("its certificate has expired or is not valid yet", RENEW)),
        NotValidYet => explained(("its certificate is not valid yet", RENEW)),
        ExpiredContext { not_after, .. } => {
            (format!("its certificate, or one in its chain, expired on {}", date(not_after)), RENEW.into())
        }
        NotValidYetContext { not_before, .. } => {
            (format!("its certificate, or one in its chain, is not valid before {}", date(not_before)), RENEW.into())
        }
        NotValidForNameContext { expected, presented } => other_name(expected, presented, source, secrets),
        NotValidForName => ("its certificate is for another name".into(), format!("check {source}")),
        UnknownIssuer => explained(UNTRUSTED),
        BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => explained(BAD_SIGNATURE),
        UnsupportedSignatureAlgorithmContext { .. } => explained((
            "its certificate, or that of its CA, is signed with an algorithm that is not accepted, such as SHA-1",
            "have it reissued with SHA-256",
        )),
        InvalidPurpose | InvalidPurposeContext { .. } => explained(WRONG_PURPOSE),
        Revoked => explained(REVOKED),
        BadEncoding => explained(("its certificate is malformed", "have it replaced")),
        Other(error) => other(error),
        _ => explained(("its certificate is not accepted", "have it replaced")),
    }
}

fn other_name(expected: &ServerName, presented: &[String], source: &str, secrets: &Secrets) -> Explanation {
    let name = expected.to_str();
    if presented.is_empty() {
        let kind = if matches!(expected, ServerName::IpAddress(_)) { "IP" } else { "DNS" };
        return (
            "its certificate has no subject alternative name (SAN), and its common name does not count".into(),
            format!("have it reissued with subjectAltName={kind}:{name}"),
        );
    }
    // rustls writes `DnsName("a.test")` and `IpAddress(10.0.0.1)`.
    let presented = presented.iter().filter_map(|name| Some(name.split_once('(')?.1.trim_matches(['"', ')'])));
    let presented = quote_at_most(&presented.collect::<Vec<_>>().join(", "), MAX_NAMES, secrets);
    (format!("its certificate is for {presented}, not for {name}"), format!("check {source}"))
}

fn date(time: &UnixTime) -> String {
    format_date(time.as_secs()).unwrap_or_else(|| "an unknown day".into())
}

/// What rustls has no word of its own for.
fn other(error: &OtherError) -> Explanation {
    use webpki::Error::*;

    explained(match error.0.downcast_ref() {
        Some(CaUsedAsEndEntity) => (
            "its certificate is that of a CA (CA:TRUE), which this program does not accept for a server",
            "have it reissued with basicConstraints=CA:FALSE, and set SSL_CERT_FILE to it or to the CA that signed it",
        ),
        Some(UnsupportedCertVersion) => (
            "its certificate is of X.509 version 1",
            "have it reissued as version 3 (openssl x509 -req needs -extfile or -copy_extensions for it)",
        ),
        Some(NameConstraintViolation) => {
            ("its CA may not issue certificates for this name (name constraints)", "have another CA issue it")
        }
        Some(EndEntityUsedAsCa | PathLenConstraintViolated) => {
            ("a certificate in its chain is signed by one that is not that of a CA", "have it reissued by a CA")
        }
        Some(UnsupportedCriticalExtension) => (
            "its certificate has a critical extension that this program does not know",
            "have it reissued without that extension, or with it marked as not critical",
        ),
        Some(_) => ("its certificate is not accepted", "have it replaced"),
        None => return system_verifier(&error.0.to_string()),
    })
}

/// What the verifiers of macOS and Windows say, mostly with a number at its end. Sources: `SecBase.h`, `winerror.h`, and
/// rustls-platform-verifier for the form.
fn system_verifier(text: &str) -> Explanation {
    if text == "certificate had invalid extensions" {
        return explained(WRONG_PURPOSE);
    }
    let number = text.rsplit(|c: char| !c.is_ascii_digit() && c != '-').find(|word| !word.is_empty());
    explained(match number.and_then(|number| number.parse().ok()) {
        // errSecCertificateExpired
        Some(-67818) => ("its certificate has expired or is not valid yet", RENEW),
        // errSecCertificateValidityPeriodTooLong
        Some(-67901) => (
            "its certificate is valid for longer than this system accepts (825 days on macOS)",
            "have it reissued for a shorter time",
        ),
        // errSecNotTrusted, CERT_E_CHAINING, CERT_E_UNTRUSTEDCA, CERT_E_UNTRUSTEDTESTROOT
        Some(-67843 | -2146762486 | -2146762478 | -2146762483) => UNTRUSTED,
        // TRUST_E_CERT_SIGNATURE
        Some(-2146869244) => BAD_SIGNATURE,
        // CERT_E_REVOKED
        Some(-2146762484) => REVOKED,
        // CERT_E_REVOCATION_FAILURE, CRYPT_E_NO_REVOCATION_CHECK, CRYPT_E_REVOCATION_OFFLINE
        Some(-2146762482 | -2146885614 | -2146885613) => {
            ("whether its certificate has been revoked could not be checked", "try again later")
        }
        _ => {
            let text: String = text.chars().take(MAX_NAMES).collect();
            let reason = format!("this system does not accept its certificate ({text})");
            return (reason, "have it replaced".into());
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::test_server;
    use super::*;

    fn line(error: rustls::Error) -> String {
        let line = explain(&error, "HOST", "base_url", &test_server::endpoint("a.test")).to_string();
        line.strip_prefix("the TLS handshake with HOST failed: ").unwrap().to_owned()
    }

    /// What rustls-platform-verifier 0.7 gives on macOS (`apple.rs`) and Windows (`windows.rs`).
    #[test]
    fn other_systems_errors_have_plain_words_too() {
        use CertificateError::*;

        let text = |text: &str| Other(OtherError(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(text))));
        let joined = |(reason, advice): (&str, &str)| format!("{reason}; {advice}");
        let expired = joined(("its certificate has expired or is not valid yet", RENEW));
        for (error, expected) in [
            (text("\u{201c}api.test\u{201d} certificate is expired: -67818"), expired.clone()),
            (text("\u{201c}api.test\u{201d} certificate is not trusted: -67843"), joined(UNTRUSTED)),
            (text("certificate had invalid extensions"), joined(WRONG_PURPOSE)),
            (
                text("\u{201c}api.test\u{201d} certificate is not standards compliant: -67901"),
                "its certificate is valid for longer than this system accepts (825 days on macOS); have it reissued for a \
                 shorter time"
                    .into(),
            ),
            (
                text("A certificate chain could not be built to a trusted root (os error -2146762486)"),
                joined(UNTRUSTED),
            ),
            (
                text("The signature of the certificate cannot be verified. (os error -2146869244)"),
                joined(BAD_SIGNATURE),
            ),
            (
                text("The revocation process could not continue (os error -2146762482)"),
                "whether its certificate has been revoked could not be checked; try again later".into(),
            ),
            (text("(os error -2146762484)"), joined(REVOKED)),
            (
                text("\u{201c}api.test\u{201d} certificate name is not allowed: -67900"),
                "this system does not accept its certificate (\u{201c}api.test\u{201d} certificate name is not allowed: \
                 -67900); have it replaced"
                    .into(),
            ),
            (Expired, expired),
            (UnknownIssuer, joined(UNTRUSTED)),
            (NotValidForName, "its certificate is for another name; check base_url".into()),
            (Revoked, joined(REVOKED)),
            (InvalidPurpose, joined(WRONG_PURPOSE)),
        ] {
            assert_eq!(line(rustls::Error::InvalidCertificate(error)), expected);
        }
    }

    #[test]
    fn no_message_has_a_librarys_words() {
        use rustls::Error::*;

        let errors = [
            DecryptError,
            General("unexpected".into()),
            FailedToGetRandomBytes,
            NoCertificatesPresented,
            PeerSentOversizedRecord,
            PeerMisbehaved(rustls::PeerMisbehaved::InvalidCertCompression),
            InvalidCertificate(CertificateError::UnknownRevocationStatus),
        ];
        let expected = [
            "it violates the TLS protocol; check base_url",
            "this system could not verify it; try again later",
            "its certificate is not accepted; have it replaced",
        ];
        for error in errors {
            let line = line(error);
            assert!(expected.contains(&&*line), "{line}");
        }
    }

    #[test]
    fn only_what_certificates_say_is_not_retried() {
        let retry = |error| explain(&error, "HOST", "base_url", &test_server::endpoint("a.test")).retry;
        assert_eq!(retry(rustls::Error::InvalidCertificate(CertificateError::Expired)), Retry::Never);
        assert_eq!(retry(rustls::Error::AlertReceived(AlertDescription::InternalError)), Retry::After(None));
        assert_eq!(retry(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)), Retry::Never);
        let incompatible = rustls::PeerIncompatible::NoCipherSuitesInCommon;
        assert_eq!(retry(rustls::Error::PeerIncompatible(incompatible)), Retry::After(None));
        assert_eq!(retry(rustls::Error::DecryptError), Retry::After(None));
    }
}
