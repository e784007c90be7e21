//! Where Consul is and how to speak with it: `consul`, and the variables of Consul's own programs.
//!
//! The configuration says *where* (address, scheme); `CONSUL_HTTP_ADDR` and `CONSUL_HTTP_SSL` count
//! where it leaves that open. About *who we are and whom we trust* the environment has the last
//! word, as in v3: secrets and certificates come with the place a container runs at.

use std::collections::BTreeMap;

use super::fields::{Fields, parse_bool, weak_text};
use super::json5::{Node, Value};
use super::keys::{CONSUL, TLS};
use super::problem::{BAD_VALUE, Problem, Problems, TLS_UNVERIFIED, WEAK_VALUE};
use super::settings::{Agent, Consul, Scheme, Secret, Tls};
use super::text::Span;

/// Where Consul is when nothing is said but that there is one.
const LOCAL_AGENT: &str = "127.0.0.1:8500";

/// What the environment says, and where to point when it is wrong.
#[derive(Clone, Copy)]
struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
    span: Span,
}

/// An address as far as something has been said.
struct Place {
    address: String,
    scheme: Option<Scheme>,
}

/// Reads `consul`; none when it is left out.
pub(crate) fn consul(
    top: &Fields<'_>,
    variables: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Consul> {
    let node = top.node("consul")?;
    let environment = Environment { variables, span: node.span };
    let agent = match &node.value {
        Value::Text(text) if text == "embedded" => return Some(Consul::Embedded),
        Value::Object(_) => block(node, environment, problems)?,
        _ => {
            let text = weak_text(node, "`consul`", problems)?;
            let place = environment.place(&text, problems);
            place.agent(environment, problems)
        }
    };
    Some(Consul::Agent(environment.complete(agent, problems)))
}

/// Gives the Consul of `CONSUL_HTTP_ADDR`, for a configuration that needs one and names none.
pub(crate) fn of_environment(
    variables: &BTreeMap<String, String>,
    span: Span,
    problems: &mut Problems,
) -> Option<Consul> {
    let environment = Environment { variables, span };
    environment.given("CONSUL_HTTP_ADDR")?;
    let place = environment.place("", problems);
    let agent = place.agent(environment, problems);
    Some(Consul::Agent(environment.complete(agent, problems)))
}

fn block(node: &Node, environment: Environment<'_>, problems: &mut Problems) -> Option<Agent> {
    let fields = Fields::open(node, &CONSUL, String::from("`consul`"), problems)?;
    let address = fields.text("address", problems);
    let scheme = fields.word("scheme", problems).map(|word| match word.value {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    });
    let token = fields.text("token", problems).map(|text| Secret(text.value));
    let tls = match fields.node("tls") {
        Some(node) => tls(node, problems),
        None => Tls::default(),
    };
    let (text, span) = match address {
        Some(address) => (address.value, address.span),
        None => (String::new(), environment.span),
    };
    let mut place = Environment { span, ..environment }.place(&text, problems);
    place.scheme = scheme.or(place.scheme);
    Some(Agent { token, tls, ..place.agent(environment, problems) })
}

fn tls(node: &Node, problems: &mut Problems) -> Tls {
    let owner = String::from("`consul.tls`");
    let Some(fields) = Fields::open(node, &TLS, owner, problems) else {
        return Tls::default();
    };
    let mut text = |name| fields.text(name, problems).map(|text| text.value);
    Tls {
        ca_file: text("cafile"),
        ca_path: text("capath"),
        client_cert: text("clientcert"),
        client_key: text("clientkey"),
        server_name: text("servername"),
        verify: fields.flag("verify", problems).is_none_or(|verify| verify.value),
    }
}

impl Place {
    /// Decides what is still open of the scheme.
    fn agent(self, environment: Environment<'_>, problems: &mut Problems) -> Agent {
        let is_socket = self.address.starts_with("unix://");
        let scheme = self.scheme.or_else(|| {
            let is_tls = environment.flag("CONSUL_HTTP_SSL", problems)?;
            // Consul serves no TLS on a socket: the variable is about its ports.
            (is_tls && !is_socket).then_some(Scheme::Https)
        });
        Agent::new(self.address, scheme.unwrap_or(Scheme::Http))
    }
}

impl<'a> Environment<'a> {
    fn given(self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn flag(self, name: &str, problems: &mut Problems) -> Option<bool> {
        let value = self.given(name)?;
        let flag = parse_bool(value);
        if flag.is_none() {
            let message = format!("cannot use {value:?} as {name}");
            let help = "set the variable to 1, true, 0 or false";
            problems.add(Problem::new(&BAD_VALUE, self.span, message).help(help));
        }
        flag
    }

    /// Reads an address; where there is none, `CONSUL_HTTP_ADDR` is it, else the local agent.
    fn place(self, text: &str, problems: &mut Problems) -> Place {
        let (text, name) = match self.given("CONSUL_HTTP_ADDR") {
            Some(given) if text.is_empty() => (given, "CONSUL_HTTP_ADDR"),
            _ => (text, "the address of Consul"),
        };
        let (scheme, rest) = split_scheme(text);
        Place { address: self.whole_address(rest, name, problems), scheme }
    }

    /// Completes an address as v3's client did: nothing is the local agent, no host is this one.
    fn whole_address(self, text: &str, name: &str, problems: &mut Problems) -> String {
        let weak = |problems: &mut Problems, message: &str| {
            let help = "is a variable not set?";
            problems.add(Problem::new(&WEAK_VALUE, self.span, message).help(help));
        };
        if text.is_empty() {
            weak(problems, "cannot tell where Consul is: 127.0.0.1:8500 is taken");
            return String::from(LOCAL_AGENT);
        }
        if text.starts_with("unix://") {
            return String::from(text);
        }
        if let Some(port) = text.strip_prefix(':') {
            weak(problems, "cannot tell on which host Consul is: 127.0.0.1 is taken");
            return format!("127.0.0.1:{port}");
        }
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address in brackets may come without a port.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let is_bad = host.contains(['/', ' ', '@', '?', '#'])
            || (host.contains(':') && !host.starts_with('['))
            || port.is_some_and(|port| port.parse::<u16>().is_err());
        if is_bad {
            let message = format!("cannot use {text:?} as {name}");
            let help = "write host:port, perhaps with http:// or https:// in front";
            problems.add(Problem::new(&BAD_VALUE, self.span, message).help(help));
        }
        String::from(text)
    }

    /// Lets the environment have the last word on secrets and certificates.
    fn complete(self, mut agent: Agent, problems: &mut Problems) -> Agent {
        let given = |name: &str| self.given(name).map(String::from);
        if let Some(token) = given("CONSUL_HTTP_TOKEN") {
            agent.token = Some(Secret(token));
        }
        if let Some(file) = given("CONSUL_HTTP_TOKEN_FILE") {
            // Consul's own client prefers the file as well: it is what gets renewed.
            (agent.token, agent.token_file) = (None, Some(file));
        }
        if let Some(auth) = given("CONSUL_HTTP_AUTH") {
            agent.auth = Some(Secret(auth));
        }
        let tls = &mut agent.tls;
        let slots = [
            ("CONSUL_NAMESPACE", &mut agent.namespace),
            ("CONSUL_CACERT", &mut tls.ca_file),
            ("CONSUL_CAPATH", &mut tls.ca_path),
            ("CONSUL_CLIENT_CERT", &mut tls.client_cert),
            ("CONSUL_CLIENT_KEY", &mut tls.client_key),
            ("CONSUL_TLS_SERVER_NAME", &mut tls.server_name),
        ];
        for (name, slot) in slots {
            if let Some(value) = given(name) {
                *slot = Some(value);
            }
        }
        if let Some(verify) = self.flag("CONSUL_HTTP_SSL_VERIFY", problems) {
            tls.verify = verify;
        }
        if !agent.tls.verify && agent.scheme == Scheme::Https {
            let message =
                "cannot tell whether it is Consul that answers: its certificate is not checked";
            problems.add(Problem::new(&TLS_UNVERIFIED, self.span, message));
        }
        agent
    }
}

fn split_scheme(text: &str) -> (Option<Scheme>, &str) {
    match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (Some(Scheme::Http), rest.trim_end_matches('/')),
        (_, Some(rest)) => (Some(Scheme::Https), rest.trim_end_matches('/')),
        (None, None) => (None, text),
    }
}
