//! The schema and the reference page say what the decoder does.

use std::path::Path;

use super::*;
use crate::front::json5;
use crate::front::keys::{BLOCKS, Kind};

#[test]
fn the_reference_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/configuration.md");
    let page = crate::front::reference::page();
    if std::env::var_os("STEERSMAN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/configuration.md is not current; its first lines say what to do"
    );
}

#[test]
fn every_block_is_listed_and_its_keys_are_unique() {
    for block in BLOCKS {
        for (index, key) in block.keys.iter().enumerate() {
            let folded = key.name.to_ascii_lowercase();
            let again = block.keys[..index].iter().find(|k| k.name.to_ascii_lowercase() == folded);
            assert!(again.is_none(), "{}.{}", block.path, key.name);
            assert!(key.doc.ends_with('.'), "{}.{}", block.path, key.name);
            visit(&key.kind);
        }
    }
}

fn visit(kind: &Kind) {
    match kind {
        Kind::Block(block) | Kind::Blocks(block) => {
            assert!(BLOCKS.iter().any(|known| known.path == block.path), "{}", block.path);
        }
        Kind::Any(kinds) => kinds.iter().for_each(visit),
        _ => {}
    }
}

/// The value that a tree stands for.
fn plain(node: &json5::Node) -> serde_json::Value {
    use json5::Value;
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.whole {
            Some(whole) => whole.into(),
            None => number.value.into(),
        },
        Value::Text(text) => text.clone().into(),
        Value::List(nodes) => nodes.iter().map(plain).collect(),
        Value::Object(members) => {
            members.iter().map(|member| (member.key.clone(), plain(&member.value))).collect()
        }
    }
}

fn rendered(file: &str, text: &str) -> serde_json::Value {
    let text = render(file, text, &BTreeMap::new()).unwrap();
    let mut problems = Problems::default();
    plain(&json5::parse(&text, &mut problems).unwrap())
}

#[test]
fn every_example_fits_the_schema() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut count = 0;
    for (file, text) in super::examples::examples() {
        let errors: Vec<String> = validator
            .iter_errors(&rendered(&file, &text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
        count += 1;
    }
    assert!(count >= 10);
}

#[test]
fn what_the_schema_refuses_the_check_refuses() {
    let schema = schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let cases = [
        "{ jobs: [{ exec: 'x' }] }",
        "{ jobs: [{ name: 'x', exec: 5 }] }",
        "{ jobs: [{ name: 'x', exec: 'x', restart: 1 }] }",
        "{ Jobs: [] }",
        "{ jobs: {} }",
        "{ jobs: [{ name: 'x', exec: 'x', timeout: '5 s' }] }",
        "{ jobs: [{ name: 'x', exec: 'x', timeout: 1.5 }] }",
        "{ jobs: [{ name: 'x', exec: 'x', port: 70000 }] }",
        "{ jobs: [{ name: 'x', exec: 'x', tags: 'a' }] }",
        "{ jobs: [{ name: 'x', exec: 'x', limits: { nofiles: 5 } }] }",
        "{ jobs: [{ name: 'x', exec: 'x', umask: 22 }] }",
        "{ logging: { level: 'LOUD' } }",
        "{ telemetry: { metrics: [{ name: 'x', type: 'meter' }] } }",
        "{ jobs: [{ name: 'x', exec: 'x', health: { exec: 'x' } }] }",
    ];
    for text in cases {
        assert!(!validator.is_valid(&rendered("f", text)), "{text}");
        assert!(!check("f", text, &around(&[])).is_good(), "{text}");
    }
}
