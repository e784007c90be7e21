//! Access control: tokens, their rules, and what they allow.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::json::Json;
use super::types::Str;

/// What a rule grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Grant {
    Deny,
    Read,
    Write,
}

/// Kinds of resources that rules name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    Agent,
    Key,
    Node,
    Service,
    Session,
}

/// The rules of one token, merged from its policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    exact: BTreeMap<(Resource, Str), Grant>,
    prefix: BTreeMap<(Resource, Str), Grant>,
    operator: Option<Grant>,
    acl: Option<Grant>,
}

/// What a request may do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Authority {
    /// Access control is off, or the token manages everything.
    All { acl_on: bool },
    /// Only what the rules grant.
    Some(Arc<Rules>),
}

/// The tokens of a cluster; a shared, replicated table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tokens {
    /// Is access control on (with default deny)?
    pub(crate) on: bool,
    /// Secret to authority.
    pub(crate) secrets: Arc<BTreeMap<Str, Authority>>,
}

/// The text with which Consul refuses a token it does not know.
pub(crate) const NOT_FOUND: &str = "ACL not found";
/// The text with which Consul refuses what the rules do not grant.
pub(crate) const DENIED: &str = "Permission denied";

impl Tokens {
    /// Finds out what a token may do; an empty one is the anonymous one.
    pub(crate) fn resolve(&self, secret: &str) -> Result<Authority, String> {
        if !self.on {
            return Ok(Authority::All { acl_on: false });
        }
        match self.secrets.get(secret) {
            Some(authority) => Ok(authority.clone()),
            None if secret.is_empty() || secret == "anonymous" => {
                Ok(Authority::Some(Arc::new(Rules::default())))
            }
            None => Err(NOT_FOUND.to_owned()),
        }
    }
}

impl Authority {
    /// Tells whether access control is on at all.
    pub(crate) fn is_checked(&self) -> bool {
        !matches!(self, Authority::All { acl_on: false })
    }

    pub(crate) fn may_read(&self, resource: Resource, name: &str) -> bool {
        self.grants(resource, name, Grant::Read)
    }

    pub(crate) fn may_write(&self, resource: Resource, name: &str) -> bool {
        self.grants(resource, name, Grant::Write)
    }

    /// Tells whether everything below a key prefix may be written.
    pub(crate) fn may_write_below(&self, prefix: &str) -> bool {
        let Authority::Some(rules) = self else { return true };
        let below = |((resource, name), grant): (&(Resource, Str), &Grant)| {
            *resource != Resource::Key || !name.starts_with(prefix) || *grant == Grant::Write
        };
        rules.longest(Resource::Key, prefix) == Some(Grant::Write)
            && rules.exact.iter().all(below)
            && rules.prefix.iter().all(below)
    }

    /// Tells whether the servers themselves may be administered.
    pub(crate) fn may_operate(&self) -> bool {
        match self {
            Authority::All { .. } => true,
            Authority::Some(rules) => rules.operator == Some(Grant::Write),
        }
    }

    /// Tells whether tokens and policies may be administered.
    pub(crate) fn may_administer(&self, wanted: Grant) -> bool {
        match self {
            Authority::All { .. } => true,
            Authority::Some(rules) => rules.acl.is_some_and(|grant| grant >= wanted),
        }
    }

    fn grants(&self, resource: Resource, name: &str, wanted: Grant) -> bool {
        match self {
            Authority::All { .. } => true,
            Authority::Some(rules) => {
                let exact = rules.exact.get(&(resource, name.into())).copied();
                exact.or_else(|| rules.longest(resource, name)).is_some_and(|g| g >= wanted)
            }
        }
    }
}

impl Rules {
    fn longest(&self, resource: Resource, name: &str) -> Option<Grant> {
        let mut best: Option<(usize, Grant)> = None;
        for ((kind, prefix), grant) in &self.prefix {
            if *kind == resource && name.starts_with(&**prefix) {
                let longer = best.is_none_or(|(length, _)| prefix.len() >= length);
                if longer {
                    best = Some((prefix.len(), *grant));
                }
            }
        }
        best.map(|(_, grant)| grant)
    }

    /// Adds the rules of one policy, in HCL or JSON.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        let rules = if text.trim_start().starts_with('{') {
            json_rules(&Json::parse(text.as_bytes())?)
        } else {
            hcl_rules(text)?
        };
        for (kind, name, grant) in rules {
            self.add_rule(&kind, &name, &grant)?;
        }
        Ok(())
    }

    fn add_rule(&mut self, kind: &str, name: &str, grant: &str) -> Result<(), String> {
        let grant = match grant {
            "deny" => Grant::Deny,
            "read" | "list" => Grant::Read,
            "write" => Grant::Write,
            _ => return Err(format!("Invalid {kind} policy: {grant}")),
        };
        match kind {
            "operator" => self.operator = Some(grant),
            "acl" => self.acl = Some(grant),
            _ => {
                let (kind, is_prefix) = match kind.strip_suffix("_prefix") {
                    Some(kind) => (kind, true),
                    None => (kind, false),
                };
                let resource = match kind {
                    "agent" => Resource::Agent,
                    "key" => Resource::Key,
                    "node" => Resource::Node,
                    "service" => Resource::Service,
                    "session" => Resource::Session,
                    "event" | "query" | "keyring" => return Ok(()),
                    _ => return Err(format!("Invalid rule: {kind}")),
                };
                let table = if is_prefix { &mut self.prefix } else { &mut self.exact };
                let known = table.entry((resource, name.into())).or_insert(grant);
                // A denial wins over everything, then the wider grant.
                *known = if *known == Grant::Deny || grant == Grant::Deny {
                    Grant::Deny
                } else {
                    (*known).max(grant)
                };
            }
        }
        Ok(())
    }
}

type RawRule = (String, String, String);

fn json_rules(rules: &Json) -> Vec<RawRule> {
    let Json::Object(kinds) = rules else { return Vec::new() };
    let mut found = Vec::new();
    for (kind, body) in kinds {
        match body {
            Json::Text(grant) => found.push((kind.clone(), String::new(), grant.clone())),
            Json::Object(names) => {
                for (name, rule) in names {
                    let grant = rule.text("policy").to_owned();
                    found.push((kind.clone(), name.clone(), grant));
                }
            }
            _ => {}
        }
    }
    found
}

/// Reads rules of the forms `kind "name" { policy = "grant" }` and `kind = "grant"`.
fn hcl_rules(text: &str) -> Result<Vec<RawRule>, String> {
    let words = hcl_words(text)?;
    let mut words = words.iter().map(String::as_str).peekable();
    let mut found = Vec::new();
    while let Some(kind) = words.next() {
        let kind = kind.trim_matches('"').to_owned();
        match words.next() {
            Some("=") => {
                let grant = words.next().unwrap_or_default().trim_matches('"').to_owned();
                found.push((kind, String::new(), grant));
            }
            Some(name) if name.starts_with('"') => {
                let name = name.trim_matches('"').to_owned();
                if words.next() != Some("{") {
                    return Err(format!("expected a block after {kind}"));
                }
                let mut grant = String::new();
                loop {
                    match (words.next(), words.peek().copied()) {
                        (Some("}"), _) => break,
                        (Some("policy"), Some("=")) => {
                            words.next();
                            let word = words.next().unwrap_or_default();
                            grant = word.trim_matches('"').to_owned();
                        }
                        (Some(_), _) => {}
                        (None, _) => return Err("object expected closing RBRACE got: EOF".into()),
                    }
                }
                found.push((kind, name, grant));
            }
            _ => {
                return Err(format!(
                    "key '{kind}' expected start of object ('{{') or assignment ('=')"
                ));
            }
        }
    }
    Ok(found)
}

fn hcl_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
        let Some(first) = rest.chars().next() else { return Ok(words) };
        let length = match first {
            '#' => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            '"' => match rest[1..].find('"') {
                Some(end) => end + 2,
                None => return Err("literal not terminated".to_owned()),
            },
            '{' | '}' | '=' => 1,
            _ => {
                let ends = |c: char| c.is_whitespace() || "{}=\"#".contains(c);
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        words.push(rest[..length].to_owned());
        rest = &rest[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_grant_by_exact_name_then_longest_prefix() {
        let mut rules = Rules::default();
        rules
            .add(
                "service_prefix \"\" { policy = \"read\" }\nservice \"web\" { policy = \"write\" }",
            )
            .unwrap();
        let authority = Authority::Some(Arc::new(rules));
        assert!(authority.may_write(Resource::Service, "web"));
        assert!(!authority.may_write(Resource::Service, "webby"));
        assert!(authority.may_read(Resource::Service, "webby"));
        assert!(!authority.may_read(Resource::Node, "n"));
    }
}
