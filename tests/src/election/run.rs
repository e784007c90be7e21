//! A whole run: everything is started, faults happen, everything ends, what was seen is judged, and
//! each supervisor's recording is replayed.

use std::env;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::attempt::{Attempt, Message, Writer};
use super::fault::Fault;
use super::judge::{Event, Evidence, LEADER_WITHIN};
use super::member::{Places, write_config};
use super::moment::{nanos, now};
use super::network::{self, Host, SIZE};
use super::plan::{Deck, Plan, Round};
use super::summary::Account;
use super::world::{Target, World};
use crate::program::{BUILT, steersman};
use crate::wait::pass;

/// What is wrong on purpose: then the judge must say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Nothing.
    Nothing,
    /// A process that no supervisor knows writes with the token of the first term, for ever.
    Rogue,
    /// Figures that do not keep two holders apart, with `unsafe: true`.
    Unsafe,
}

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// What happens.
    pub plan: Plan,
    /// What is drawn.
    pub seed: u64,
    /// Where everything of the run is kept.
    pub folder: PathBuf,
    /// What is wrong on purpose.
    pub plant: Plant,
}

/// Set inside of the name spaces of a run.
const INSIDE: &str = "ELECTION_INSIDE";

/// Goes on in name spaces made for this run: whatever it starts ends with it, however it ends.
/// Returns only inside of them.
///
/// # Panics
///
/// When there are no name spaces here (they need root).
pub fn enter() {
    if env::var_os(INSIDE).is_some() {
        return;
    }
    let program = env::current_exe().expect("a running program has a path");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--mount-proc"]);
    command.args(["--fork", "--kill-child"]).arg(program).args(env::args_os().skip(1));
    let error = command.env(INSIDE, "1").env(BUILT, steersman()).exec();
    panic!("cannot run setpriv: {error}");
}

/// Makes a run; gives what must not be, a line each.
///
/// # Panics
///
/// When something that the run needs is missing, or does not start.
pub fn go(order: &Order) -> Vec<String> {
    fs::create_dir_all(&order.folder).expect("the folder can be made");
    let folder = order.folder.canonicalize().expect("it was made");
    network::build();
    let places = Places {
        config: folder.join("leader.json5"),
        resource: folder.join("resource"),
        program: env::current_exe().expect("a running program has a path"),
        folder,
    };
    write_config(&places.config, changes(order.plant));
    let is_polite = order.plant != Plant::Nothing;
    let mut world = World::start(places.clone(), order.seed, is_polite);
    let begun = now();
    let rogue = (order.plant == Plant::Rogue).then(|| Rogue::begin(&world));
    let first = world.await_settled(0, LEADER_WITHIN);
    assert!(first, "nobody leads at all: see {}", places.folder.display());
    let mut deck = Deck::of(&order.plan, order.seed);
    let mut events = Vec::new();
    let mut is_calm = true;
    while !is_over(&order.plan, begun) {
        let Some(round) = deck.deal() else { break };
        is_calm = play(&mut world, &round, is_calm, &mut events);
    }
    let healed = now();
    let last = world.await_settled(healed, LEADER_WITHIN);
    if let Some(event) = events.last_mut() {
        event.has_settled = Some(last);
    }
    if let Some(rogue) = rogue {
        rogue.end();
    }
    let (has_clocks, lives) = (world.has_clocks(), world.lives());
    let seen = world.end();
    let ended = now();
    let attempts = read_attempts(&places.folder.join("attempts.log"));
    let has_keeper = (0..SIZE).all(|member| has_keeper(&places, member));
    let evidence = Evidence { attempts, events, pairs: seen.pairs.clone(), has_keeper };
    let mut verdict = evidence.judge();
    let (replayed, steps) = replay(&places, &lives, &mut verdict.breaches);
    let account = Account {
        title: format!("Election, seed {}", order.seed),
        begun,
        ended,
        evidence: &evidence,
        verdict: &verdict,
        seen: &seen,
        has_clocks,
        lives: lives.into(),
        replayed,
        steps,
    };
    let keep = |name: &str, text: String| {
        fs::write(places.folder.join(name), text).expect("the folder is ours");
    };
    keep("faults.jsonl", account.faults());
    keep("summary.md", account.page());
    keep("seed", format!("{} {:?} {:?}\n", order.seed, order.plan, order.plant));
    verdict.breaches
}

fn is_over(plan: &Plan, begun: u64) -> bool {
    match plan {
        Plan::Drawn(span) => now() > begun + nanos(*span),
        Plan::Short | Plan::Repeated(..) => false,
    }
}

/// The next one begins when the session has expired, 20 s after the last renewal; the old one goes
/// on for 60 s.
fn changes(plant: Plant) -> &'static [(&'static str, &'static str)] {
    match plant {
        Plant::Nothing | Plant::Rogue => &[],
        Plant::Unsafe => &[
            ("demoteAfter: \"6s\"", "demoteAfter: \"60s\", unsafe: true"),
            ("lockDelay: \"10s\"", "lockDelay: \"0s\", takeover: \"0s\""),
        ],
    }
}

/// Lets the faults of a round happen; tells whether somebody leads again and nothing is wrong.
fn play(world: &mut World, round: &Round, is_calm: bool, events: &mut Vec<Event>) -> bool {
    let mut active: Vec<(u64, Event)> = Vec::new();
    for step in &round.steps {
        pass(step.delay);
        let busy: Vec<Target> = active.iter().map(|(_, event)| event.target).collect();
        let Some(target) = world.aim(step.fault, step.hits_leader, &busy) else { continue };
        if busy.contains(&target) {
            continue;
        }
        let is_alone = is_calm && round.steps.len() == 1;
        let event = strike(world, step.fault, target, is_alone);
        active.push((event.struck + nanos(step.hold), event));
    }
    active.sort_by_key(|(until, _)| *until);
    for (until, mut event) in active {
        pass(Duration::from_nanos(until.saturating_sub(now())));
        event.lifted = now();
        world.heal(event.fault, event.target);
        event.healed = now();
        events.push(event);
    }
    events.sort_by_key(|event| event.began);
    let mut is_settled = false;
    if round.settles {
        is_settled = world.await_settled(now(), LEADER_WITHIN);
        if let Some(last) = events.last_mut() {
            last.has_settled = Some(is_settled);
        }
    }
    pass(round.rest);
    is_settled
}

fn strike(world: &mut World, fault: Fault, target: Target, is_alone: bool) -> Event {
    let standing = world.standing();
    let member = match target {
        Target::Member(nth) => world.member(nth),
        Target::Server(_) | Target::Servers | Target::Key => None,
    };
    let leads = |nth: usize, life: u32| standing.member == nth + 1 && standing.life == life;
    let (life, manners, was_leading) = match member {
        Some(member) => {
            let life = member.life();
            let was_leading = leads(member.nth(), life.number);
            (life.number, life.manners.word(), was_leading)
        }
        None => {
            let is_its_server = |nth: usize| target == Target::Server(nth);
            (0, "", standing.member.checked_sub(1).is_some_and(is_its_server))
        }
    };
    let began = now();
    world.strike(fault, target);
    let struck = now();
    Event {
        fault,
        target,
        life,
        manners,
        was_leading,
        is_alone,
        began,
        struck,
        lifted: struck,
        healed: struck,
        has_settled: None,
    }
}

/// Reads what the resource has kept.
fn read_attempts(path: &Path) -> Vec<Attempt> {
    let text = fs::read_to_string(path).expect("the resource has kept it");
    let read = |line: &str| Attempt::read(line).unwrap_or_else(|error| panic!("{error}"));
    text.lines().map(read).collect()
}

/// Tells whether a member never had to do without a keeper: it says so when it has.
fn has_keeper(places: &Places, member: usize) -> bool {
    let log = fs::read(places.of(Host::Member(member)).join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    // Who has never led needed none.
    let has_led = log.contains("lock leader: held");
    !log.contains("no keeper") && (!has_led || log.contains("a keeper watches over"))
}

/// Replays the recording of every start of every member; counts recordings and steps.
fn replay(places: &Places, lives: &[u32], breaches: &mut Vec<String>) -> (u32, u64) {
    let (mut count, mut steps) = (0, 0);
    for (member, lives) in lives.iter().enumerate() {
        for life in 0..*lives {
            let path = places.recording(member, life);
            let text = fs::read_to_string(&path).unwrap_or_default();
            // Who is killed may leave half a line.
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            if whole.lines().count() < 2 {
                continue;
            }
            fs::write(&path, whole).expect("the folder is ours");
            let output = Command::new(steersman()).arg("replay").arg(&path).output();
            let output = output.expect("steersman can be run");
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                breaches.push(format!("the replay of {} differs: {said}", path.display()));
            }
            count += 1;
            steps += whole.lines().count() as u64 - 1;
        }
    }
    (count, steps)
}

/// A writer that nobody ends.
struct Rogue {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Rogue {
    fn begin(world: &World) -> Rogue {
        let is_over = Arc::new(AtomicBool::new(false));
        let (our_end, resource) = (is_over.clone(), world.places().resource.clone());
        let learn = world.learner();
        let thread = thread::spawn(move || {
            let socket = UnixDatagram::unbound().expect("there are sockets");
            let mut stolen = None;
            while !our_end.load(Ordering::Relaxed) {
                pass(Duration::from_millis(5));
                let standing = learn();
                if standing.token > 0 {
                    let first = *stolen.get_or_insert(standing);
                    let (member, life, token) = (first.member, first.life, first.token);
                    let writer = Writer::Rogue;
                    let message = Message { member, life, token, number: 0, writer, clock: 0 };
                    socket.send_to(message.to_text().as_bytes(), &resource).expect("it is there");
                }
            }
        });
        Rogue { is_over, thread }
    }

    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not fail");
    }
}
