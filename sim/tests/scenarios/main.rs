//! Behaviour over time, in the simulated world. Each scenario must also be *seen to see*: the
//! table in `defects` plants a deliberate defect in the engine and expects its scenario to fail.
//!
//! - `starting`: triggers, levels, intervals, schedules, what cannot happen any more
//! - `restarting`: counts, backoff, never two at once
//! - `ending`: ends, exit status, timeouts, what is left behind, late results
//! - `stopping`: hooks, signals, patience, the one budget
//! - `health`: checks, edges, whom a result is about
//! - `maintenance`: a state of the supervisor
//! - `reloading`: the difference and nothing else
//! - `isolation`: one stuck thing disturbs no other
//! - `controlling`: the control plane
//! - `registering`: registration, with a model of Consul
//! - `watching`: watches and their reactions, with a model of Consul
//! - `locking`: locks on several nodes, with a model of Consul
//! - `neighbourhood`: the random neighbourhood of these three
//! - `keeping`: the keeper of a term, with a model of Consul
//! - `hunting`: a random search for breaches of the rules of locks
//! - `defects`: which scenario sees which defect

mod controlling;
mod defects;
mod ending;
mod health;
mod hunting;
mod isolation;
mod keeping;
mod lab;
mod locking;
mod maintenance;
mod neighbourhood;
mod registering;
mod reloading;
mod restarting;
mod starting;
mod stopping;
mod watching;

/// Every scenario there is, by file.
pub(crate) fn all() -> impl Iterator<Item = lab::Scenario> {
    let files = [
        starting::ALL,
        restarting::ALL,
        ending::ALL,
        stopping::ALL,
        health::ALL,
        maintenance::ALL,
        reloading::ALL,
        isolation::ALL,
        controlling::ALL,
        keeping::ALL,
        registering::ALL,
        watching::ALL,
    ];
    let files = files.into_iter().chain(locking::ALL.iter().copied());
    files.flat_map(|file| file.iter().copied())
}
