//! Registration and watches, rule by rule, against scripted answers.
//!
//! - registration: when, again, out, in maintenance, at stop
//! - watches: first reading, edges, indexes, failures, staleness, settling

use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::{
    CheckStatus, Clause, Command, Config, HealthCheck, Job, Repeat, Restarts, Service, Signal,
    SourceName, Trigger, Watch, WatchTarget,
};
use steersman_engine::consul::{
    ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Instance, Registration,
};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus, Tree};
use steersman_engine::{
    Code, Effect, Engine, Event, Input, JobId, RequestId, RunId, RunKind, Source, Stamp, Time,
};

const WEB: JobId = JobId(0);

/// An engine, its clock and what it asked for.
struct Bench {
    engine: Engine,
    now_ms: u64,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(config: Config) -> Bench {
        let mut bench = Bench { engine: Engine::new(config, 1), now_ms: 0, effects: Vec::new() };
        bench.feed(Input::Begin);
        bench
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle(Stamp::from_millis(self.now_ms), input, &mut self.effects);
    }

    /// Lets time pass, stopping at every moment the engine wants.
    fn pass(&mut self, span_ms: u64) {
        let until = self.now_ms + span_ms;
        while let Some(Time(at)) = self.engine.next_wakeup() {
            let at_ms = at.div_ceil(1_000_000);
            if at_ms > until {
                break;
            }
            self.now_ms = self.now_ms.max(at_ms);
            self.feed(Input::Tick);
        }
        self.now_ms = until;
        self.feed(Input::Tick);
    }

    fn run(kind: RunKind, nth: u32) -> RunId {
        RunId { job: WEB, kind, nth }
    }

    fn started(&mut self, nth: u32) {
        self.feed(Input::Started { run: Bench::run(RunKind::Main, nth), pid: 100 + nth });
    }

    fn ended(&mut self, kind: RunKind, nth: u32, code: u8) {
        let run = Bench::run(kind, nth);
        let status = ExitStatus::Code(code);
        self.feed(Input::Exited { run, status, tree: Tree::Gone, output: "said so".into() });
    }

    /// Takes the last request to Consul that was sent since the last look.
    fn asked(&mut self) -> Option<(ConsulOp, ConsulRequest)> {
        let effects = std::mem::take(&mut self.effects);
        let requests = effects.into_iter().filter_map(|effect| match effect {
            Effect::Consul { op, request, .. } => Some((op, request)),
            _ => None,
        });
        requests.last()
    }

    fn answer(&mut self, op: ConsulOp, reply: ConsulReply) {
        self.feed(Input::Consul { op, reply });
    }

    fn expect_register(&mut self) -> Box<Registration> {
        match self.asked() {
            Some((op, ConsulRequest::Register(registration))) => {
                self.answer(op, ConsulReply::Done);
                registration
            }
            other => panic!("expected a registration, not {other:?}"),
        }
    }

    fn expect_report(&mut self) -> CheckStatus {
        match self.asked() {
            Some((op, ConsulRequest::Report { status, .. })) => {
                self.answer(op, ConsulReply::Done);
                status
            }
            other => panic!("expected a report, not {other:?}"),
        }
    }

    fn expect_deregister(&mut self) -> ConsulOp {
        match self.asked() {
            Some((op, ConsulRequest::Deregister { .. })) => op,
            other => panic!("expected a deregistration, not {other:?}"),
        }
    }

    fn signals(&self) -> Vec<Signal> {
        let signals = self.effects.iter().filter_map(|effect| match effect {
            Effect::Signal { run, signal } if run.kind == RunKind::Main => Some(*signal),
            _ => None,
        });
        signals.collect()
    }

    fn published(&mut self) -> Vec<Event> {
        let effects = std::mem::take(&mut self.effects);
        let events = effects.into_iter().filter_map(|effect| match effect {
            Effect::Published(event) => Some(event),
            _ => None,
        });
        events.collect()
    }
}

fn web() -> Job {
    let mut job = Job::new("web", Command::new(["/bin/web"]));
    job.restarts = Restarts::Unlimited;
    job.health = Some(HealthCheck {
        command: Some(Arc::new(Command::new(["/bin/check"]))),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        ttl: Some(Duration::from_secs(9)),
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    });
    job.service = Some(Service {
        port: 80,
        address: Some([10, 0, 0, 1].into()),
        initial_status: None,
        tags: vec!["a".into()],
        meta: Vec::new(),
        enable_tag_override: false,
        deregister_critical_after: None,
        drain: Duration::ZERO,
    });
    job
}

fn config(job: Job) -> Config {
    Config { jobs: vec![Arc::new(job)], hostname: "host".into(), ..Config::default() }
}

/// A web job whose first check has passed and which Consul knows as passing.
fn registered(job: Job) -> Bench {
    let mut bench = Bench::new(config(job));
    bench.started(1);
    bench.pass(2000);
    bench.ended(RunKind::Check, 1, 0);
    let registration = bench.expect_register();
    assert_eq!(&*registration.id, "web-host");
    assert_eq!(bench.expect_report(), CheckStatus::Passing);
    bench
}

#[test]
fn job_is_registered_by_its_first_passing_check_and_not_before() {
    let mut bench = Bench::new(config(web()));
    bench.started(1);
    assert_eq!(bench.asked(), None);
    bench.pass(2000);
    bench.ended(RunKind::Check, 1, 1);
    assert_eq!(bench.asked(), None, "a failing check registers nothing");
    bench.pass(2000);
    bench.ended(RunKind::Check, 2, 0);
    bench.expect_register();
    assert_eq!(bench.expect_report(), CheckStatus::Passing);
}

#[test]
fn initial_status_registers_at_once() {
    let mut job = web();
    if let Some(service) = &mut job.service {
        service.initial_status = Some(CheckStatus::Warning);
    }
    let mut bench = Bench::new(config(job));
    assert_eq!(bench.expect_register().status, CheckStatus::Warning);
    assert_eq!(bench.expect_report(), CheckStatus::Warning);
}

#[test]
fn failed_check_and_crash_are_critical_at_once() {
    let mut bench = registered(web());
    bench.pass(2000);
    bench.ended(RunKind::Check, 2, 1);
    assert_eq!(bench.expect_report(), CheckStatus::Critical);
    bench.pass(2000);
    bench.ended(RunKind::Check, 3, 0);
    assert_eq!(bench.expect_report(), CheckStatus::Passing);
    bench.ended(RunKind::Main, 1, 1);
    assert_eq!(bench.expect_report(), CheckStatus::Critical);
}

#[test]
fn report_is_renewed_before_a_third_of_the_ttl_more_has_passed() {
    let mut job = web();
    if let Some(health) = &mut job.health {
        health.command = None;
    }
    let mut bench = registered(job);
    for _ in 0..5 {
        bench.pass(3000);
        assert_eq!(bench.expect_report(), CheckStatus::Passing);
    }
}

#[test]
fn forgotten_service_is_registered_again() {
    let mut bench = registered(web());
    bench.pass(3000);
    let Some((op, ConsulRequest::Report { .. })) = bench.asked() else { panic!("no report") };
    bench.answer(op, ConsulReply::Failed(ConsulFailure::Unknown));
    bench.expect_register();
    assert_eq!(bench.expect_report(), CheckStatus::Passing);
}

#[test]
fn service_that_was_critical_for_too_long_comes_back_only_when_it_works() {
    let mut job = web();
    if let Some(service) = &mut job.service {
        service.deregister_critical_after = Some(Duration::from_secs(60));
    }
    let mut bench = registered(job);
    bench.pass(2000);
    bench.ended(RunKind::Check, 2, 1);
    assert_eq!(bench.expect_report(), CheckStatus::Critical);
    bench.pass(3000);
    let Some((op, ConsulRequest::Report { .. })) = bench.asked() else { panic!("no report") };
    bench.answer(op, ConsulReply::Failed(ConsulFailure::Unknown));
    assert_eq!(bench.asked(), None);
    bench.ended(RunKind::Check, 3, 0);
    bench.pass(2000);
    bench.ended(RunKind::Check, 4, 0);
    bench.expect_register();
}

#[test]
fn failed_requests_are_repeated_later_and_later() {
    let mut bench = Bench::new(config(web()));
    bench.started(1);
    bench.pass(2000);
    bench.ended(RunKind::Check, 1, 0);
    let mut last_ms = bench.now_ms;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let Some((op, _)) = bench.asked() else { panic!("no request") };
        let failure = ConsulFailure::Unreachable("refused".into());
        bench.answer(op, ConsulReply::Failed(failure));
        bench.effects.clear();
        while !bench.effects.iter().any(|effect| matches!(effect, Effect::Consul { .. })) {
            bench.effects.clear();
            bench.pass(10);
        }
        waits.push(bench.now_ms - last_ms);
        last_ms = bench.now_ms;
    }
    assert!((375..=640).contains(&waits[0]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 19_000), "{waits:?}");
    assert!(waits[7] >= 11_000, "{waits:?}");
}

#[test]
fn maintenance_takes_the_service_out_and_its_end_brings_it_back() {
    let mut bench = registered(web());
    let command = Control::Maintenance(true);
    bench.feed(Input::Control { request: RequestId(1), command });
    let op = bench.expect_deregister();
    bench.answer(op, ConsulReply::Done);
    bench.pass(20_000);
    assert_eq!(bench.asked(), None);
    let command = Control::Maintenance(false);
    bench.feed(Input::Control { request: RequestId(2), command });
    bench.pass(2000);
    bench.ended(RunKind::Check, 2, 0);
    bench.expect_register();
}

#[test]
fn stop_signal_waits_for_the_deregistration() {
    let mut bench = registered(web());
    bench.feed(Input::Signal(SignalName::Term));
    assert_eq!(bench.signals(), Vec::new());
    let op = bench.expect_deregister();
    bench.pass(500);
    bench.answer(op, ConsulReply::Done);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
}

#[test]
fn consul_that_never_answers_delays_the_stop_signal_within_its_bound() {
    let mut bench = registered(web());
    bench.feed(Input::Signal(SignalName::Term));
    bench.pass(1249);
    assert_eq!(bench.signals(), Vec::new());
    bench.pass(1);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    bench.ended(RunKind::Main, 1, 0);
    bench.pass(1300);
    assert!(bench.effects.contains(&Effect::Exit { status: 0 }), "{:?}", bench.effects);
}

/// Seed 265 of docs/examples/mariadb/cluster.json5: Consul's leader died, the term was lost, and
/// the next term's primary was never registered.
#[test]
fn job_that_runs_again_is_registered_although_it_could_not_be_taken_out() {
    let mut bench = registered(web());
    let command = Control::RestartJob { job: "web".into() };
    bench.feed(Input::Control { request: RequestId(1), command });
    let refuse = |bench: &mut Bench, span_ms: u64| {
        for _ in 0..span_ms / 10 {
            if let Some((op, _)) = bench.asked() {
                let failure = ConsulFailure::Unreachable("refused".into());
                bench.answer(op, ConsulReply::Failed(failure));
            }
            bench.pass(10);
        }
    };
    refuse(&mut bench, 1300);
    bench.ended(RunKind::Main, 1, 0);
    refuse(&mut bench, 3000);
    bench.started(2);
    refuse(&mut bench, 2000);
    bench.ended(RunKind::Check, 2, 0);
    let is_asked =
        |bench: &Bench| bench.effects.iter().any(|effect| matches!(effect, Effect::Consul { .. }));
    for _ in 0..390 {
        if is_asked(&bench) {
            break;
        }
        bench.pass(10);
    }
    assert_eq!(bench.expect_report(), CheckStatus::Passing, "it never left");
}

#[test]
fn service_of_a_job_that_has_ended_is_taken_out_as_soon_as_that_is_possible() {
    let mut job = web();
    job.restarts = Restarts::Limited(0);
    let mut config = config(job);
    config.jobs.push(Arc::new(Job::new("other", Command::new(["/bin/other"]))));
    let mut bench = Bench::new(config);
    bench.started(1);
    bench.pass(2000);
    bench.ended(RunKind::Check, 1, 0);
    bench.expect_register();
    bench.expect_report();
    bench.ended(RunKind::Main, 1, 0);
    assert_eq!(bench.expect_report(), CheckStatus::Critical);
    let op = bench.expect_deregister();
    bench.answer(op, ConsulReply::Failed(ConsulFailure::Unreachable("refused".into())));
    bench.effects.clear();
    bench.pass(60_000);
    let op = bench.expect_deregister();
    bench.answer(op, ConsulReply::Done);
    bench.pass(60_000);
    assert_eq!(bench.asked(), None);
}

#[test]
fn drain_delay_lies_between_deregistration_and_signal() {
    let mut job = web();
    if let Some(service) = &mut job.service {
        service.drain = Duration::from_secs(2);
    }
    let mut bench = registered(job);
    bench.feed(Input::Signal(SignalName::Term));
    let op = bench.expect_deregister();
    bench.answer(op, ConsulReply::Done);
    bench.pass(1999);
    assert_eq!(bench.signals(), Vec::new());
    bench.pass(1);
    assert_eq!(bench.signals(), vec![Signal::TERM]);
}

fn watching(watch: Watch) -> Config {
    let mut handler = Job::new("handler", Command::new(["/bin/handler"]));
    handler.trigger = Trigger::On(Clause {
        code: Code::Changed,
        source: SourceName::Watch(watch.name.clone()),
        repeat: Repeat::Each,
    });
    Config { jobs: vec![Arc::new(handler)], watches: vec![watch], ..Config::default() }
}

fn db() -> Watch {
    Watch {
        name: "db".into(),
        target: WatchTarget::Service { name: "db".into(), tag: None },
        interval: Duration::from_secs(3),
        dc: None,
        settle: Duration::ZERO,
        stale: None,
    }
}

fn instance(id: &str, tag: &str) -> Instance {
    Instance {
        node: "n".into(),
        id: id.into(),
        address: "10.0.0.2".into(),
        port: 5432,
        tags: vec![tag.into()],
        meta: Vec::new(),
        weights: (1, 1),
        created: 7,
    }
}

fn set(index: u64, instances: &[Instance]) -> ConsulReply {
    ConsulReply::Instances { index, instances: instances.to_vec() }
}

fn from_watch(code: Code) -> Event {
    Event { code, source: Source::Watch(steersman_engine::id::WatchId(0)) }
}

fn asked_index(bench: &mut Bench) -> (ConsulOp, u64) {
    match bench.asked() {
        Some((op, ConsulRequest::Instances { index, .. })) => (op, index),
        other => panic!("expected a query, not {other:?}"),
    }
}

fn of_watch(events: Vec<Event>) -> Vec<Code> {
    let is_watch = |event: &Event| matches!(event.source, Source::Watch(_));
    events.into_iter().filter(is_watch).map(|event| event.code).collect()
}

#[test]
fn watch_asks_at_once_and_its_first_reading_is_an_event_also_when_empty() {
    let mut bench = Bench::new(watching(db()));
    let (op, index) = asked_index(&mut bench);
    assert_eq!(index, 0);
    assert_eq!(bench.engine.status().watches[0].count, None);
    bench.answer(op, set(5, &[]));
    assert_eq!(bench.engine.status().watches[0].count, Some(0));
    assert_eq!(of_watch(bench.published()), vec![Code::Changed, Code::Unhealthy]);
}

#[test]
fn only_differences_are_events_and_a_role_swap_is_one() {
    let mut bench = Bench::new(watching(db()));
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(5, &[instance("a", "primary"), instance("b", "replica")]));
    assert_eq!(bench.published().first(), Some(&from_watch(Code::Changed)));
    bench.pass(100);
    let (op, index) = asked_index(&mut bench);
    assert_eq!(index, 5);
    bench.answer(op, set(6, &[instance("b", "replica"), instance("a", "primary")]));
    assert_eq!(of_watch(bench.published()), Vec::new());
    bench.pass(100);
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(7, &[instance("a", "replica"), instance("b", "primary")]));
    assert_eq!(of_watch(bench.published()), vec![Code::Changed]);
}

#[test]
fn index_that_goes_back_starts_again_at_zero() {
    let mut bench = Bench::new(watching(db()));
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(90, &[instance("a", "x")]));
    bench.pass(100);
    let (op, index) = asked_index(&mut bench);
    assert_eq!(index, 90);
    bench.answer(op, set(4, &[instance("a", "x")]));
    bench.pass(100);
    let (_, index) = asked_index(&mut bench);
    assert_eq!(index, 0);
}

#[test]
fn answers_that_change_nothing_do_not_lead_to_a_storm_of_queries() {
    let mut bench = Bench::new(watching(db()));
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(1, &[]));
    let mut queries = 0;
    let end_ms = bench.now_ms + 10_000;
    while bench.now_ms < end_ms {
        bench.pass(5);
        if let Some((op, _)) = bench.asked() {
            queries += 1;
            bench.answer(op, set(1, &[]));
        }
    }
    assert!(queries <= 41, "{queries}");
}

#[test]
fn failure_keeps_the_last_set_says_stale_once_and_recovers_with_one_change() {
    let mut watch = db();
    watch.stale = Some(Duration::from_secs(10));
    let mut bench = Bench::new(watching(watch));
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(5, &[instance("a", "x")]));
    bench.published();
    bench.pass(100);
    let mut codes = Vec::new();
    let end_ms = bench.now_ms + 60_000;
    while bench.now_ms < end_ms {
        let asked = bench.effects.iter().rev().find_map(|effect| match effect {
            Effect::Consul { op, .. } => Some(*op),
            _ => None,
        });
        if let Some(op) = asked {
            let failure = ConsulFailure::Unreachable("gone".into());
            bench.answer(op, ConsulReply::Failed(failure));
        }
        codes.extend(of_watch(bench.published()));
        bench.pass(50);
    }
    assert_eq!(codes, vec![Code::Stale]);
    let status = bench.engine.status();
    assert!(status.catalog_failing);
    assert_eq!((status.watches[0].count, status.watches[0].stale), (Some(1), true));
    loop {
        if let Some((op, ConsulRequest::Instances { index: 0, .. })) = bench.asked() {
            bench.answer(op, set(9, &[instance("b", "x")]));
            break;
        }
        bench.pass(50);
    }
    assert_eq!(of_watch(bench.published()), vec![Code::Changed]);
}

#[test]
fn set_that_flaps_is_announced_when_it_has_settled() {
    let mut watch = db();
    watch.settle = Duration::from_secs(1);
    let mut bench = Bench::new(watching(watch));
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(1, &[instance("a", "x")]));
    bench.published();
    for index in 2..8 {
        bench.pass(300);
        let (op, _) = asked_index(&mut bench);
        let present = [instance("a", "x"), instance("b", "x")];
        let present = if index % 2 == 0 { &present[..] } else { &present[..1] };
        bench.answer(op, set(index, present));
        assert_eq!(of_watch(bench.published()), Vec::new());
    }
    bench.pass(300);
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(8, &[instance("b", "x")]));
    bench.pass(999);
    assert_eq!(of_watch(bench.published()), Vec::new());
    bench.pass(1);
    assert_eq!(of_watch(bench.published()), vec![Code::Changed]);
}

/// A bench whose watch has announced one instance, `settle` being two seconds.
fn settling() -> Bench {
    let mut bench = Bench::new(watching(Watch { settle: Duration::from_secs(2), ..db() }));
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(5, &[instance("a", "x")]));
    assert_eq!(of_watch(bench.published()), vec![Code::Changed, Code::Healthy]);
    bench
}

/// Answers the next query with a set of one, which differs with its number.
fn differ(bench: &mut Bench, number: u64) {
    let (op, _) = asked_index(bench);
    bench.answer(op, set(10 + number, &[instance(&format!("i{number}"), "x")]));
}

#[test]
fn set_that_settles_is_announced_when_it_has_stayed_the_same() {
    let mut bench = settling();
    bench.pass(1000);
    differ(&mut bench, 1);
    bench.pass(1000);
    assert_eq!(of_watch(bench.published()), Vec::new());
    bench.pass(1000);
    assert_eq!(of_watch(bench.published()), vec![Code::Changed]);
}

#[test]
fn set_that_is_what_it_was_again_is_no_change() {
    let mut bench = settling();
    bench.pass(1000);
    differ(&mut bench, 1);
    bench.pass(1000);
    let (op, _) = asked_index(&mut bench);
    bench.answer(op, set(20, &[instance("a", "x")]));
    bench.pass(20_000);
    assert_eq!(of_watch(bench.published()), Vec::new());
}

#[test]
fn set_that_never_rests_is_announced_after_four_times_as_long() {
    let mut bench = settling();
    let changed = Effect::Published(from_watch(Code::Changed));
    bench.pass(1000);
    for number in 1..=8 {
        assert!(!bench.effects.contains(&changed), "announced before set {number}");
        differ(&mut bench, number);
        bench.pass(1000);
    }
    assert!(bench.effects.contains(&changed), "it is not announced");
}
