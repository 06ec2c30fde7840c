//! Which proxy a connection goes through, as the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`, in capitals or not. The rules are those that curl and Go programs share: loopback is never proxied, and an
//! entry of `NO_PROXY` is `*`, a domain (which covers its subdomains), an address, or a range of addresses, with a port
//! or without.

use super::error::RegistryError;
use std::net::IpAddr;
use ureq::Proxy;

/// The proxies that the environment names.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    direct: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    host: Pattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    /// The domain and everything below it.
    Domain(String),
    /// What is below the domain.
    Below(String),
    Range(IpAddr, u8),
}

impl Proxies {
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let value = variable(&name.to_ascii_uppercase()).or_else(|| variable(name));
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let all = get("all_proxy");
        Self {
            http: get("http_proxy").or_else(|| all.clone()),
            https: get("https_proxy").or(all),
            direct: get("no_proxy").unwrap_or_default().split(',').filter_map(parse_rule).collect(),
        }
    }

    /// The proxy for a connection to `host` and `port`, if there is one.
    pub fn choose(&self, scheme: &str, host: &str, port: u16) -> Result<Option<Proxy>, RegistryError> {
        let chosen = if scheme == "https" { &self.https } else { &self.http };
        let Some(url) = chosen else { return Ok(None) };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let rule = |rule: &Rule| rule.port.is_none_or(|only| only == port) && matches(&rule.host, &bare);
        if super::settings::is_loopback(host) || self.direct.iter().any(rule) {
            return Ok(None);
        }
        Proxy::new(url).map(Some).map_err(|_| RegistryError::Proxy(without_password(url)))
    }
}

fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        _ => url.to_owned(),
    }
}

fn parse_rule(text: &str) -> Option<Rule> {
    let text = text.trim().to_ascii_lowercase();
    let (host, port) = match text.rsplit_once(':') {
        // An address of version 6 has colons of its own.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (text.as_str(), None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.split_once('/').map_or((bare, None), |(address, bits)| (address, Some(bits)));
    let host = match (host, address.0.parse::<IpAddr>()) {
        ("", _) => return None,
        ("*", _) => Pattern::Any,
        (_, Ok(ip)) => {
            let whole = if ip.is_ipv4() { 32 } else { 128 };
            let bits = address.1.map_or(Some(whole), |bits| bits.parse().ok().filter(|bits| *bits <= whole))?;
            Pattern::Range(ip, bits)
        }
        _ => match host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
            Some(domain) => Pattern::Below(domain.to_owned()),
            None => Pattern::Domain(host.to_owned()),
        },
    };
    Some(Rule { host, port })
}

fn matches(pattern: &Pattern, host: &str) -> bool {
    let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    match pattern {
        Pattern::Any => true,
        Pattern::Domain(domain) => host == domain || below(domain),
        Pattern::Below(domain) => below(domain),
        Pattern::Range(network, bits) => {
            host.parse::<IpAddr>().is_ok_and(|address| same_prefix(*network, address, *bits))
        }
    }
}

fn same_prefix(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    let mask = |width: u32| u128::MAX.checked_shl(width - u32::from(bits).min(width)).unwrap_or(0);
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u128::from(a.to_bits()) ^ u128::from(b.to_bits())) & mask(32) & 0xffff_ffff == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask(128) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    fn chosen(proxies: &Proxies, scheme: &str, host: &str, port: u16) -> Option<String> {
        proxies.choose(scheme, host, port).unwrap().map(|proxy| proxy.host().to_owned())
    }

    #[test]
    fn each_scheme_has_its_own() {
        let set = proxies(&[
            ("HTTP_PROXY", "http://plain:3128"),
            ("https_proxy", "secure:3129"),
            ("all_proxy", "http://rest"),
        ]);
        assert_eq!(chosen(&set, "http", "a.b", 80).as_deref(), Some("plain"));
        assert_eq!(chosen(&set, "https", "a.b", 443).as_deref(), Some("secure"));
        let set = proxies(&[("ALL_PROXY", "socks5://rest:1080"), ("HTTP_PROXY", " ")]);
        assert_eq!(chosen(&set, "http", "a.b", 80).as_deref(), Some("rest"));
        assert_eq!(chosen(&proxies(&[]), "http", "a.b", 80), None);
    }

    #[test]
    fn loopback_is_never_proxied() {
        let set = proxies(&[("ALL_PROXY", "http://p:1")]);
        for host in ["localhost", "127.0.0.1", "127.3.0.1", "[::1]"] {
            assert_eq!(chosen(&set, "http", host, 5000), None, "{host}");
        }
    }

    #[test]
    fn exceptions_are_honoured() {
        let none = "corp.example, .sub.example,*.wild.example,10.0.0.0/8,192.168.1.7,one.example:8443,2001:db8::/32,bad:port,1.2.3.4/99";
        let set = proxies(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", none)]);
        for (host, port) in [
            ("corp.example", 443),
            ("a.CORP.example", 443),
            ("a.sub.example", 1),
            ("a.wild.example", 1),
            ("10.2.3.4", 1),
            ("192.168.1.7", 5000),
            ("one.example", 8443),
            ("[2001:db8::5]", 443),
        ] {
            assert_eq!(chosen(&set, "https", host, port), None, "{host}");
        }
        for (host, port) in [
            ("acorp.example", 443),
            ("sub.example", 1),
            ("wild.example", 1),
            ("11.2.3.4", 1),
            ("192.168.1.8", 1),
            ("one.example", 443),
            ("[2001:db9::5]", 443),
            ("1.2.3.4", 1),
        ] {
            assert!(chosen(&set, "https", host, port).is_some(), "{host}");
        }
        assert_eq!(chosen(&proxies(&[("ALL_PROXY", "http://p"), ("no_proxy", "*")]), "https", "a.b", 1), None);
    }

    #[test]
    fn a_wrong_proxy_is_named_without_its_password() {
        let set = proxies(&[("ALL_PROXY", "gopher://user:secret@host:1")]);
        let error = set.choose("https", "a.b", 443).unwrap_err().to_string();
        assert!(error.contains("host:1") && !error.contains("secret"), "{error}");
    }
}
