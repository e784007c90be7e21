//! A lock is given back although Consul does not hear it at once, or says what is not so.

use super::*;

fn unreachable() -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Unreachable("cut off".into()))
}

fn refusing(status: u16) -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Refused { status, body: "".into() })
}

impl Bench {
    /// How often something was asked for, by the beginning of its name.
    fn count(&self, what: &str) -> usize {
        let is_it = |effect: &&Effect| match effect {
            Effect::Consul { request, .. } => format!("{request:?}").starts_with(what),
            _ => false,
        };
        self.effects.iter().filter(is_it).count()
    }

    /// Answers whatever is asked like this until nothing has been asked for a while; gives what.
    fn refuse_all(&mut self, span_ms: u64, reply: &ConsulReply) -> Vec<String> {
        let until = self.now_ms + span_ms;
        let mut asked = Vec::new();
        let mut last = None;
        while self.now_ms < until {
            if let Some((op, request)) = self.asked()
                && last != Some(op)
            {
                last = Some(op);
                asked.push(format!("{request:?}").split(' ').next().unwrap_or("").to_owned());
                self.answer(op, reply.clone());
            } else {
                self.pass(10);
            }
        }
        asked
    }
}

/// A holder whose term has ended because nothing was answered; its process has gone.
fn lost() -> Bench {
    let mut bench = leading(config());
    holder_is_me(&mut bench);
    bench.renews = false;
    bench.effects.clear();
    bench.pass(13_000);
    bench.ended(1);
    assert_eq!(bench.standing().0, StandingWord::Vacating);
    bench
}

#[test]
fn session_that_consul_says_it_does_not_know_is_given_back_all_the_same() {
    let mut bench = leading(config());
    holder_is_me(&mut bench);
    bench.renews = false;
    bench.effects.clear();
    let renewal = loop {
        bench.pass(100);
        let renewal = bench.effects.iter().find_map(|effect| match effect {
            Effect::Consul { op, request: ConsulRequest::SessionRenew { .. }, .. } => Some(*op),
            _ => None,
        });
        if let Some(renewal) = renewal {
            break renewal;
        }
    };
    bench.answer(renewal, ConsulReply::Failed(ConsulFailure::Unknown));
    assert_eq!(bench.signals(), vec![Signal::TERM]);
    assert_eq!((bench.count("Release"), bench.count("SessionDestroy")), (0, 0));
    bench.ended(1);
    bench.expect("Release", ConsulReply::Done);
    assert_eq!(bench.codes(), vec![Code::Released]);
    bench.expect("SessionDestroy", ConsulReply::Done);
    assert_eq!(bench.standing().0, StandingWord::Idle);
}

#[test]
fn lock_that_could_not_be_given_back_is_given_back_when_consul_is_there_again() {
    let mut bench = lost();
    let asked = bench.refuse_all(20_000, &unreachable());
    assert!(asked.iter().all(|what| what == "Release"), "{asked:?}");
    assert!((5..20).contains(&asked.len()), "{asked:?}");
    bench.effects.clear();
    bench.expect("Release", ConsulReply::Done);
    assert_eq!(bench.codes(), vec![Code::Released]);
    let asked = bench.refuse_all(5_000, &unreachable());
    assert!(asked.iter().all(|what| what == "SessionDestroy"), "{asked:?}");
    bench.effects.clear();
    bench.expect("SessionDestroy", ConsulReply::Done);
    assert_eq!(bench.standing().0, StandingWord::Idle);
}

/// Four times its time to live after the last renewal the session has surely gone.
#[test]
fn lock_is_not_given_back_for_ever() {
    let mut bench = lost();
    let asked = bench.refuse_all(80_000, &refusing(500));
    assert_ne!(bench.standing().0, StandingWord::Vacating);
    let destroyed = asked.iter().position(|what| what == "SessionDestroy");
    let destroyed = destroyed.expect("the session is ended as the last thing");
    assert!(asked[..destroyed].iter().all(|what| what == "Release"), "{asked:?}");
    assert!(!asked[destroyed + 1..].iter().any(|what| what == "Release"), "{asked:?}");
}

#[test]
fn hold_off_counts_from_when_nothing_of_the_term_was_left() {
    let mut bench = lost();
    let left_ms = bench.now_ms;
    bench.refuse_all(25_000, &unreachable());
    bench.effects.clear();
    bench.expect("Release", ConsulReply::Done);
    bench.expect("SessionDestroy", ConsulReply::Done);
    bench.effects.clear();
    while !bench.stands() {
        bench.pass(50);
        assert!(bench.now_ms <= left_ms + 30_100);
    }
    assert!(bench.now_ms >= left_ms + 30_000, "after {}", bench.now_ms - left_ms);
}

#[test]
fn lock_that_must_not_be_given_back_is_not_given_back_again() {
    let mut bench = lost();
    let asked = bench.refuse_all(1_000, &refusing(403));
    assert_eq!(&asked[..2], ["Release", "SessionDestroy"]);
    assert_eq!(bench.standing().0, StandingWord::Idle);
}

#[test]
fn stop_does_not_wait_for_a_lock_that_cannot_be_given_back() {
    let mut bench = lost();
    bench.refuse_all(10_000, &unreachable());
    bench.feed(Input::Signal(SignalName::Term));
    bench.refuse_all(300, &unreachable());
    assert!(bench.engine.is_over());
}

#[test]
fn term_after_one_that_could_not_be_given_back_is_left_alone() {
    let mut bench = lost();
    let released = bench.asked().expect("it is given back").0;
    bench.refuse_all(80_000, &unreachable());
    bench.renews = true;
    bench.effects.clear();
    bench.expect("SessionCreate", ConsulReply::Session { id: OTHERS.into() });
    bench.read(Some(entry(None, 90, RELEASED_FLAG)));
    bench.read(Some(entry(None, 90, RELEASED_FLAG)));
    bench.expect("Acquire", granted());
    // An answer to what was asked long ago changes nothing.
    bench.effects.clear();
    bench.answer(released, unreachable());
    bench.pass(3_000);
    assert_eq!(bench.standing().0, StandingWord::Leading);
    assert_eq!((bench.count("Release"), bench.count("SessionDestroy")), (0, 0));
}
