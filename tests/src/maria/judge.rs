//! What must hold: judged from what clients were told and what the servers have, never from the
//! supervisor's own word.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::{Cluster, MEMBERS};
use super::writer::Ack;
use crate::wait::until;

/// Waits until there is one primary, the others follow it, and the catalog says so; gives it.
///
/// # Panics
///
/// When that does not come.
pub fn settled(cluster: &Cluster) -> usize {
    until("one primary, two replicas that follow it, and a catalog that says so", || {
        let primary = cluster.primary()?;
        let address = cluster.address(primary);
        let others: Vec<usize> = (0..MEMBERS).filter(|member| *member != primary).collect();
        let follows = |member: &usize| {
            let status = cluster.ask(*member, "SHOW SLAVE STATUS\\G").unwrap_or_default();
            let has = |line: String| status.lines().any(|other| other.trim() == line);
            has(format!("Master_Host: {address}"))
                && has("Slave_IO_Running: Yes".into())
                && has("Slave_SQL_Running: Yes".into())
        };
        let replicas: Vec<String> = others.iter().map(|nth| cluster.address(*nth)).collect();
        let is_settled = others.iter().all(follows)
            && cluster.passing("db-primary") == [address]
            && cluster.passing("db-replica") == replicas;
        is_settled.then_some(primary)
    })
}

/// Judges the whole run: gives what is wrong, one line each.
///
/// # Panics
///
/// When the members do not become alike.
pub fn judge(cluster: &Cluster, acks: &[Ack]) -> Vec<String> {
    let mut wrong = Vec::new();
    judge_terms(acks, &mut wrong);
    let primary = settled(cluster);
    let end = cluster.ask(primary, "SELECT @@gtid_binlog_pos").expect("the primary answers");
    for member in 0..MEMBERS {
        until("every member has the whole history", || {
            (cluster.ask(member, "SELECT @@gtid_binlog_pos")? == end).then_some(())
        });
        judge_rows(cluster, member, acks, &mut wrong);
    }
    wrong
}

/// No older term's acknowledgement after a newer one's, and one member a term.
fn judge_terms(acks: &[Ack], wrong: &mut Vec<String>) {
    let mut sorted: Vec<&Ack> = acks.iter().collect();
    sorted.sort_by(|one, other| one.at.total_cmp(&other.at));
    let mut newest: Option<&Ack> = None;
    let mut members: BTreeMap<u64, usize> = BTreeMap::new();
    for ack in sorted {
        if let Some(newest) = newest.filter(|newest| ack.term < newest.term) {
            wrong.push(format!("acknowledged in an older term: {ack:?} after {newest:?}"));
        } else {
            newest = Some(ack);
        }
        if *members.entry(ack.term).or_insert(ack.member) != ack.member {
            wrong.push(format!("two members acknowledged in one term: {ack:?}"));
        }
    }
}

/// Every acknowledged row is there, of the term that was told.
fn judge_rows(cluster: &Cluster, member: usize, acks: &[Ack], wrong: &mut Vec<String>) {
    let rows = cluster.ask(member, "SELECT writer, number, term FROM app.ledger");
    let rows = rows.expect("a settled member answers");
    let rows: BTreeSet<&str> = rows.lines().collect();
    for ack in acks {
        let row = format!("{}\t{}\t{}", ack.writer, ack.number, ack.term);
        if !rows.contains(row.as_str()) {
            wrong.push(format!("lost at member {}: {ack:?}", member + 1));
        }
    }
}
