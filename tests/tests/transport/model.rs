//! A whole life against the model of Consul.

use std::sync::Arc;
use std::time::Duration;

use steersman::consul::{Client, Network};
use steersman_engine::config::CheckStatus;
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest, Registration};
use steersman_engine::front::{Agent, Scheme, Secret};
use steersman_sim::consul::{AgentId, Options, Request, http::Running};
use tokio::net::TcpListener;

use super::scripted::{PATIENCE, client, instances, refused, report};

const TOKEN: &str = "11111111-1111-1111-1111-111111111111";

struct Model {
    running: Running,
    agent: Agent,
    client: Arc<Client<Network>>,
}

async fn model(options: Options) -> Model {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let agent = Agent::new(listener.local_addr().unwrap().to_string(), Scheme::Http);
    let running = Running::new(options);
    let serving = running.clone();
    tokio::spawn(async move { serving.serve_agent(listener, AgentId(0)).await });
    Model { running, client: Arc::new(client(&agent)), agent }
}

pub(crate) fn register(status: CheckStatus) -> ConsulRequest {
    ConsulRequest::Register(Box::new(Registration {
        id: "web-1".into(),
        name: "web".into(),
        address: Some("10.0.0.7".parse().unwrap()),
        port: 8080,
        tags: vec!["blue".into()],
        meta: vec![("version".into(), "2".into())],
        enable_tag_override: false,
        check: "service:web-1".into(),
        ttl: Some(Duration::from_secs(30)),
        status,
        notes: "is it there".into(),
        deregister_critical_after: Some(Duration::from_secs(90)),
    }))
}

fn index_of(reply: &ConsulReply) -> u64 {
    match reply {
        ConsulReply::Instances { index, .. } | ConsulReply::Keys { index, .. } => *index,
        other => panic!("no reading: {other:?}"),
    }
}

fn count_of(reply: &ConsulReply) -> usize {
    match reply {
        ConsulReply::Instances { instances, .. } => instances.len(),
        other => panic!("no instances: {other:?}"),
    }
}

#[tokio::test]
async fn service_comes_is_reported_and_goes() {
    let Model { client, .. } = model(Options::dev(1)).await;
    let ask = |request: ConsulRequest| {
        let client = Arc::clone(&client);
        async move { client.ask(&request, PATIENCE).await }
    };
    let unknown = ConsulReply::Failed(ConsulFailure::Unknown);
    assert_eq!(ask(report()).await, unknown, "before it is registered");
    assert_eq!(ask(register(CheckStatus::Critical)).await, ConsulReply::Done);
    let before = ask(instances(0)).await;
    assert_eq!(count_of(&before), 0, "a critical one does not count as passing");

    let watching = tokio::spawn(ask(instances(index_of(&before))));
    assert_eq!(ask(report()).await, ConsulReply::Done);
    let after = watching.await.unwrap();
    let ConsulReply::Instances { index, instances: there } = &after else { panic!("{after:?}") };
    assert!(*index > index_of(&before));
    let there = &there[0];
    assert_eq!((&*there.id, &*there.address, there.port), ("web-1", "10.0.0.7", 8080));
    assert_eq!(there.tags, ["blue".into()]);
    assert_eq!(there.meta, [("version".into(), "2".into())]);

    let watching = tokio::spawn(ask(instances(*index)));
    assert_eq!(ask(ConsulRequest::Deregister { service: "web-1".into() }).await, ConsulReply::Done);
    assert_eq!(count_of(&watching.await.unwrap()), 0);
    assert_eq!(ask(report()).await, unknown, "afterwards");
    assert!(client.counters().connections() <= 2, "a report and a watch need two connections");
}

#[tokio::test]
async fn keys_are_read_and_watched() {
    let Model { running, client, .. } = model(Options::dev(2)).await;
    let keys = |index| ConsulRequest::Keys {
        key: "app/conf ig".into(),
        recurse: true,
        dc: None,
        index,
        wait: Duration::from_secs(60),
    };
    let missing = client.ask(&keys(0), PATIENCE).await;
    let ConsulReply::Keys { index, entries } = &missing else { panic!("{missing:?}") };
    assert!(entries.is_empty());
    let watching = tokio::spawn({
        let (client, request) = (Arc::clone(&client), keys(*index));
        async move { client.ask(&request, PATIENCE).await }
    });
    let put = Request::new("PUT", "/v1/kv/app/conf%20ig/a").with_body("hello");
    assert_eq!(running.ask(AgentId(0), put).await.unwrap().status, 200);
    let reply = watching.await.unwrap();
    let ConsulReply::Keys { entries, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((&*entries[0].key, &*entries[0].value), ("app/conf ig/a", "aGVsbG8="));
}

#[tokio::test]
async fn locks_are_taken_and_given_back() {
    let Model { client, .. } = model(Options::dev(3)).await;
    let create = ConsulRequest::SessionCreate {
        name: "primary".into(),
        ttl: Duration::from_secs(10),
        lock_delay: Duration::ZERO,
    };
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let reply = client.ask(&create, PATIENCE).await;
        let ConsulReply::Session { id } = reply else { panic!("{reply:?}") };
        sessions.push(id);
    }
    let acquire = |session: &str, modified| ConsulRequest::Acquire {
        key: "svc/primary".into(),
        session: session.into(),
        modified,
        floor: 0,
        value: "me".into(),
    };
    let reply = client.ask(&acquire(&sessions[0], Some(0)), PATIENCE).await;
    let ConsulReply::Acquired { token: Some(first) } = reply else { panic!("{reply:?}") };
    let reply = client.ask(&acquire(&sessions[1], None), PATIENCE).await;
    assert_eq!(reply, ConsulReply::Acquired { token: None });
    let renew = ConsulRequest::SessionRenew { session: sessions[0].clone() };
    assert_eq!(client.ask(&renew, PATIENCE).await, ConsulReply::Done);
    let release = ConsulRequest::Release {
        key: "svc/primary".into(),
        session: sessions[0].clone(),
        floor: 0,
        value: "".into(),
    };
    assert_eq!(client.ask(&release, PATIENCE).await, ConsulReply::Done);
    for stale in [0, first] {
        let reply = client.ask(&acquire(&sessions[1], Some(stale)), PATIENCE).await;
        assert_eq!(reply, ConsulReply::Acquired { token: None }, "it was changed since");
    }
    let read =
        ConsulRequest::LockRead { key: "svc/primary".into(), index: 0, wait: Duration::ZERO };
    let reply = client.ask(&read, PATIENCE).await;
    let ConsulReply::Keys { entries, .. } = reply else { panic!("{reply:?}") };
    let modified = entries.first().map(|entry| entry.modified);
    let reply = client.ask(&acquire(&sessions[1], modified), PATIENCE).await;
    let ConsulReply::Acquired { token: Some(second) } = reply else { panic!("{reply:?}") };
    assert!(second > first, "the fencing token grows: {first:?} {second:?}");
    let destroy = ConsulRequest::SessionDestroy { session: sessions[1].clone() };
    assert_eq!(client.ask(&destroy, PATIENCE).await, ConsulReply::Done);
    let renew = ConsulRequest::SessionRenew { session: sessions[1].clone() };
    let reply = client.ask(&renew, PATIENCE).await;
    assert_eq!(reply, ConsulReply::Failed(ConsulFailure::Unknown));
}

#[tokio::test]
async fn access_control_says_whose_token_is_wrong() {
    let mut options = Options::dev(4);
    options.master_token = Some(TOKEN.into());
    let Model { client: nobody, mut agent, .. } = model(options).await;
    let (status, words) = refused(nobody.ask(&register(CheckStatus::Passing), PATIENCE).await);
    assert_eq!(status, 403);
    assert!(words.starts_with("no token was sent: "), "{words}");
    agent.token = Some(Secret("22222222-2222-2222-2222-222222222222".into()));
    let stranger = client(&agent);
    let (status, words) = refused(stranger.ask(&register(CheckStatus::Passing), PATIENCE).await);
    assert_eq!(status, 403);
    assert!(words.starts_with("the token that was sent is unknown"), "{words}");
    agent.token = Some(Secret(TOKEN.into()));
    let master = client(&agent);
    let reply = master.ask(&register(CheckStatus::Passing), PATIENCE).await;
    assert_eq!(reply, ConsulReply::Done);
    assert_eq!(count_of(&master.ask(&instances(0), PATIENCE).await), 1);
}

#[tokio::test]
async fn namespace_is_refused_by_a_consul_without_namespaces() {
    let Model { mut agent, .. } = model(Options::dev(5)).await;
    agent.namespace = Some("team".into());
    let reply = client(&agent).ask(&instances(0), PATIENCE).await;
    // The open source edition of 1.8.7 answers 400 to it.
    let (status, words) = refused(reply);
    assert_eq!(status, 400, "{words}");
}
