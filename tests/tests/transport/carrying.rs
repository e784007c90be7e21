//! What the driver sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steersman::consul::{Carrier, Counters, Network};
use steersman_engine::JobId;
use steersman_engine::consul::{ConsulFailure, ConsulOp, ConsulReply, Owner};
use steersman_engine::front::{Agent, Consul, Scheme};
use tokio::sync::mpsc;

use super::scripted::{
    DONE, NO_INSTANCES, PATIENCE, Scripted, instances, nothing_there, report, unreachable, until,
};

type Answered = mpsc::Receiver<(ConsulOp, ConsulReply)>;

fn carrier() -> (Carrier<Network>, Answered) {
    let (answers, answered) = mpsc::channel(4);
    (Carrier::new(Network::new(), answers, Counters::new()), answered)
}

fn op(slot: u16, nth: u32) -> ConsulOp {
    ConsulOp { owner: Owner::Job(JobId(slot)), nth }
}

async fn next(answered: &mut Answered) -> (ConsulOp, ConsulReply) {
    tokio::time::timeout(PATIENCE, answered.recv()).await.expect("in time").expect("an answer")
}

/// Counts connections that are open; answers nothing.
async fn silent() -> (Scripted, Arc<AtomicUsize>) {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let server = Scripted::start(move |mut talk| {
        let open = Arc::clone(&counter);
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            talk.hang().await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    (server, open)
}

#[tokio::test]
async fn replies_come_back_under_the_name_of_their_request_and_are_counted() {
    let server = Scripted::start(|mut talk| async move {
        while let Some(head) = talk.request().await {
            talk.send(if head.starts_with("GET") { NO_INSTANCES } else { DONE }).await;
        }
    })
    .await;
    let (mut carrier, mut answered) = carrier();
    carrier.apply(Some(&Consul::Agent(server.agent()))).unwrap();
    carrier.carry(op(1, 1), report(), PATIENCE);
    carrier.carry(op(2, 1), instances(0), PATIENCE);
    let mut replies = [next(&mut answered).await, next(&mut answered).await];
    replies.sort_by_key(|(op, _)| *op);
    assert_eq!(replies, [(op(1, 1), ConsulReply::Done), (op(2, 1), nothing_there())]);
    let counted: Vec<_> = carrier
        .counters()
        .figures()
        .into_iter()
        .map(|figure| (figure.kind, figure.outcome, figure.count))
        .collect();
    assert_eq!(counted, [("report", "answered", 1), ("instances", "answered", 1)]);
    assert_eq!(carrier.counters().connections(), server.connections() as u64);
}

#[tokio::test]
async fn without_consul_every_request_fails_with_the_reason() {
    let (mut carrier, mut answered) = carrier();
    carrier.carry(op(1, 1), report(), PATIENCE);
    let (_, reply) = next(&mut answered).await;
    assert_eq!(unreachable(reply), "cannot use Consul: none is configured");
    let agent = Agent::new("consul:85000", Scheme::Http);
    let reason = carrier.apply(Some(&Consul::Agent(agent))).unwrap_err();
    assert!(reason.contains("its port is not a number"), "{reason}");
    carrier.carry(op(1, 2), report(), PATIENCE);
    let (named, reply) = next(&mut answered).await;
    assert_eq!((named, unreachable(reply)), (op(1, 2), reason));
}

#[tokio::test]
async fn new_settings_end_what_is_under_way_and_hold_for_the_next_request() {
    let (old, open) = silent().await;
    let new = Scripted::always(NO_INSTANCES).await;
    let (mut carrier, mut answered) = carrier();
    carrier.apply(Some(&Consul::Agent(old.agent()))).unwrap();
    carrier.carry(op(1, 1), instances(9), PATIENCE);
    until("the query", || open.load(Ordering::SeqCst) == 1).await;
    // The same settings again change nothing.
    carrier.apply(Some(&Consul::Agent(old.agent()))).unwrap();
    assert_eq!(open.load(Ordering::SeqCst), 1);
    carrier.apply(Some(&Consul::Agent(new.agent()))).unwrap();
    let (named, reply) = next(&mut answered).await;
    let words = unreachable(reply);
    assert_eq!(named, op(1, 1));
    assert!(words.ends_with("Consul's settings have changed"), "{words}");
    until("the end of the old query", || open.load(Ordering::SeqCst) == 0).await;
    carrier.carry(op(1, 2), instances(9), PATIENCE);
    assert_eq!(next(&mut answered).await, (op(1, 2), nothing_there()));
}

#[tokio::test]
async fn owner_has_one_request_under_way() {
    let (server, open) = silent().await;
    let (mut carrier, mut answered) = carrier();
    carrier.apply(Some(&Consul::Agent(server.agent()))).unwrap();
    for nth in 1..=500 {
        carrier.carry(op(1, nth), instances(9), PATIENCE);
        tokio::task::yield_now().await;
    }
    carrier.carry(op(2, 1), instances(9), PATIENCE);
    until("two queries", || open.load(Ordering::SeqCst) == 2).await;
    assert!(answered.try_recv().is_err());
}

#[tokio::test]
async fn end_of_the_carrier_ends_what_is_under_way() {
    let (server, open) = silent().await;
    let (mut carrier, mut answered) = carrier();
    carrier.apply(Some(&Consul::Agent(server.agent()))).unwrap();
    for slot in 0..10 {
        carrier.carry(op(slot, 1), instances(9), PATIENCE);
    }
    until("ten queries", || open.load(Ordering::SeqCst) == 10).await;
    drop(carrier);
    until("their end", || open.load(Ordering::SeqCst) == 0).await;
    assert!(answered.recv().await.is_none());
}

#[tokio::test]
async fn driver_that_is_behind_loses_no_reply() {
    let server = Scripted::always(DONE).await;
    let (mut carrier, mut answered) = carrier();
    carrier.apply(Some(&Consul::Agent(server.agent()))).unwrap();
    for slot in 0..200 {
        carrier.carry(op(slot, 1), report(), PATIENCE);
    }
    until("all requests", || server.requests().len() == 200).await;
    for _ in 0..200 {
        assert_eq!(next(&mut answered).await.1, ConsulReply::Done);
    }
}

#[tokio::test]
async fn reply_of_a_timeout_comes_in_time() {
    let (server, _open) = silent().await;
    let (mut carrier, mut answered) = carrier();
    carrier.apply(Some(&Consul::Agent(server.agent()))).unwrap();
    carrier.carry(op(1, 1), report(), Duration::from_millis(200));
    let (_, reply) = next(&mut answered).await;
    assert!(matches!(reply, ConsulReply::Failed(ConsulFailure::Unreachable(_))));
}
