//! TLS, certificates good and bad.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use steersman_engine::consul::ConsulReply;
use steersman_engine::front::{Agent, Scheme};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::scripted::{
    DONE, PATIENCE, Scripted, Talk, client, garbled, refused, report, unreachable,
};

/// An authority of the test's own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    certificate_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_with(names, |_| {})
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(|name| String::from(*name)).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key, certificate_pem: certificate.pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

impl Identity {
    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub(crate) fn save(&self, folder: &Path, agent: &mut Agent) {
        let (certificate, key) = (folder.join("client.pem"), folder.join("client.key"));
        fs::write(&certificate, &self.certificate_pem).unwrap();
        fs::write(&key, self.key.serialize_pem()).unwrap();
        agent.tls.client_cert = Some(certificate.display().to_string());
        agent.tls.client_key = Some(key.display().to_string());
    }
}

/// A server with a certificate, which may want one from its clients.
async fn serve(
    identity: &Identity,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> Scripted {
    serve_over_tls(identity, clients, versions, |mut talk| async move {
        while talk.request().await.is_some() {
            talk.send(DONE).await;
        }
    })
    .await
}

/// The same, with a script of its own.
async fn serve_over_tls<F>(
    identity: &Identity,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
    script: impl Fn(Talk<TlsStream<TcpStream>>) -> F + Clone + Send + Sync + 'static,
) -> Scripted
where
    F: Future<Output = ()> + Send + 'static,
{
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(authority.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_single_cert(identity.chain.clone(), identity.key_der()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Scripted::start(move |talk| {
        let (acceptor, script) = (acceptor.clone(), script.clone());
        async move {
            if let Some(talk) = talk.encrypted(&acceptor).await {
                script(talk).await;
            }
        }
    })
    .await
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

/// Settings that trust an authority.
fn trusting(authority: &Authority, server: &Scripted) -> (TempDir, Agent) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    let mut agent = Agent::new(server.address.to_string(), Scheme::Https);
    agent.tls.ca_file = Some(file.display().to_string());
    (folder, agent)
}

async fn ask(agent: &Agent) -> ConsulReply {
    client(agent).ask(&report(), PATIENCE).await
}

#[tokio::test]
async fn certificate_of_a_trusted_authority_is_good_by_address_and_by_name() {
    let authority = Authority::new();
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let server = serve(&authority.issue(&["127.0.0.1"]), None, &versions).await;
        let (_folder, agent) = trusting(&authority, &server);
        let client = client(&agent);
        for _ in 0..3 {
            assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
        }
        assert_eq!(server.connections(), 1);
    }
    let server = serve(&authority.issue(&["localhost"]), None, BOTH).await;
    let (_folder, mut agent) = trusting(&authority, &server);
    agent.address = format!("localhost:{}", server.address.port());
    assert_eq!(ask(&agent).await, ConsulReply::Done);
}

#[tokio::test]
async fn name_of_the_server_can_be_given() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&["server.dc1.consul"]), None, BOTH).await;
    let (_folder, mut agent) = trusting(&authority, &server);
    let words = unreachable(ask(&agent).await);
    let wanted = "its certificate is not good: it is for server.dc1.consul, not for \
        127.0.0.1";
    assert!(words.starts_with("cannot trust 127.0.0.1:"), "{words}");
    assert!(words.ends_with(wanted), "{words}");
    agent.tls.server_name = Some("server.dc1.consul".into());
    assert_eq!(ask(&agent).await, ConsulReply::Done);
}

#[tokio::test]
async fn certificate_that_is_not_good_is_said_to_be() {
    let authority = Authority::new();
    let cases = [
        (
            authority.issue_with(&["127.0.0.1"], |params| {
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
            "it has expired",
        ),
        (
            authority.issue_with(&["127.0.0.1"], |params| {
                params.not_before = date_time_ymd(4000, 1, 1);
            }),
            "it is not valid yet: is a clock wrong?",
        ),
        (Authority::new().issue(&["127.0.0.1"]), "it is signed by nobody we were told to trust"),
    ];
    for (identity, reason) in cases {
        let server = serve(&identity, None, BOTH).await;
        let (_folder, agent) = trusting(&authority, &server);
        let words = unreachable(ask(&agent).await);
        assert!(words.starts_with("cannot trust "), "{words}");
        assert!(words.ends_with(reason), "{words}");
        assert_eq!(server.requests().len(), 0, "no token leaves before trust");
    }
}

/// What `openssl req -x509` makes: its own authority.
fn self_signed(name: &str) -> (Identity, String) {
    let mut params = CertificateParams::new(vec![String::from(name)]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let (chain, pem) = (vec![certificate.der().clone()], certificate.pem());
    (Identity { chain, key, certificate_pem: pem.clone() }, pem)
}

#[tokio::test]
async fn self_signed_certificate_is_good_when_it_is_the_one_that_was_named() {
    let (identity, pem) = self_signed("127.0.0.1");
    let server = serve(&identity, None, BOTH).await;
    let (folder, agent) = trusting(&Authority::new(), &server);
    let words = unreachable(ask(&agent).await);
    assert!(words.starts_with("cannot trust "), "{words}");
    fs::write(folder.path().join("ca.pem"), &pem).unwrap();
    assert_eq!(ask(&agent).await, ConsulReply::Done);

    let (identity, pem) = self_signed("other");
    let server = serve(&identity, None, BOTH).await;
    let (folder, agent) = trusting(&Authority::new(), &server);
    fs::write(folder.path().join("ca.pem"), &pem).unwrap();
    let words = unreachable(ask(&agent).await);
    assert!(words.ends_with("it is for other, not for 127.0.0.1"), "{words}");
}

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let server = serve(&Authority::new().issue(&["other"]), None, BOTH).await;
    let (_folder, mut agent) = trusting(&Authority::new(), &server);
    agent.tls.verify = false;
    assert_eq!(ask(&agent).await, ConsulReply::Done);
}

#[tokio::test]
async fn client_certificate_opens_the_door() {
    let authority = Authority::new();
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let server = serve(&authority.issue(&["127.0.0.1"]), Some(&authority), &versions).await;
        let (folder, mut agent) = trusting(&authority, &server);
        authority.issue(&["client"]).save(folder.path(), &mut agent);
        assert_eq!(ask(&agent).await, ConsulReply::Done);
    }
}

#[tokio::test]
async fn missing_client_certificate_is_named_as_such_with_every_tls() {
    let authority = Authority::new();
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let server = serve(&authority.issue(&["127.0.0.1"]), Some(&authority), &versions).await;
        let (_folder, agent) = trusting(&authority, &server);
        for _ in 0..20 {
            let words = unreachable(ask(&agent).await);
            assert!(words.contains("client certificate"), "{words}");
        }
        assert_eq!(server.requests().len(), 0);
    }
}

#[tokio::test]
async fn client_certificate_of_somebody_else_is_named_as_such() {
    let authority = Authority::new();
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let server = serve(&authority.issue(&["127.0.0.1"]), Some(&authority), &versions).await;
        let (folder, mut agent) = trusting(&authority, &server);
        Authority::new().issue(&["client"]).save(folder.path(), &mut agent);
        let words = unreachable(ask(&agent).await);
        assert!(words.contains("it refuses our certificate"), "{words}");
    }
}

#[tokio::test]
async fn https_to_a_port_without_tls_is_said_to_be() {
    let server = Scripted::start(|mut talk| async move {
        // As Go's server answers what is not HTTP.
        talk.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request").await;
        talk.hang().await;
    })
    .await;
    let mut agent = server.agent();
    agent.scheme = Scheme::Https;
    agent.tls.verify = false;
    let words = unreachable(ask(&agent).await);
    assert!(words.starts_with("cannot speak TLS with "), "{words}");
    assert!(words.ends_with("with scheme http it may work"), "{words}");
}

#[tokio::test]
async fn http_to_a_port_with_tls_is_said_to_be() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
        talk.send("HTTP/1.0 400 Bad Request\r\n\r\n").await;
        talk.send("Client sent an HTTP request to an HTTPS server.\n").await;
    })
    .await;
    let (status, words) = refused(server.client().ask(&report(), PATIENCE).await);
    assert_eq!(status, 400);
    assert!(words.starts_with("the scheme has to be https"), "{words}");
}

#[tokio::test]
async fn server_that_closes_or_hangs_in_the_handshake_is_said_to() {
    let server = Scripted::start(|mut talk| async move {
        if talk.nth > 1 {
            talk.hang().await;
        }
    })
    .await;
    let mut agent = server.agent();
    agent.scheme = Scheme::Https;
    agent.tls.verify = false;
    let client = client(&agent);
    let words = unreachable(client.ask(&report(), PATIENCE).await);
    assert!(words.starts_with("cannot speak TLS with "), "{words}");
    let words = unreachable(client.ask(&report(), Duration::from_millis(300)).await);
    assert!(words.ends_with("it did not finish the TLS handshake"), "{words}");
}

#[tokio::test]
async fn folder_of_authorities_is_read_and_what_else_is_in_it_is_not() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&["127.0.0.1"]), None, BOTH).await;
    let (folder, mut agent) = trusting(&authority, &server);
    fs::write(folder.path().join("README"), "not a certificate").unwrap();
    fs::write(folder.path().join("other.pem"), Authority::new().pem()).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    agent.tls.ca_file = None;
    agent.tls.ca_path = Some(folder.path().display().to_string());
    assert_eq!(ask(&agent).await, ConsulReply::Done);
}

#[tokio::test]
async fn renewed_files_are_followed_by_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = serve(&new.issue(&["127.0.0.1"]), Some(&new), BOTH).await;
    let (folder, mut agent) = trusting(&old, &server);
    old.issue(&["client"]).save(folder.path(), &mut agent);
    let client = client(&agent);
    unreachable(client.ask(&report(), PATIENCE).await);
    fs::write(folder.path().join("ca.pem"), new.pem()).unwrap();
    let words = unreachable(client.ask(&report(), PATIENCE).await);
    assert!(words.contains("it refuses our certificate"), "{words}");
    new.issue(&["client"]).save(folder.path(), &mut agent);
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
}

#[tokio::test]
async fn files_that_are_no_use_are_named_and_never_quoted() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&["127.0.0.1"]), None, BOTH).await;
    let (folder, good) = trusting(&authority, &server);
    let path = |name: &str| Some(folder.path().join(name).display().to_string());
    fs::write(folder.path().join("bad.pem"), "-----BEGIN hush-hush-----\nhush\n").unwrap();

    let mut agent = good.clone();
    agent.tls.ca_file = path("missing.pem");
    let words = unreachable(ask(&agent).await);
    assert!(words.ends_with("missing.pem for TLS: no such file"), "{words}");

    let mut agent = good.clone();
    agent.tls.ca_file = path("bad.pem");
    let words = unreachable(ask(&agent).await);
    assert!(words.contains("bad.pem for TLS: "), "{words}");

    let mut agent = good.clone();
    authority.issue(&["client"]).save(folder.path(), &mut agent);
    agent.tls.client_key = path("bad.pem");
    let words = unreachable(ask(&agent).await);
    assert!(words.contains("bad.pem for TLS: "), "{words}");
    assert!(!words.contains("hush"), "{words}");

    agent.tls.client_key = None;
    let words = unreachable(ask(&agent).await);
    assert!(words.starts_with("cannot use a client certificate without its key"), "{words}");

    let mut agent = good.clone();
    agent.tls.ca_file = None;
    fs::create_dir(folder.path().join("empty")).unwrap();
    agent.tls.ca_path = path("empty");
    let words = unreachable(ask(&agent).await);
    assert!(words.ends_with("there is no certificate in it"), "{words}");
}

#[tokio::test]
async fn answer_over_tls_that_is_not_http_is_no_certificate_error() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let server = serve_over_tls(&identity, None, BOTH, |mut talk| async move {
        talk.send("+OK POP3 ready\r\n").await;
        talk.hang().await;
    })
    .await;
    let (_folder, agent) = trusting(&authority, &server);
    garbled(ask(&agent).await);
}
