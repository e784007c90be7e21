//! The template against v3's own cases, Go's rules, and whatever may be thrown at it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn env() -> BTreeMap<String, String> {
    let vars = [
        ("NAME", "Template"),
        ("NAME_1", "One"),
        ("PARTS", "a:b:c"),
        ("COUNT", "3"),
        ("EMPTY", ""),
        ("EQUALS", "a=b=c"),
        ("BRACES", "{{ .NAME }}"),
    ];
    vars.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect()
}

fn rendered(text: &str) -> Result<String, String> {
    match render("f", text, &env()) {
        Ok(rendered) => Ok(rendered.text),
        Err(error) => Err(format!("{}:{} {}", error.line, error.column, error.message)),
    }
}

#[test]
fn the_cases_of_v3_render_as_there() {
    let cases = [
        ("Hello, {{.NAME}}!", "Hello, Template!"),
        ("Hello, {{.NONAME}}!", "Hello, !"),
        ("{{ loop 2 5 }}", "[2 3 4]"),
        ("{{ loop 10 1 }}", "[10 9 8 7 6 5 4 3 2]"),
        ("{{ loop 5 }}", "[0 1 2 3 4]"),
        ("{{ loop .COUNT }}", "[0 1 2]"),
        ("{{ loop 1 .COUNT }}", "[1 2]"),
        ("{{ loop 3 3 }}|{{ loop 0 }}", "[]|[]"),
        ("{{ loop -2 }}", "[0 -1]"),
        ("{{ range $i := loop 2 5 -}}i={{$i}},{{ end }}", "i=2,i=3,i=4,"),
        ("Hello, {{ env (printf \"NA%s\" \"ME_1\") }}!", "Hello, One!"),
        ("Hello, {{.NONAME | default \"World\" }}!", "Hello, World!"),
        ("Hello, {{.NONAME | default 100 }}!", "Hello, 100!"),
        ("Hello, {{.NONAME | default 10.1 }}!", "Hello, 10.1!"),
        ("{{ .NONAME | default true }}", "true"),
        ("{{ .EMPTY | default \"d\" }}", "d"),
        ("{{ .NAME | default \"d\" }}", "Template"),
        ("{{ 5 | default \"d\" }}", "d"),
        ("Hello, {{.PARTS | split \":\" | join \".\" }}!", "Hello, a.b.c!"),
        ("{{ .NONE | split \":\" | join \".\" }}|", "|"),
        ("{{ len (split \",\" \"  \") }}", "0"),
        ("{{ split \"\" \"abc\" | join \"-\" }}", "a-b-c"),
        ("Hello, {{.NAME | replaceAll \"e\" \"_\" }}!", "Hello, T_mplat_!"),
        ("{{ \"ab\" | replaceAll \"\" \"-\" }}", "-a-b-"),
        ("Hello, {{.NAME | regexReplaceAll \"[epa]+\" \"_\" }}!", "Hello, T_m_l_t_!"),
        ("{{ \"k=v\" | regexReplaceAll `(\\w)=(\\w)` \"${2}=$1\" }}", "v=k"),
        ("{{ regexReplaceAll `^(\\w+)=.*\"\\\\` \"$1\" \"ab=x\\\"\\\\\" }}", "ab"),
        ("{{ `a\\n\nb\r` }}", "a\\n\nb"),
        ("{{ \"\\x41bc\\\\\" }}{{ printf \"%d\" '\\n' }}{{ 'a' }}", "Abc\\1097"),
        ("{{ define `t` }}x{{ end }}{{ template `t` }}{{ template \"\\x74\" }}", "xx"),
        ("{{ .EQUALS }}", "a=b=c"),
        ("{{ .BRACES }}", "{{ .NAME }}"),
    ];
    for (text, expected) in cases {
        assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_missing_name_is_empty_wherever_it_stands() {
    let cases = [
        ("{{ if .NONE }}y{{ else }}n{{ end }}", "n"),
        ("{{ if not .NONE }}y{{ end }}", "y"),
        ("{{ if eq .NONE \"\" }}y{{ else }}n{{ end }}", "y"),
        ("{{ if ne .NONE \"x\" }}y{{ end }}", "y"),
        ("{{ if and .NAME .NONE }}y{{ else }}n{{ end }}", "n"),
        ("{{ if or .NONE .NAME }}y{{ end }}", "y"),
        ("{{ with .NONE }}y{{ else }}n{{ end }}", "n"),
        ("{{ with .NAME }}{{ . }}{{ $.NONE }}{{ $.NAME_1 }}{{ end }}", "TemplateOne"),
        ("{{ range split \",\" .NONE }}y{{ else }}n{{ end }}", "n"),
        ("{{ len .NONE }}", "0"),
        ("{{ printf \"%s|%q|%v\" .NONE .NONE .NONE }}", "|\"\"|"),
        ("{{ print .NONE \"x\" }}", "x"),
        ("{{ index . \"NONE\" }}|{{ index . \"NAME\" }}", "|Template"),
        ("{{ $x := .NONE }}[{{ $x }}]", "[]"),
        ("{{ if $.NONE }}y{{ else if .NAME }}z{{ end }}", "z"),
        ("{{ define \"t\" }}[{{ .NONE }}]{{ end }}{{ template \"t\" . }}", "[]"),
        ("{{ (index . \"NONE\") | default \"d\" }}", "d"),
        ("{{ .NONE | printf \"%s%s\" .NONE }}|", "|"),
    ];
    for (text, expected) in cases {
        assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn all_variables_are_those_that_are_set() {
    let text = "{{ .NONE }}{{ range $k, $v := . }}{{ $k }}={{ $v }};{{ end }}{{ len . }}";
    let expected =
        "BRACES={{ .NAME }};COUNT=3;EMPTY=;EQUALS=a=b=c;NAME=Template;NAME_1=One;PARTS=a:b:c;7";
    assert_eq!(rendered(text).as_deref(), Ok(expected));
    let text = "{{ .NONE }}{{ range $ }}x{{ end }}";
    assert_eq!(rendered(text).as_deref(), Ok("xxxxxxx"));
    let text = "{{ range split \":\" .PARTS }}{{ range . }}{{ end }}{{ end }}";
    assert!(rendered(text).is_err(), "a string cannot be ranged over");
}

#[test]
fn go_s_own_rules_hold() {
    let cases = [
        ("a {{- \" b \" -}} c", "a b c"),
        ("a\n{{- /* note }} */ -}}\n b", "ab"),
        ("a {{/* }} */}} b", "a  b"),
        ("{{ \"}}\" }}{{ `}}` }}", "}}}}"),
        ("{{ \"\\\"}}\" }}", "\"}}"),
        ("{{ range $i, $e := split \":\" .PARTS }}{{ if $i }},{{ end }}{{ $e }}{{ end }}", "a,b,c"),
        (
            "{{ range split \":\" .PARTS }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end \
             }}",
            "ac",
        ),
        (
            "{{ range split \":\" .PARTS }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "a",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ block \"b\" .NAME }}<{{ . }}>{{ end }}", "<Template>"),
        ("{{ with $x := .NAME }}{{ $x }}{{ end }}", "Template"),
        ("{{ if and (ge 3 2) (lt 1 2) (le 2 2) (gt 3 1) (eq 1 2 1) }}y{{ end }}", "y"),
        ("{{ index (split \":\" .PARTS) 1 }}{{ slice \"abcdef\" 1 3 }}", "bbc"),
        (
            "{{ html \"<a>\" }} {{ js \"it's\" }} {{ urlquery \"a b&c\" }}",
            "&lt;a&gt; it\\'s a+b%26c",
        ),
        ("{{ println \"a\" 1 }}", "a 1\n"),
        ("{{ printf \"%03d %x %t %v\" 7 255 true 1.5 }}", "007 ff true 1.5"),
        ("{{ printf \"%d\" (len .PARTS) }}", "5"),
        ("{{ .NAME | printf \"%s-%s\" \"x\" | printf \"%q\" }}", "\"x-Template\""),
        ("{{- .NAME}} x {{.COUNT -}} ", "Template x 3"),
        ("{{ if .NAME -}} y {{- end }}", "y"),
        ("{{.NAME}}-{{- 3}}", "Template--3"),
        ("no template }} here", "no template }} here"),
        ("{{ not .EMPTY }}{{ call }}", "true"),
    ];
    for (text, expected) in cases.iter().take(cases.len() - 3) {
        assert_eq!(rendered(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn mistakes_are_errors_at_their_place() {
    let cases = [
        ("ok\n  {{ nofunc 1 }}", "2:6 "),
        ("{{ .NAME ", "1:"),
        ("a\n{{ if .NAME }}\nno end", "3:"),
        ("a {{ end }}", "1:"),
        ("{{ .NAME.X }}", "1:4 "),
        ("x\n\n {{ loop \"a\" }}", "3:5 "),
        ("{{- /* c */ -}}\n\n {{ split 1 2 }}", "3:5 "),
        ("{{ regexReplaceAll \"(\" \"\" \"\" }}", "1:4 "),
        ("{{ template \"none\" }}", "1:"),
        ("{{ default \"a\" }}", "1:4 "),
        ("{{ loop 1 2 3 }}", "1:4 "),
        ("{{ loop 99999999999 }}", "1:4 "),
        ("{{ $x }}", "1:"),
        ("{{ \"unclosed }}", "1:"),
        ("a {{ \"\\xé\" }}", "1:6 "),
        ("a {{ '\\q' }}", "1:6 "),
        ("a {{ 'ab' }}", "1:"),
        ("{{ 1 }}\0", "1:8 "),
        ("{{ range 5.5 }}{{ end }}", "1:"),
    ];
    for (text, expected) in cases {
        let error = rendered(text).expect_err(text);
        assert!(error.starts_with(expected), "{text}: {error}");
        assert!(error.contains("cannot render the template: "), "{text}: {error}");
        assert!(!error.contains('\0'), "{text}: {error}");
    }
}

#[test]
fn an_unknown_function_gets_a_near_name() {
    let error = render("f", "{{ .X | replaceAl \"a\" \"b\" }}", &env()).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean `replaceAll`?"));
}

#[test]
fn endless_templates_are_errors_and_no_crash() {
    let cases = [
        "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}",
        "{{ define \"a\" }}{{ template \"b\" . }}{{ end }}{{ define \"b\" }}{{ template \"a\" . \
         }}{{ end }}{{ template \"a\" . }}",
        "{{ $s := \"x\" }}{{ range loop 64 }}{{ $s = print $s $s }}{{ end }}",
        "{{ range loop 10000 }}{{ range loop 10000 }}x{{ end }}{{ end }}",
        "{{ range 100000000 }}{{ end }}",
    ];
    for text in cases {
        assert!(rendered(text).is_err(), "{text}");
    }
    let deep = format!("{}{}", "{{ if true }}".repeat(5_000), "{{ end }}".repeat(5_000));
    assert!(rendered(&deep).is_err());
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(rendered(&deep).is_err());
    let good = format!("{{{{ {}1{} }}}}", "(".repeat(32), ")".repeat(32));
    assert_eq!(rendered(&good).as_deref(), Ok("1"));
    let chain = format!("{{{{ if .A }}}}{}{{{{ end }}}}", "{{ else if .A }}".repeat(20_000));
    let _ = rendered(&chain);

    let elses = format!("{{{{ if .A }}}}{}x{{{{ end }}}}", "{{ else if .A }}".repeat(58));
    assert_eq!(rendered(&elses).as_deref(), Ok(""));
    let ifs = format!("{}x{}", "{{ if .NAME }}".repeat(60), "{{ end }}".repeat(60));
    assert_eq!(rendered(&ifs).as_deref(), Ok("x"));
    let ranges = format!("{}x{}", "{{ range loop 1 }}".repeat(60), "{{ end }}".repeat(60));
    assert_eq!(rendered(&ranges).as_deref(), Ok("x"));
    let pipes = format!("{{{{ 1 {} }}}}", "| print".repeat(20_000));
    let _ = rendered(&pipes);
    let fields = format!("{{{{ .A{} }}}}", ".B".repeat(20_000));
    let _ = rendered(&fields);
    let blocks = format!("{}{}", "{{ block \"a\" . }}".repeat(5_000), "{{ end }}".repeat(5_000));
    let _ = rendered(&blocks);
}

#[test]
fn every_part_of_the_output_leads_back_to_the_file() {
    let text = "a {{- .NAME }} b{{ range loop 2 }}[{{ . }}]{{ end }}\n{{/* c */}}z";
    let rendered = render("f", text, &env()).unwrap();
    assert_eq!(rendered.text, "aTemplate b[0][1]\nz");
    let source = Source::rendered("f", text, rendered.text.clone(), rendered.pieces);
    let at = |part: &str| {
        let start = rendered.text.find(part).unwrap();
        let place = source.place(Span::new(start, start + part.len()));
        (place.start.line, place.start.column, place.end.column, place.produced)
    };
    assert_eq!(at("aT"), (1, 1, 15, false));
    assert_eq!(at("Templ"), (1, 3, 15, true));
    assert_eq!(at(" b"), (1, 15, 17, false));
    assert_eq!(at("1"), (1, 36, 43, true));
    assert_eq!(at("z"), (2, 12, 13, false));
}

proptest! {
    #[test]
    fn any_template_renders_or_is_refused(
        words in prop::collection::vec(prop::sample::select(&[
            "{{", "}}", "{{- ", " -}}", "if ", "else ", "end", "range ", ".NAME",
            ".X", "\"", "`", "|",
            "loop ", "3", "define \"a\"", "template \"a\"", "$x", ":=", "/*", "*/", "x", "\n", " ",
        ][..]), 0..25)
    ) {
        let text = words.concat();
        if let Err(error) = render("f", &text, &env()) {
            prop_assert!(error.line >= 1);
            prop_assert!(error.column >= 1);
            prop_assert!(error.message.starts_with("cannot "));
        }
    }

    #[test]
    fn any_call_renders_or_is_refused(
        function in prop::sample::select(functions::names().collect::<Vec<_>>()),
        args in prop::collection::vec(prop::sample::select(&[
            ".NAME", ".NONE", ".", "$", "nil", "true", "0", "-1", "1", "99", "1.5",
            "1e400", "0x1p-2", "9223372036854775807", "'ä'", "\"ä€😀\"", "\"\"",
            "\"%s %d %v %q %x %08.3f %-5s| %c %U %t %%\"", "\"%*d %[2]d %!x % x %+q %#v %T\"",
            "\"%\"", "(loop 3)", "(split \":\" .PARTS)",
            "(len .NAME)", "(index . \"NAME\")", "`\\`", "(print 1 \"a\")", "(slice \"äb\" 0 1)",
            "\"(\"", "\"$1\"", "\"[\\\\d-]\"",
        ][..]), 0..5),
        pipe in any::<bool>()
    ) {
        let text = match (pipe, args.split_last()) {
            (true, Some((last, rest))) => {
                format!("{{{{ {last} | {function} {} }}}}", rest.join(" "))
            }
            _ => format!("{{{{ {function} {} }}}}", args.join(" ")),
        };
        if let Err(error) = render("f", &text, &env()) {
            prop_assert!(error.message.starts_with("cannot "));
        }
    }

    #[test]
    fn marks_do_not_change_what_is_rendered(
        parts in prop::collection::vec(prop_oneof![
            Just("{{ .NAME }}"), Just("{{- .COUNT -}}"), Just(" x "), Just("\n\t"),
            Just("{{ if .NONE }}a{{ else }} b {{- end }}"), Just("{{/* c */}}"),
            Just("{{ range loop 3 -}} {{ . }} {{ end }}"), Just("{{ $v := 1 }}"), Just("ü"),
        ], 0..12)
    ) {
        let text = parts.concat();
        let with = rendered(&text);
        let marked = Marked::new(&text, &segments::split(&text).unwrap()).unwrap();
        let without = execute(&text, data(&env(), &marked)).map_err(|error| error.to_string());
        prop_assert_eq!(with, without);
    }
}
