//! The Consul that the nodes share.

use steersman_engine::front::document::{Tree, TreeValue, suggestion};

use super::Decoder;
use crate::explore::consul_spec::needs_consul;
use crate::explore::{Agents, ConsulSpec, Span};
use crate::scenario::block::Block;
use crate::scenario::keys::CONSUL;

impl Decoder<'_> {
    /// Reads `consul`; without it there is the ordinary one, when a configuration needs one.
    pub(super) fn consul(&mut self, tree: Option<&Tree>) -> Option<ConsulSpec> {
        let Some(tree) = tree else { return ConsulSpec::needed_by(&self.nodes) };
        let mut spec = ConsulSpec::default();
        let block = self.reader.open(tree, CONSUL, "`consul`")?;
        if !self.nodes.is_empty() && !self.nodes.iter().any(|node| needs_consul(&node.config)) {
            let message = "cannot use `consul`: no configuration has a service, a watch or a lock";
            self.reader.blame("conflicting-keys", tree.span, message, Some("leave it out"));
        }
        if let Some(servers) = block.get("servers")
            && let Some(servers) = self.reader.number(servers, "`servers` of `consul`", 1.0, 7.0)
        {
            spec.servers = servers as u16;
        }
        if let Some(agents) = block.get("agents") {
            self.agents(agents, &mut spec);
        }
        self.times(&block, &mut spec);
        if let Some(contract) = block.get("contract") {
            match contract.value {
                TreeValue::Bool(contract) => spec.contract = contract,
                _ => {
                    let message = "cannot use this as `contract` of `consul`: it is true or false";
                    self.reader.blame("wrong-type", contract.span, message, None);
                }
            }
        }
        self.contents(&block, &mut spec);
        Some(spec)
    }

    fn agents(&mut self, tree: &Tree, spec: &mut ConsulSpec) {
        let Some(text) = self.reader.text(tree, "`agents` of `consul`") else { return };
        match Agents::ALL.iter().find(|agents| agents.as_str() == text) {
            Some(agents) => spec.agents = *agents,
            None => {
                let message = format!("cannot use \"{text}\" as `agents` of `consul`");
                let help = suggestion(text, Agents::ALL.iter().map(|agents| agents.as_str()));
                self.reader.blame("bad-value", tree.span, message, help.as_deref());
            }
        }
    }

    fn times(&mut self, block: &Block<'_>, spec: &mut ConsulSpec) {
        let mut read = |name: &str, place: &mut Span| {
            let Some(tree) = block.get(name) else { return };
            if let Some(span) = self.reader.span(tree, &format!("`{name}` of `consul`")) {
                *place = span;
            }
        };
        read("lag", &mut spec.lag);
        read("election", &mut spec.election);
        read("antiEntropy", &mut spec.anti_entropy);
    }

    fn contents(&mut self, block: &Block<'_>, spec: &mut ConsulSpec) {
        if let Some(services) = block.get("services") {
            let members = self.reader.members(services, "`services` of `consul`");
            for (name, _, value) in members.unwrap_or_default() {
                let label = format!("the instances of \"{name}\"");
                if let Some(count) = self.reader.number(value, &label, 0.0, 1000.0) {
                    spec.services.insert(Box::from(name), count as u16);
                }
            }
        }
        if let Some(keys) = block.get("keys") {
            let members = self.reader.members(keys, "`keys` of `consul`");
            for (name, _, value) in members.unwrap_or_default() {
                if let Some(text) = self.reader.text(value, &format!("the value of \"{name}\"")) {
                    spec.keys.insert(Box::from(name), Box::from(text));
                }
            }
        }
    }
}
