//! One input and all that it caused, mark by mark.

use steersman_engine::config::Signal;
use steersman_engine::consul::{ConsulReply, ConsulRequest, Owner};
use steersman_engine::effect::{Message, Record, Reply};
use steersman_engine::input::KeeperNews;
use steersman_engine::{Code, Effect, Event, Input, JobId, RunId, RunKind, Source, Time};

use super::{Step, Teller, whose};
use crate::story::{LaneKind, MarkKind, Tone, sentences};

const WHY_IT_ENDS: &str =
    "Nothing is left to run. The status is 0, or that of the first job that failed.";

impl Teller {
    /// Tells one input and all that it caused.
    pub(super) fn tell_step(&mut self, node: usize) {
        let Some(step) = self.nodes[node].step.take() else { return };
        let (mut cause, because) = self.tell_input(node, &step);
        let mut events: Vec<(Event, usize)> = Vec::new();
        let mut last = cause;
        for effect in &step.effects {
            let mark = match effect {
                Effect::Start { run, .. } => {
                    let cause = self.start_cause(node, run.job, &events).or(cause);
                    self.tell_start(node, &step, *run, cause, &because)
                }
                Effect::Signal { run, signal } => {
                    let is_own =
                        |(event, _): &&(Event, usize)| event.source == Source::Job(run.job);
                    let own = events.iter().rev().find(is_own).map(|(_, mark)| *mark);
                    let cause = own.or(cause);
                    let cause = cause.or_else(|| self.nodes[node].last_mark.get(run).copied());
                    self.tell_signal(node, &step, *run, *signal, (cause, &because));
                    None
                }
                Effect::Published(event) => {
                    let mark = self.tell_event(node, &step, *event, cause, &because);
                    events.extend(mark.map(|mark| (*event, mark)));
                    mark
                }
                Effect::Log(record) => {
                    // What nothing else caused, follows from what the supervisor says.
                    let mark = self.tell_record(node, step.at, record, cause, &because);
                    cause = cause.or(mark);
                    None
                }
                Effect::Consul { request, .. } => {
                    self.tell_request(node, step.at, request, cause);
                    None
                }
                Effect::Reply { reply: Reply::Refused(refusal), .. } => {
                    let lane = self.nodes[node].lane;
                    let what = String::from("the request is refused");
                    self.put(step.at, lane, MarkKind::Bad, what, format!("It {refusal}."), cause);
                    None
                }
                Effect::Exit { status } => {
                    let lane = self.nodes[node].lane;
                    let what = format!("the supervisor ends with status {status}");
                    let kind = if *status == 0 { MarkKind::Good } else { MarkKind::Bad };
                    let why = String::from(WHY_IT_ENDS);
                    self.end_stretch(step.at, lane, false);
                    self.put(step.at, lane, kind, what, why, last);
                    None
                }
                _ => None,
            };
            last = mark.or(last);
        }
    }

    /// Finds the event of this step for which a job waited.
    fn start_cause(&self, node: usize, job: JobId, events: &[(Event, usize)]) -> Option<usize> {
        let shadow = &self.nodes[node].shadow;
        let awaited = sentences::awaited(shadow.job(job)?);
        let is_awaited = |event: &Event| {
            awaited.iter().any(|(code, source)| {
                *code == event.code && **source == *shadow.source_name(event.source)
            })
        };
        events.iter().rev().find(|(event, _)| is_awaited(event)).map(|(_, mark)| *mark)
    }

    /// Marks the input, if it is worth a mark of its own; gives the mark and what to say of it.
    fn tell_input(&mut self, node: usize, step: &Step) -> (Option<usize>, String) {
        let lane = self.nodes[node].lane;
        let at = step.at;
        match &step.input {
            Input::Begin => {
                let what = String::from("the supervisor runs");
                self.begin_stretch(at, lane, Tone::Running, what);
                (None, String::from("The supervisor begins."))
            }
            Input::Tick => (None, String::from("A delay or a deadline is over.")),
            Input::Exited { run, status, .. } => {
                self.follow(node, *run, &sentences::ended(*status))
            }
            Input::StartFailed { run, reason } => {
                self.follow(node, *run, &format!("could not be started: {reason}"))
            }
            Input::Started { run, .. } => self.follow(node, *run, "runs"),
            Input::TreeGone { run } => {
                let name = self.job_name(node, run.job);
                let because = format!("Nothing of {} is left.", whose(*run, &name));
                (self.nodes[node].last_mark.get(run).copied(), because)
            }
            Input::Signal(signal) => {
                let (what, why) = sentences::outside_signal(*signal);
                let mark = self.put(at, lane, MarkKind::Outside, what, why.to_owned(), None);
                (Some(mark), format!("The supervisor got {}.", signal.as_str()))
            }
            Input::Control { command, .. } => {
                let what = sentences::control(command);
                let because = format!("Over the control plane, {what}.");
                let why = String::from("Somebody asks over the control plane.");
                let mark = self.put(at, lane, MarkKind::Outside, what, why, None);
                self.nodes[node].last_asked = Some(mark);
                (Some(mark), because)
            }
            Input::Consul { op, reply: ConsulReply::Failed(failure) } => {
                let lane = match op.owner {
                    Owner::Job(job) => self.job_lane(node, job),
                    Owner::Watch(watch) => self.watch_lane(node, watch.index()),
                    Owner::Lock(lock) | Owner::Session(lock) => self.lock_lane(node, lock.index()),
                };
                let why = format!("Consul did not do what was asked: {failure:?}.");
                let what = String::from("Consul fails");
                let mark = self.put(at, lane, MarkKind::Bad, what, why, None);
                (Some(mark), String::from("Consul failed."))
            }
            Input::Consul { .. } => (None, String::from("Consul answered.")),
            Input::Keeper(news) => {
                let what = match news {
                    KeeperNews::Ready(_) => "The keeper is there.",
                    KeeperNews::Lost(_) => "The keeper has gone.",
                    KeeperNews::Killed { .. } => "The keeper had to kill.",
                };
                (None, String::from(what))
            }
            Input::Loaded { .. } => {
                let asked = self.nodes[node].last_asked;
                (asked, String::from("The configuration file was read again."))
            }
        }
    }

    /// Gives the last mark of a process, and says what happened to it.
    fn follow(&self, node: usize, run: RunId, what: &str) -> (Option<usize>, String) {
        let mark = self.nodes[node].last_mark.get(&run).copied();
        let word = match run.kind {
            RunKind::Main => "Run",
            RunKind::Check => "Check",
        };
        let name = self.job_name(node, run.job);
        (mark, format!("{word} {} of \"{name}\" {what}.", run.nth))
    }

    fn tell_start(
        &mut self,
        node: usize,
        step: &Step,
        run: RunId,
        cause: Option<usize>,
        because: &str,
    ) -> Option<usize> {
        if run.kind == RunKind::Check {
            return None;
        }
        let lane = self.job_lane(node, run.job);
        let job = self.nodes[node].shadow.job(run.job);
        let trigger = job.map(sentences::trigger).unwrap_or_default();
        let name = self.job_name(node, run.job);
        let why = format!("{because} \"{name}\": {trigger}.");
        let what = format!("run {} is started", run.nth);
        let before = RunId { nth: run.nth.saturating_sub(1), ..run };
        let cause = cause.or_else(|| self.nodes[node].last_mark.get(&before).copied());
        let mark = self.put(step.at, lane, MarkKind::Start, what, why, cause);
        self.nodes[node].last_start.insert(run.job, mark);
        self.nodes[node].last_mark.insert(run, mark);
        self.begin_stretch(step.at, lane, Tone::Starting, format!("run {} is starting", run.nth));
        Some(mark)
    }

    fn tell_signal(
        &mut self,
        node: usize,
        step: &Step,
        run: RunId,
        signal: Signal,
        (cause, because): (Option<usize>, &str),
    ) {
        let lane = self.job_lane(node, run.job);
        let name = self.job_name(node, run.job);
        let is_kill = signal == Signal::KILL;
        let kind = if is_kill { MarkKind::Kill } else { MarkKind::Signal };
        let what = format!("{} to {}", sentences::signal_name(signal), whose(run, &name));
        let mut reasons = step.effects.iter().filter_map(|effect| match effect {
            Effect::Log(record) if record.job.is_none_or(|job| job == run.job) => {
                sentences::why_signalled(&record.message)
            }
            _ => None,
        });
        let why = reasons.next_back().unwrap_or_else(|| format!("{because} It is to end."));
        let mark = self.put(step.at, lane, kind, what, why, cause);
        self.nodes[node].last_mark.insert(run, mark);
        if run.kind == RunKind::Main && !is_kill {
            self.retone(step.at, lane, Tone::Stopping, "was asked to end");
        }
    }

    fn tell_event(
        &mut self,
        node: usize,
        step: &Step,
        event: Event,
        cause: Option<usize>,
        because: &str,
    ) -> Option<usize> {
        let code = event.code;
        let lane = match event.source {
            Source::Global => self.nodes[node].lane,
            Source::Job(job) => self.job_lane(node, job),
            Source::Watch(watch) => self.watch_lane(node, watch.index()),
            Source::Lock(lock) => self.lock_lane(node, lock.index()),
            Source::Check(_) | Source::Signal(_) => return None,
        };
        let kind = match code {
            Code::Healthy | Code::Acquired => MarkKind::Good,
            Code::Unhealthy | Code::TimerExpired | Code::Stale | Code::Lost | Code::Jeopardy => {
                MarkKind::Bad
            }
            // The end of the process is a mark already, and the beginning is where the lane begins.
            Code::ExitSuccess | Code::ExitFailed | Code::Startup | Code::Signal => return None,
            _ => MarkKind::Event,
        };
        match code {
            Code::Healthy => self.retone(step.at, lane, Tone::Healthy, "is healthy"),
            Code::Unhealthy => self.retone(step.at, lane, Tone::Unhealthy, "is unhealthy"),
            Code::Acquired => self.begin_stretch(step.at, lane, Tone::Held, "held".to_owned()),
            Code::Jeopardy => self.retone(step.at, lane, Tone::Jeopardy, "in jeopardy"),
            Code::Lost | Code::Released => self.end_stretch(step.at, lane, false),
            Code::Shutdown => self.retone(step.at, lane, Tone::Stopping, "is stopping"),
            _ => {}
        }
        let what = sentences::code(code).to_owned();
        Some(self.put(step.at, lane, kind, what, because.to_owned(), cause))
    }

    fn tell_record(
        &mut self,
        node: usize,
        at: Time,
        record: &Record,
        cause: Option<usize>,
        because: &str,
    ) -> Option<usize> {
        let message = &record.message;
        let lane = record.job.map_or(self.nodes[node].lane, |job| self.job_lane(node, job));
        if let Message::BackingOff { delay } = message {
            let what = format!("waits {} before it starts again", sentences::duration(*delay));
            self.begin_stretch(at, lane, Tone::Waiting, what);
        }
        if matches!(message, Message::StartFailed { .. }) {
            self.end_stretch(at, lane, false);
            self.end_stretch(at, lane, true);
        }
        let (what, is_bad) = sentences::remark(message)?;
        let kind = if is_bad { MarkKind::Bad } else { MarkKind::Event };
        let why = format!("{because} The supervisor says so in its log.");
        Some(self.put(at, lane, kind, what, why, cause))
    }

    fn tell_request(
        &mut self,
        node: usize,
        at: Time,
        request: &ConsulRequest,
        cause: Option<usize>,
    ) {
        let name = self.nodes[node].name.clone();
        let (service, what) = match request {
            ConsulRequest::Register(registration) => (&registration.id, "asks to be registered"),
            ConsulRequest::Deregister { service } => (service, "asks to be taken out"),
            _ => return,
        };
        let lane = self.lane_of(node, &name, LaneKind::Service, service);
        let why = String::from("A request goes to Consul.");
        self.put(at, lane, MarkKind::Event, what.to_owned(), why, cause);
        match request {
            ConsulRequest::Deregister { .. } => self.end_stretch(at, lane, false),
            _ => self.begin_stretch(at, lane, Tone::Held, String::from("registered")),
        }
    }
}
