//! Every kind of problem, at its place.

use super::*;

/// Each text with what is said about it, in order.
fn expect(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(problems(text), *expected, "{text}");
    }
}

#[test]
fn types_and_limits_are_checked_where_they_are_written() {
    let text = with_job("port: 70000, tags: 'x', timeout: 1.5,\nessential: 'maybe', restarts: -1");
    let expected = [
        "2:35 out-of-range cannot use 70000 as `port` of job \"app\": it must be a whole number \
         from 0 to 65535",
        "2:48 wrong-type cannot use \"x\" as `tags` of job \"app\": it must be a list",
        "2:62 bad-value cannot use 1.5 as `timeout` of job \"app\": a number that is not whole \
         needs a unit",
        "3:12 wrong-type cannot use \"maybe\" as `essential` of job \"app\"",
        "3:31 bad-value cannot use -1 as `restarts` of job \"app\"",
    ];
    assert_eq!(problems(&text), expected);
    expect(&[("{ jobs: [{ name: 'a', exec: 'a' }] }", &[])]);
}

#[test]
fn a_good_job_is_loaded() {
    let loaded = loaded(&with_job("timeout: '1500ms'"));
    assert_eq!(loaded.config.jobs[0].timeout, Some(std::time::Duration::from_millis(1500)));
}

#[test]
fn telemetry_is_a_built_in_service_where_there_is_consul() {
    let text = "{ consul: 'c:8500', telemetry: { port: 9000, tags: ['t'] }, jobs: [{ name: 'a', \
                exec: 'a' }] }";
    let loaded = loaded(text);
    let own = loaded.config.jobs.last().unwrap();
    assert_eq!((&*own.name, own.builtin, own.command.is_none()), ("containerpilot", true, true));
    let service = own.service.as_ref().unwrap();
    assert_eq!(service.port, 9000);
    assert_eq!(service.address, Some("10.1.2.3".parse().unwrap()));
    assert_eq!(service.tags, [Box::from("t"), Box::from(env!("CARGO_PKG_VERSION"))]);
    assert_eq!(&*loaded.config.hostname, "box");
    let without = super::loaded("{ telemetry: {}, jobs: [{ name: 'a', exec: 'a' }] }");
    assert_eq!(without.config.jobs.len(), 1);
    assert_eq!(without.settings.telemetry.unwrap().port, 9090);
}

/// A configuration of jobs that each have `exec`, from the rest of their blocks.
fn jobs(bodies: &[&str]) -> String {
    let names = ["a", "b", "c", "d", "e"];
    let jobs = bodies
        .iter()
        .zip(names)
        .map(|(body, name)| format!("{{ name: '{name}', exec: 'x', {body} }},\n"));
    format!("{{ consul: 'c:8500', jobs: [\n{}] }}", jobs.collect::<String>())
}

/// The codes of all problems, errors first.
fn codes(text: &str) -> Vec<&'static str> {
    let report = check("f", text, &around(&[]));
    report.errors.iter().chain(&report.warnings).map(|problem| problem.code).collect()
}

#[test]
fn keys_are_checked_against_the_tables() {
    expect(&[
        (
            "{ job: [] }",
            &[
                "1:3 unknown-key cannot use the key `job` in the configuration: there is none",
                "1:1 nothing-to-do cannot do anything: there are no jobs",
            ],
        ),
        ("[]", &["1:1 wrong-type cannot use a list as the configuration: it must be a block"]),
        (
            "{ jobs: [{}] }",
            &[
                "1:10 missing-key cannot leave out `name` of jobs[0]",
                "1:10 nothing-to-do cannot do anything in jobs[0]: it has neither `exec` nor \
                 `port`",
            ],
        ),
        ("{ jobs: [null, { name: 'x', exec: 'x' }, null], watches: null }", &[]),
        ("{ jobs: [{ NAME: 'x', Exec: 'x', RESTARTS: '3' }] }", &[]),
        (
            "{ jobs: [{ name: 'x', exec: 'x' }], jobs: [] }",
            &["1:37 duplicate-key cannot give `jobs` twice in the configuration"],
        ),
        (
            "{ jobs: [{ name: 'x', exec: 'x', env: { A: 1, A: 2 } }] }",
            &["1:47 duplicate-key cannot give `A` twice in `env` of job \"x\""],
        ),
        (
            "{ Jobs: [], stoptimeout: 5 }",
            &[
                "1:3 unknown-key cannot use the key `Jobs` in the configuration: there is none",
                "1:13 unknown-key cannot use the key `stoptimeout` in the configuration: there is \
                 none",
                "1:1 nothing-to-do cannot do anything: there are no jobs",
            ],
        ),
    ]);
    let report = check("f", "{ Jobs: [] }", &around(&[]));
    assert_eq!(
        report.errors[0].help.as_deref(),
        Some("at the top level case matters: write `jobs`")
    );
}

#[test]
fn triggers_take_every_form_that_v3_took() {
    let good = [
        "when: { source: 'SIGHUP', each: 'SIGHUP' }",
        "when: { source: 'SIGUSR2', once: 'SIGUSR2' }",
        "when: { source: 'SIGHUP' }",
        "when: { each: 'SIGUSR2' }",
        "when: { source: 'containerpilot', once: 'enterMaintenance' }",
        "when: { source: 'global', each: 'exitMaintenance' }",
        "when: { source: 'anything', once: 'shutdown' }",
        "when: { once: 'startup' }",
        "when: { interval: '1ms' }, restarts: 3",
        "when: { interval: 5, once: '', source: '' }",
        "when: { schedule: '@hourly' }",
        "when: { any: [{ source: 'SIGHUP' }, { once: 'shutdown' }], timeout: 5 }",
        "when: { all: [{ source: 'b', once: 'exitSuccess' }, { source: 'b', once: 'stopped' }] }",
        "when: { source: 'b', each: 'exitFailed', timeout: '' }",
        "when: null",
    ];
    for body in good {
        assert_eq!(codes(&jobs(&[body, ""])), [""; 0], "{body}");
    }
    let trigger = |body: &str| loaded(&jobs(&[body, ""])).config.jobs[0].trigger.clone();
    let signal = |name, repeat| {
        let source = crate::config::SourceName::Signal(name);
        crate::config::Trigger::On(crate::config::Clause {
            code: crate::event::Code::Signal,
            source,
            repeat,
        })
    };
    use crate::config::Repeat;
    use crate::event::SignalName;
    assert_eq!(trigger(good[0]), signal(SignalName::Hup, Repeat::Each));
    assert_eq!(trigger(good[1]), signal(SignalName::Usr2, Repeat::Once));
    assert_eq!(trigger(good[2]), signal(SignalName::Hup, Repeat::Each));
    assert_eq!(trigger(good[3]), signal(SignalName::Usr2, Repeat::Each));
}

#[test]
fn triggers_that_mean_nothing_are_refused() {
    let cases: [(&str, &[&str]); 28] = [
        ("when: {}", &["missing-key"]),
        ("when: { timeout: 5 }", &["missing-key"]),
        ("when: { source: 'b' }", &["missing-key"]),
        ("when: { once: 'exitSuccess' }", &["missing-key"]),
        ("when: { source: 'b', once: 'exitSuccess', each: 'exitFailed' }", &["conflicting-keys"]),
        ("when: { interval: 5, once: 'startup' }", &["conflicting-keys"]),
        ("when: { interval: 5, schedule: '@daily' }", &["conflicting-keys"]),
        ("when: { interval: 5, source: 'b' }", &["ignored-key"]),
        ("when: { interval: 5, timeout: 3 }", &["ignored-key"]),
        ("when: { interval: 0 }", &["out-of-range"]),
        ("when: { interval: '999us' }", &["out-of-range"]),
        ("when: { schedule: '61 * * * *' }", &["bad-value"]),
        ("when: { all: [] }", &["bad-value"]),
        ("when: { all: {} }", &["wrong-type"]),
        ("when: { any: [{ interval: 5 }] }", &["conflicting-keys"]),
        ("when: { source: 'nobody', once: 'healthy' }", &["unknown-source"]),
        ("when: { source: 'watch.b', once: 'changed' }", &["unknown-source"]),
        ("when: { source: 'SIGTERM', each: 'SIGTERM' }", &["unknown-source", "unknown-event"]),
        ("when: { source: 'SIGHUP', each: 'changed' }", &["unknown-event"]),
        ("when: { source: 'b', once: 'helthy' }", &["unknown-event"]),
        ("when: { source: 'bb', once: 'helthy' }", &["unknown-source", "unknown-event"]),
        ("when: { source: 'global', once: 'enterMaintenence' }", &["unknown-event"]),
        ("when: { source: 'b', once: 'healthy' }", &["event-never-sent"]),
        ("when: { source: 'b', each: 'changed' }", &["event-never-sent"]),
        ("when: { source: 'b', once: 'timerExpired' }", &["event-never-sent"]),
        ("when: { source: 'check.b', once: 'exitSuccess' }", &["event-never-sent"]),
        ("when: { source: 'b', each: 'exitFailed' }, restarts: 'unlimited'", &["endless-starts"]),
        ("when: { interval: 5 }, restarts: 'never'", &["ignored-key"]),
    ];
    for (body, expected) in cases {
        assert_eq!(codes(&jobs(&[body, ""])), expected, "{body}");
    }
}

#[test]
fn waits_in_a_circle_are_named_in_their_order() {
    let text = jobs(&[
        "when: { source: 'b', once: 'exitSuccess' }",
        "when: { source: 'c', once: 'stopping' }",
        "when: { all: [{ once: 'startup' }, { source: 'a', once: 'exitFailed' }] }",
        "when: { source: 'b', once: 'exitSuccess' }",
        "when: { source: 'e', once: 'exitSuccess' }",
    ]);
    assert_eq!(
        problems(&text),
        [
            "2:41 wait-cycle cannot ever start these jobs, which wait for each other: \"a\" → \
             \"b\" → \"c\" → \"a\"",
            "6:41 wait-cycle cannot ever start job \"e\": it waits for itself",
            "5:41 never-runs cannot ever start job \"d\": it waits for job \"b\", which cannot \
             start",
        ]
    );
    // A way out of the circle is enough.
    let text = jobs(&[
        "when: { any: [{ source: 'b', once: 'exitSuccess' }, { source: 'SIGHUP' }] }",
        "when: { source: 'a', once: 'exitSuccess' }",
    ]);
    assert_eq!(codes(&text), [""; 0]);
    // One that gives up waiting stops, so that its stop can be waited for.
    let text = jobs(&[
        "when: { source: 'b', once: 'exitSuccess', timeout: 5 }",
        "when: { source: 'a', once: 'stopped' }",
    ]);
    assert_eq!(codes(&text), [""; 0]);
}

#[test]
fn services_are_checked() {
    let health = "health: { exec: 'x', interval: 5, ttl: 15 }";
    let job = |body: &str| {
        format!("{{ consul: 'c:8500', jobs: [{{ name: 'web', exec: 'x', {body} }}] }}")
    };
    let cases: [(&str, &[&str]); 12] = [
        ("port: 80", &["health-missing"]),
        ("port: '80', HEALTH", &[]),
        ("port: 0", &[]),
        ("port: -1, HEALTH", &["out-of-range"]),
        ("port: 80, health: { exec: 'x', interval: 5 }", &["missing-key"]),
        ("port: 80, health: { exec: 'x', interval: 0, ttl: 0 }", &["out-of-range", "out-of-range"]),
        ("port: 80, health: { exec: 'x', interval: 5, ttl: 5 }", &["ttl-too-short"]),
        (
            "port: 80, health: { exec: 'x', interval: 5, ttl: 15, timeout: 9 }",
            &["check-outlasts-interval"],
        ),
        ("port: 80, initial_status: 'dead', HEALTH", &["bad-value"]),
        ("port: 80, interfaces: ['eth0', '10.0.0.1'], HEALTH", &["bad-value"]),
        ("port: 80, consul: { deregisterCriticalServiceAfter: '1 m' }, HEALTH", &["bad-value"]),
        ("meta: { a: 1 }, drain: 5", &["ignored-key", "ignored-key"]),
    ];
    for (body, expected) in cases {
        assert_eq!(codes(&job(&body.replace("HEALTH", health))), expected, "{body}");
    }
    let name =
        format!("{{ consul: 'c:1', jobs: [{{ name: 'My_App', exec: 'x', port: 80, {health} }}] }}");
    assert_eq!(codes(&name), ["bad-name"]);
}

#[test]
fn what_needs_consul_says_so_once_with_all_places() {
    let text = "{ jobs: [{ name: 'web', exec: 'x', port: 80,\n health: { exec: 'x', interval: 5, \
                ttl: 15 } }],\n\
                watches: [{ name: 'db', interval: 5 }, { name: 'f', file: '/f' }],\nlocks: [{ \
                name: 'l', key: 'k' }] }";
    let report = check("f", text, &around(&[]));
    assert_eq!(report.errors.len(), 1);
    let error = &report.errors[0];
    assert_eq!(error.code, "consul-missing");
    assert_eq!((error.line, error.column), (1, 42));
    let lines: Vec<u32> = error.related.iter().map(|related| related.start.line).collect();
    assert_eq!(lines, [3, 4]);
}

#[test]
fn processes_are_checked() {
    let cases: [(&str, &[&str]); 24] = [
        ("user: 'app', group: '7'", &[]),
        ("group: 'app'", &["conflicting-keys"]),
        ("user: 1000", &["half-identity"]),
        ("umask: '027'", &[]),
        ("umask: '0o27'", &[]),
        ("umask: 27", &["wrong-type"]),
        ("umask: '8'", &["bad-value"]),
        ("umask: '1777'", &["bad-value"]),
        ("limits: { nofile: 1024, CORE: 'unlimited', nproc: { soft: 5, hard: '10' } }", &[]),
        ("limits: { nofile: { soft: 10, hard: 5 } }", &["out-of-range"]),
        ("limits: { nofile: {} }", &["missing-key"]),
        ("limits: { nofile: -1 }", &["out-of-range"]),
        ("limits: { files: 1 }", &["unknown-key"]),
        ("limits: { nofile: 1, NoFile: 2 }", &["duplicate-key"]),
        ("env: { 'A B': 1 }", &["weak-value"]),
        ("env: { '': 1 }", &["bad-name"]),
        ("stopSignal: 'int', killTimeout: '600ms'", &[]),
        ("stopSignal: 'SIGRTMIN+3'", &[]),
        ("stopSignal: 15", &[]),
        ("stopSignal: 'SIGNOPE'", &["bad-value"]),
        ("stopSignal: 0", &["bad-value"]),
        ("backoff: 'none', restarts: 'unlimited'", &["restart-storm"]),
        (
            "backoff: { initial: '1s', max: '500ms', factor: 0.5 }",
            &["out-of-range", "out-of-range"],
        ),
        ("restarts: 1.5", &["weak-value"]),
    ];
    for (body, expected) in cases {
        assert_eq!(codes(&jobs(&[body])), expected, "{body}");
    }
    let job =
        loaded(&jobs(&["stopSignal: 'int', umask: '027', restarts: '3', limits: { nofile: 5 }"]))
            .config
            .jobs
            .remove(0);
    assert_eq!(job.stop_signal, crate::config::Signal(2));
    assert_eq!(job.restarts, crate::config::Restarts::Limited(3));
    let command = job.command.clone().unwrap();
    assert_eq!(command.umask, Some(0o27));
    assert_eq!((command.limits[0].soft, command.limits[0].hard), (Some(5), Some(5)));
}

#[test]
fn commands_for_a_shell_are_noticed_and_others_are_not() {
    let exec = |exec: &str| codes(&format!("{{ jobs: [{{ name: 'a', exec: {exec} }}] }}"));
    for shell in [
        "'a | b'",
        "'a > f'",
        "'a >f'",
        "'a 2>&1'",
        "'a && b'",
        "'a; b'",
        "'sh -c \"a b\"'",
        "'a $HOME'",
        "'a ${X}'",
        "'a `b`'",
        "\"it's 'x y'\"",
    ] {
        assert_eq!(exec(shell), ["shell-syntax"], "{shell}");
    }
    for plain in [
        "'a -b --c=d;e'",
        "'curl http://x/?a=b&c=d'",
        "'a $'",
        "'a 100%'",
        "'a * ?'",
        "'  a   b '",
        "['sh', '-c', 'a | b']",
        "'a don\\'t'",
    ] {
        assert_eq!(exec(plain), [""; 0], "{plain}");
    }
    assert_eq!(exec("''"), ["bad-value"]);
    assert_eq!(exec("[]"), ["bad-value"]);
    assert_eq!(exec("['a', ['b']]"), ["wrong-type"]);
    assert_eq!(exec("5"), ["wrong-type"]);
    let config = loaded(
        "{ jobs: [{ name: 'a', exec: ['x', 7101, 1.50, 0x10] }, { name: 'b', exec: ' x  y\\n' }] }",
    )
    .config;
    let argv = |index: usize| -> Vec<String> {
        let command = config.jobs[index].command.as_ref().unwrap();
        command.argv.iter().map(|word| word.to_string()).collect()
    };
    assert_eq!(argv(0), ["x", "7101", "1.50", "16"]);
    assert_eq!(argv(1), ["x", "y"]);
}

#[test]
fn stop_budgets_that_cannot_fit_are_noticed() {
    let with = |global: &str, main: &str, hook: &str| {
        format!(
            "{{ {global} jobs: [{{ name: 'main', exec: 'x', {main} }}, {{ name: 'hook', exec: 'x', \
             {hook} }}] }}"
        )
    };
    let hook = "when: { source: 'main', once: 'stopping' }, timeout: '3s'";
    let after = "when: { source: 'main', once: 'stopped' }, timeout: '3s'";
    let cases: [(&str, &str, &str, &[&str]); 8] = [
        ("", "stopTimeout: 4", hook, &[]),
        ("", "stopTimeout: 5", hook, &["stop-budget"]),
        ("", "stopTimeout: 2", hook, &["stop-budget"]),
        ("stopTimeout: 2,", "", hook, &["stop-budget"]),
        ("", "stopTimeout: 4, killTimeout: 3", hook, &["stop-budget"]),
        ("stopTimeout: 10,", "stopTimeout: 4, killTimeout: 3", hook, &[]),
        ("", "killTimeout: 3", after, &["stop-budget"]),
        ("", "stopTimeout: 4", after, &["ignored-key"]),
    ];
    for (global, main, hook, expected) in cases {
        assert_eq!(codes(&with(global, main, hook)), expected, "{global} {main} {hook}");
    }
}

#[test]
fn handlers_without_a_trigger_are_noticed() {
    let named = |name: &str| codes(&format!("{{ jobs: [{{ name: '{name}', exec: 'x' }}] }}"));
    for name in ["preStop", "pre-stop", "post_stop", "onChange-db", "on-stop", "after-stop"] {
        assert_eq!(named(name), ["handler-without-trigger"], "{name}");
    }
    for name in ["preStart", "on-call", "app", "stopwatch"] {
        assert_eq!(named(name), [""; 0], "{name}");
    }
}

#[test]
fn locks_are_judged_by_their_figures() {
    let lock = |body: &str| {
        format!(
            "{{ consul: 'c:1', jobs: [{{ name: 'a', exec: 'x', while: 'lock.l' }}], locks: [{{ \
             name: 'l', key: 'k', {body} }}] }}"
        )
    };
    let fast = "ttl: 10, lockDelay: 9, renewEvery: 2, requestTimeout: '750ms', demoteAfter: \
                '6250ms', stopTimeout: '1500ms', maxPause: '500ms', holdOff: 9";
    let cases: [(&str, &[&str]); 12] = [
        ("", &[]),
        (fast, &[]),
        ("ttl: 9", &["lock-unsafe", "out-of-range"]),
        ("ttl: '25h', renewEvery: 5", &["out-of-range"]),
        ("lockDelay: 61", &["lock-unsafe", "out-of-range"]),
        ("lockDelay: '19540ms'", &[]),
        ("lockDelay: '19530ms'", &["lock-unsafe"]),
        ("lockDelay: '19530ms', unsafe: true", &["lock-risk"]),
        ("takeover: 19", &["lock-unsafe"]),
        ("takeover: 20", &[]),
        ("demoteAfter: 12", &["lock-unsafe"]),
        ("holdOff: 10", &["lock-unsafe"]),
    ];
    for (body, expected) in cases {
        let mut found = codes(&lock(body));
        found.sort_unstable();
        assert_eq!(found, expected, "{body}");
    }
    let report = check("f", &lock("lockDelay: '19530ms'"), &around(&[]));
    assert_eq!(
        &*report.errors[0].message,
        "cannot keep two holders of lock \"l\" apart when the session is destroyed: the old one \
         may run until \
         19.54s, the next may start after the lockDelay of 19.53s"
    );
    assert_eq!(
        report.errors[0].help.as_deref(),
        Some(
            "demoteAfter 13s + maxPause 1s + stopTimeout 5s + kill 500ms, with clocks 1000 ppm \
             off, are 19.54s; \
              use a lockDelay of at least 19.6s"
        )
    );
    assert_eq!(codes("{ jobs: [{ name: 'a', exec: 'x', while: 'lock.m' }] }"), ["unknown-source"]);
    assert_eq!(codes("{ jobs: [{ name: 'a', exec: 'x', while: 'm' }] }"), ["bad-value"]);
    assert_eq!(codes("{ jobs: [{ name: 'a', exec: 'x', stopWith: 'm' }] }"), ["bad-value"]);
    let beside = |keys: &str| {
        format!(
            "{{ consul: 'c:1', jobs: [{{ name: 'a', exec: 'x', stopWith: 'lock.l'{keys} }}], \
             locks: [{{ name: 'l', key: 'k' }}] }}"
        )
    };
    assert_eq!(codes(&beside("")), [""; 0]);
    assert_eq!(codes(&beside(", while: 'lock.l'")), ["conflicting-keys"]);
    assert_eq!(codes(&beside(", when: { interval: 5 }")), ["conflicting-keys"]);
    assert_eq!(codes(&lock("healthy: 'a'")), ["unknown-source"]);
}

#[test]
fn names_are_unique_and_told_apart() {
    let text = "{ consul: 'c:1', jobs: [{ name: 'a', exec: 'x' }, { name: 'a', exec: 'x' }],\n\
                watches: [{ name: 'ab', interval: 1 }, { name: 'ab', interval: 1, tag: 't' }],\n\
                locks: [{ name: 'l', key: 'k' }, { name: 'm', key: 'k' }] }";
    assert_eq!(codes(text), ["duplicate-name"; 3]);
    assert_eq!(
        codes(&text.replace("name: 'a'", "name: 'a-b'").replacen("a-b", "a_b", 1)),
        ["duplicate-name", "duplicate-name", "name-clash"]
    );
}

#[test]
fn addresses_are_chosen_only_to_run() {
    let text = "{ consul: 'c:1', jobs: [{ name: 'web', exec: 'x', port: 80, interfaces: 'eth7',\n\
                health: { exec: 'x', interval: 5, ttl: 15 } }] }";
    assert!(check("f", text, &around(&[])).is_good());
    let errors = load("f", text, &around(&[])).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].code, errors[0].line, errors[0].column), ("no-address", 1, 73));
    assert_eq!(errors[0].help.as_deref(), Some("addresses seen: eth0:10.1.2.3, lo:127.0.0.1"));
}

#[test]
fn places_are_those_of_the_file_as_written() {
    let text = "{\n  jobs: [\n{{- range loop 2 }}\n    { name: 'a{{ . }}', exec: 'x', tymeout: {{ \
                $.T | default \"'1x'\" }} },\n\
                {{- end }}\n  ],\n  oops: 1\n}";
    let report = check("f", text, &around(&[]));
    let places: Vec<(u32, u32, &str)> =
        report.errors.iter().map(|error| (error.line, error.column, error.code)).collect();
    assert_eq!(places, [(4, 36, "unknown-key"), (4, 36, "unknown-key"), (7, 3, "unknown-key")]);
    let text = text.replace("tymeout", "timeout");
    let report = check("f", &text, &around(&[]));
    let error = &report.errors[0];
    assert_eq!((error.line, error.column, error.end.column), (4, 45, 71));
    assert_eq!(&*error.source_line, text.lines().nth(3).unwrap());
}

#[test]
fn problems_are_shown_with_their_line_and_a_mark() {
    let text = "{ jobs: [\n  { name: 'app', exec: 'app', restart: 3 },\n  { name: 'app', exec: 'b' \
                },\n] }";
    let shown = check("app.json5", text, &around(&[])).to_text(Colours::Off);
    assert_eq!(
        shown,
        "\
error[unknown-key]: cannot use the key `restart` in job \"app\": there is none
 --> app.json5:2:31
  |
2 |   { name: 'app', exec: 'app', restart: 3 },
  |                               ^^^^^^^
  |
  = help: did you mean `restarts`?

error[duplicate-name]: cannot have two jobs named \"app\"
 --> app.json5:3:11
  |
3 |   { name: 'app', exec: 'b' },
  |           ^^^^^
  |
 ::: app.json5:2:11
  |
2 |   { name: 'app', exec: 'app', restart: 3 },
  |           ----- first one here
  |
  = help: give one of them another name

"
    );
    let report = check("app.json5", text, &around(&[]));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["errors"][0],
        serde_json::json!({
            "severity": "error", "code": "unknown-key", "file": "app.json5",
            "line": 2, "column": 31,
            "end": { "line": 2, "column": 38 }, "sourceLine": "  { name: 'app', exec: 'app', \
                    restart: 3 },",
            "rendered": false, "message": "cannot use the key `restart` in job \"app\": there is \
                                           none",
            "help": "did you mean `restarts`?",
        })
    );
}

#[test]
fn a_secret_is_not_repeated_in_messages() {
    let text = "{ consul: { address: 'c:1', token: ['hush'] }, jobs: [{ name: 'a', exec: 'x' }] }";
    let shown = check("f", text, &around(&[])).errors.remove(0).message;
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn many_jobs_are_judged_quickly_also_when_all_are_wrong() {
    const COUNT: usize = 5_000;
    let job = |index: usize, source: usize| {
        format!(
            "{{ name: 'j{index}', exec: 'x',\
             when: {{ source: 'j{source}', once: 'exitSuccess' }} }},\n"
        )
    };
    // A chain that ends in a job that waits for itself, and one great circle.
    let chain: String = (0..COUNT).map(|index| job(index, (index + 1).min(COUNT - 1))).collect();
    let circle: String = (0..COUNT).map(|index| job(index, (index + 1) % COUNT)).collect();
    let report = check("f", &format!("{{ jobs: [{chain}] }}"), &around(&[]));
    assert_eq!((report.errors.len(), report.warnings.len()), (1, COUNT - 1));
    let report = check("f", &format!("{{ jobs: [{circle}] }}"), &around(&[]));
    assert_eq!((report.errors.len(), report.warnings.len()), (1, 0));
}

#[test]
fn keys_from_elsewhere_are_recognised() {
    let text = "{ services: [], jobs: [{ name: 'a', command: 'x', \
                when: { event: 'x', once: 'startup' } }] }";
    let report = check("f", text, &around(&[]));
    let help: Vec<Option<&str>> = report.errors.iter().map(|error| error.help.as_deref()).collect();
    assert_eq!(
        help,
        [
            Some(
                "this key is of ContainerPilot 2; there everything that runs is one of `jobs` now"
            ),
            Some("write `exec`"),
            Some("write `once` or `each`"),
        ]
    );
    for (path, names, _) in crate::front::keys::ELSEWHERE {
        let block = crate::front::keys::BLOCKS.iter().find(|block| block.path == *path).unwrap();
        assert!(names.iter().all(|name| block.index(name).is_none()), "{path}: {names:?}");
    }
}
