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
        "2:35 out-of-range cannot use 70000 as `port` of job \"app\": it must be a whole number from 0 to 65535",
        "2:48 wrong-type cannot use \"x\" as `tags` of job \"app\": it must be a list",
        "2:62 bad-value cannot use 1.5 as `timeout` of job \"app\": a number that is not whole needs a unit",
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
    let text = "{ consul: 'c:8500', telemetry: { port: 9000, tags: ['t'] }, jobs: [{ name: 'a', exec: 'a' }] }";
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
