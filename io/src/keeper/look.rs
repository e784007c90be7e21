//! What the keeper sees in `/proc`, what of it belongs to a run, and the kill.
//!
//! In the order of how little each step depends on: the groups of the first processes that it was
//! told of; then whoever is in such a group or descends from somebody found, which the kernel tells
//! of without touching the process; last the environments, since reading one may have to wait for a
//! process that is stuck. Who is missed because he was just made or becomes another program is
//! found by the next look.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::process::{Identity, Place, Refused, Spared, Stat, Target, marker_of};

/// The first process of a run, and its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) job: Box<str>,
    pub(super) identity: Identity,
}

/// What one look has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Who was there and should not have been, on his way out or not.
    pub(super) is_any: bool,
    /// Somebody whose environment cannot be told yet: he is becoming another program.
    pub(super) is_unsure: bool,
}

/// Looks for runs of jobs, and kills what it finds.
#[derive(Debug)]
pub(super) struct Hunt<'h> {
    place: &'h Place,
    spared: &'h Spared,
    jobs: &'h BTreeSet<Box<str>>,
    leaders: &'h [Leader],
}

impl<'h> Hunt<'h> {
    /// Prepares one for everything of these jobs; of the leaders it takes those of these jobs.
    pub(super) fn new(
        place: &'h Place,
        spared: &'h Spared,
        jobs: &'h BTreeSet<Box<str>>,
        leaders: &'h [Leader],
    ) -> Hunt<'h> {
        Hunt { place, spared, jobs, leaders }
    }

    /// Looks once; adds to `killed` whom it had to kill.
    pub(super) fn strike(&self, killed: &mut BTreeSet<Identity>) -> Found {
        let leaders: Vec<Identity> = self
            .leaders
            .iter()
            .filter(|leader| self.jobs.contains(&leader.job))
            .map(|leader| leader.identity)
            .collect();
        let seen = read_all();
        // Those who are killed with their group are counted before.
        let mut found = Found::default();
        let mut known = kin(&seen, &leaders, self.spared);
        self.kill(&seen, &known, &leaders, killed, &mut found);
        let marked: Vec<Identity> = seen
            .values()
            .filter(|stat| !known.contains(&stat.identity.pid))
            .filter(|stat| self.is_marked(stat, &mut found))
            .map(|stat| stat.identity)
            .collect();
        known = kin(&seen, &marked, self.spared);
        self.kill(&seen, &known, &[], killed, &mut found);
        found
    }

    fn is_marked(&self, stat: &Stat, found: &mut Found) -> bool {
        let pid = stat.identity.pid;
        let is_other = stat.is_dead || stat.is_kernel || self.spared.has(pid);
        if is_other || stat.identity.start < self.place.since() {
            return false;
        }
        let marker = marker_of(pid, self.place);
        // Nothing at all: it has none, or is between two programs.
        found.is_unsure |= marker.is_missing && !stat.is_leaving;
        marker.text.is_some_and(|marker| is_run_of(&marker, self.jobs))
    }

    fn kill(
        &self,
        seen: &BTreeMap<i32, Stat>,
        whom: &BTreeSet<i32>,
        leaders: &[Identity],
        killed: &mut BTreeSet<Identity>,
        found: &mut Found,
    ) {
        for leader in leaders {
            if let Ok(target) = Target::group(*leader, self.spared) {
                // Whom it does not reach is looked at alone, below and in the next look.
                let _ = target.kill();
            }
        }
        for stat in whom.iter().filter_map(|pid| seen.get(pid)).filter(|stat| !stat.is_dead) {
            match Target::process(stat.identity, self.spared) {
                Ok(target) => {
                    found.is_any = true;
                    let is_killed = target.kill().is_ok();
                    if is_killed && !stat.is_leaving {
                        killed.insert(stat.identity);
                    }
                }
                // The kill of its group has ended it, or it has ended by itself.
                Err(Refused::Gone) if stat.is_leaving => {}
                Err(Refused::Gone) => {
                    found.is_any = true;
                    killed.insert(stat.identity);
                }
                Err(Refused::Spared) => {}
            }
        }
    }
}

/// Finds who is of the same kin as these: they, their groups, and everybody below.
///
/// A group counts while its leader is who he was, or nobody else leads one of that number.
fn kin(seen: &BTreeMap<i32, Stat>, of: &[Identity], spared: &Spared) -> BTreeSet<i32> {
    let is_there = |one: &&Identity| seen.get(&one.pid).is_none_or(|stat| stat.identity == **one);
    let groups: BTreeMap<i32, u64> = of
        .iter()
        .filter(is_there)
        .filter(|one| !spared.has_group(one.pid))
        .map(|one| (one.pid, one.start))
        .collect();
    let begun_in_time = |stat: &&Stat| {
        let begun = groups.get(&stat.group);
        begun.is_some_and(|begun| stat.identity.start >= *begun) || of.contains(&stat.identity)
    };
    let mut found: BTreeSet<i32> = seen
        .values()
        .filter(begun_in_time)
        .map(|stat| stat.identity.pid)
        .filter(|pid| !spared.has(*pid))
        .collect();
    loop {
        let below: Vec<i32> = seen
            .values()
            .filter(|stat| found.contains(&stat.parent))
            .map(|stat| stat.identity.pid)
            .filter(|pid| !found.contains(pid) && !spared.has(*pid))
            .collect();
        if below.is_empty() {
            return found;
        }
        found.extend(below);
    }
}

/// Tells whether a marker is that of a run or a check of one of these jobs: `JOB.NTH[.check]`.
fn is_run_of(marker: &str, jobs: &BTreeSet<Box<str>>) -> bool {
    let marker = marker.strip_suffix(".check").unwrap_or(marker);
    let Some((job, nth)) = marker.rsplit_once('.') else { return false };
    let is_number = !nth.is_empty() && nth.bytes().all(|byte| byte.is_ascii_digit());
    is_number && jobs.contains(job)
}

fn read_all() -> BTreeMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let stats = numbers.filter_map(crate::process::stat_of);
    stats.map(|stat| (stat.identity.pid, stat)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: i32, parent: i32, group: i32) -> Stat {
        Stat {
            identity: Identity { pid, start: u64::from(pid.unsigned_abs()) },
            parent,
            group,
            is_dead: false,
            is_leaving: false,
            is_kernel: false,
        }
    }

    fn world(stats: &[Stat]) -> BTreeMap<i32, Stat> {
        stats.iter().map(|stat| (stat.identity.pid, *stat)).collect()
    }

    fn kin_of(stats: &[Stat], leader: Identity) -> Vec<i32> {
        let mut spared = Spared::default();
        spared.add(1, Some(1));
        spared.add(3, Some(3));
        kin(&world(stats), &[leader], &spared).into_iter().collect()
    }

    #[test]
    fn kin_are_the_group_and_everybody_below() {
        let stats = [
            stat(1, 0, 1),
            stat(3, 1, 3),
            stat(10, 1, 10),
            stat(11, 10, 10),
            // Left the group, and its child.
            stat(12, 10, 12),
            stat(13, 12, 12),
            // Its parent has gone, and it is still in the group.
            stat(14, 1, 10),
            // Of another job.
            stat(20, 1, 20),
            stat(21, 20, 20),
        ];
        let leader = Identity { pid: 10, start: 10 };
        assert_eq!(kin_of(&stats, leader), [10, 11, 12, 13, 14]);
        // The leader itself has gone.
        let stats: Vec<Stat> = stats.into_iter().filter(|stat| stat.identity.pid != 10).collect();
        assert_eq!(kin_of(&stats, leader), [11, 14]);
    }

    #[test]
    fn numbers_that_others_have_got_are_theirs() {
        let other = Identity { pid: 10, start: 9 };
        assert!(kin_of(&[stat(10, 1, 10), stat(11, 10, 10)], other).is_empty());
    }

    #[test]
    fn whoever_is_spared_is_nobody_s_kin() {
        // The keeper moved into the job's group, or the job's number is that of PID 1.
        let leader = Identity { pid: 10, start: 10 };
        assert_eq!(kin_of(&[stat(10, 1, 10), stat(3, 10, 10)], leader), [10]);
        let first = Identity { pid: 1, start: 1 };
        assert!(kin_of(&[stat(1, 0, 1), stat(5, 1, 1)], first).is_empty());
    }

    #[test]
    fn markers_name_jobs_as_a_whole() {
        let jobs: BTreeSet<Box<str>> = ["a", "a.5", "b c"].map(Box::from).into();
        for marker in ["a.1", "a.12.check", "a.5.3", "a.5.3.check", "a.5.check", "b c.7"] {
            assert!(is_run_of(marker, &jobs), "{marker}");
        }
        for marker in ["a", "a.", "aa.1", "a.x", "c.1", "a.5.6.7", ".1", "check", "a.1.checks"] {
            assert!(!is_run_of(marker, &jobs), "{marker}");
        }
    }
}
