//! The format of scenarios as a JSON Schema, from the same tables that read them.

use serde_json::{Map, Value, json};

use super::block::Key;
use super::decode::{CLIENT, DATABASE, STEP};
use super::keys::{
    ACTIONS, AGENT_PLACES, CHECK, CLOCK, CONSUL, FAULT, LIMITS, NODE, PROCESS, PROPERTY, RESTARTS,
    TOP, WAYS,
};
use crate::explore::{Agents, Fault};

/// Gives the format of scenarios as a JSON Schema (draft 2020-12).
pub fn schema() -> Value {
    let mut schema = block(TOP);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("steersman scenario");
    schema["required"] = json!(["nodes"]);
    // Steps hold steps.
    let step = json!({ "oneOf": [{ "type": "string" }, block(STEP)] });
    schema["$defs"] = json!({ "step": step });
    schema
}

fn block(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut value = kind(key.kind);
        value["description"] = json!(key.doc);
        properties.insert(key.name.to_owned(), value);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn kind(kind: &str) -> Value {
    let duration = || json!({ "type": ["string", "integer"] });
    let pair = || json!({ "type": "array", "items": duration(), "minItems": 2, "maxItems": 2 });
    let named = |inner: Value| json!({ "type": "object", "additionalProperties": inner });
    match kind {
        "text" | "expression" => json!({ "type": "string" }),
        "number" => json!({ "type": "number" }),
        "share" => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        "duration" => duration(),
        "span" | "run" | "stop" => json!({ "oneOf": [duration(), pair()] }),
        "leaves" => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        "exit" => json!({ "type": ["integer", "string", "object"] }),
        "spells" => json!({ "type": "array", "items": pair() }),
        "texts" => named(json!({ "type": ["string", "number", "boolean"] })),
        "variants" => named(self::kind("texts")),
        "databases" => named(block(DATABASE)),
        "clients" => named(block(CLIENT)),
        "programs" => named(self::kind("steps")),
        "steps" => json!({ "type": "array", "items": { "$ref": "#/$defs/step" } }),
        "handlers" => json!({ "oneOf": [self::kind("steps"), named(self::kind("steps"))] }),
        "config" => json!({ "type": ["string", "object"] }),
        "strings" => named(json!({ "type": "string" })),
        "counts" => named(json!({ "type": "integer", "minimum": 0, "maximum": 1000 })),
        "truth" => json!({ "type": "boolean" }),
        "agents" => {
            let words: Vec<_> = Agents::ALL.iter().map(|agents| agents.as_str()).collect();
            json!({ "enum": words })
        }
        "consul" => block(CONSUL),
        "clock" => block(CLOCK),
        "nodes" => named(block(NODE)),
        "processes" => named(block(PROCESS)),
        "check" => block(CHECK),
        "faults" => json!({ "type": "array", "items": block(FAULT) }),
        "restart" => json!({ "enum": RESTARTS }),
        "agentPlace" => json!({ "enum": AGENT_PLACES }),
        "way" => json!({ "enum": WAYS }),
        "any" => json!({ "type": ["string", "number", "array"] }),
        "action" => json!({ "enum": ACTIONS }),
        "swarm" => {
            let words: Vec<_> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
            let list = json!({ "type": "array", "items": { "enum": words } });
            json!({ "oneOf": [{ "enum": ["all", "none"] }, list] })
        }
        "properties" => json!({ "type": "array", "items": block(PROPERTY) }),
        "limits" => block(LIMITS),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_type() {
        let tables = [TOP, NODE, CONSUL, CLOCK, PROCESS, CHECK, FAULT, PROPERTY, LIMITS];
        for key in tables.into_iter().flatten() {
            assert_ne!(kind(key.kind), json!({}), "{}", key.name);
        }
    }
}
