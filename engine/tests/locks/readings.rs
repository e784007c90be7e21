//! How old the last reading may get that showed the key as one's own: an operator who deletes it
//! takes the lock from its holder, and renewals do not tell.

use super::*;

impl Bench {
    /// The last reading of the key that was asked for: when, from which index, for how long.
    fn reading(&self) -> (ConsulOp, u64, Duration) {
        match self.asked() {
            Some((op, ConsulRequest::LockRead { index, wait, .. })) => (op, index, wait),
            other => panic!("it reads the key: {other:?}"),
        }
    }

    fn readings(&self) -> usize {
        let is_reading = |effect: &&Effect| {
            matches!(effect, Effect::Consul { request: ConsulRequest::LockRead { .. }, .. })
        };
        self.effects.iter().filter(is_reading).count()
    }

    /// Lets time pass until the jobs are told to stop; gives when that was.
    fn stops_at(&mut self, latest_ms: u64) -> u64 {
        while self.signals().is_empty() {
            self.pass(10);
            assert!(self.now_ms <= latest_ms, "not stopped by {latest_ms}");
        }
        self.now_ms
    }

    fn fail_reading(&mut self) {
        let (op, ..) = self.reading();
        self.answer(op, ConsulReply::Failed(ConsulFailure::Unreachable("lost".into())));
    }
}

#[test]
fn unanswered_readings_end_the_term_as_unanswered_renewals_do() {
    let mut bench = leading(config());
    bench.pass_holding(30_000);
    let (.., wait) = bench.reading();
    assert!(wait > Duration::from_secs(1), "it waits for a change");
    bench.effects.clear();
    // The last one that is answered was sent no longer than this ago.
    let stopped_ms = bench.stops_at(43_000);
    assert!(stopped_ms >= 43_000 - 5_100, "stopped too early, at {stopped_ms}");
    assert_eq!(bench.codes(), vec![Code::Lost]);
}

#[test]
fn age_of_a_reading_counts_from_its_sending() {
    let mut bench = leading(config());
    holder_is_me(&mut bench);
    bench.pass(200);
    let (op, index, wait) = bench.reading();
    assert!(index > 0 && wait >= Duration::from_secs(4), "{index} {wait:?}");
    let sent_ms = bench.now_ms;
    // Answered when its wait is over; Consul saw the key when it began to wait.
    bench.pass(4_500);
    bench.effects.clear();
    let entries = vec![entry(Some(MINE), 76, 0)];
    bench.answer(op, ConsulReply::Keys { index: 76, entries });
    let stopped_ms = bench.stops_at(sent_ms + 13_000);
    assert!(stopped_ms >= sent_ms + 12_800, "stopped too early, at {stopped_ms}");
}

#[test]
fn grant_is_a_reading_of_the_key() {
    let mut bench = leading(config());
    let granted_ms = bench.now_ms;
    bench.effects.clear();
    let stopped_ms = bench.stops_at(granted_ms + 13_000);
    assert!(stopped_ms >= granted_ms + 12_900, "stopped too early, at {stopped_ms}");
}

/// Inequality I4 for readings: with the tight figures of the default two may get lost.
#[test]
fn two_lost_readings_cost_no_term() {
    let mut bench = leading(config());
    for round in 0..40_u64 {
        // Wherever between two readings it begins.
        bench.pass_holding(7_000 + 130 * round);
        bench.effects.clear();
        let mut lost = 0;
        while lost < 2 {
            let (op, _, wait) = bench.reading_or_wait();
            bench.pass(millis(wait + wait / 16) + 2_000);
            bench.answer(op, ConsulReply::Failed(ConsulFailure::Unreachable("lost".into())));
            bench.effects.clear();
            lost += 1;
        }
        let (op, ..) = bench.reading_or_wait();
        bench.pass(1_900);
        let entries = vec![entry(Some(MINE), 76, 0)];
        bench.answer(op, ConsulReply::Keys { index: 76, entries });
        assert_eq!(bench.standing().0, StandingWord::Leading, "round {round}");
    }
}

#[test]
fn failed_reading_of_a_holder_is_repeated_as_soon_as_a_renewal() {
    let mut bench = leading(config());
    bench.pass_holding(20_000);
    bench.effects.clear();
    bench.reading_or_wait();
    for _ in 0..3 {
        let failed_ms = bench.now_ms;
        bench.fail_reading();
        let before = bench.readings();
        while bench.readings() == before {
            bench.pass(10);
            assert!(bench.now_ms <= failed_ms + 1_010, "not read again");
        }
        assert!(bench.now_ms >= failed_ms + 500);
        let (_, index, wait) = bench.reading();
        assert_eq!((index, wait), (0, Duration::ZERO), "it is answered at once");
    }
}

#[test]
fn holder_asks_no_more_than_twice_for_each_renewal() {
    let mut bench = leading(config());
    let until_ms = bench.now_ms + 60_000;
    while bench.now_ms < until_ms {
        let (op, _, wait) = bench.reading_or_wait();
        bench.pass(millis(wait + wait / 16));
        let entries = vec![entry(Some(MINE), 76, 0)];
        bench.answer(op, ConsulReply::Keys { index: 76, entries });
    }
    assert!(bench.readings() <= 2 * 60 / 5 + 2, "{}", bench.readings());
    assert_eq!(bench.standing().0, StandingWord::Leading);
}

/// What is known of higher tokens may be the same, and the floor of the next one is not.
#[test]
fn floors_of_keys_are_told_apart_by_the_canonical_hash() {
    let seen = |floor: u64| {
        let mut bench = Bench::new(config());
        bench.expect("SessionCreate", ConsulReply::Session { id: MINE.into() });
        bench.read(Some(entry(Some(OTHERS), 60, HELD_FLAG | 5_000)));
        bench.read(Some(entry(Some(OTHERS), 61, HELD_FLAG | floor)));
        bench.engine.canonical(&mut Vec::new())
    };
    assert_eq!(seen(3), seen(3));
    assert_ne!(seen(3), seen(4));
}

impl Bench {
    /// Waits for the next reading of the key.
    fn reading_or_wait(&mut self) -> (ConsulOp, u64, Duration) {
        let before = self.readings();
        for _ in 0..200 {
            if self.readings() > before || before == 0 && self.readings() == 1 {
                break;
            }
            self.pass(10);
        }
        self.reading()
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
