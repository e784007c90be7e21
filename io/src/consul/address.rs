//! Where Consul listens.

use std::fmt;
use std::path::PathBuf;

use steersman_engine::front::Scheme;

/// Where a Consul agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and a port.
    Host {
        /// Its name, or its address without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A Unix socket.
    Socket(PathBuf),
}

/// Why an address is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// There is no host in it.
    NoHost(String),
    /// What follows the colon is not a port.
    BadPort(String),
    /// There is more in it than a host and a port.
    Excess(String),
    /// Consul serves no TLS on a Unix socket.
    TlsOnSocket(String),
    /// It cannot be in a certificate.
    BadServerName(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, reason) = match self {
            AddressError::NoHost(address) => (address, "there is no host in it"),
            AddressError::BadPort(address) => (address, "its port is not a number up to 65535"),
            AddressError::Excess(address) => (address, "it is more than a host and a port"),
            AddressError::TlsOnSocket(address) => (address, "a unix socket has no https"),
            AddressError::BadServerName(address) => {
                (address, "no certificate can be for this server name")
            }
        };
        write!(f, "cannot use {address:?} as Consul's address: {reason}")
    }
}

impl Endpoint {
    /// Reads `HOST`, `HOST:PORT`, `[V6]:PORT` or `unix:///PATH`. Without a port it is the
    /// protocol's own, as in a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(address: &str, scheme: Scheme) -> Result<Endpoint, AddressError> {
        if let Some(path) = address.strip_prefix("unix://") {
            return match (path.is_empty(), scheme) {
                (true, _) => Err(AddressError::NoHost(address.into())),
                (false, Scheme::Https) => Err(AddressError::TlsOnSocket(address.into())),
                (false, Scheme::Http) => Ok(Endpoint::Socket(PathBuf::from(path))),
            };
        }
        let bare = address.trim_end_matches('/');
        if bare.contains(['/', '?', '#', '@']) || bare.contains(char::is_whitespace) {
            return Err(AddressError::Excess(address.into()));
        }
        let (host, port) = match bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return Err(AddressError::Excess(address.into())),
            },
            // Several colons and no brackets: an IPv6 address alone.
            None if bare.matches(':').count() > 1 => (bare, None),
            None => match bare.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (bare, None),
            },
        };
        if host.is_empty() {
            return Err(AddressError::NoHost(address.into()));
        }
        let port = match (port, scheme) {
            (Some(port), _) => port.parse().map_err(|_| AddressError::BadPort(address.into()))?,
            (None, Scheme::Http) => 80,
            (None, Scheme::Https) => 443,
        };
        Ok(Endpoint::Host { host: host.into(), port })
    }

    /// Gives what goes into the `Host` header.
    pub(super) fn authority(&self) -> String {
        match self {
            Endpoint::Host { .. } => self.to_string(),
            Endpoint::Socket(_) => String::from("localhost"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Host { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Socket(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, port: u16) -> Result<Endpoint, AddressError> {
        Ok(Endpoint::Host { host: host.into(), port })
    }

    #[test]
    fn every_form_of_an_address_is_understood() {
        let http = |address| Endpoint::parse(address, Scheme::Http);
        assert_eq!(http("consul:8500"), host("consul", 8500));
        assert_eq!(http("consul"), host("consul", 80));
        assert_eq!(Endpoint::parse("consul/", Scheme::Https), host("consul", 443));
        assert_eq!(http("[::1]:8500"), host("::1", 8500));
        assert_eq!(http("[::1]"), host("::1", 80));
        assert_eq!(http("fd00::1"), host("fd00::1", 80));
        assert_eq!(http("unix:///run/c.sock"), Ok(Endpoint::Socket("/run/c.sock".into())));
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        let http = |address| Endpoint::parse(address, Scheme::Http);
        assert_eq!(http(""), Err(AddressError::NoHost("".into())));
        assert_eq!(http(":8500"), Err(AddressError::NoHost(":8500".into())));
        assert_eq!(http("unix://"), Err(AddressError::NoHost("unix://".into())));
        assert_eq!(http("c:99999"), Err(AddressError::BadPort("c:99999".into())));
        assert_eq!(http("c:"), Err(AddressError::BadPort("c:".into())));
        assert_eq!(http("c:80/path"), Err(AddressError::Excess("c:80/path".into())));
        assert_eq!(http("u@c:80"), Err(AddressError::Excess("u@c:80".into())));
        let socket = Endpoint::parse("unix:///s", Scheme::Https);
        assert_eq!(socket, Err(AddressError::TlsOnSocket("unix:///s".into())));
    }

    #[test]
    fn printed_endpoint_reads_back_as_itself() {
        for address in ["[fd00::1]:8500", "consul:8500", "unix:///run/consul.sock"] {
            let endpoint = Endpoint::parse(address, Scheme::Http).unwrap();
            assert_eq!(endpoint.to_string(), address);
        }
    }
}
