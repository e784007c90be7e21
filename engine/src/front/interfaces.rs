//! The rules of v3 for choosing an address.

use std::net::{IpAddr, Ipv6Addr};

use super::Interface;
use super::fields::{Fields, list_of_texts, shown};
use super::json5::Value;
use super::problem::{BAD_VALUE, NO_ADDRESS, Problem, Problems, WRONG_TYPE};
use super::text::{At, Span};

/// One rule of `interfaces`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The first address of a family, of one interface or of all but loopback ones.
    Family { interface: Option<String>, v6: bool },
    /// The address with this index among an interface's.
    Index { interface: String, index: usize },
    /// The first address within a network.
    Network { base: IpAddr, prefix: u8 },
    /// This address.
    Static(IpAddr),
}

/// All rules of one `interfaces`, with its place.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    /// As written, for messages.
    pub(crate) texts: Vec<String>,
    pub(crate) span: Span,
}

/// Reads `interfaces`; without it the default counts, placed at the block.
pub(crate) fn rules(fields: &Fields<'_>, problems: &mut Problems) -> Rules {
    let label = fields.label("interfaces");
    let node = fields.node("interfaces");
    let span = node.map_or(fields.opening(), |node| node.span);
    let mut texts: Vec<At<String>> = match node.map(|node| (&node.value, node)) {
        None => Vec::new(),
        Some((Value::Text(text), node)) => vec![At { value: text.clone(), span: node.span }],
        Some((Value::List(nodes), _)) => list_of_texts(nodes, &label, problems),
        Some((_, node)) => {
            let message =
                format!("cannot use {} as {label}: it must be a string or a list", shown(node));
            problems.add(Problem::new(&WRONG_TYPE, node.span, message));
            Vec::new()
        }
    };
    // As in v3, an empty list is the default.
    if texts.is_empty() {
        texts = ["eth0:inet", "inet"].map(|text| At { value: String::from(text), span }).to_vec();
    }
    let mut rules = Vec::with_capacity(texts.len());
    for text in &texts {
        match parse(&text.value) {
            Some(rule) => rules.push(rule),
            None => {
                let message = format!("cannot use {:?} as a rule of {label}", text.value);
                let help = "write an interface such as `eth0`, `eth0:inet6` or `eth0[1]`, a \
                            network such as \
                            `10.0.0.0/16`, `inet`, `inet6`, or `static:ADDRESS`";
                problems.add(Problem::new(&BAD_VALUE, text.span, message).help(help));
            }
        }
    }
    Rules { rules, texts: texts.into_iter().map(|text| text.value).collect(), span }
}

/// Reads one rule.
pub(crate) fn parse(text: &str) -> Option<Rule> {
    if let Some(address) = text.strip_prefix("static:") {
        return address.parse().ok().map(Rule::Static);
    }
    if let Some((base, prefix)) = text.split_once('/') {
        let base: IpAddr = base.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        return (prefix <= bits).then_some(Rule::Network { base, prefix });
    }
    match text {
        "inet" => return Some(Rule::Family { interface: None, v6: false }),
        "inet6" => return Some(Rule::Family { interface: None, v6: true }),
        _ => {}
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    // `127.0.0.1` is a network that lacks its length, not the name of an interface.
    if name.is_empty() || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let interface = String::from(name);
    match rest {
        "" | ":inet" => Some(Rule::Family { interface: Some(interface), v6: false }),
        ":inet6" => Some(Rule::Family { interface: Some(interface), v6: true }),
        _ => {
            let index = rest.strip_prefix('[')?.strip_suffix(']')?;
            let digits = index.bytes().all(|byte| byte.is_ascii_digit());
            let index = index.parse().ok().filter(|_| digits)?;
            Some(Rule::Index { interface, index })
        }
    }
}

/// Chooses the address; reports when no rule matches.
pub(crate) fn choose(
    rules: &Rules,
    label: &str,
    interfaces: &[Interface],
    problems: &mut Problems,
) -> Option<IpAddr> {
    let mut sorted: Vec<&Interface> = interfaces.iter().collect();
    sorted.sort_by_key(|interface| (interface.name.as_str(), wide(interface.address)));
    let found = rules.rules.iter().find_map(|rule| first_match(rule, &sorted));
    if found.is_none() && rules.rules.len() == rules.texts.len() {
        let seen: Vec<String> = sorted
            .iter()
            .map(|interface| format!("{}:{}", interface.name, interface.address))
            .collect();
        let seen = if seen.is_empty() { String::from("none") } else { seen.join(", ") };
        let message = format!("cannot choose {label}: none of {} matches", rules.texts.join(", "));
        let help = format!("addresses seen: {seen}");
        problems.add(Problem::new(&NO_ADDRESS, rules.span, message).help(help));
    }
    found
}

fn first_match(rule: &Rule, sorted: &[&Interface]) -> Option<IpAddr> {
    let matched = match rule {
        Rule::Static(address) => return Some(narrow(*address)),
        Rule::Family { interface, v6 } => sorted.iter().find(|candidate| {
            let family = narrow(candidate.address).is_ipv6() == *v6;
            match interface {
                Some(name) => family && candidate.name == *name,
                None => family && !narrow(candidate.address).is_loopback(),
            }
        }),
        Rule::Index { interface, index } => {
            sorted.iter().filter(|candidate| candidate.name == *interface).nth(*index)
        }
        Rule::Network { base, prefix } => {
            sorted.iter().find(|candidate| contains(*base, *prefix, candidate.address))
        }
    };
    matched.map(|interface| narrow(interface.address))
}

fn contains(base: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (narrow(base), narrow(address)) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            base.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

/// An address in 16 bytes, the order of v3.
fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// An address without the IPv6 wrapping of IPv4.
fn narrow(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Vec<Interface> {
        let addresses = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth2", "fdc6:238c:c4bc::1"),
            ("eth1", "10.0.0.200"),
            ("eth0", "192.168.1.100"),
            ("eth2", "10.1.0.200"),
            ("eth1", "10.0.0.100"),
            ("eth0", "10.2.0.1"),
        ];
        addresses
            .iter()
            .map(|(name, address)| Interface {
                name: String::from(*name),
                address: address.parse().unwrap(),
            })
            .collect()
    }

    fn chosen(texts: &[&str]) -> Option<String> {
        let rules = Rules {
            rules: texts.iter().map(|text| parse(text).unwrap()).collect(),
            texts: texts.iter().map(|text| String::from(*text)).collect(),
            span: Span::default(),
        };
        choose(&rules, "x", &seen(), &mut Problems::default()).map(|address| address.to_string())
    }

    #[test]
    fn rules_choose_as_in_v3() {
        let cases: [(&[&str], Option<&str>); 20] = [
            (&["lo"], Some("127.0.0.1")),
            (&["lo:inet6"], Some("::1")),
            (&["static:192.168.1.100"], Some("192.168.1.100")),
            (&["static:fd00::1"], Some("fd00::1")),
            (&["eth0"], Some("10.2.0.1")),
            (&["eth0:inet"], Some("10.2.0.1")),
            (&["eth0:inet6"], None),
            (&["eth0[0]"], Some("10.2.0.1")),
            (&["eth0[1]"], Some("192.168.1.100")),
            (&["eth0[2]"], None),
            (&["lo[0]"], Some("::1")),
            (&["10.0.0.0/16"], Some("10.0.0.100")),
            (&["10.1.0.0/16"], Some("10.1.0.200")),
            (&["10.0.0.0/8"], Some("10.2.0.1")),
            (&["0.0.0.0/0"], Some("10.2.0.1")),
            (&["eth2:inet6"], Some("fdc6:238c:c4bc::1")),
            (&["inet"], Some("10.2.0.1")),
            (&["inet6"], Some("fdc6:238c:c4bc::1")),
            (&["eth3", "fdc6:238c:c4bc::/48", "inet"], Some("fdc6:238c:c4bc::1")),
            (&["eth3", "10.0.0.0/16", "inet", "inet6"], Some("10.0.0.100")),
        ];
        for (texts, expected) in cases {
            assert_eq!(chosen(texts).as_deref(), expected, "{texts:?}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "!",
            "127.0.0.1",
            "eth0:inet5",
            "eth0[-1]",
            "eth0[+1]",
            "eth0[",
            "static:abc",
            "10.0.0.0/33",
            "fd00::/129",
            "eth0 ",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn loopback_is_never_the_first_of_all() {
        let only: Vec<Interface> =
            seen().into_iter().filter(|interface| interface.name == "lo").collect();
        let rules = Rules {
            rules: vec![parse("inet").unwrap(), parse("inet6").unwrap()],
            texts: vec![String::from("inet"), String::from("inet6")],
            span: Span::default(),
        };
        let mut problems = Problems::default();
        assert_eq!(choose(&rules, "the address of job \"a\"", &only, &mut problems), None);
        assert!(problems.has_errors());
    }
}
