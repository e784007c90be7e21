//! What is read, what is said about the rest, and that nothing makes the scanner panic.

use proptest::prelude::*;

use super::*;
use crate::front::problem::Problems;
use crate::front::text::Source;

/// Writes a tree in a compact form for comparison.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => String::from("null"),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.whole {
            Some(whole) => whole.to_string(),
            None => format!("{:?}", number.value),
        },
        Value::Text(text) => format!("{text:?}"),
        Value::List(nodes) => {
            format!("[{}]", nodes.iter().map(show).collect::<Vec<_>>().join(","))
        }
        Value::Object(members) => {
            let members = members.iter().map(|m| format!("{}:{}", m.key, show(&m.value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

/// Reads a text; gives the tree or the problems as `line:column message`.
fn read(text: &str) -> Result<String, Vec<String>> {
    let mut problems = Problems::default();
    let node = parse(text, &mut problems);
    let (errors, warnings) = problems.locate(&Source::plain("f", text));
    assert!(warnings.is_empty());
    match (node, errors.is_empty()) {
        (Some(node), true) => Ok(show(&node)),
        (None, true) => panic!("nothing read and nothing said: {text:?}"),
        _ => Err(errors
            .iter()
            .map(|error| format!("{}:{} {}", error.line, error.column, error.message))
            .collect()),
    }
}

#[test]
fn all_of_json5_is_read() {
    let cases = [
        ("{}", "{}"),
        ("[1,2,]", "[1,2]"),
        ("{a:1,'b':2,\"c\":3,}", "{a:1,b:2,c:3}"),
        ("// c\n{/* d */a/**/:/**/1}// end", "{a:1}"),
        ("[0x1F, 0Xff, +5, -5, .5, 5., 1e3, 1.5E-1]", "[31,255,5,-5,0.5,5,1000,0.15]"),
        ("[Infinity, -Infinity, +Infinity, NaN]", "[inf,-inf,inf,NaN]"),
        (
            "[9223372036854775807, 9223372036854775808]",
            "[9223372036854775807,9.223372036854776e18]",
        ),
        ("[-0x10, -9223372036854775808]", "[-16,-9223372036854775808]"),
        ("[1.0, 2e0, 0]", "[1,2,0]"),
        (r#"['\'"', "\"'", '\x41\u00e4\ud83d\ude00\0\b\v\q\\']"#, "[\"'\\\"\",\"\\\"'\",\"AÃ\""),
        ("['a \\\n b', 'a \\\r\n b', 'a\tb']", "[\"a  b\",\"a  b\",\"a\\tb\"]"),
        ("{$a_1: 1, über: 2, \\u0061b: 3, true: 4, null: 5}", "{$a_1:1,über:2,ab:3,true:4,null:5}"),
        ("\u{feff}\u{a0}[\u{2028}null, true,\u{3000}false]", "[null,true,false]"),
        ("'lone'", "\"lone\""),
        ("{a: 'line\u{2028}end'}", "{a:\"line\\u{2028}end\"}"),
    ];
    for (text, expected) in cases {
        if expected.ends_with("AÃ\"") {
            let read = read(text).unwrap();
            assert!(read.contains("A\u{e4}\u{1f600}\\0\\u{8}\\u{b}q\\\\"), "{read}");
            continue;
        }
        assert_eq!(read(text).as_deref(), Ok(expected), "{text:?}");
    }
}

#[test]
fn every_mistake_is_named_at_its_place() {
    let cases: [(&str, &[&str]); 22] = [
        ("", &["1:1 cannot read an empty configuration"]),
        ("  // only a comment", &["1:20 cannot read an empty configuration"]),
        ("{} x", &["1:4 cannot read on after the end"]),
        ("{", &["1:1 cannot find the `}` that closes this: the text ends before it"]),
        ("{a:[1}", &["1:6 cannot close `[` with this"]),
        ("[1 2]", &["1:3 cannot read on: a `,` is missing here"]),
        ("{a: 1\n b: 2}", &["1:6 cannot read on: a `,` is missing here"]),
        ("[,1]", &["1:2 cannot read this `,`: there is no value before it"]),
        ("[1,,2]", &["1:4 cannot read this `,`: there is no value before it"]),
        ("{a = 1}", &["1:4 cannot read `=` here"]),
        ("{a}", &["1:3 cannot find the `:` after the key `a`"]),
        ("{a: , b: 1}", &["1:5 cannot find the value of `a`"]),
        ("{a: }", &["1:5 cannot find the value of `a`"]),
        ("{1: 2}", &["1:2 cannot read this as a key"]),
        ("[yes]", &["1:2 cannot read `yes` as a value"]),
        (
            "[5s, 007, 0x, 1e, 1.2.3]",
            &[
                "1:2 cannot read `5s` as a number",
                "1:6 cannot read `007` as a number",
                "1:11 cannot read `0x` as a number",
                "1:15 cannot read `1e` as a number",
                "1:19 cannot read `1.2.3` as a number",
            ],
        ),
        ("['a]", &["1:2 cannot find the end of this string on its line"]),
        ("['a\nb']", &["1:2 cannot find the end of this string on its line"]),
        (
            "['\\x4', '\\9', '\\u12']",
            &[
                "1:3 cannot read this escape",
                "1:10 cannot read this escape",
                "1:16 cannot read this escape",
            ],
        ),
        ("{a: /* 1}", &["1:5 cannot find the end of this comment"]),
        ("{a: <no value>}", &["1:5 cannot read `<` as a value"]),
        ("[1}", &["1:3 cannot close `[` with this"]),
    ];
    for (text, expected) in cases {
        let errors = read(text).unwrap_err();
        assert_eq!(errors, expected, "{text:?}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let deep = "[".repeat(100_000);
    let errors = read(&deep).unwrap_err();
    assert_eq!(errors, ["1:101 cannot nest values deeper than 100 levels"]);
    let good = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert!(read(&good).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_places(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn any_near_json5_is_read_or_refused_with_places(
        text in r#"([\[\]{}:,'"0-9a-z .\\+\n/*x-]|\{a:|'b'|0x1){0,60}"#
    ) {
        let _ = read(&text);
    }

    #[test]
    fn strings_come_back_as_they_were(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).expect("every string is JSON");
        let mut problems = Problems::default();
        let node = parse(&quoted, &mut problems).expect("a quoted string is read");
        prop_assert_eq!(node.value, Value::Text(text));
    }
}
