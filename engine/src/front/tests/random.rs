//! Whatever comes in is loaded or refused, with places that exist.

use proptest::prelude::*;

use super::*;
use crate::{Engine, Input, Stamp};

/// Takes any text; gives a configuration or complaints with places that exist.
fn judge(text: &str, env: &[(&str, &str)]) -> Result<(), TestCaseError> {
    let around = around(env);
    let report = check("f", text, &around);
    match load("f", text, &around) {
        Ok(loaded) => {
            prop_assert_eq!(&loaded.warnings, &report.warnings);
            // What is accepted can be run: the machine takes it and wants to be woken at most
            // later.
            let mut effects = Vec::new();
            let mut engine = Engine::new(loaded.config, 7);
            engine.handle(Stamp::default(), Input::Begin, &mut effects);
            for _ in 0..20 {
                let Some(wakeup) = engine.next_wakeup() else { break };
                let now = Stamp { mono: wakeup, wall_ms: (wakeup.0 / 1_000_000) as i64 };
                engine.handle(now, Input::Tick, &mut effects);
            }
        }
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            // Only the choice of addresses comes on top of the check.
            if report.is_good() {
                prop_assert!(errors.iter().all(|error| error.code == "no-address"));
            }
            for error in &errors {
                judge_place(error, text)?;
            }
        }
    }
    for diagnostic in report.errors.iter().chain(&report.warnings) {
        judge_place(diagnostic, text)?;
        prop_assert!(!diagnostic.to_text(Colours::Off).is_empty());
        prop_assert!(serde_json::to_string(diagnostic).is_ok());
    }
    let places = |list: &[Diagnostic]| -> Vec<(u32, u32)> {
        list.iter().map(|diagnostic| (diagnostic.line, diagnostic.column)).collect()
    };
    prop_assert!(places(&report.errors).is_sorted());
    prop_assert!(places(&report.warnings).is_sorted());
    Ok(())
}

fn judge_place(diagnostic: &Diagnostic, text: &str) -> Result<(), TestCaseError> {
    prop_assert!(diagnostic.message.starts_with("cannot "), "{}", diagnostic.message);
    prop_assert!(!diagnostic.message.contains('\0') || text.contains('\0'));
    if diagnostic.rendered {
        return Ok(());
    }
    let line = text.split('\n').nth(diagnostic.line as usize - 1);
    let line = line.map(|line| line.trim_end_matches('\r'));
    prop_assert_eq!(line, Some(&*diagnostic.source_line));
    let width = line.unwrap_or_default().chars().count() + 2;
    prop_assert!((1..=width).contains(&(diagnostic.column as usize)));
    let end = (diagnostic.end.line, diagnostic.end.column);
    prop_assert!(end >= (diagnostic.line, diagnostic.column));
    Ok(())
}

/// Values that a key may be given, right and wrong.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null"),
        Just("true"),
        Just("0"),
        Just("1"),
        Just("-1"),
        Just("1.5"),
        Just("1e300"),
        Just("70000"),
        Just("NaN"),
        Just("''"),
        Just("'5s'"),
        Just("'500ms'"),
        Just("'never'"),
        Just("'unlimited'"),
        Just("'a'"),
        Just("'b'"),
        Just("'watch.w'"),
        Just("'lock.l'"),
        Just("'check.a'"),
        Just("'global'"),
        Just("'SIGHUP'"),
        Just("'stopping'"),
        Just("'healthy'"),
        Just("'changed'"),
        Just("'exitSuccess'"),
        Just("'* * * * *'"),
        Just("'none'"),
        Just("'auto'"),
        Just("'{{ .UNSET }}'"),
        Just("{{ .PORT }}"),
        Just("{{ .WEIRD }}"),
        Just("'inet6'"),
        Just("'ä\\n'"),
    ]
    .prop_map(String::from);
    leaf.prop_recursive(3, 24, 4, |inner| {
        let pair = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}: {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(pair, 0..5)
                .prop_map(|items| format!("{{ {} }}", items.join(", "))),
        ]
    })
}

/// Keys of all blocks, and some of none.
fn key() -> impl Strategy<Value = String> {
    let names: Vec<String> = crate::front::keys::BLOCKS
        .iter()
        .flat_map(|block| block.keys.iter().map(|key| String::from(key.name)))
        .chain(["bogus", "NAME", "'nofile'"].map(String::from))
        .collect();
    prop::sample::select(names)
}

fn block(path: &'static str) -> impl Strategy<Value = String> {
    let block = crate::front::keys::BLOCKS.iter().find(|block| block.path == path).unwrap();
    let names: Vec<&str> = block.keys.iter().map(|key| key.name).collect();
    prop::collection::vec((prop::sample::select(names), value()), 0..8).prop_map(|pairs| {
        let pairs: Vec<String> =
            pairs.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("{{ {} }}", pairs.join(",\n"))
    })
}

/// One job that is right in itself and waits for nothing that may be missing.
fn good_job() -> impl Strategy<Value = String> {
    let any = |list: &'static [&'static str]| prop::sample::select(list);
    let exec = any(&["exec: 'x'", "exec: ['x', 'y z', 7]", "exec: '{{ .NAME }} a'"]);
    let when = any(&[
        "",
        "when: { interval: '5s' },",
        "when: { source: 'SIGHUP' },",
        "when: { schedule: '*/5 1 * * 1-5' },",
        "when: { source: 'watch.ww', each: 'changed' },",
        "when: { source: 'lock.l', once: 'acquired' },",
        "when: { all: [{ once: 'startup' }, { source: 'watch.ww', once: 'healthy' }], timeout: 9},",
        "when: { any: [{ source: 'SIGUSR2' }, { source: 'watch.ww', once: 'unhealthy' }] },",
    ]);
    let rest = any(&[
        "",
        "restarts: 3,",
        "restarts: '2',",
        "backoff: 'none',",
        "backoff: { initial: 1, max: '1m' },",
        "essential: 'true',",
        "killTimeout: '1500ms',",
        "stopSignal: 'QUIT',",
        "env: { A: 1, B: '=' },",
        "user: 'u', group: 'g',",
        "limits: { nofile: 5 },",
        "logging: { raw: 1 },",
        "while: 'lock.l',",
    ]);
    let service = any(&[
        "",
        "port: 80, health: { exec: 'h', interval: 5, ttl: 15 },",
        "port: '{{ .PORT }}', interfaces: 'eth0', health: { interval: '2s', ttl: 9 }, tags: [1],",
        "health: { exec: 'h', interval: 5, retries: 3, startPeriod: 20, startInterval: '500ms' },",
    ]);
    (exec, when, rest, service)
        .prop_map(|(exec, when, rest, service)| format!("{when} {rest} {service} {exec}"))
}

fn good_top() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            "stopTimeout: 12",
            "logging: { level: 'debug', format: 'JSON', output: '/x' }",
            "telemetry: { port: 9091, metrics: [{ name: 'm', type: 'gauge' }] }",
            "control: { socket: '/s' }",
        ][..],
    )
    .prop_map(String::from)
}

const ENV: &[(&str, &str)] = &[("PORT", "80"), ("WEIRD", "\"}] {{ \\"), ("NAME", "a")];

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in any::<String>()) {
        judge(&text, ENV)?;
    }

    #[test]
    fn any_bytes_are_loaded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        judge(&String::from_utf8_lossy(&bytes), ENV)?;
    }

    #[test]
    fn any_blocks_are_loaded_or_refused(
        jobs in prop::collection::vec(block("jobs[]"), 0..4),
        whens in prop::collection::vec(block("jobs[].when"), 0..4),
        healths in prop::collection::vec(block("jobs[].health"), 0..3),
        watches in prop::collection::vec(block("watches[]"), 0..3),
        locks in prop::collection::vec(block("locks[]"), 0..2),
        telemetry in block("telemetry"),
        logging in block("logging"),
        consul in block("consul"),
    ) {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let named = whens.iter().map(|when| format!("exec: 'x', when: {when}"))
            .chain(healths.iter().map(|health| format!("exec: 'x', port: 1, health: {health}")));
        let named = named.zip(names).map(|(body, name)| format!("{{ name: '{name}', {body} }}"));
        let jobs: Vec<String> = jobs.into_iter().chain(named).collect();
        let text = format!(
            "{{ jobs: [{}], watches: [{{ name: 'w', interval: 1 }}, {}],\nlocks: [{{ name: 'l', \
             key: 'k' }}, {}], \
             telemetry: {telemetry}, logging: {logging}, consul: {consul} }}",
            jobs.join(", "), watches.join(", "), locks.join(", ")
        );
        judge(&text, ENV)?;
    }

    #[test]
    fn good_jobs_are_loaded_and_run(
        bodies in prop::collection::vec(good_job(), 1..6),
        extras in prop::collection::vec(good_top(), 0..4)
    ) {
        let jobs: Vec<String> = bodies.iter().enumerate()
            .map(|(index, body)| format!("{{ name: 'job-{index}', {body} }}"))
            .collect();
        let mut extras = extras;
        extras.sort();
        extras.dedup_by_key(|extra| extra[..3].to_owned());
        let text = format!(
            "{{ consul: 'c:8500', jobs: [{}], watches: [{{ name: 'ww', interval: 5 }}],\n\
             locks: [{{ name: 'l', key: 'k' }}], {} }}",
            jobs.join(",\n"), extras.join(", ")
        );
        if let Err(errors) = load("f", &text, &around(ENV)) {
            prop_assert!(false, "{}\n{}", text, errors[0].to_text(Colours::Off));
        }
        judge(&text, ENV)?;
    }

    #[test]
    fn damaged_examples_are_loaded_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        cut in 0_usize..40,
        insert in "[{}\\[\\],:'\"0-9a-z{ .$|\\\\-]{0,4}"
    ) {
        let examples = super::examples::examples();
        let (_, text) = which.get(&examples);
        let mut start = at.index(text.len());
        while !text.is_char_boundary(start) { start -= 1; }
        let mut end = (start + cut).min(text.len());
        while !text.is_char_boundary(end) { end -= 1; }
        let text = format!("{}{insert}{}", &text[..start], &text[end.max(start)..]);
        judge(&text, ENV)?;
    }
}
