//! Servers, members and the resource, and what a fault does to them.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::draw::Draw;
use super::fault::{Fault, Subject};
use super::jobs::Manners;
use super::member::{Clocks, Life, Member, Places, can_set_clocks};
use super::moment::{Moment, nanos, now};
use super::network::{Host, SIZE, Way, cut, mend, wire};
use super::resource::{OVER, Standing};
use super::servers::{KEY, Servers};
use super::sightings::{Seen, Sightings};
use crate::wait::{pass, until};

/// All that runs.
pub(super) struct World {
    places: Places,
    servers: Servers,
    members: [Option<Member>; SIZE],
    lives: [u32; SIZE],
    resource: Child,
    standing: Arc<Mutex<Standing>>,
    sightings: Sightings,
    draw: Draw,
    has_clocks: bool,
    is_polite: bool,
}

/// Whom a fault has hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Member(usize),
    Server(usize),
    Servers,
    Key,
}

impl Target {
    pub(super) fn words(self) -> String {
        match self {
            Target::Member(nth) => Host::Member(nth).name(),
            Target::Server(nth) => Host::Server(nth).name(),
            Target::Servers => "s1 s2 s3".to_owned(),
            Target::Key => "key".to_owned(),
        }
    }
}

impl World {
    /// Starts everything; `is_polite` when every job is to end as soon as it is asked to.
    pub(super) fn start(places: Places, seed: u64, is_polite: bool) -> World {
        let mut draw = Draw::of(seed ^ 0x00C1_0C45);
        let has_clocks = can_set_clocks();
        let clocks = [(); SIZE].map(|()| draw_clocks(&mut draw, has_clocks));
        let servers = Servers::start(&places.folder, clocks);
        let (resource, standing) = start_resource(&places);
        let mut world = World {
            places,
            servers,
            members: [const { None }; SIZE],
            lives: [0; SIZE],
            resource,
            standing,
            sightings: Sightings::begin(),
            draw,
            has_clocks,
            is_polite,
        };
        until("three servers agree", || world.servers.is_settled().then_some(()));
        for member in 0..SIZE {
            world.begin_member(member);
        }
        world
    }

    pub(super) fn has_clocks(&self) -> bool {
        self.has_clocks
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// What the resource knows.
    pub(super) fn standing(&self) -> Standing {
        *self.standing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives something that tells what the resource knows, to another thread.
    pub(super) fn learner(&self) -> impl Fn() -> Standing + Send + 'static {
        let known = self.standing.clone();
        move || *known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How often each member was started.
    pub(super) fn lives(&self) -> [u32; SIZE] {
        self.lives
    }

    pub(super) fn member(&self, nth: usize) -> Option<&Member> {
        self.members[nth].as_ref()
    }

    fn begin_member(&mut self, nth: usize) {
        let manners = match self.draw.within(0, 10) {
            _ if self.is_polite => Manners::Prompt,
            0 | 1 => Manners::Stubborn,
            2 | 3 => Manners::Forks,
            _ => Manners::Prompt,
        };
        let clocks = draw_clocks(&mut self.draw, self.has_clocks);
        let life = Life { number: self.lives[nth], manners, clocks };
        self.lives[nth] += 1;
        let member = Member::start(nth, life, &self.places);
        self.sightings.set_root(nth, member.root());
        self.members[nth] = Some(member);
    }

    /// Whom a fault is to hit; none when there is nobody to hit. Never who is hit already.
    pub(super) fn aim(
        &mut self,
        fault: Fault,
        hits_leader: bool,
        busy: &[Target],
    ) -> Option<Target> {
        match fault.subject() {
            Subject::Member => {
                let leader = self.standing().member.checked_sub(1).filter(|_| hits_leader);
                let first = leader.unwrap_or_else(|| self.draw.within(0, SIZE as u64) as usize);
                let mut all = (0..SIZE).map(|step| (first + step) % SIZE).map(Target::Member);
                all.find(|target| !busy.contains(target))
            }
            Subject::Leader => self.servers.leader().map(Target::Server),
            Subject::Follower => {
                let leader = self.servers.leader()?;
                let step = self.draw.within(1, SIZE as u64) as usize;
                Some(Target::Server((leader + step) % SIZE))
            }
            Subject::Servers => Some(Target::Servers),
            Subject::Key => Some(Target::Key),
        }
    }

    /// Lets a fault begin.
    pub(super) fn strike(&mut self, fault: Fault, target: Target) {
        match target {
            Target::Member(nth) => self.strike_member(fault, nth),
            Target::Server(nth) => self.strike_server(fault, nth),
            Target::Servers => {
                (0..SIZE).for_each(|nth| self.servers.kill(nth));
                if fault == Fault::ForgetServers {
                    (0..SIZE).for_each(|nth| self.servers.forget(nth));
                }
            }
            Target::Key => self.strike_key(fault),
        }
    }

    /// Ends it.
    pub(super) fn heal(&mut self, fault: Fault, target: Target) {
        match target {
            Target::Member(nth) => self.heal_member(fault, nth),
            Target::Server(nth) => self.heal_server(fault, nth),
            Target::Servers => (0..SIZE).for_each(|nth| self.servers.begin(nth)),
            Target::Key => {}
        }
    }

    fn strike_member(&mut self, fault: Fault, nth: usize) {
        let member = self.members[nth].as_mut().expect("it is hit by nothing else");
        let (host, server) = (Host::Member(nth), Host::Server(nth));
        match fault {
            Fault::Stop => member.signal(Signal::SIGTERM),
            Fault::Maintain => member.control(&["-maintenance", "enable"], &self.places),
            Fault::Reload => member.control(&["-reload"], &self.places),
            Fault::Kill => {
                member.signal(Signal::SIGKILL);
                member.await_end();
                self.sightings.set_root(nth, 0);
                self.members[nth] = None;
            }
            Fault::KillLead => member.signal_job("lead", Signal::SIGKILL),
            Fault::KillServe => member.signal_job("serve", Signal::SIGKILL),
            Fault::Pause | Fault::Freeze => member.freeze(),
            Fault::PauseSupervisor | Fault::FreezeSupervisor => member.signal(Signal::SIGSTOP),
            Fault::FreezeJob => member.signal_job("lead", Signal::SIGSTOP),
            Fault::LoseRequests => cut(host, server, Way::Out),
            Fault::LoseAnswers => cut(host, server, Way::In),
            Fault::CutBriefly | Fault::Cut => cut(host, server, Way::Both),
            Fault::Unplug => wire(host, false),
            _ => unreachable!("it is not about a member"),
        }
    }

    fn heal_member(&mut self, fault: Fault, nth: usize) {
        let (host, server) = (Host::Member(nth), Host::Server(nth));
        if let Some(member) = self.members[nth].as_mut() {
            match fault {
                Fault::Stop => member.await_end(),
                Fault::Maintain => member.control(&["-maintenance", "disable"], &self.places),
                Fault::Pause | Fault::Freeze => member.thaw(),
                Fault::PauseSupervisor | Fault::FreezeSupervisor => member.signal(Signal::SIGCONT),
                Fault::FreezeJob => member.signal_job("lead", Signal::SIGCONT),
                Fault::LoseRequests => mend(host, server, Way::Out),
                Fault::LoseAnswers => mend(host, server, Way::In),
                Fault::CutBriefly | Fault::Cut => mend(host, server, Way::Both),
                Fault::Unplug => wire(host, true),
                _ => {}
            }
        }
        if matches!(fault, Fault::Stop | Fault::Kill) {
            self.begin_member(nth);
        }
    }

    fn strike_server(&mut self, fault: Fault, nth: usize) {
        match fault {
            Fault::KillLeader | Fault::KillFollower => self.servers.kill(nth),
            Fault::ForgetLeader | Fault::ForgetFollower => {
                self.servers.kill(nth);
                self.servers.forget(nth);
            }
            Fault::FreezeLeader => self.servers.signal(nth, Signal::SIGSTOP),
            Fault::SplitLeader | Fault::SplitFollower => {
                others(nth).for_each(|other| cut(Host::Server(nth), other, Way::Both));
            }
            Fault::MuteLeader => {
                others(nth).for_each(|other| cut(Host::Server(nth), other, Way::Out));
            }
            _ => unreachable!("it is not about a server"),
        }
    }

    fn heal_server(&mut self, fault: Fault, nth: usize) {
        match fault {
            Fault::KillLeader | Fault::KillFollower => self.servers.begin(nth),
            Fault::ForgetLeader | Fault::ForgetFollower => self.servers.begin(nth),
            Fault::FreezeLeader => self.servers.signal(nth, Signal::SIGCONT),
            Fault::SplitLeader | Fault::SplitFollower => {
                others(nth).for_each(|other| mend(Host::Server(nth), other, Way::Both));
            }
            Fault::MuteLeader => {
                others(nth).for_each(|other| mend(Host::Server(nth), other, Way::Out));
            }
            _ => unreachable!("it is not about a server"),
        }
    }

    /// An operator tries once; a Consul without a leader does nothing for him.
    fn strike_key(&mut self, fault: Fault) {
        match fault {
            Fault::DestroySession => {
                let session = self.servers.holder();
                session.and_then(|session| {
                    self.servers.operate("PUT", &format!("/v1/session/destroy/{session}"))
                });
            }
            Fault::PutKey => drop(self.servers.operate("PUT", &format!("/v1/kv/{KEY}"))),
            Fault::DeleteKey => drop(self.servers.operate("DELETE", &format!("/v1/kv/{KEY}"))),
            _ => unreachable!("it is not about the key"),
        }
    }

    /// Waits until both jobs of one term have written since an instant and go on doing so, all
    /// servers agree and the key is held. Gives up after `patience`; tells whether it came to that.
    pub(super) fn await_settled(&self, since: Moment, patience: Duration) -> bool {
        let mut steady: Option<(u64, Moment)> = None;
        let until = now() + nanos(patience);
        while now() < until {
            pass(Duration::from_millis(50));
            let standing = self.standing();
            let (at, fresh) = (now(), nanos(Duration::from_millis(400)));
            let is_fresh = |wrote: Moment| wrote > since && wrote + fresh > at;
            if !is_fresh(standing.led) || !is_fresh(standing.served) {
                steady = None;
                continue;
            }
            match steady {
                Some((token, from)) if token == standing.token => {
                    // A loss is noticed within two requests.
                    let is_steady = at - from > nanos(Duration::from_millis(1_500));
                    let is_agreed = || self.servers.is_settled() && self.servers.holder().is_some();
                    if is_steady && is_agreed() {
                        return true;
                    }
                }
                _ => steady = Some((standing.token, at)),
            }
        }
        false
    }

    /// Ends everything, the members in good order; gives what was seen.
    pub(super) fn end(mut self) -> Seen {
        for member in self.members.iter_mut().flatten() {
            member.signal(Signal::SIGTERM);
        }
        for member in self.members.iter_mut().flatten() {
            member.await_end();
        }
        let seen = self.sightings.end();
        let socket = UnixDatagram::unbound().expect("there are sockets");
        socket.send_to(OVER.as_bytes(), &self.places.resource).expect("the resource is there");
        let status = self.resource.wait().expect("it is ours");
        assert!(status.success(), "the resource has failed");
        seen
    }
}

fn others(server: usize) -> impl Iterator<Item = Host> {
    (0..SIZE).filter(move |other| *other != server).map(Host::Server)
}

/// Clocks that are ahead by up to thirty days, the two by different times.
fn draw_clocks(draw: &mut Draw, can: bool) -> Clocks {
    let mut ahead = || draw.within(0, 30 * 86_400);
    can.then(|| (ahead(), ahead()))
}

fn start_resource(places: &Places) -> (Child, Arc<Mutex<Standing>>) {
    let mut command = Command::new(env::current_exe().expect("a running program has a path"));
    command.arg("resource").arg(&places.resource).arg(places.folder.join("attempts.log"));
    let mut resource = command.stdout(Stdio::piped()).spawn().expect("we can be run");
    let lines = BufReader::new(resource.stdout.take().expect("it is piped")).lines();
    let standing = Arc::new(Mutex::new(Standing::default()));
    let known = standing.clone();
    thread::spawn(move || {
        for heard in lines.map_while(Result::ok).filter_map(|line| Standing::read(&line)) {
            *known.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = heard;
        }
    });
    until("the resource is there", || fs::metadata(&places.resource).ok());
    (resource, standing)
}
