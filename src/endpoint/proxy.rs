//! Which proxy requests go through. ureq's own reading of the environment differs in ways that matter: there
//! `ALL_PROXY` wins over `HTTPS_PROXY`, and a value that cannot be used means a direct connection.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use ureq::ProxyProtocol;

use super::base_url::{self, BaseUrl};

pub struct Proxy {
    pub settings: ureq::Proxy,
    /// The variable that it came from.
    pub variable: String,
}

impl Proxy {
    /// Reads `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`; and `NO_PROXY`. Lower case comes first.
    ///
    /// # Errors
    /// A value that cannot be used, without quoting it: it may hold a password.
    pub fn choose(url: &BaseUrl, variable: impl Fn(&str) -> Result<Option<String>>) -> Result<Option<Self>> {
        let host = url.uri().host().unwrap_or_default();
        let scheme_proxy = if url.is_https() { "https_proxy" } else { "http_proxy" };
        for name in [scheme_proxy, "all_proxy"] {
            let Some((name, value)) = either_case(name, &variable)? else {
                continue;
            };
            let no_proxy = either_case("no_proxy", &variable)?.map(|(_, list)| list).unwrap_or_default();
            if is_bypassed(&no_proxy, host, base_url::port(url.uri())) {
                return Ok(None);
            }
            let settings = without_path(&value).and_then(|value| ureq::Proxy::new(value).ok()).filter(|proxy| {
                matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
                    && !proxy.host().is_empty()
                    && base_url::port(proxy.uri()).is_some()
            });
            ensure!(
                settings.is_some(),
                "{name} is not a valid proxy: it should be http://HOST:PORT or https://HOST:PORT, without a path, optionally \
                 with USER:PASSWORD@ before the host, in which what is special is percent-encoded (%23 for #, %2F for /, \
                 %3F for ?, %40 for @)"
            );
            return Ok(settings.map(|settings| Proxy { settings, variable: name }));
        }
        Ok(None)
    }

    pub fn is_https(&self) -> bool {
        self.settings.protocol() == ProxyProtocol::Https
    }
}

/// A proxy's URL without the slash at its end; `None` if a path, a query or a fragment begins in it: within a password,
/// that would make its first part the port.
fn without_path(value: &str) -> Option<&str> {
    let value = value.strip_suffix('/').unwrap_or(value);
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    (!rest.contains(['/', '?', '#'])).then_some(value)
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
/// address or a network such as `10.0.0.0/8`, as a name or an address with `:port`, or as `*`.
fn is_bypassed(list: &str, host: &str, port: Option<u16>) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return address.is_some_and(|address| network.contains(&address));
        }
        // An IPv6 address has colons of its own, so it takes a port only in brackets.
        let (name, entry_port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (entry.as_str(), None),
        };
        if entry_port.is_some_and(|entry| entry.parse().ok() != port) {
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

    fn chosen(url: &str, environment: &[(&str, &str)]) -> Result<Option<String>> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            Ok(found.map(|(_, value)| value.to_string()))
        };
        let proxy = Proxy::choose(&BaseUrl::parse("base_url", url, true).unwrap(), variable)?;
        Ok(proxy.map(|proxy| format!("{} {}:{}", proxy.variable, proxy.settings.host(), proxy.settings.port())))
    }

    #[test]
    fn scheme_and_case_decide() {
        const ALL: &[(&str, &str)] =
            &[("ALL_PROXY", "http://all:1"), ("HTTPS_PROXY", "http://secure:2"), ("HTTP_PROXY", "plain:3")];
        assert_eq!(chosen("https://a.test", ALL).unwrap().unwrap(), "HTTPS_PROXY secure:2");
        assert_eq!(chosen("http://a.test", ALL).unwrap().unwrap(), "HTTP_PROXY plain:3");
        assert_eq!(chosen("http://a.test", &ALL[..2]).unwrap().unwrap(), "ALL_PROXY all:1");
        assert_eq!(chosen("http://a.test", &ALL[1..2]).unwrap(), None);
        let both = [("HTTPS_PROXY", "upper:1"), ("https_proxy", "https://lower")];
        assert_eq!(chosen("https://a.test", &both).unwrap().unwrap(), "https_proxy lower:443");
    }

    #[test]
    fn invalid_values_are_refused_and_not_quoted() {
        let passwords = ["2024#secret", "20/secret", "20?secret", "2024#secret/", "/secret", "a:b/secret"];
        let users = ["sec#ret:secret", "sec/ret:secret", "sec?ret:secret"];
        let with_user = passwords.iter().map(|password| format!("alice:{password}@proxy.test:3128"));
        let with_user = with_user.chain(users.iter().map(|user| format!("{user}@proxy.test:3128")));
        let with_scheme = with_user.flat_map(|value| [format!("http://{value}"), format!("https://{value}/"), value]);
        let others = ["socks5://secret:1", "http://", "secret:99999", "secret:0", "ftp://secret", "a secret", ":80"];
        let paths =
            ["http://secret:3128/proxy.pac", "secret:3128/a/", "http://secret:1//", "http://secret?", "secret#"];
        for value in others.into_iter().chain(paths).map(String::from).chain(with_scheme) {
            let error = chosen("https://a.test", &[("ALL_PROXY", &value)]).unwrap_err().to_string();
            assert!(error.starts_with("ALL_PROXY is not") && error.contains("percent-encoded"), "{value}: {error}");
            assert!(!error.contains("secret") && !error.contains("alice"), "{value}: {error}");
        }
        for value in ["http://alice:2024%23%2F%3F@secret:3128", "secret:3128/", "http://secret:3128/"] {
            assert_eq!(chosen("https://a.test", &[("ALL_PROXY", value)]).unwrap().unwrap(), "ALL_PROXY secret:3128");
        }
    }

    #[test]
    fn no_proxy_takes_names_addresses_and_networks() {
        let bypassed = |list, host| is_bypassed(list, host, Some(443));
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
            assert!(bypassed(list, "a.b.test"), "{list}");
        }
        for list in ["", ",", "c.test", "xa.b.test", ".a.b", "b.test:80", "b.test:https", "est", "1.2.3.4", "0.0.0.0/0"]
        {
            assert!(!bypassed(list, "a.b.test"), "{list}");
        }
        assert!(bypassed("b.test", "a.b.test."));
        for list in ["127.0.0.1", "127.0.0.1:443", "127.0.0.0/8", "10.0.0.0/8, 127.0.0.1/32"] {
            assert!(bypassed(list, "127.0.0.1"), "{list}");
        }
        for list in ["0.0.1", "127.0.0.1:80", "128.0.0.0/8", "127.0.0.0/33", "::/0"] {
            assert!(!bypassed(list, "127.0.0.1"), "{list}");
        }
        assert!(bypassed("::1", "[::1]") && bypassed("[::1]:443", "[::1]") && !bypassed("[::1]:80", "[::1]"));
        assert!(bypassed("fd00::/8", "[fd12::1]") && !bypassed("fd00::/8", "[fe80::1]"));
    }
}
