//! Requests for keys and transactions.

use super::go;
use super::http_api::Response;
use super::json::Json;
use super::read::Query;
use super::route::{Face, Refused, Routed, Router};
use super::rpc::{ReadOptions, Rpc};
use super::types::Str;
use super::{bodies, schemas_txn};

/// The longest value of a key.
const VALUE_MAX: usize = 524_288;
/// The most steps of a transaction.
const OPERATIONS_MAX: usize = 64;

impl Router<'_> {
    pub(crate) fn kv(&self) -> Result<Routed, Refused> {
        let options = self.options()?;
        let key = self.below("/v1/kv/");
        match &*self.request.method {
            "GET" => self.kv_get(key, options),
            "PUT" => self.kv_put(key),
            _ => self.kv_delete(key),
        }
    }

    fn kv_get(&self, key: Str, options: ReadOptions) -> Result<Routed, Refused> {
        if self.params.has("keys") {
            self.namespace()?;
            let spelling = if self.params.has("separator") { "separator" } else { "seperator" };
            let separator = self.params.get(spelling).into();
            return Ok(self.read(Query::Keys { prefix: key, separator }, options, Face::Key));
        }
        if self.params.has("recurse") {
            self.namespace()?;
            return Ok(self.read(Query::Entries { prefix: key }, options, Face::Key));
        }
        self.required("/v1/kv/", "Missing key name")?;
        self.namespace()?;
        Ok(self.read(Query::Key { key }, options, Face::Key))
    }

    fn conflicting(&self, flags: &[&str]) -> Result<(), Refused> {
        if flags.iter().filter(|flag| self.params.has(flag)).count() < 2 {
            return Ok(());
        }
        Err(Response::text(400, format!("Conflicting flags: {}", self.params.encode())))
    }

    fn number(&self, name: &str) -> Result<u64, Refused> {
        go::parse_uint(self.params.get(name)).map_err(|error| Response::text(500, error))
    }

    fn kv_put(&self, key: Str) -> Result<Routed, Refused> {
        use super::txn::KvVerb;
        self.namespace()?;
        self.required("/v1/kv/", "Missing key name")?;
        self.conflicting(&["cas", "acquire", "release"])?;
        let mut entry = super::types::Entry { key, ..Default::default() };
        let mut verb = KvVerb::Set;
        if self.params.has("flags") {
            entry.flags = self.number("flags")?;
        }
        if self.params.has("cas") {
            entry.modify = self.number("cas")?;
            verb = KvVerb::Cas;
        }
        for (name, wanted) in [("acquire", KvVerb::Lock), ("release", KvVerb::Unlock)] {
            if self.params.has(name) {
                entry.session = self.params.get(name).into();
                verb = wanted;
            }
        }
        let body = &self.request.body;
        if body.len() > VALUE_MAX && !self.request.chunked {
            let text = format!(
                "Request body({} bytes) too large, max size: {VALUE_MAX} bytes. See {}.",
                body.len(),
                "https://www.consul.io/docs/agent/options.html#kv_max_value_size"
            );
            return Err(Response::text(413, text).with("Connection", "close"));
        }
        if !body.is_empty() {
            entry.value = Some(body.as_slice().into());
        }
        let face = if verb == KvVerb::Set { Face::AlwaysTrue } else { Face::Plain };
        Ok(Routed::Servers { rpc: Rpc::Kv { verb, entry }, dc: self.dc(), face })
    }

    fn kv_delete(&self, key: Str) -> Result<Routed, Refused> {
        use super::txn::KvVerb;
        self.namespace()?;
        self.conflicting(&["recurse", "cas"])?;
        let mut entry = super::types::Entry { key, ..Default::default() };
        let mut verb = KvVerb::Delete;
        if self.params.has("recurse") {
            verb = KvVerb::DeleteTree;
        } else {
            self.required("/v1/kv/", "Missing key name")?;
        }
        if self.params.has("cas") {
            entry.modify = self.number("cas")?;
            verb = KvVerb::DeleteCas;
        }
        let face = if verb == KvVerb::DeleteCas { Face::Plain } else { Face::AlwaysTrue };
        Ok(Routed::Servers { rpc: Rpc::Kv { verb, entry }, dc: self.dc(), face })
    }

    pub(crate) fn txn(&self) -> Result<Routed, Refused> {
        let body = &self.request.body;
        let see = "https://www.consul.io/docs/agent/options.html#txn_max_req_len";
        if body.len() > VALUE_MAX {
            let size = if self.request.chunked {
                String::new()
            } else {
                format!("({} bytes)", body.len())
            };
            let text =
                format!("Request body{size} too large, max size: {VALUE_MAX} bytes. See {see}.");
            return Err(Response::text(413, text).with("Connection", "close"));
        }
        let json = bodies::read(body, &schemas_txn::TXN)
            .map_err(|error| Response::text(400, format!("Failed to parse body: {error}")))?;
        let items = match &json {
            Json::List(items) => items.as_slice(),
            _ => &[],
        };
        let count = items.len();
        if count > OPERATIONS_MAX {
            let text =
                format!("Transaction contains too many operations ({count} > {OPERATIONS_MAX})");
            return Err(Response::text(413, text));
        }
        if items.contains(&Json::Null) {
            return Ok(Routed::Break);
        }
        let operations = bodies::operations(&json, self.site.datacenter);
        let rpc = if operations.iter().any(super::txn::Operation::is_write) {
            Rpc::Txn { operations }
        } else {
            Rpc::TxnRead { operations, options: self.options()? }
        };
        Ok(Routed::Servers { rpc, dc: self.dc(), face: Face::Plain })
    }
}
