//! Which proxy a request goes through. ureq's own reading of the environment differs in ways that matter: there
//! `ALL_PROXY` wins over `HTTPS_PROXY`, and a value that cannot be used means a direct connection.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use crate::settings;

/// Reads `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`; and `NO_PROXY`. Lower case comes first.
///
/// # Errors
/// A value that cannot be used, without quoting it: it may hold a password.
pub fn choose(url: &Uri, variable: impl Fn(&str) -> Result<Option<String>>) -> Result<Option<Proxy>> {
    let host = url.host().unwrap_or_default();
    let scheme_proxy = if settings::is_https(url) { "https_proxy" } else { "http_proxy" };
    for name in [scheme_proxy, "all_proxy"] {
        let Some((name, value)) = either_case(name, &variable)? else {
            continue;
        };
        let no_proxy = either_case("no_proxy", &variable)?.map(|(_, list)| list).unwrap_or_default();
        if is_excepted(&no_proxy, host, settings::port(url)) {
            return Ok(None);
        }
        let proxy = Proxy::new(&value).ok().filter(|proxy| {
            matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
                && !proxy.host().is_empty()
                && settings::port(proxy.uri()).is_some()
        });
        ensure!(
            proxy.is_some(),
            "{name} is not a proxy that can be used: it should be http://HOST:PORT or https://HOST:PORT, \
             perhaps with USER:PASSWORD@ before the host"
        );
        return Ok(proxy);
    }
    Ok(None)
}

fn either_case(name: &str, variable: impl Fn(&str) -> Result<Option<String>>) -> Result<Option<(String, String)>> {
    for name in [name.to_owned(), name.to_ascii_uppercase()] {
        if let Some(value) = variable(&name)? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// Whether a `NO_PROXY` list names the host: as `name`, `.name` or `*.name` (each with its subdomains), as an IP
/// address, as any of these with `:port`, or as `*`.
fn is_excepted(list: &str, host: &str, port: Option<u16>) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        // An IPv6 address has colons of its own, so it takes a port only in brackets.
        let (name, entry_port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse().ok()),
            _ => (entry.as_str(), None),
        };
        if entry_port.is_some() && entry_port != port {
            return false;
        }
        if let Some(address) = address {
            return name.trim_matches(['[', ']']).parse() == Ok(address);
        }
        let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        !name.is_empty() && host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(url: &'static str, environment: &[(&str, &str)]) -> Result<Option<String>> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            Ok(found.map(|(_, value)| value.to_string()))
        };
        let proxy = choose(&Uri::from_static(url), variable)?;
        Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
    }

    #[test]
    fn the_scheme_and_the_case_decide() {
        const ALL: &[(&str, &str)] =
            &[("ALL_PROXY", "http://all:1"), ("HTTPS_PROXY", "http://secure:2"), ("HTTP_PROXY", "plain:3")];
        assert_eq!(chosen("https://a.test", ALL).unwrap().unwrap(), "secure:2");
        assert_eq!(chosen("http://a.test", ALL).unwrap().unwrap(), "plain:3");
        assert_eq!(chosen("http://a.test", &ALL[..2]).unwrap().unwrap(), "all:1");
        assert_eq!(chosen("http://a.test", &ALL[1..2]).unwrap(), None);
        let both = [("HTTPS_PROXY", "upper:1"), ("https_proxy", "https://lower")];
        assert_eq!(chosen("https://a.test", &both).unwrap().unwrap(), "lower:443");
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_not_quoted() {
        for value in ["socks5://secret:1", "http://", "secret:99999", "secret:0", "ftp://secret", "a secret", ":80"] {
            let error = chosen("https://a.test", &[("ALL_PROXY", value)]).unwrap_err().to_string();
            assert!(error.starts_with("ALL_PROXY is not") && !error.contains("secret"), "{value}: {error}");
        }
    }

    #[test]
    fn no_proxy_in_every_form() {
        let excepted = |list, host| is_excepted(list, host, Some(443));
        for list in [
            "*",
            "b.test",
            "a.b.test",
            ".b.test",
            "*.b.test",
            "x, A.B.Test ,y",
            "b.test:443",
            ".b.test:443",
            "a.b.test.",
        ] {
            assert!(excepted(list, "a.b.test"), "{list}");
        }
        for list in ["", ",", "c.test", "xa.b.test", ".a.b", "b.test:80", "est", "1.2.3.4"] {
            assert!(!excepted(list, "a.b.test"), "{list}");
        }
        assert!(excepted("127.0.0.1", "127.0.0.1") && excepted("127.0.0.1:443", "127.0.0.1"));
        assert!(!excepted("0.0.1", "127.0.0.1") && !excepted("127.0.0.1:80", "127.0.0.1"));
        assert!(excepted("::1", "[::1]") && excepted("[::1]:443", "[::1]") && !excepted("[::1]:80", "[::1]"));
    }
}
