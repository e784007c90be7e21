//! TLS for connections to Consul: set up by the first that needs it, again when a file has changed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use steersman_engine::front::Tls as Settings;
use tokio_rustls::TlsConnector;

use super::address::{AddressError, Endpoint};
use super::files::{self, FileStamp};
use super::verifier::{AnyCertificate, NamedCertificates};

/// Why TLS cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is a certificate without a key, or a key without a certificate.
    HalfIdentity,
    /// The system has no authorities that we could trust.
    NoAuthorities,
    /// What was given does not fit together.
    Unfit(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File { path, reason } => {
                write!(f, "cannot use {} for TLS: {reason}", path.display())
            }
            TlsError::HalfIdentity => {
                f.write_str("cannot use a client certificate without its key, or a key without it")
            }
            TlsError::NoAuthorities => f.write_str(
                "cannot find certificates of authorities on this system: name a file of them",
            ),
            TlsError::Unfit(reason) => write!(f, "cannot use the settings for TLS: {reason}"),
        }
    }
}

/// TLS to one endpoint.
#[derive(Debug)]
pub(super) struct Tls {
    settings: Arc<Settings>,
    name: ServerName<'static>,
    latest: Mutex<Option<Latest>>,
}

#[derive(Debug)]
struct Latest {
    stamps: Vec<Option<FileStamp>>,
    config: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new(settings: &Settings, endpoint: &Endpoint) -> Result<Tls, AddressError> {
        let host = match (&settings.server_name, endpoint) {
            (Some(name), _) if !name.is_empty() => name.clone(),
            (_, Endpoint::Host { host, .. }) => host.clone(),
            (_, Endpoint::Socket(path)) => {
                return Err(AddressError::TlsOnSocket(path.display().to_string()));
            }
        };
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| AddressError::BadServerName(host))?;
        Ok(Tls { settings: Arc::new(settings.clone()), name, latest: Mutex::new(None) })
    }

    /// Gives the name that the other side's certificate must have.
    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// Tells whether we could prove who we are.
    pub(super) fn has_identity(&self) -> bool {
        path_of(&self.settings.client_cert).is_some()
    }

    /// Gives what makes TLS out of a connection.
    pub(super) async fn connector(&self) -> Result<TlsConnector, TlsError> {
        let stamps = self.stamps();
        {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(latest) = &*latest
                && latest.stamps == stamps
            {
                return Ok(TlsConnector::from(Arc::clone(&latest.config)));
            }
        }
        let settings = Arc::clone(&self.settings);
        // Hundreds of authorities are read: decisions need not wait for it.
        let built = tokio::task::spawn_blocking(move || build(&settings)).await;
        let config = Arc::new(built.map_err(|error| TlsError::Unfit(error.to_string()))??);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some(Latest { stamps, config: Arc::clone(&config) });
        Ok(TlsConnector::from(config))
    }

    fn stamps(&self) -> Vec<Option<FileStamp>> {
        let settings = &self.settings;
        [&settings.ca_file, &settings.ca_path, &settings.client_cert, &settings.client_key]
            .map(|path| path_of(path).and_then(FileStamp::of))
            .into()
    }
}

fn build(settings: &Settings) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let unfit = |error: rustls::Error| TlsError::Unfit(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?;
    let verifier: Arc<dyn ServerCertVerifier> = if settings.verify {
        let named = match path_of(&settings.ca_file) {
            Some(file) => certificates(file)?,
            None => Vec::new(),
        };
        let roots = Arc::new(authorities(settings, &named)?);
        let authorities = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let authorities =
            authorities.build().map_err(|error| TlsError::Unfit(error.to_string()))?;
        Arc::new(NamedCertificates { authorities, named })
    } else {
        Arc::new(AnyCertificate { algorithms: provider.signature_verification_algorithms })
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match (path_of(&settings.client_cert), path_of(&settings.client_key)) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_pem(key, error))?;
            builder.with_client_auth_cert(chain, key).map_err(unfit)?
        }
        (Some(_), None) | (None, Some(_)) => return Err(TlsError::HalfIdentity),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Gives the authorities that are trusted: those named, else the system's.
fn authorities(
    settings: &Settings,
    named: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let (file, folder) = (path_of(&settings.ca_file), path_of(&settings.ca_path));
    if let Some(file) = file {
        for certificate in named {
            store.add(certificate.clone()).map_err(|error| bad_file(file, error))?;
        }
    }
    if let Some(folder) = folder {
        let found = certificates_in(folder)?;
        // Such folders hold more than one needs: what cannot be used is left out.
        if store.add_parsable_certificates(found).0 == 0 {
            return Err(bad_file(folder, "there is no certificate in it"));
        }
    }
    if file.is_none() && folder.is_none() {
        let found = rustls_native_certs::load_native_certs().certs;
        if store.add_parsable_certificates(found).0 == 0 {
            return Err(TlsError::NoAuthorities);
        }
    }
    Ok(store)
}

fn certificates_in(folder: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| bad_file(folder, files::reason(&error)))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_file() {
            found.extend(certificates(&path).unwrap_or_default());
        }
    }
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| bad_pem(path, error))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| bad_pem(path, error))?;
    if found.is_empty() {
        return Err(bad_file(path, "there is no certificate in it"));
    }
    Ok(found)
}

fn bad_file(path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::File { path: path.into(), reason: reason.to_string() }
}

/// The library's own words may quote the file: a key must not get into a log.
fn bad_pem(path: &Path, error: pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::Io(error) => files::reason(&error),
        pem::Error::NoItemsFound => String::from("what is needed is not in it"),
        _ => String::from("it is not PEM, or damaged"),
    };
    bad_file(path, reason)
}

fn path_of(setting: &Option<String>) -> Option<&Path> {
    setting.as_deref().filter(|path| !path.is_empty()).map(Path::new)
}
