//! The format as a JSON Schema (draft 2020-12), from the tables of keys.

use serde_json::{Map, Value, json};

use super::keys::{BLOCKS, Block, Key, Kind, LIMIT, Need, WHEN};
use crate::config::Resource;

/// Builds the schema. Case is as in the tables; the decoder takes any case within blocks.
pub(crate) fn schema() -> Value {
    let definitions: Map<String, Value> = BLOCKS
        .iter()
        .filter(|block| !block.path.is_empty())
        .map(|block| (definition_name(block), block_schema(block)))
        .collect();
    let mut schema = block_schema(BLOCKS[0]);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".into(), json!("steersman configuration"));
        map.insert("$defs".into(), Value::Object(definitions));
    }
    schema
}

/// `jobs[].health` becomes `job.health`.
fn definition_name(block: &Block) -> String {
    block.path.replace("[].", ".").replace("[]", "").replace(".*", "")
}

fn block_schema(block: &Block) -> Value {
    let properties: Map<String, Value> =
        block.keys.iter().map(|key| (String::from(key.name), key_schema(key))).collect();
    let required: Vec<&str> =
        block.keys.iter().filter(|key| key.need == Need::Required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": block.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if let Value::Object(map) = &mut schema
        && !required.is_empty()
    {
        map.insert("required".into(), json!(required));
    }
    schema
}

fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(&key.kind);
    // A key that is null counts as left out.
    if key.need == Need::Optional {
        schema = json!({ "anyOf": [schema, { "type": "null" }] });
    }
    if let Value::Object(map) = &mut schema {
        map.insert("description".into(), json!(key.doc));
        if !key.default.is_empty() {
            map.insert("x-default".into(), json!(key.default));
        }
    }
    schema
}

/// The form of durations: whole seconds, or Go's.
fn duration_pattern() -> String {
    let number = r"([0-9]+\.?[0-9]*|\.[0-9]+)";
    let part = format!("{number}(ns|us|µs|μs|ms|s|m|h)");
    format!(r"^$|^\+?([0-9]+|({part})+)$")
}

fn kind_schema(kind: &Kind) -> Value {
    let text = json!({ "type": ["string", "number", "boolean"] });
    match kind {
        Kind::Text => text,
        Kind::Bool => json!({ "anyOf": [
            { "type": ["boolean", "integer"] },
            { "type": "string", "pattern": "^(|[01tTfF]|true|TRUE|True|false|FALSE|False)$" },
        ]}),
        Kind::Whole { min, max } => json!({ "anyOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            { "type": "string", "pattern": r"^\s*[-+]?[0-9]+\s*$" },
        ]}),
        Kind::Duration { min_ns } => json!({ "anyOf": [
            { "type": "integer", "minimum": i64::from(*min_ns > 0) },
            { "type": "string", "pattern": duration_pattern() },
        ]}),
        Kind::Texts => json!({ "type": "array", "items": text }),
        Kind::TextOrTexts => json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": text },
        ]}),
        Kind::Word(words) => json!({ "type": "string", "pattern": any_case(words) }),
        Kind::TextMap => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        }),
        Kind::Block(block) => reference(block),
        Kind::Blocks(block) => json!({
            "type": "array",
            "items": { "anyOf": [reference(block), { "type": "null" }] },
        }),
        Kind::Limits => limits_schema(),
        Kind::Signal => json!({ "anyOf": [
            { "type": "string" },
            { "type": "integer", "minimum": 1, "maximum": 64 },
        ]}),
        Kind::Umask => json!({ "anyOf": [
            { "type": "string", "pattern": "^(0o)?[0-7]+$" },
            { "const": 0 },
        ]}),
        Kind::Cron => json!({ "type": "string" }),
        Kind::Triggers => json!({
            "type": "array",
            "minItems": 1,
            "items": reference(&WHEN),
        }),
        Kind::Any(kinds) => json!({ "anyOf": kinds.iter().map(kind_schema).collect::<Vec<_>>() }),
    }
}

fn reference(block: &Block) -> Value {
    json!({ "$ref": format!("#/$defs/{}", definition_name(block)) })
}

fn limits_schema() -> Value {
    let bound = json!({ "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": "^([0-9]+|[uU][nN][lL][iI][mM][iI][tT][eE][dD])$" },
        reference(&LIMIT),
        { "type": "null" },
    ]});
    let properties: Map<String, Value> = Resource::ALL
        .iter()
        .map(|resource| (String::from(resource.as_str()), bound.clone()))
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// A pattern for words in any case; an empty string counts as left out.
fn any_case(words: &[&str]) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => String::from(c),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    format!("^({})?$", words.join("|"))
}
