//! Requests over the control plane: each is answered exactly once, with the right answer, and has
//! exactly its effects.

use steersman_engine::RequestId;
use steersman_engine::config::{MetricKind, Name, Signal};
use steersman_engine::effect::{Refusal, Reply};
use steersman_engine::input::Control;

use super::job::{Life, Next, Who};
use super::ledger::{Expected, Ledger, Stage};
use steersman_engine::Code;

impl Ledger {
    pub(super) fn on_control(&mut self, request: RequestId, command: &Control) {
        let reply = match command {
            _ if self.stage != Stage::Running => Reply::Refused(Refusal::Stopping),
            Control::PutEnv(variables) => self.on_put_env(variables),
            Control::PutMetric(values) => self.on_put_metric(values),
            Control::Reload { all } => return self.on_reload_asked(request, *all),
            Control::Maintenance(is_on) if *is_on == self.maintenance => Reply::Unchanged,
            Control::Maintenance(is_on) => {
                self.on_maintenance(*is_on);
                let code = if *is_on { Code::EnterMaintenance } else { Code::ExitMaintenance };
                self.expect(Expected::Event(code, Who::Global));
                Reply::Changed(vec![Name::from("maintenance")])
            }
            Control::SignalJob { job, signal } => self.on_signal_asked(job, *signal),
            Control::RestartJob { job } => self.on_restart_asked(job),
        };
        self.expect(Expected::Reply(request, reply));
    }

    fn find(&self, name: &str) -> Option<usize> {
        let job = *self.by_name.get(name)?;
        let view = &self.jobs[job];
        (view.is_listed && !view.is_retired).then_some(job)
    }

    fn on_put_env(&mut self, variables: &[(Box<str>, Option<Box<str>>)]) -> Reply {
        let is_bad = |(name, value): &&(Box<str>, Option<Box<str>>)| {
            let is_name = !name.is_empty() && !name.contains('=') && !name.contains('\0');
            !is_name || value.as_ref().is_some_and(|value| value.contains('\0'))
        };
        let bad: Vec<_> = variables.iter().filter(is_bad).map(|(name, _)| name.clone()).collect();
        if !bad.is_empty() {
            return Reply::Refused(Refusal::BadVariables(bad));
        }
        for (name, value) in variables {
            let value = value.clone().filter(|value| !value.is_empty());
            self.expect(Expected::Variable(Name::from(&**name), value));
        }
        changed(variables.iter().map(|(name, _)| Name::from(&**name)).collect())
    }

    fn on_put_metric(&mut self, values: &[(Box<str>, f64)]) -> Reply {
        let kind = |name: &str| {
            let metric = self.metrics.iter().find(|metric| &*metric.name == name);
            metric.map(|metric| metric.kind)
        };
        let names = |wrong: &dyn Fn(&str, f64) -> bool| -> Vec<Box<str>> {
            let all = values.iter().filter(|(name, value)| wrong(name, *value));
            all.map(|(name, _)| name.clone()).collect()
        };
        let unknown = names(&|name, _| kind(name).is_none());
        if !unknown.is_empty() {
            return Reply::Refused(Refusal::UnknownMetrics(unknown));
        }
        let negative = names(&|name, value| value < 0.0 && kind(name) == Some(MetricKind::Counter));
        if !negative.is_empty() {
            return Reply::Refused(Refusal::NegativeCounters(negative));
        }
        for (name, value) in values {
            self.expect(Expected::Metric(Name::from(&**name), *value));
        }
        changed(values.iter().map(|(name, _)| Name::from(&**name)).collect())
    }

    fn on_signal_asked(&mut self, name: &str, signal: Signal) -> Reply {
        let Some(job) = self.find(name) else {
            return Reply::Refused(Refusal::UnknownJob(Box::from(name)));
        };
        let running = self.jobs[job].main.as_ref().filter(|main| main.is_started && !main.ended);
        match running {
            None => Reply::Refused(Refusal::NotRunning(Box::from(name))),
            Some(main) => {
                let run = main.id;
                self.expect(Expected::Signal(run, signal));
                Reply::Changed(vec![Name::from(name)])
            }
        }
    }

    fn on_restart_asked(&mut self, name: &str) -> Reply {
        let Some(job) = self.find(name) else {
            return Reply::Refused(Refusal::UnknownJob(Box::from(name)));
        };
        let view = &mut self.jobs[job];
        if view.next == Next::Nothing {
            view.next = Next::Job { spec: view.spec.clone(), start: true };
        }
        self.restarting = Some(job);
        if matches!(self.jobs[job].life, Life::Ended(_)) {
            self.succeed(job);
        }
        self.touch(job);
        Reply::Changed(vec![Name::from(name)])
    }

    pub(super) fn on_reply(&mut self, request: RequestId, reply: &Reply) {
        let mut said = reply.clone();
        if let Reply::Reloaded(changes) = &mut said {
            // The order of those that leave is nobody's business.
            changes.removed.sort();
        }
        if self.meet(&Expected::Reply(request, said)) {
            return;
        }
        let before = self.loading.len() + self.again.len();
        self.loading.retain(|(waiting, _)| *waiting != request);
        self.again.retain(|(waiting, _)| *waiting != request);
        if self.loading.len() + self.again.len() == before {
            self.blame("a request gets an answer that is not due to it");
        } else if *reply != Reply::Refused(Refusal::Stopping) {
            self.blame("a reload is answered before the file was read for it");
        }
    }

    /// A variable for processes started later is set or unset.
    pub(super) fn on_variable(&mut self, name: &Name, value: Option<&str>) {
        let expected = Expected::Variable(name.clone(), value.map(Box::from));
        if self.meet(&expected) {
            return;
        }
        let is_own = name.starts_with("CONTAINERPILOT_") && !name.ends_with("_PID");
        if !is_own {
            self.blame(format!("the variable {name} is set out of nothing"));
        }
    }
}

fn changed(names: Vec<Name>) -> Reply {
    match names.is_empty() {
        true => Reply::Unchanged,
        false => Reply::Changed(names),
    }
}
