//! The control plane over real sockets, with the engine behind it and no processes.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use steersman_engine::config::{Command, Config, Job, Metric, MetricKind, Restarts};
use steersman_engine::effect::Reply;
use steersman_engine::front::{Loaded, Settings};
use steersman_engine::trace::{self, Outcome};
use steersman_engine::{Effect, Engine, Input, RequestId, RunId, RunKind, Stamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::socket::{ListenProblem, Socket};
use crate::ask::{self, Ask, Asked};
use crate::client::{self, Request};
use crate::companions::{Companions, Ways};
use crate::driver::Setup;
use crate::limits::{BODY_BYTES_MAX, CONTROL_CONNECTIONS_MAX, EVENT_READERS_MAX};
use crate::observe::Observers;
use crate::record::Recording;

/// A directory of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("steersman-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A supervisor whose processes start and do nothing.
struct Plane {
    place: Place,
    driver: JoinHandle<()>,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Plane {
    fn start() -> Plane {
        let place = Place::new();
        let setup = setup(&place);
        let (asker, asked) = ask::queue();
        let ways = Ways { asker, answers: mpsc::channel(1).0 };
        let observers = Observers::attach(&setup, ways, &Recording::default()).unwrap();
        let engine = Engine::new(setup.loaded.config, setup.seed);
        let driver = MiniDriver { engine, observers, asked, waiting: HashMap::new(), clock: 0 };
        let driver = tokio::spawn(driver.drive());
        Plane { place, driver }
    }

    async fn ask(&self, request: Request) -> (u16, Value) {
        let answer = client::send(&self.place.socket(), &request).await.unwrap();
        let (status, body) = client::whole_body(answer).await.unwrap();
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// Sends text and reads until the other side closes.
    async fn raw(&self, text: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.place.socket()).await.unwrap();
        stream.write_all(text).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: c\r\nContent-Length: {length}\r\n\r\n");
        let answer = self.raw(&[head.as_bytes(), body.as_bytes()].concat()).await;
        parse(&answer)
    }
}

fn parse(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn setup(place: &Place) -> Setup {
    let job = Job { restarts: Restarts::Unlimited, ..Job::new("app", Command::new(["app"])) };
    let metric = Metric { name: "hits".into(), help: "".into(), kind: MetricKind::Counter };
    let config = Config { jobs: vec![Arc::new(job)], metrics: vec![metric], ..Config::default() };
    let control_socket = place.socket().to_str().unwrap().to_owned();
    let settings = Settings { control_socket, ..Settings::default() };
    let loaded = Loaded { config, settings, warnings: Vec::new() };
    Setup { loaded, seed: 7, reader: Arc::new(|| Err("no file".into())) }
}

/// What the real driver does with questions, without any process.
struct MiniDriver {
    engine: Engine,
    observers: Observers,
    asked: Asked,
    waiting: HashMap<RequestId, oneshot::Sender<Reply>>,
    clock: u64,
}

impl MiniDriver {
    async fn drive(mut self) {
        self.feed(Input::Begin);
        let run = RunId { job: steersman_engine::JobId(0), kind: RunKind::Main, nth: 1 };
        self.feed(Input::Started { run, pid: 4711 });
        while let Some(ask) = self.asked.recv().await {
            match ask {
                Ask::Control(command, reply) => {
                    let request = RequestId(self.clock);
                    self.waiting.insert(request, reply);
                    self.feed(Input::Control { request, command });
                }
                Ask::Status(reply) => reply.send(self.engine.status()).unwrap(),
                Ask::Events(subscriber) => self.observers.subscribe(subscriber),
                Ask::Trace(reply) => reply.send(self.observers.trace()).unwrap(),
            }
        }
    }

    fn feed(&mut self, input: Input) {
        self.clock += 1;
        let now = Stamp::from_millis(self.clock);
        self.observers.begin_step(now, &input);
        let mut effects = Vec::new();
        self.engine.handle(now, input, &mut effects);
        self.observers.end_step(&self.engine, &effects);
        let mut load = false;
        for effect in effects {
            match effect {
                Effect::Reply { request, reply } => {
                    // A client that does not wait any more is gone.
                    let _ = self.waiting.remove(&request).unwrap().send(reply);
                }
                Effect::Published(event) => self.observers.published(now, event, &self.engine),
                Effect::Metric { name, value } => self.observers.metric(&name, value),
                Effect::LoadConfig => load = true,
                _ => {}
            }
        }
        if load {
            let config = Ok(Box::new(Config::clone(self.engine.config())));
            self.feed(Input::Loaded { config });
        }
    }
}

#[tokio::test]
async fn ping_is_answered() {
    let plane = Plane::start();
    let (status, body) = plane.ask(Request::Ping).await;
    assert_eq!((status, &body["version"]), (200, &json!(crate::VERSION)));
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_refused() {
    let plane = Plane::start();
    for (request, status) in [
        ("GET /v3/nope", 404),
        ("GET /", 404),
        ("GET /v3/ping/", 404),
        ("GET /v3/reload", 405),
        ("PUT /v3/environ", 405),
        ("POST /v3/ping", 405),
        ("HEAD /v3/status", 405),
    ] {
        let answer = plane.raw(format!("{request} HTTP/1.1\r\nHost: c\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    let answer = plane.raw(b"GET /v3/reload HTTP/1.1\r\nHost: c\r\n\r\n").await;
    assert!(answer.contains("\r\nallow: POST\r\n"), "{answer}");
}

#[tokio::test]
async fn changes_are_answered_with_what_changed() {
    let plane = Plane::start();
    let ok = |body| (200, body);
    assert_eq!(
        plane.post("/v3/environ", r#"{"B":"b=c","A":null}"#).await,
        ok(json!({ "changed": ["A", "B"] }))
    );
    assert_eq!(plane.post("/v3/env", r#"{"C":3}"#).await, ok(json!({ "changed": ["C"] })));
    assert_eq!(plane.post("/v3/environ", "{}").await, ok(json!({ "changed": [] })));
    assert_eq!(plane.post("/v3/metric", r#"{"hits":2}"#).await, ok(json!({ "changed": ["hits"] })));
    for (path, on, changed) in [
        ("/v3/maintenance/enable", true, true),
        ("/v3/maintenance/enable", true, false),
        ("/v3/maintenance/disable", false, true),
    ] {
        let expected = ok(json!({ "maintenance": on, "changed": changed }));
        assert_eq!(plane.post(path, "").await, expected);
    }
    let (status, body) = plane.post("/v3/reload", "").await;
    assert_eq!((status, &body["unchanged"], &body["restarted"]), (200, &json!(1), &json!([])));
    let (status, body) = plane.post("/v3/reload", r#"{"all":true}"#).await;
    assert_eq!((status, &body["restarted"]), (200, &json!(["app"])));
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_names() {
    let plane = Plane::start();
    for (path, body, status, names) in [
        ("/v3/environ", "{", 422, json!([])),
        ("/v3/environ", r#"{"A=B":"x","":"y","C":"z"}"#, 422, json!(["", "A=B"])),
        ("/v3/environ", r#"{"A":["x"]}"#, 422, json!(["A"])),
        ("/v3/metric", r#"{"hits":1,"nope":2,"nada":3}"#, 422, json!(["nada", "nope"])),
        ("/v3/metric", r#"{"hits":"many"}"#, 422, json!(["hits"])),
        ("/v3/metric", r#"{"hits":-1}"#, 422, json!(["hits"])),
        ("/v3/signal", r#"{"job":"app","signal":"NOPE"}"#, 422, json!([])),
        ("/v3/signal", r#"{"job":"nope","signal":"HUP"}"#, 404, json!(null)),
        ("/v3/restart", r#"{"job":"nope"}"#, 404, json!(null)),
    ] {
        let (found, answer) = plane.post(path, body).await;
        assert_eq!((found, &answer["names"]), (status, &names), "{path} {body}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with("cannot "), "{error}");
    }
}

#[tokio::test]
async fn metric_reaches_telemetry_and_requests_are_counted() {
    let place = Place::new();
    let setup = setup(&place);
    let (asker, asked) = ask::queue();
    let ways = Ways { asker, answers: mpsc::channel(1).0 };
    let observers = Observers::attach(&setup, ways, &Recording::default()).unwrap();
    let telemetry = observers.telemetry().clone();
    let engine = Engine::new(setup.loaded.config, setup.seed);
    let driver = MiniDriver { engine, observers, asked, waiting: HashMap::new(), clock: 0 };
    let driver = tokio::spawn(driver.drive());
    let plane = Plane { place, driver };
    plane.post("/v3/metric", r#"{"hits":2}"#).await;
    plane.post("/v3/metric", r#"{"hits":3}"#).await;
    plane.post("/v3/metric", "x").await;
    plane.raw(b"GET /secret?x HTTP/1.1\r\nHost: c\r\n\r\n").await;
    let text = telemetry.text();
    for line in [
        "hits 5",
        "containerpilot_control_http_requests{code=\"200\",path=\"/v3/metric\"} 2",
        "containerpilot_control_http_requests{code=\"422\",path=\"/v3/metric\"} 1",
        "containerpilot_control_http_requests{code=\"404\",path=\"other\"} 1",
        "containerpilot_events{code=\"Startup\",source=\"global\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn status_shows_every_job() {
    let plane = Plane::start();
    let (status, body) = plane.ask(Request::Status).await;
    assert_eq!(status, 200);
    assert_eq!(body["jobs"][0]["name"], "app");
    assert_eq!(body["jobs"][0]["pid"], 4711);
    assert_eq!(body["jobs"][0]["phase"], "running");
    assert_eq!(body["pid"], std::process::id());
}

#[tokio::test]
async fn body_of_one_mebibyte_is_taken_and_a_larger_one_is_not() {
    let plane = Plane::start();
    let frame = r#"{"A":""}"#.len();
    let body = format!(r#"{{"A":"{}"}}"#, "x".repeat(BODY_BYTES_MAX - frame));
    assert_eq!(body.len(), BODY_BYTES_MAX);
    assert_eq!(plane.post("/v3/environ", &body).await.0, 200);
    let body = format!("{body} ");
    assert_eq!(plane.post("/v3/environ", &body).await.0, 413);
    let head = "POST /v3/environ HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(parse(&plane.raw(chunked.as_bytes()).await).0, 413);
}

#[tokio::test]
async fn half_sent_requests_hold_up_nobody() {
    let plane = Plane::start();
    let mut halves = Vec::new();
    for text in [
        "",
        "POST /v3/rel",
        "POST /v3/reload HTTP/1.1\r\nHost: c\r\n",
        "POST /v3/environ HTTP/1.1\r\nHost: c\r\nContent-Length: 100\r\n\r\n{",
    ] {
        let mut stream = UnixStream::connect(plane.place.socket()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        halves.push(stream);
    }
    assert_eq!(plane.ask(Request::Reload { all: false }).await.0, 200);
    assert_eq!(plane.ask(Request::Ping).await.0, 200);
    drop(halves);
    assert_eq!(plane.ask(Request::Ping).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn half_sent_requests_are_dropped_after_a_while() {
    let plane = Plane::start();
    for (text, answer) in [
        ("", ""),
        ("POST /v3/rel", ""),
        (
            "POST /v3/environ HTTP/1.1\r\nHost: c\r\nContent-Length: 100\r\n\r\n{",
            "HTTP/1.1 408 Request Timeout\r\n",
        ),
    ] {
        // The clock of the test runs ahead whenever everybody waits.
        let found = plane.raw(text.as_bytes()).await;
        assert!(found.starts_with(answer), "{text}: {found}");
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let plane = Plane::start();
    let mut held = Vec::new();
    for _ in 0..CONTROL_CONNECTIONS_MAX {
        held.push(UnixStream::connect(plane.place.socket()).await.unwrap());
    }
    let socket = plane.place.socket();
    let ping = tokio::spawn(async move { client::send(&socket, &Request::Ping).await.is_ok() });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!ping.is_finished());
    drop(held.pop());
    assert!(ping.await.unwrap());
}

#[tokio::test]
async fn three_hundred_reloads_at_once_are_all_answered() {
    let plane = Plane::start();
    let reloads: Vec<_> = (0..300)
        .map(|_| {
            let socket = plane.place.socket();
            tokio::spawn(async move {
                let answer = client::send(&socket, &Request::Reload { all: false }).await.unwrap();
                client::whole_body(answer).await.unwrap().0.as_u16()
            })
        })
        .collect();
    for reload in reloads {
        assert_eq!(reload.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn events_are_streamed_to_every_reader() {
    let plane = Plane::start();
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(client::send(&plane.place.socket(), &Request::Events).await.unwrap());
    }
    plane.ask(Request::Maintenance { on: true }).await;
    for mut reader in readers {
        let line = client::next_piece(&mut reader).await.unwrap().unwrap();
        let event: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            (&event["code"], &event["source"]),
            (&json!("enterMaintenance"), &json!("global"))
        );
    }
}

#[tokio::test]
async fn readers_of_events_are_bounded_and_leave_room_for_requests() {
    let plane = Plane::start();
    let mut readers = Vec::new();
    for _ in 0..EVENT_READERS_MAX {
        readers.push(client::send(&plane.place.socket(), &Request::Events).await.unwrap());
    }
    assert_eq!(plane.ask(Request::Events).await.0, 503);
    assert_eq!(plane.ask(Request::Ping).await.0, 200);
    drop(readers);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let answer = client::send(&plane.place.socket(), &Request::Events).await.unwrap();
        if answer.status().is_success() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "places of gone readers stay taken");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stalled_reader_of_events_holds_up_nobody() {
    let plane = Plane::start();
    let mut stalled = UnixStream::connect(plane.place.socket()).await.unwrap();
    stalled.write_all(b"GET /v3/events HTTP/1.1\r\nHost: c\r\n\r\n").await.unwrap();
    // Wait for the head: from here on it is subscribed, and never reads again.
    stalled.read_exact(&mut [0; 12]).await.unwrap();
    for round in 0..6000 {
        let (status, _) = plane.ask(Request::Maintenance { on: round % 2 == 0 }).await;
        assert_eq!(status, 200);
    }
    let mut text = vec![0; 4 * 1024 * 1024];
    let mut length = 0;
    while !String::from_utf8_lossy(&text[..length]).contains("{\"lost\":") {
        // Reading on makes room; the next event then says how many were lost.
        plane.ask(Request::Maintenance { on: true }).await;
        plane.ask(Request::Maintenance { on: false }).await;
        length += stalled.read(&mut text[length..]).await.unwrap();
        assert!(length < text.len(), "no line says that lines were lost");
    }
}

#[tokio::test]
async fn trace_of_memory_can_be_replayed_and_holds_no_secrets() {
    let plane = Plane::start();
    plane.post("/v3/environ", r#"{"PASSWORD":"hunter2"}"#).await;
    plane.post("/v3/reload", "").await;
    let request = Request::Trace { out: None };
    let answer = client::send(&plane.place.socket(), &request).await.unwrap();
    let (status, text) = client::whole_body(answer).await.unwrap();
    assert_eq!(status.as_u16(), 200);
    assert!(!String::from_utf8_lossy(&text).contains("hunter2"));
    let mut reader = trace::Reader::new(&*text).unwrap();
    let outcome = trace::replay(&mut reader).unwrap();
    let Outcome::Same { steps, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(steps, 5);
}

fn problem(path: &Path) -> ListenProblem {
    match Socket::listen(path) {
        Ok(_) => panic!("{} can be listened on", path.display()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.starts_with("cannot listen on the control socket"), "{text}");
            error.into_problem()
        }
    }
}

#[tokio::test]
async fn socket_belongs_to_its_owner_only() {
    let place = Place::new();
    let (_socket, _listener) = Socket::listen(&place.socket()).unwrap();
    let metadata = std::fs::symlink_metadata(place.socket()).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn stale_socket_is_taken_over() {
    let place = Place::new();
    drop(std::os::unix::net::UnixListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists(), "a closed listener leaves its file");
    let (_socket, listener) = Socket::listen(&place.socket()).unwrap();
    let _client = UnixStream::connect(place.socket()).await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn socket_of_a_living_supervisor_is_left_alone() {
    let place = Place::new();
    let living = std::os::unix::net::UnixListener::bind(place.socket()).unwrap();
    let before = std::fs::symlink_metadata(place.socket()).unwrap().ino();
    assert!(matches!(problem(&place.socket()), ListenProblem::InUse));
    let after = std::fs::symlink_metadata(place.socket()).unwrap().ino();
    assert_eq!(before, after);
    drop(living);
}

#[tokio::test]
async fn paths_that_cannot_be_listened_on_are_refused_with_the_reason() {
    let place = Place::new();
    std::fs::write(place.socket(), "precious").unwrap();
    assert!(matches!(problem(&place.socket()), ListenProblem::NoSocket));
    assert_eq!(std::fs::read_to_string(place.socket()).unwrap(), "precious");
    let missing = place.0.join("missing/s");
    assert!(matches!(problem(&missing), ListenProblem::NoDirectory));
    let mut long = place.0.to_str().unwrap().to_owned() + "/";
    long.extend(std::iter::repeat_n('x', 108 - long.len()));
    assert!(matches!(problem(Path::new(&long)), ListenProblem::TooLong(108)));
    long.pop();
    Socket::listen(Path::new(&long)).unwrap();
}

#[tokio::test]
async fn socket_is_removed_at_the_end_unless_it_is_somebody_elses() {
    let place = Place::new();
    let (socket, listener) = Socket::listen(&place.socket()).unwrap();
    drop((socket, listener));
    assert!(!place.socket().exists());
    let (old, listener) = Socket::listen(&place.socket()).unwrap();
    drop(listener);
    std::fs::remove_file(place.socket()).unwrap();
    let (_new, _listener) = Socket::listen(&place.socket()).unwrap();
    drop(old);
    assert!(place.socket().exists(), "the successor's socket is still there");
}

#[tokio::test]
async fn control_plane_moves_with_the_configuration() {
    let place = Place::new();
    let (asker, _asked) = ask::queue();
    let telemetry = crate::telemetry::Telemetry::new();
    let mut server = super::Server::start(&place.socket(), asker, telemetry).unwrap();
    let missing = place.0.join("missing/s");
    assert!(server.move_to(&missing).is_err());
    client::send(&place.socket(), &Request::Ping).await.unwrap();
    let moved = place.0.join("moved");
    server.move_to(&moved).unwrap();
    client::send(&moved, &Request::Ping).await.unwrap();
    assert!(!place.socket().exists());
}
