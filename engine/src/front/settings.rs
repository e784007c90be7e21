//! What a configuration says that is not the engine's business: the adapter needs it.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Everything of a configuration that the engine does not need to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Where the catalog is; none runs without discovery.
    pub consul: Option<Consul>,
    /// How to log.
    pub logging: Logging,
    /// The path of the control socket.
    pub control_socket: String,
    /// Where to serve telemetry; none when the file has no such block.
    pub telemetry: Option<Telemetry>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            consul: None,
            logging: Logging::default(),
            control_socket: String::from("/var/run/containerpilot.socket"),
            telemetry: None,
        }
    }
}

/// Which Consul to use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Consul {
    /// An agent reached over HTTP.
    Agent(Agent),
    /// The development Consul inside the process (`consul: "embedded"`).
    Embedded,
}

/// How to reach a Consul agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Host and port, as written; or `unix://` and the path of a socket.
    pub address: String,
    /// The protocol.
    pub scheme: Scheme,
    /// The token to send; `CONSUL_HTTP_TOKEN` comes first.
    pub token: Option<Secret>,
    /// The file of a token, read again when it changes; used when there is no `token`
    /// (`CONSUL_HTTP_TOKEN_FILE`).
    #[serde(default)]
    pub token_file: Option<String>,
    /// `user:password` for a proxy that wants it (`CONSUL_HTTP_AUTH`).
    #[serde(default)]
    pub auth: Option<Secret>,
    /// The namespace of every request (`CONSUL_NAMESPACE`); Consul without namespaces refuses it.
    #[serde(default)]
    pub namespace: Option<String>,
    /// How to check the other side and prove one's own; used with [`Scheme::Https`] only.
    pub tls: Tls,
}

impl Agent {
    /// Builds the settings for an agent that wants neither token nor certificate.
    pub fn new(address: impl Into<String>, scheme: Scheme) -> Agent {
        Agent {
            address: address.into(),
            scheme,
            token: None,
            token_file: None,
            auth: None,
            namespace: None,
            tls: Tls::default(),
        }
    }
}

/// The protocol to reach Consul with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Encrypted.
    Https,
}

/// Certificates for the connection to Consul.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// File of the authority's certificate.
    pub ca_file: Option<String>,
    /// Directory of authorities' certificates.
    pub ca_path: Option<String>,
    /// File of one's own certificate.
    pub client_cert: Option<String>,
    /// File of one's own key.
    pub client_key: Option<String>,
    /// The name the other side's certificate must have; the host when absent.
    pub server_name: Option<String>,
    /// Whether the other side's certificate is checked.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            ca_file: None,
            ca_path: None,
            client_cert: None,
            client_key: None,
            server_name: None,
            verify: true,
        }
    }
}

/// A text that must not appear in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// What is worth a record.
    pub level: LogLevel,
    /// What a record looks like.
    pub format: LogFormat,
    /// Where records go.
    pub output: LogOutput,
}

impl Default for Logging {
    fn default() -> Logging {
        Logging { level: LogLevel::Info, format: LogFormat::Default, output: LogOutput::Stdout }
    }
}

/// The levels of the log, from much to little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to follow.
    Info,
    /// What may become a failure.
    Warn,
    /// Failures.
    Error,
    /// Failures that end the supervisor.
    Fatal,
    /// As [`LogLevel::Fatal`]; v3 knew both.
    Panic,
}

/// The shapes of a log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Time, job, pid, message.
    Default,
    /// `key=value` pairs.
    Text,
    /// One object a line.
    Json,
}

/// Where log records go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, opened anew on SIGUSR1.
    File(String),
}

/// Where and as what to serve telemetry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telemetry {
    /// The port to listen on.
    pub port: u16,
    /// The address to listen on and to register, chosen by the `interfaces` rules; none in a mere
    /// check.
    pub address: Option<IpAddr>,
    /// Tags of the registration.
    pub tags: Vec<String>,
}
