//! Where Consul is, from the configuration and from the variables of Consul's own programs.

use super::*;

fn agent(value: &str, env: &[(&str, &str)]) -> Agent {
    let text = format!("{{ consul: {value}, jobs: [{{ name: 'a', exec: 'x' }}] }}");
    found(&text, env).expect("there is a Consul")
}

fn found(text: &str, env: &[(&str, &str)]) -> Option<Agent> {
    match load("f", text, &around(env)).unwrap().settings.consul {
        Some(Consul::Agent(agent)) => Some(agent),
        Some(Consul::Embedded) => panic!("an embedded one"),
        None => None,
    }
}

#[test]
fn address_is_completed_as_v3_did() {
    let cases = [
        ("'c:8500'", "c:8500", Scheme::Http),
        ("'http://c:8500/'", "c:8500", Scheme::Http),
        ("'https://c:8501'", "c:8501", Scheme::Https),
        ("'[::1]:8500'", "[::1]:8500", Scheme::Http),
        ("'unix:///run/consul.sock'", "unix:///run/consul.sock", Scheme::Http),
        ("':8500'", "127.0.0.1:8500", Scheme::Http),
        ("''", "127.0.0.1:8500", Scheme::Http),
        ("{}", "127.0.0.1:8500", Scheme::Http),
        ("{ address: 'c:1', scheme: 'HTTPS' }", "c:1", Scheme::Https),
        ("{ address: 'https://c:1' }", "c:1", Scheme::Https),
    ];
    for (value, address, scheme) in cases {
        let agent = agent(value, &[]);
        assert_eq!((agent.address.as_str(), agent.scheme), (address, scheme), "{value}");
        assert!(agent.tls.verify);
    }
    let bad = check("f", "{ consul: 'c:99999', jobs: [{ name: 'a', exec: 'x' }] }", &around(&[]));
    assert_eq!(bad.errors[0].code, "bad-value");
    let embedded = "{ consul: 'embedded', jobs: [{ name: 'a', exec: 'x' }] }";
    let around = around(&[("CONSUL_HTTP_ADDR", "c:1")]);
    let embedded = load("f", embedded, &around).unwrap().settings.consul;
    assert_eq!(embedded, Some(Consul::Embedded), "the variable says where, not whether");
}

#[test]
fn address_of_the_environment_counts_where_the_file_has_none() {
    const BY_NAME: (&str, &str) = ("CONSUL_HTTP_ADDR", "https://env:8501");
    let env = [BY_NAME];
    for value in ["''", "{}", "{ token: 't' }", "{ address: '' }"] {
        let agent = agent(value, &env);
        assert_eq!((agent.address.as_str(), agent.scheme), ("env:8501", Scheme::Https), "{value}");
    }
    let named = agent("'c:1'", &env);
    assert_eq!((named.address.as_str(), named.scheme), ("c:1", Scheme::Http));
    let socket = [("CONSUL_HTTP_ADDR", "unix:///run/c.sock"), ("CONSUL_HTTP_SSL", "true")];
    let agent = agent("''", &socket);
    assert_eq!((agent.address.as_str(), agent.scheme), ("unix:///run/c.sock", Scheme::Http));

    let env = [("CONSUL_HTTP_ADDR", "c:99999")];
    let text = "{ consul: '', jobs: [{ name: 'a', exec: 'x' }] }";
    let error = check("f", text, &super::around(&env)).errors.remove(0);
    assert_eq!(&*error.message, "cannot use \"c:99999\" as CONSUL_HTTP_ADDR");
}

#[test]
fn file_without_consul_takes_the_environment_s_when_it_needs_one() {
    let env = [("CONSUL_HTTP_ADDR", "env:8500"), ("CONSUL_HTTP_TOKEN", "t")];
    let watch = "{ watches: [{ name: 'db', interval: 5 }], jobs: [{ name: 'a', exec: 'x' }] }";
    let agent = found(watch, &env).expect("a watch needs one");
    assert_eq!(agent.address, "env:8500");
    assert_eq!(agent.token, Some(Secret(String::from("t"))));
    assert_eq!(check("f", watch, &around(&[])).errors[0].code, "consul-missing");
    // Telemetry can do without: nobody asked for a catalog.
    let alone = "{ telemetry: {}, jobs: [{ name: 'a', exec: 'x' }] }";
    assert_eq!(found(alone, &env), None);
    let both = watch.replacen('{', "{ telemetry: {},", 1);
    let jobs = load("f", &both, &around(&env)).unwrap().config.jobs;
    assert!(jobs.iter().any(|job| job.builtin), "telemetry is registered where others are");
}

#[test]
fn scheme_of_the_environment_counts_where_the_file_has_none() {
    let scheme = |value, ssl| agent(value, &[("CONSUL_HTTP_SSL", ssl)]).scheme;
    assert_eq!(scheme("'c:1'", "true"), Scheme::Https);
    assert_eq!(scheme("'c:1'", "0"), Scheme::Http);
    assert_eq!(scheme("{ address: 'c:1' }", "1"), Scheme::Https);
    assert_eq!(scheme("'http://c:1'", "true"), Scheme::Http);
    assert_eq!(scheme("{ address: 'c:1', scheme: 'http' }", "true"), Scheme::Http);
    for name in ["CONSUL_HTTP_SSL", "CONSUL_HTTP_SSL_VERIFY"] {
        let text = "{ consul: 'c:1', jobs: [{ name: 'a', exec: 'x' }] }";
        let error = check("f", text, &around(&[(name, "maybe")])).errors.remove(0);
        assert_eq!(&*error.message, format!("cannot use \"maybe\" as {name}"));
    }
}

#[test]
fn environment_has_the_last_word_on_secrets_and_certificates() {
    let block =
        "{ address: 'c:1', scheme: 'https', token: 'old', tls: { cafile: 'a', verify: 'true' } }";
    let env = [
        ("CONSUL_HTTP_TOKEN", "new"),
        ("CONSUL_HTTP_AUTH", "user:password"),
        ("CONSUL_NAMESPACE", "team"),
        ("CONSUL_CACERT", "b"),
        ("CONSUL_CAPATH", "d"),
        ("CONSUL_CLIENT_CERT", "c"),
        ("CONSUL_CLIENT_KEY", ""),
        ("CONSUL_TLS_SERVER_NAME", "n"),
        ("CONSUL_HTTP_SSL_VERIFY", "false"),
    ];
    let agent = agent(block, &env);
    assert_eq!(agent.token, Some(Secret(String::from("new"))));
    assert_eq!(format!("{:?}", agent.token), "Some(<redacted>)");
    assert_eq!(agent.auth, Some(Secret(String::from("user:password"))));
    assert_eq!(agent.namespace.as_deref(), Some("team"));
    assert_eq!(agent.tls.ca_file.as_deref(), Some("b"));
    assert_eq!(agent.tls.ca_path.as_deref(), Some("d"));
    assert_eq!(agent.tls.client_cert.as_deref(), Some("c"));
    assert_eq!(agent.tls.client_key, None, "an empty variable says nothing");
    assert_eq!(agent.tls.server_name.as_deref(), Some("n"));
    assert!(!agent.tls.verify);
}

#[test]
fn token_file_comes_before_any_token() {
    let env = [("CONSUL_HTTP_TOKEN_FILE", "/run/token"), ("CONSUL_HTTP_TOKEN", "other")];
    let agent = agent("{ address: 'c:1', token: 'old' }", &env);
    assert_eq!((agent.token, agent.token_file.as_deref()), (None, Some("/run/token")));
}
