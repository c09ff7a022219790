//! Says why a TLS handshake failed: what is wrong with a certificate, and who can mend it.

use rustls::{AlertDescription, CertificateError, OtherError};

use crate::error::{Kind, RequestError};
use crate::message::{quote, shorten};
use crate::retry::Retry;
use crate::secret::Secrets;

const CLOCK: &str = "or this machine's clock is wrong";
const UNTRUSTED: &str = "its certificate is signed by itself or by a certificate authority (CA) that this machine does \
    not trust, or the server does not send its intermediate certificate; name the CA's PEM file in SSL_CERT_FILE, or \
    have the server send its whole chain";
const OTHER_CA: &str = "its certificate is not signed by the CA of that name that this machine trusts; if the CA was \
    made anew, name its new PEM file in SSL_CERT_FILE";

/// The longest list of a certificate's names in a message, in characters: it may have a hundred.
const MAX_NAMES: usize = 200;

/// Sorts a failed handshake with `peer`, which is named in `source`. What certificates say is not retried; all else may be
/// transient.
pub fn sort(error: &rustls::Error, peer: &str, source: &str, secrets: &Secrets) -> RequestError {
    let (reason, retry) = match error {
        rustls::Error::InvalidCertificate(error) => (certificate(error, source, secrets), Retry::Never),
        rustls::Error::InvalidMessage(_) => {
            (format!("it does not answer in TLS; check the scheme and the port in {source}"), Retry::Never)
        }
        rustls::Error::AlertReceived(alert) => (self::alert(*alert), Retry::After(None)),
        rustls::Error::PeerIncompatible(_) => (OLD_TLS.into(), Retry::After(None)),
        _ => (format!("it violates the TLS protocol; check {source}"), Retry::After(None)),
    };
    let message = format!("the TLS handshake with {peer} failed: {reason}");
    // The reasons have their advice in them.
    RequestError::new(message, String::new(), retry, Kind::Connection)
}

const REVOKED: &str = "its certificate has been revoked; have a new one made";
const OLD_TLS: &str = "it supports no version or cipher suite of TLS that this program does; have it support TLS 1.2 or \
    1.3 with a modern cipher suite";

fn alert(alert: AlertDescription) -> String {
    use AlertDescription::*;

    match alert {
        CertificateRequired | BadCertificate | UnknownCA | AccessDenied => {
            "it requires a client certificate, which this program cannot send".into()
        }
        ProtocolVersion | HandshakeFailure | InsufficientSecurity => OLD_TLS.into(),
        UnrecognisedName => "it does not serve this host name".into(),
        other => format!("it ended the handshake with alert {}; try again later", u8::from(other)),
    }
}

fn certificate(error: &CertificateError, source: &str, secrets: &Secrets) -> String {
    use CertificateError::*;

    match error {
        Expired | ExpiredContext { .. } => format!("its certificate has expired, {CLOCK}"),
        NotValidYet | NotValidYetContext { .. } => format!("its certificate is not valid yet, {CLOCK}"),
        NotValidForNameContext { expected, presented } => {
            // rustls writes `DnsName("a.test")`.
            let names: Vec<_> = presented.iter().filter_map(|name| name.split('"').nth(1)).collect();
            let names = shorten(quote(&names.join(", "), secrets), MAX_NAMES);
            let names = if names.is_empty() { "another name".into() } else { names };
            format!("its certificate is for {names}, not for {}; check {source}", expected.to_str())
        }
        NotValidForName => format!("its certificate is for another name; check {source}"),
        UnknownIssuer => UNTRUSTED.into(),
        BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => OTHER_CA.into(),
        UnsupportedSignatureAlgorithmContext { .. } => {
            "its certificate, or that of its CA, is signed with an algorithm that is not accepted, such as SHA-1; have \
             it signed anew with SHA-256"
                .into()
        }
        InvalidPurpose | InvalidPurposeContext { .. } => {
            "its certificate is not meant for a server; have one made with the extended key usage serverAuth".into()
        }
        Revoked => REVOKED.into(),
        BadEncoding => "its certificate is malformed; have a new one made".into(),
        UnhandledCriticalExtension => "its certificate has a critical extension that this program does not know".into(),
        Other(error) => other(error),
        _ => "its certificate was refused".into(),
    }
}

/// What rustls has no word of its own for.
fn other(error: &OtherError) -> String {
    use webpki::Error::*;

    match error.0.downcast_ref() {
        Some(CaUsedAsEndEntity) => {
            "its certificate is that of a CA, which no server may use; have one made with basicConstraints=CA:FALSE, \
             and name it, or the CA that signed it, in SSL_CERT_FILE"
                .into()
        }
        Some(UnsupportedCertVersion) => {
            "its certificate is of X.509 version 1; have one of version 3 made (openssl x509 -req needs -extfile or \
             -copy_extensions for it)"
                .into()
        }
        Some(NameConstraintViolation) => {
            "its CA may not issue certificates for this name (name constraints); have another CA issue it".into()
        }
        Some(EndEntityUsedAsCa | PathLenConstraintViolated) => {
            "a certificate in its chain was signed by one that is not that of a CA; have it issued by a CA".into()
        }
        Some(_) => "its certificate is not accepted; have a new one made".into(),
        None => system_verifier(&error.0.to_string()),
    }
}

/// What the verifiers of macOS and Windows say ends with a number. Sources: `SecBase.h` and `winerror.h`; the form is
/// that of rustls-platform-verifier.
fn system_verifier(text: &str) -> String {
    let number = text.rsplit(|c: char| !c.is_ascii_digit() && c != '-').find(|word| !word.is_empty());
    match number.and_then(|number| number.parse().ok()) {
        // errSecCertificateExpired, CERT_E_EXPIRED
        Some(-67818 | -2146762495) => format!("its certificate has expired, {CLOCK}"),
        // errSecCertificateNotValidYet
        Some(-67819) => format!("its certificate is not valid yet, {CLOCK}"),
        // errSecNotTrusted, errSecCreateChainFailed, CERT_E_UNTRUSTEDROOT, CERT_E_CHAINING
        Some(-67843 | -25318 | -2146762487 | -2146762486) => UNTRUSTED.into(),
        // errSecCertificateRevoked, CERT_E_REVOKED
        Some(-67820 | -2146762484) => REVOKED.into(),
        // CERT_E_REVOCATION_FAILURE, CRYPT_E_NO_REVOCATION_CHECK, CRYPT_E_REVOCATION_OFFLINE
        Some(-2146762482 | -2146885614 | -2146885613) => {
            "whether its certificate has been revoked could not be checked; try again later".into()
        }
        _ => format!("this system refuses its certificate ({})", shorten(text.into(), MAX_NAMES)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn message(error: rustls::Error) -> String {
        let message = sort(&error, "HOST", "base_url", &Secrets::default()).message;
        message.strip_prefix("the TLS handshake with HOST failed: ").unwrap().to_owned()
    }

    /// What rustls-platform-verifier 0.7 gives on macOS (`apple.rs`) and Windows (`windows.rs`).
    #[test]
    fn other_systems_errors_have_plain_words_too() {
        use CertificateError::*;

        let text = |text: &str| Other(OtherError(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(text))));
        let expired = format!("its certificate has expired, {CLOCK}");
        for (error, expected) in [
            (text("\u{201c}api.test\u{201d} certificate is expired: -67818"), expired.as_str()),
            (text("\u{201c}api.test\u{201d} certificate is not trusted: -67843"), UNTRUSTED),
            (text("A certificate chain could not be built to a trusted root (os error -2146762486)"), UNTRUSTED),
            (
                text("The revocation process could not continue (os error -2146762482)"),
                "whether its certificate has been revoked could not be checked; try again later",
            ),
            (text("(os error -2146762484)"), "its certificate has been revoked; have a new one made"),
            (
                text("\u{201c}api.test\u{201d} certificate is not standards compliant: -67825"),
                "this system refuses its certificate (\u{201c}api.test\u{201d} certificate is not standards compliant: -67825)",
            ),
            (Expired, &expired),
            (UnknownIssuer, UNTRUSTED),
            (NotValidForName, "its certificate is for another name; check base_url"),
            (Revoked, "its certificate has been revoked; have a new one made"),
            (
                InvalidPurpose,
                "its certificate is not meant for a server; have one made with the extended key usage serverAuth",
            ),
        ] {
            assert_eq!(message(rustls::Error::InvalidCertificate(error)), expected);
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
        for error in errors {
            let message = message(error);
            assert!(message.starts_with("it violates the TLS protocol") || message == "its certificate was refused");
        }
    }

    #[test]
    fn only_what_certificates_say_is_not_retried() {
        let retry = |error| sort(&error, "HOST", "base_url", &Secrets::default()).retry;
        assert_eq!(retry(rustls::Error::InvalidCertificate(CertificateError::Expired)), Retry::Never);
        assert_eq!(retry(rustls::Error::AlertReceived(AlertDescription::InternalError)), Retry::After(None));
        assert_eq!(retry(rustls::Error::DecryptError), Retry::After(None));
    }
}
