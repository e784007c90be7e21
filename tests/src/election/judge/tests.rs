//! The judge is shown one run that is good, and one for each thing that can be wrong with it.

use super::super::attempt::{Attempt, Message, Writer};
use super::super::sightings::{Holder, Pair};
use super::*;

const MS: u64 = 1_000_000;

/// Writes with a token every 5 ms, each accepted unless a newer one was.
fn write(evidence: &mut Evidence, member: usize, token: u64, span: std::ops::Range<u64>) {
    for at in span.step_by(5) {
        let message =
            Message { member, life: 0, token, number: at, writer: Writer::Lead, clock: 0 };
        evidence.attempts.push(Attempt { at: at * MS, message, is_accepted: true });
    }
    evidence.attempts.sort_by_key(|attempt| attempt.at);
    let mut newest = 0;
    for attempt in &mut evidence.attempts {
        newest = newest.max(attempt.message.token);
        attempt.is_accepted = attempt.message.token == newest;
    }
}

fn strike(evidence: &mut Evidence, fault: Fault, target: Target, span: std::ops::Range<u64>) {
    evidence.events.push(Event {
        fault,
        target,
        life: 0,
        manners: "prompt",
        was_leading: true,
        is_alone: true,
        began: span.start * MS,
        struck: span.start * MS,
        lifted: span.end * MS,
        healed: span.end * MS,
        has_settled: Some(true),
    });
}

/// Member 1 leads, then 2.
fn handed_over() -> Evidence {
    let mut evidence = Evidence::default();
    write(&mut evidence, 1, 10, 0..1_000);
    write(&mut evidence, 2, 20, 1_300..60_000);
    evidence
}

fn breaches(evidence: &Evidence) -> Vec<String> {
    evidence.judge().breaches
}

#[track_caller]
fn assert_breach(evidence: &Evidence, words: &str) {
    let found = breaches(evidence);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(words), "{found:?}");
}

#[test]
fn a_hand_over_in_order_is_good() {
    assert_eq!(breaches(&handed_over()), [""; 0]);
}

#[test]
fn one_write_after_the_first_of_the_next_is_two_holders() {
    let mut evidence = handed_over();
    write(&mut evidence, 1, 10, 1_301..1_302);
    assert_breach(&evidence, "two holders: member 1 wrote 1 times with token 10");
}

#[test]
fn who_was_frozen_beyond_the_bound_is_excused_while_it_is_refused() {
    let mut evidence = handed_over();
    strike(&mut evidence, Fault::Freeze, Target::Member(0), 900..35_000);
    write(&mut evidence, 1, 10, 35_000..35_030);
    let verdict = evidence.judge();
    assert_eq!(verdict.breaches, [""; 0]);
    assert_eq!((verdict.excused, verdict.excused_after_thaw), (6, 25 * MS));
    write(&mut evidence, 1, 10, 36_001..36_002);
    assert_breach(&evidence, "two holders");
}

#[test]
fn another_member_or_a_short_freeze_excuses_nobody() {
    let mut evidence = handed_over();
    strike(&mut evidence, Fault::Freeze, Target::Member(2), 900..35_000);
    strike(&mut evidence, Fault::Pause, Target::Member(0), 900..1_300);
    write(&mut evidence, 1, 10, 1_301..1_302);
    assert_breach(&evidence, "two holders");
}

#[test]
fn an_old_token_that_is_accepted_is_seen_even_from_a_frozen_one() {
    let mut evidence = handed_over();
    strike(&mut evidence, Fault::Freeze, Target::Member(0), 900..35_000);
    write(&mut evidence, 1, 10, 35_000..35_001);
    for attempt in &mut evidence.attempts {
        attempt.is_accepted = true;
    }
    assert_breach(&evidence, "an older token was accepted: 10 after 20");
}

#[test]
fn a_token_of_two_members_or_two_lives_is_seen() {
    let mut evidence = Evidence::default();
    write(&mut evidence, 1, 10, 0..10);
    write(&mut evidence, 2, 10, 20..30);
    assert_breach(&evidence, "token 10 is of two");
    let mut evidence = Evidence::default();
    write(&mut evidence, 1, 10, 0..10);
    evidence.attempts[1].message.life = 1;
    assert_breach(&evidence, "token 10 is of two");
}

#[test]
fn a_token_that_goes_back_is_seen() {
    let mut evidence = handed_over();
    write(&mut evidence, 3, 15, 60_100..60_101);
    assert_breach(&evidence, "member 3 wrote 1 times with token 15");
}

#[test]
fn whoever_outlives_its_container_is_seen() {
    let mut evidence = handed_over();
    strike(&mut evidence, Fault::Kill, Target::Member(0), 900..1_200);
    assert_breach(&evidence, "writes of life 0 of m1 after its end");
}

#[test]
fn whoever_is_cut_off_must_be_silent_in_time_though_nobody_else_begins() {
    let mut evidence = Evidence::default();
    write(&mut evidence, 1, 10, 0..9_900);
    strike(&mut evidence, Fault::Cut, Target::Member(0), 1_000..30_000);
    assert_eq!(breaches(&evidence), [""; 0]);
    write(&mut evidence, 1, 10, 10_025..10_026);
    assert_breach(&evidence, "too late: 1 writes of member 1 from 9.025 s");
}

#[test]
fn whose_server_is_gone_must_be_silent_in_time_as_well() {
    let mut evidence = Evidence::default();
    write(&mut evidence, 1, 10, 0..11_000);
    strike(&mut evidence, Fault::KillLeader, Target::Server(1), 1_000..30_000);
    assert_eq!(breaches(&evidence), [""; 0]);
    strike(&mut evidence, Fault::KillLeader, Target::Server(0), 1_000..30_000);
    assert_breach(&evidence, "too late");
}

#[test]
fn processes_of_two_terms_at_one_instant_are_seen() {
    let mut evidence = handed_over();
    let [older, newer] = [(1, 10), (2, 20)].map(|(member, token)| Holder::of(member, token));
    evidence.pairs.push(Pair { at: 1_300 * MS, older, newer });
    assert_breach(&evidence, "alive at once");
    strike(&mut evidence, Fault::FreezeSupervisor, Target::Member(0), 900..35_000);
    assert_eq!(breaches(&evidence), [""; 0]);
}

#[test]
fn nobody_who_leads_in_time_is_seen() {
    let mut evidence = handed_over();
    strike(&mut evidence, Fault::DestroySession, Target::Key, 900..900);
    evidence.events[0].has_settled = Some(false);
    assert_breach(&evidence, "nobody led within 80 s");
}

#[test]
fn a_keeper_ends_the_term_of_a_supervisor_that_stands_still() {
    let mut evidence = Evidence::default();
    write(&mut evidence, 1, 10, 0..12_000);
    write(&mut evidence, 2, 20, 31_000..40_000);
    strike(&mut evidence, Fault::FreezeSupervisor, Target::Member(0), 1_000..35_000);
    assert_eq!(breaches(&evidence), [""; 0]);
    evidence.has_keeper = true;
    assert_breach(&evidence, "too late");
    write(&mut evidence, 1, 10, 12_000..34_000);
    assert_eq!(breaches(&evidence).len(), 2, "too late, and beside another");
}
