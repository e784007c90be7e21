//! Wrong address, token, certificate; somebody else who answers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use steersman_tests::consul::agent::{Agent, free_ports};
use steersman_tests::wait::until;

use crate::bench::{WEB, start, stops, supervises};

const TOKEN: &str = "11111111-1111-1111-1111-111111111111";
const WRONG: &str = "22222222-2222-2222-2222-222222222222";

#[test]
fn wrong_address_is_named() {
    let [port] = free_ports();
    let cases = [
        (format!("127.0.0.1:{port}"), format!("cannot reach 127.0.0.1:{port}: connection refused")),
        ("no-such-host.invalid:8500".into(), "no-such-host.invalid".into()),
    ];
    for (address, words) in cases {
        let mut container = start(&[("CONSUL_HTTP_ADDR", &address)]);
        let line = container.await_line("cannot use Consul, trying on: ");
        assert!(line.contains(&words), "{line}");
        supervises(&container);
        stops(&mut container);
    }
}

#[test]
fn wrong_token_is_named_and_the_right_one_is_taken_up() {
    let more = format!(
        r#", "acl": {{ "enabled": true, "default_policy": "deny",
                       "tokens": {{ "master": "{TOKEN}" }} }}"#
    );
    let agent = Agent::real(&more, Some(TOKEN));
    let address = agent.address.to_string();
    let mut without = start(&[("CONSUL_HTTP_ADDR", &address)]);
    without.await_line("no token was sent: Permission denied");
    supervises(&without);
    stops(&mut without);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, WRONG).unwrap();
    let env = [
        ("CONSUL_HTTP_ADDR", &*address),
        ("CONSUL_HTTP_TOKEN", "ignored where there is a file"),
        ("CONSUL_HTTP_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let mut container = start(&env);
    container.await_line("the token that was sent is unknown, or may not do this");
    assert!(!container.log().contains(WRONG), "tokens are in no log");
    supervises(&container);
    fs::write(&file, TOKEN).unwrap();
    until("the service is registered", || (agent.passing("web") == [WEB]).then_some(()));
    supervises(&container);
    let status = container.control(&["status", "--json"]).stdout;
    let said = format!("{}{}", container.log(), String::from_utf8_lossy(&status));
    assert!(!said.contains(TOKEN), "tokens are in no log and no status");
    stops(&mut container);
    assert!(agent.passing("web").is_empty());
}

/// Writes an authority's certificate, one of a server, one of a client, and their keys.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::create_dir(folder.join("authorities")).unwrap();
    fs::write(folder.join("authorities/ca.pem"), authority.pem()).unwrap();
    for name in ["server.dc1.consul", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn wrong_certificate_is_named_and_the_right_ones_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ca = path("authorities/ca.pem");
    let (server, server_key) = (path("server.dc1.consul.pem"), path("server.dc1.consul.key"));
    let agent = Agent::real(
        &format!(
            r#", "verify_incoming_https": true, "ca_file": "{ca}",
                 "cert_file": "{server}", "key_file": "{server_key}""#
        ),
        None,
    );
    let (https, url) = (agent.https.to_string(), format!("https://{}", agent.https));
    let (client, client_key) = (path("client.pem"), path("client.key"));
    let authorities = path("authorities");
    let name = ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul");
    let bad: [(&[(&str, &str)], &str); 4] = [
        (&[("CONSUL_HTTP_ADDR", &https)], "the scheme has to be https"),
        (&[("CONSUL_HTTP_ADDR", &url)], "signed by nobody we were told to trust"),
        (
            &[("CONSUL_HTTP_ADDR", &url), ("CONSUL_CACERT", &ca)],
            "it is for server.dc1.consul, not for 127.0.0.1",
        ),
        (
            &[("CONSUL_HTTP_ADDR", &url), ("CONSUL_CACERT", &ca), name],
            "it wants a client certificate",
        ),
    ];
    for (env, words) in bad {
        let mut container = start(env);
        let line = container.await_line("cannot use Consul, trying on: ");
        assert!(line.contains(words), "{words}: {line}");
        supervises(&container);
        stops(&mut container);
    }
    let own = [("CONSUL_CLIENT_CERT", &*client), ("CONSUL_CLIENT_KEY", &*client_key)];
    let good: [[(&str, &str); 3]; 3] = [
        [("CONSUL_HTTP_ADDR", &url), ("CONSUL_CACERT", &ca), name],
        [("CONSUL_HTTP_ADDR", &url), ("CONSUL_CAPATH", &authorities), name],
        [
            ("CONSUL_HTTP_ADDR", &https),
            ("CONSUL_HTTP_SSL", "true"),
            ("CONSUL_HTTP_SSL_VERIFY", "0"),
        ],
    ];
    for env in good {
        let mut container = start(&[&env[..], &own[..]].concat());
        until("the service is registered", || (agent.passing("web") == [WEB]).then_some(()));
        let is_unchecked = env.iter().any(|(name, _)| name.ends_with("VERIFY"));
        assert_eq!(container.log().contains("certificate is not checked"), is_unchecked);
        stops(&mut container);
    }
}

/// Somebody who answers every request with the same bytes; he ends with the test process.
fn impostor(answer: impl Fn(&mut TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                while take_request(&mut reader).is_some() {
                    answer(&mut stream);
                }
            });
        }
    });
    address
}

fn take_request(reader: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim().to_ascii_lowercase();
        if let Some(value) = text.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if text.is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()
}

#[test]
fn page_of_a_proxy_is_named() {
    for status in ["200 OK", "403 Forbidden", "502 Bad Gateway"] {
        let page = "<!DOCTYPE html><html><head><title>Gateway</title></head></html>";
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        let proxy = impostor(move |stream| drop(stream.write_all(text.as_bytes())));
        let mut container = start(&[("CONSUL_HTTP_ADDR", &proxy.to_string())]);
        container.await_line("a page of HTML: is there a proxy in between?");
        supervises(&container);
        assert!(!container.log().contains("registered in Consul"), "{}", container.log());
        stops(&mut container);
    }
}

#[test]
fn body_of_a_hundred_megabytes_is_not_taken() {
    const SIZE: usize = 100 * 1024 * 1024;
    let chunk = vec![b'['; 64 * 1024];
    let counted = {
        let chunk = chunk.clone();
        impostor(move |stream| {
            let head =
                format!("HTTP/1.1 200 OK\r\nX-Consul-Index: 1\r\nContent-Length: {SIZE}\r\n\r\n");
            let mut is_open = stream.write_all(head.as_bytes()).is_ok();
            for _ in 0..SIZE / chunk.len() {
                is_open = is_open && stream.write_all(&chunk).is_ok();
            }
        })
    };
    let endless = impostor(move |stream| {
        let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut is_open = stream.write_all(head.as_bytes()).is_ok();
        while is_open {
            is_open = write!(stream, "{:x}\r\n", chunk.len()).is_ok()
                && stream.write_all(&chunk).is_ok()
                && stream.write_all(b"\r\n").is_ok();
        }
    });
    let cases = [
        (counted, "104857600 bytes, and 4194304 are the most"),
        (endless, "it has more than 4194304 bytes"),
    ];
    for (server, words) in cases {
        let mut container = start(&[("CONSUL_HTTP_ADDR", &server.to_string())]);
        let line = container.await_line("cannot use Consul, trying on: ");
        assert!(line.contains(words), "{line}");
        supervises(&container);
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < 64 * 1024, "{peak} kB at the most");
        stops(&mut container);
    }
}
