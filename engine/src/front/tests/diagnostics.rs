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
