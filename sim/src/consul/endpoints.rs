//! The table of endpoints: every path Consul knows, with the methods it takes there.

use std::borrow::Cow;

/// One entry of the table. A pattern that ends in a slash takes everything below it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) pattern: &'static str,
    pub(crate) methods: &'static [&'static str],
}

const fn on(pattern: &'static str, methods: &'static [&'static str]) -> Endpoint {
    Endpoint { pattern, methods }
}

const GET: &[&str] = &["GET"];
const PUT: &[&str] = &["PUT"];
const POST: &[&str] = &["POST"];
const RECORD: &[&str] = &["GET", "PUT", "DELETE"];

/// Everything Consul 1.8.7 answers, sorted by pattern.
pub(crate) static ENDPOINTS: [Endpoint; 105] = [
    on("/v1/acl/auth-method", PUT),
    on("/v1/acl/auth-method/", RECORD),
    on("/v1/acl/auth-methods", GET),
    on("/v1/acl/binding-rule", PUT),
    on("/v1/acl/binding-rule/", RECORD),
    on("/v1/acl/binding-rules", GET),
    on("/v1/acl/bootstrap", PUT),
    on("/v1/acl/clone/", PUT),
    on("/v1/acl/create", PUT),
    on("/v1/acl/destroy/", PUT),
    on("/v1/acl/info/", GET),
    on("/v1/acl/list", GET),
    on("/v1/acl/login", POST),
    on("/v1/acl/logout", POST),
    on("/v1/acl/policies", GET),
    on("/v1/acl/policy", PUT),
    on("/v1/acl/policy/", RECORD),
    on("/v1/acl/policy/name/", GET),
    on("/v1/acl/replication", GET),
    on("/v1/acl/role", PUT),
    on("/v1/acl/role/", RECORD),
    on("/v1/acl/role/name/", GET),
    on("/v1/acl/roles", GET),
    on("/v1/acl/rules/translate", POST),
    on("/v1/acl/rules/translate/", GET),
    on("/v1/acl/token", PUT),
    on("/v1/acl/token/", RECORD),
    on("/v1/acl/token/self", GET),
    on("/v1/acl/tokens", GET),
    on("/v1/acl/update", PUT),
    on("/v1/agent/check/deregister/", PUT),
    on("/v1/agent/check/fail/", PUT),
    on("/v1/agent/check/pass/", PUT),
    on("/v1/agent/check/register", PUT),
    on("/v1/agent/check/update/", PUT),
    on("/v1/agent/check/warn/", PUT),
    on("/v1/agent/checks", GET),
    on("/v1/agent/connect/authorize", POST),
    on("/v1/agent/connect/ca/leaf/", GET),
    on("/v1/agent/connect/ca/roots", GET),
    on("/v1/agent/force-leave/", PUT),
    on("/v1/agent/health/service/id/", GET),
    on("/v1/agent/health/service/name/", GET),
    on("/v1/agent/host", GET),
    on("/v1/agent/join/", PUT),
    on("/v1/agent/leave", PUT),
    on("/v1/agent/maintenance", PUT),
    on("/v1/agent/members", GET),
    on("/v1/agent/metrics", GET),
    on("/v1/agent/monitor", GET),
    on("/v1/agent/reload", PUT),
    on("/v1/agent/self", GET),
    on("/v1/agent/service/", GET),
    on("/v1/agent/service/deregister/", PUT),
    on("/v1/agent/service/maintenance/", PUT),
    on("/v1/agent/service/register", PUT),
    on("/v1/agent/services", GET),
    on("/v1/agent/token/", PUT),
    on("/v1/catalog/connect/", GET),
    on("/v1/catalog/datacenters", GET),
    on("/v1/catalog/deregister", PUT),
    on("/v1/catalog/gateway-services/", GET),
    on("/v1/catalog/node-services/", GET),
    on("/v1/catalog/node/", GET),
    on("/v1/catalog/nodes", GET),
    on("/v1/catalog/register", PUT),
    on("/v1/catalog/service/", GET),
    on("/v1/catalog/services", GET),
    on("/v1/config", PUT),
    on("/v1/config/", &["GET", "DELETE"]),
    on("/v1/connect/ca/configuration", &["GET", "PUT"]),
    on("/v1/connect/ca/roots", GET),
    on("/v1/connect/intentions", &["GET", "POST"]),
    on("/v1/connect/intentions/", RECORD),
    on("/v1/connect/intentions/check", GET),
    on("/v1/connect/intentions/match", GET),
    on("/v1/coordinate/datacenters", GET),
    on("/v1/coordinate/node/", GET),
    on("/v1/coordinate/nodes", GET),
    on("/v1/coordinate/update", PUT),
    on("/v1/discovery-chain/", &["GET", "POST"]),
    on("/v1/event/fire/", PUT),
    on("/v1/event/list", GET),
    on("/v1/health/checks/", GET),
    on("/v1/health/connect/", GET),
    on("/v1/health/ingress/", GET),
    on("/v1/health/node/", GET),
    on("/v1/health/service/", GET),
    on("/v1/health/state/", GET),
    on("/v1/kv/", RECORD),
    on("/v1/operator/autopilot/configuration", &["GET", "PUT"]),
    on("/v1/operator/autopilot/health", GET),
    on("/v1/operator/keyring", &["GET", "POST", "PUT", "DELETE"]),
    on("/v1/operator/raft/configuration", GET),
    on("/v1/operator/raft/peer", &["DELETE"]),
    on("/v1/query", &["GET", "POST"]),
    on("/v1/session/create", PUT),
    on("/v1/session/destroy/", PUT),
    on("/v1/session/info/", GET),
    on("/v1/session/list", GET),
    on("/v1/session/node/", GET),
    on("/v1/session/renew/", PUT),
    on("/v1/status/leader", GET),
    on("/v1/status/peers", GET),
    on("/v1/txn", PUT),
];

/// Finds the endpoint for a path: the exact one, else the longest that covers it.
pub(crate) fn find(path: &str) -> Option<&'static Endpoint> {
    let is_slash = |at: &usize| path.as_bytes()[*at] == b'/';
    let mut slashes = (0..path.len()).rev().filter(is_slash);
    exact(path).or_else(|| slashes.find_map(|at| exact(&path[..=at])))
}

fn exact(path: &str) -> Option<&'static Endpoint> {
    let place = ENDPOINTS.binary_search_by_key(&path, |endpoint| endpoint.pattern);
    place.ok().map(|place| &ENDPOINTS[place])
}

/// Tells whether there is a pattern like this with a slash behind it.
fn is_without_slash(path: &str) -> bool {
    let is_it = |pattern: &str| {
        pattern.len() == path.len() + 1 && pattern.ends_with('/') && pattern.starts_with(path)
    };
    ENDPOINTS.iter().any(|endpoint| is_it(endpoint.pattern))
}

/// Tells where a path that is not clean is to be found instead.
pub(crate) fn redirect(path: &str) -> Option<String> {
    let clean = clean(path);
    if is_without_slash(&clean) && exact(&clean).is_none() {
        return Some(format!("{clean}/"));
    }
    if let Cow::Owned(clean) = clean { Some(clean) } else { None }
}

/// Cleans a path as Go's router does: no empty, `.` or `..` parts; a final slash stays. Borrowed
/// when it was clean.
fn clean(path: &str) -> Cow<'_, str> {
    let mut pairs = path.as_bytes().windows(2);
    if path.starts_with('/') && !pairs.any(|pair| pair == b"//" || pair == b"/.") {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    if clean == path { Cow::Borrowed(path) } else { Cow::Owned(clean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(ENDPOINTS.windows(2).all(|pair| pair[0].pattern < pair[1].pattern));
    }

    #[test]
    fn the_longest_pattern_wins() {
        assert_eq!(find("/v1/agent/service/register").unwrap().methods, ["PUT"]);
        assert_eq!(find("/v1/agent/service/web").unwrap().methods, ["GET"]);
        assert!(find("/v1/agent/nosuch").is_none());
        assert_eq!(redirect("/v1/kv").as_deref(), Some("/v1/kv/"));
        assert_eq!(redirect("/v1//kv/a").as_deref(), Some("/v1/kv/a"));
        assert_eq!(redirect("/v1/kv/a/"), None);
    }
}
