//! What can go wrong on the way to Consul, in words for people.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use steersman_engine::consul::ConsulFailure;

use super::address::Endpoint;
use super::tls::TlsError;
use crate::limits::CONSUL_BODY_BYTES_MAX;

/// How far an exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Others were using the connections for short requests.
    Queued,
    /// A connection was being opened.
    Connecting,
    /// TLS was being set up.
    Greeting,
    /// The request was being sent, or its answer had not begun.
    Waiting,
    /// So many bytes of the answer had come.
    Reading(usize),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Queued => f.write_str("all connections were busy"),
            Stage::Connecting => f.write_str("it did not take a connection"),
            Stage::Greeting => f.write_str("it did not finish the TLS handshake"),
            Stage::Waiting => f.write_str("it took the connection and did not answer"),
            Stage::Reading(bytes) => write!(f, "its answer stopped after {bytes} bytes"),
        }
    }
}

/// Why an exchange with Consul failed.
#[derive(Debug)]
pub enum Failure {
    /// It took too long.
    TimedOut {
        /// How far it had come.
        stage: Stage,
        /// How long it was waited for.
        after: Duration,
    },
    /// No connection came about.
    Connect(io::Error),
    /// One side does not trust the other's certificate.
    Certificate(String),
    /// The other side speaks TLS badly, or not at all.
    Handshake(String),
    /// TLS cannot be set up with what we were given.
    Tls(TlsError),
    /// The connection broke.
    Broken {
        /// How far the exchange had come.
        stage: Stage,
        /// How it broke.
        reason: String,
    },
    /// What came is not HTTP.
    NotHttp(String),
    /// The answer is longer than we take.
    TooLarge {
        /// How long it said it is.
        bytes: Option<u64>,
    },
    /// There is no token to send although there should be. The text does not contain it.
    Secret(String),
}

impl Failure {
    /// Says what became of a handshake; `has_identity` when we could have proved who we are.
    pub(super) fn of_handshake(error: &io::Error, has_identity: bool) -> Failure {
        if let Some(error) = tls_error(error) {
            return Failure::of_tls(error, has_identity);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Handshake(String::from(
                "it closed the connection during the handshake: does it speak TLS on this port?",
            )),
            _ => Failure::Handshake(io_text(error)),
        }
    }

    /// Says what became of an exchange.
    pub(super) fn of_exchange(error: &hyper::Error, stage: Stage, tls: Option<bool>) -> Failure {
        if let (Some(error), Some(has_identity)) = (tls_error(error), tls) {
            return Failure::of_tls(error, has_identity);
        }
        if error.is_parse_too_large() {
            return Failure::NotHttp(String::from("the head of its answer is too long"));
        }
        // Neither HTTP nor an end: it talks before it is asked, for example.
        let is_end = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
        if error.is_parse() || (io_error(error).is_none() && !is_end) {
            return Failure::NotHttp(format!("it does not speak HTTP: {error}"));
        }
        let reason = match (io_error(error), tls, stage) {
            // A server may close without a word when it wanted a certificate (TLS 1.3).
            (_, Some(false), Stage::Waiting) => String::from(
                "it closed the connection after the TLS handshake: \
                 does it want a client certificate?",
            ),
            (Some(error), _, _) if error.kind() != io::ErrorKind::UnexpectedEof => io_text(error),
            (_, _, Stage::Reading(_)) => String::from("it closed the connection in the middle"),
            (_, _, _) => String::from("it closed the connection without an answer"),
        };
        Failure::Broken { stage, reason }
    }

    fn of_tls(error: &rustls::Error, has_identity: bool) -> Failure {
        match error {
            rustls::Error::InvalidCertificate(reason) => {
                Failure::Certificate(format!("its certificate is not good: {}", distrust(reason)))
            }
            rustls::Error::AlertReceived(alert) => Failure::of_alert(*alert, has_identity),
            rustls::Error::InvalidMessage(_) => Failure::Handshake(String::from(
                "it does not speak TLS on this port: with scheme http it may work",
            )),
            rustls::Error::PeerIncompatible(_) => {
                Failure::Handshake(format!("it has no TLS that we take (1.2 or 1.3): {error}"))
            }
            other => Failure::Handshake(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription, has_identity: bool) -> Failure {
        use AlertDescription as Alert;
        let is_about_us = matches!(
            alert,
            Alert::BadCertificate
                | Alert::CertificateRequired
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::UnsupportedCertificate
                | Alert::UnknownCA
                | Alert::AccessDenied
                // Another authority of the same name: the signature does not fit.
                | Alert::DecryptError
        );
        let name = format!("{alert:?}");
        match (is_about_us, has_identity) {
            (true, true) => Failure::Certificate(format!("it refuses our certificate ({name})")),
            (true, false) => Failure::Certificate(format!(
                "it wants a client certificate, and none is configured ({name})"
            )),
            (false, _) => Failure::Handshake(format!("it ended the TLS handshake ({name})")),
        }
    }

    /// Gives it to the engine, with the place it happened at.
    pub(super) fn for_engine(&self, endpoint: &Endpoint) -> ConsulFailure {
        let text = self.text(endpoint).into_boxed_str();
        match self {
            Failure::TimedOut { .. }
            | Failure::Connect(_)
            | Failure::Certificate(_)
            | Failure::Handshake(_)
            | Failure::Tls(_)
            | Failure::Broken { .. }
            | Failure::Secret(_) => ConsulFailure::Unreachable(text),
            Failure::NotHttp(_) | Failure::TooLarge { .. } => ConsulFailure::Garbled(text),
        }
    }

    fn text(&self, endpoint: &Endpoint) -> String {
        match self {
            Failure::TimedOut { stage, after } => {
                format!("cannot reach {endpoint}: nothing within {after:?}, {stage}")
            }
            Failure::Connect(error) => match error.get_ref() {
                // Such as a name that cannot be found: it says what and why.
                Some(inner) => inner.to_string(),
                None => format!("cannot reach {endpoint}: {}", io_text(error)),
            },
            Failure::Certificate(reason) => format!("cannot trust {endpoint}: {reason}"),
            Failure::Handshake(reason) => format!("cannot speak TLS with {endpoint}: {reason}"),
            Failure::Tls(error) => error.to_string(),
            Failure::Broken { reason, .. } => format!("cannot reach {endpoint}: {reason}"),
            Failure::NotHttp(reason) => format!("cannot understand {endpoint}: {reason}"),
            Failure::TooLarge { bytes } => {
                let most = CONSUL_BODY_BYTES_MAX;
                match bytes {
                    Some(bytes) => format!(
                        "cannot take the answer of {endpoint}: \
                         {bytes} bytes, and {most} are the most"
                    ),
                    None => {
                        format!(
                            "cannot take the answer of {endpoint}: it has more than {most} bytes"
                        )
                    }
                }
            }
            Failure::Secret(text) => text.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let somewhere = Endpoint::Host { host: String::from("consul"), port: 8500 };
        f.write_str(&self.text(&somewhere))
    }
}

/// Says why a certificate is not good.
fn distrust(reason: &CertificateError) -> String {
    match reason {
        // The latter: by another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            String::from("it is signed by nobody we were told to trust")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            String::from("it has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            String::from("it is not valid yet: is a clock wrong?")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() {
                String::from("no name at all")
            } else {
                presented.iter().map(|name| bare_name(name)).collect::<Vec<_>>().join(", ")
            };
            format!("it is for {presented}, not for {}", expected.to_str())
        }
        other => rustls::Error::InvalidCertificate(other.clone()).to_string(),
    }
}

/// Takes the library's wrapping off: `DnsName("a")` is `a`.
fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn io_text(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => String::from("there is no such socket"),
        Kind::TimedOut => String::from("it has gone without a word"),
        kind @ (Kind::ConnectionRefused
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::AddrNotAvailable
        | Kind::PermissionDenied) => kind.to_string(),
        _ => error.to_string(),
    }
}

fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Finds what TLS said below whatever wraps it.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    io_error(error)?.get_ref()?.downcast_ref::<rustls::Error>()
}
