//! Building blocks for tests: jobs, scenes with one node, and questions about what was seen.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{
    Backoff, Clause, Command, Config, HealthCheck, Job, Name, Repeat, Restarts, Signal, SourceName,
    Trigger,
};
use steersman_engine::effect::{Message, Reply};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{Code, Engine, RequestId, RunKind, Time};

use crate::agenda::NodeId;
use crate::node::NodeSetup;
use crate::observer::RunStory;
use crate::script::{Playbook, Script};
use crate::world::{Action, World};

/// The one node of a scene.
pub const NODE: NodeId = NodeId(0);

/// Builds whole seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Builds milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Builds an instant from whole seconds.
pub const fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

/// A job being built; v3's defaults, but no backoff between restarts unless asked for.
#[derive(Clone, Debug)]
pub struct JobBuilder(Job);

/// Starts to build a job that starts at startup and is not restarted.
pub fn job(name: &str) -> JobBuilder {
    let job = Job::new(name, Command::new([name]));
    JobBuilder(Job { backoff: Backoff::None, ..job })
}

/// Builds the condition that a job did something, the first time.
pub fn once(code: Code, job: &str) -> Clause {
    Clause { code, source: SourceName::Job(Name::from(job)), repeat: Repeat::Once }
}

/// Builds the condition that a job did something, every time.
pub fn each(code: Code, job: &str) -> Clause {
    Clause { repeat: Repeat::Each, ..once(code, job) }
}

/// Builds the condition that the supervisor got a signal, every time.
pub fn each_signal(signal: SignalName) -> Clause {
    let source = SourceName::Signal(signal);
    Clause { code: Code::Signal, source, repeat: Repeat::Each }
}

/// Builds the condition of an event of the supervisor itself.
pub fn global(code: Code, repeat: Repeat) -> Clause {
    Clause { code, source: SourceName::Global, repeat }
}

impl JobBuilder {
    /// Starts on an event.
    pub fn on(self, clause: Clause) -> JobBuilder {
        self.when(Trigger::On(clause))
    }

    /// Starts on a trigger.
    pub fn when(self, trigger: Trigger) -> JobBuilder {
        JobBuilder(Job { trigger, ..self.0 })
    }

    /// Gives up when the trigger has not come after so long.
    pub fn gives_up_after(self, timeout: Duration) -> JobBuilder {
        JobBuilder(Job { trigger_timeout: Some(timeout), ..self.0 })
    }

    /// Runs every so often, without an end.
    pub fn every(self, interval: Duration) -> JobBuilder {
        self.when(Trigger::Interval(interval)).unlimited()
    }

    /// Restarts so many times.
    pub fn restarts(self, times: u32) -> JobBuilder {
        JobBuilder(Job { restarts: Restarts::Limited(times), ..self.0 })
    }

    /// Restarts for ever.
    pub fn unlimited(self) -> JobBuilder {
        JobBuilder(Job { restarts: Restarts::Unlimited, ..self.0 })
    }

    /// Waits between restarts.
    pub fn backoff(self, backoff: Backoff) -> JobBuilder {
        JobBuilder(Job { backoff, ..self.0 })
    }

    /// Limits one run.
    pub fn timeout(self, timeout: Duration) -> JobBuilder {
        JobBuilder(Job { timeout: Some(timeout), ..self.0 })
    }

    /// Limits the wait for jobs that react to its `stopping`.
    pub fn stop_timeout(self, timeout: Duration) -> JobBuilder {
        JobBuilder(Job { stop_timeout: Some(timeout), ..self.0 })
    }

    /// Limits the time from the stop signal to SIGKILL.
    pub fn kill_timeout(self, timeout: Duration) -> JobBuilder {
        JobBuilder(Job { kill_timeout: Some(timeout), ..self.0 })
    }

    /// Stops with another signal.
    pub fn stop_signal(self, signal: Signal) -> JobBuilder {
        JobBuilder(Job { stop_signal: signal, ..self.0 })
    }

    /// Ends the container when it ends.
    pub fn essential(self) -> JobBuilder {
        JobBuilder(Job { essential: true, ..self.0 })
    }

    /// Is checked every so often, with a time limit of one interval.
    pub fn checked(self, interval: Duration) -> JobBuilder {
        self.health(|health| health.interval = interval)
    }

    /// Is checked as said.
    pub fn health(self, change: impl FnOnce(&mut HealthCheck)) -> JobBuilder {
        let argv = ["check".to_owned(), self.0.name.to_string()];
        let mut health = HealthCheck {
            command: Some(Arc::new(Command::new(argv.iter().map(String::as_str)))),
            interval: secs(1),
            timeout: Duration::ZERO,
            ttl: None,
            retries: 1,
            start_period: Duration::ZERO,
            start_interval: None,
        };
        change(&mut health);
        if health.timeout.is_zero() {
            health.timeout = health.interval;
        }
        JobBuilder(Job { health: Some(health), ..self.0 })
    }

    /// Executes something else.
    pub fn argv<'a>(self, argv: impl IntoIterator<Item = &'a str>) -> JobBuilder {
        JobBuilder(Job { command: Some(Arc::new(Command::new(argv))), ..self.0 })
    }

    /// Changes anything.
    pub fn with(mut self, change: impl FnOnce(&mut Job)) -> JobBuilder {
        change(&mut self.0);
        self
    }

    /// Gives the job.
    pub fn build(self) -> Job {
        self.0
    }
}

/// Builds a configuration of jobs.
pub fn config(jobs: impl IntoIterator<Item = JobBuilder>) -> Config {
    let jobs = jobs.into_iter().map(|job| Arc::new(job.build())).collect();
    Config { jobs, ..Config::default() }
}

/// A scene being set.
#[derive(Debug)]
pub struct SceneBuilder {
    config: Config,
    playbook: Playbook,
    seed: u64,
}

/// A world with one node, and questions about it. It fails its test when the oracle saw something
/// that must never happen.
#[derive(Debug)]
pub struct Scene {
    /// The world.
    pub world: World,
    is_judged: bool,
}

impl Scene {
    /// Starts to set a scene with these jobs.
    pub fn of(jobs: impl IntoIterator<Item = JobBuilder>) -> SceneBuilder {
        SceneBuilder { config: config(jobs), playbook: Playbook::default(), seed: 1 }
    }
}

impl SceneBuilder {
    /// Sets the budget of a shutdown.
    pub fn stop_timeout(mut self, timeout: Duration) -> SceneBuilder {
        self.config.stop_timeout = timeout;
        self
    }

    /// Sets how the processes of a job behave.
    pub fn script(mut self, job: &str, script: Script) -> SceneBuilder {
        self.playbook.behaviour(NODE, job, RunKind::Main).set_from(Time(0), script);
        self
    }

    /// Sets how the n-th process of a job behaves.
    pub fn nth(mut self, job: &str, nth: u32, script: Script) -> SceneBuilder {
        self.playbook.behaviour(NODE, job, RunKind::Main).set_nth(nth, script);
        self
    }

    /// Sets how the checks of a job go that begin at an instant or later.
    pub fn check_from(mut self, job: &str, from: Time, script: Script) -> SceneBuilder {
        self.playbook.behaviour(NODE, job, RunKind::Check).set_from(from, script);
        self
    }

    /// Sets how the checks of a job go.
    pub fn check(self, job: &str, script: Script) -> SceneBuilder {
        self.check_from(job, Time(0), script)
    }

    /// Seeds engine and world.
    pub fn seed(mut self, seed: u64) -> SceneBuilder {
        self.seed = seed;
        self
    }

    /// Changes anything of the configuration.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> SceneBuilder {
        change(&mut self.config);
        self
    }

    /// Begins.
    pub fn begin(self) -> Scene {
        let mut scene = self.set_with(|_| {});
        scene.run_for(Duration::ZERO);
        scene
    }

    /// Sets the scene with a prepared engine; the first input is still to come.
    pub fn set_with(self, prepare: impl FnOnce(&mut Engine)) -> Scene {
        let mut world = World::new(self.seed);
        *world.playbook() = self.playbook;
        let setup = NodeSetup { engine_seed: self.seed, ..NodeSetup::new("node", self.config) };
        world.add_node(setup, prepare);
        Scene { world, is_judged: true }
    }
}

impl Scene {
    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.world.run_for(duration);
    }

    /// Lets time pass until an instant.
    pub fn run_until(&mut self, end: Time) {
        self.world.run_until(end);
    }

    /// Runs until the supervisor has ended; gives the exit status, or fails after the limit.
    pub fn run_to_exit(&mut self, limit: Duration) -> u8 {
        let ended = self.world.run_until_holds(limit, |world| world.node(NODE).exit().is_some());
        assert!(ended, "the supervisor has not ended after {limit:?}\n{}", self.story());
        self.exit().map(|(_, status)| status).expect("it has just ended")
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&mut self, signal: SignalName) {
        self.world.act(NODE, Action::Signal(signal));
    }

    /// Asks the supervisor to stop.
    pub fn term(&mut self) {
        self.signal(SignalName::Term);
    }

    /// Asks for something over the control plane.
    pub fn control(&mut self, command: Control) -> RequestId {
        self.world.act(NODE, Action::Control(command)).expect("a control command has a request")
    }

    /// Switches maintenance.
    pub fn maintenance(&mut self, on: bool) -> RequestId {
        self.control(Control::Maintenance(on))
    }

    /// Writes a configuration file and asks for a reload.
    pub fn reload(&mut self, jobs: impl IntoIterator<Item = JobBuilder>) -> RequestId {
        let stop_timeout = match &self.world.node(NODE).file {
            Ok(config) => config.stop_timeout,
            Err(_) => Config::default().stop_timeout,
        };
        let file = Ok(Config { stop_timeout, ..config(jobs) });
        self.world.act(NODE, Action::WriteConfig(file));
        self.control(Control::Reload { all: false })
    }

    /// Writes a broken configuration file and asks for a reload.
    pub fn reload_broken(&mut self, reason: &str) -> RequestId {
        self.world.act(NODE, Action::WriteConfig(Err(Box::from(reason))));
        self.control(Control::Reload { all: false })
    }

    /// Ends the live process of a job from elsewhere.
    pub fn end_process(&mut self, job: &str, status: ExitStatus) {
        let run = self.job(job).live_run().expect("the job has a process").run;
        self.world.act(NODE, Action::EndProcess(run, status));
    }

    /// Changes how the processes of a job behave that are asked for from now on.
    pub fn set_script(&mut self, job: &str, script: Script) {
        let now = self.world.now();
        self.world.playbook().behaviour(NODE, job, RunKind::Main).set_from(now, script);
    }

    /// Changes how the checks of a job go that begin from now on.
    pub fn set_check(&mut self, job: &str, script: Script) {
        let now = self.world.now();
        self.world.playbook().behaviour(NODE, job, RunKind::Check).set_from(now, script);
    }

    /// Keeps the oracle's findings from failing the test; the test looks at them itself.
    pub const fn judge_myself(&mut self) {
        self.is_judged = false;
    }

    /// Tells the time.
    pub const fn now(&self) -> Time {
        self.world.now()
    }

    /// Tells when and how the supervisor ended.
    pub fn exit(&self) -> Option<(Time, u8)> {
        self.world.node(NODE).exit()
    }

    /// Gives what is known about the processes of a job.
    pub fn job(&self, name: &str) -> Runs<'_> {
        Runs(self.world.observer().runs(NODE, name, RunKind::Main))
    }

    /// Gives what is known about the checks of a job.
    pub fn checks(&self, name: &str) -> Runs<'_> {
        Runs(self.world.observer().runs(NODE, name, RunKind::Check))
    }

    /// Gives every event so far as "code source", in order.
    pub fn events(&self) -> Vec<String> {
        let events = self.world.observer().events(NODE);
        events.map(|event| format!("{} {}", event.code, event.source)).collect()
    }

    /// Tells when an event was published, each time; `event` is "code source".
    pub fn times_of(&self, event: &str) -> Vec<Time> {
        let events = self.world.observer().events(NODE);
        let same = events.filter(|one| format!("{} {}", one.code, one.source).trim() == event);
        same.map(|one| one.at).collect()
    }

    /// Tells when an event was published, which must have been exactly once.
    pub fn time_of(&self, event: &str) -> Time {
        let times = self.times_of(event);
        assert_eq!(times.len(), 1, "\"{event}\" was not published once\n{}", self.story());
        times[0]
    }

    /// Gives what was logged about a job.
    pub fn messages(&self, job: &str) -> Vec<&Message> {
        let log = self.world.observer().log(NODE);
        let about = log.filter(|line| line.job.as_deref() == Some(job));
        about.map(|line| &line.record.message).collect()
    }

    /// Gives what was logged about no job in particular.
    pub fn messages_of_all(&self) -> Vec<&Message> {
        self.world.observer().log(NODE).map(|line| &line.record.message).collect()
    }

    /// Gives the answer to a control request.
    pub fn reply(&self, request: RequestId) -> Option<&Reply> {
        self.world.observer().reply(request).map(|(_, reply)| reply)
    }

    /// Tells the whole story as text, for failures.
    pub fn story(&self) -> String {
        self.world.observer().tell(NODE)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.is_judged || std::thread::panicking() {
            return;
        }
        if let Some(violation) = self.world.observer().violations().first() {
            let story = self.story();
            assert_eq!(violation.what, "nothing", "what must never happen did\n{story}");
        }
    }
}

/// What is known about the processes of one job, or about its checks.
#[derive(Clone, Debug)]
pub struct Runs<'a>(pub Vec<&'a RunStory>);

impl<'a> Runs<'a> {
    /// Gives how many were asked for.
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// Tells when each was asked for.
    pub fn asked(&self) -> Vec<Time> {
        self.0.iter().map(|run| run.asked).collect()
    }

    /// Tells when the first process of each ended.
    pub fn ends(&self) -> Vec<Time> {
        self.0.iter().filter_map(|run| run.ended.map(|(at, _)| at)).collect()
    }

    /// Tells whether one runs now.
    pub fn is_live(&self) -> bool {
        self.live_run().is_some()
    }

    /// Gives the one that runs now.
    pub fn live_run(&self) -> Option<&'a RunStory> {
        self.0.iter().copied().find(|run| run.is_live())
    }

    /// Gives the n-th, counted from 1.
    pub fn nth(&self, nth: usize) -> &'a RunStory {
        self.0.get(nth - 1).copied().expect("there were so many runs")
    }

    /// Gives the only one.
    pub fn only(&self) -> &'a RunStory {
        assert_eq!(self.count(), 1, "there was not exactly one run: {:?}", self.0);
        self.nth(1)
    }

    /// Gives the last one.
    pub fn last(&self) -> &'a RunStory {
        self.nth(self.count())
    }
}
