//! What people ask for over the control plane. Every request is answered, and says what changed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::config::{MetricKind, Name, Signal};
use crate::defect::Defect;
use crate::effect::{Effect, Refusal, Reply};
use crate::engine::{Engine, Stage};
use crate::id::{JobId, RequestId};
use crate::input::Control;
use crate::slot::{Life, Process, Successor};
use crate::variable;

impl Engine {
    pub(crate) fn on_control(&mut self, request: RequestId, command: Control) {
        let reply = match command {
            _ if self.stage != Stage::Running && !self.planted(Defect::ControlWhileStopping) => {
                Reply::Refused(Refusal::Stopping)
            }
            Control::PutEnv(variables) => self.on_put_env(variables),
            Control::PutMetric(values) => self.on_put_metric(values),
            Control::Reload { all } => return self.on_reload_asked(request, all),
            Control::Maintenance(on) => self.on_maintenance_asked(on),
            Control::SignalJob { job, signal } => self.on_signal_job(job, signal),
            Control::RestartJob { job } => self.on_restart_job(job),
        };
        self.out.push(Effect::Reply { request, reply });
    }

    fn on_put_env(&mut self, variables: Vec<(Box<str>, Option<Box<str>>)>) -> Reply {
        let is_bad = |entry: &(Box<str>, Option<Box<str>>)| {
            !variable::is_name(&entry.0)
                || entry.1.as_ref().is_some_and(|value| value.contains('\0'))
        };
        let bad: Vec<_> =
            variables.iter().filter(|entry| is_bad(entry)).map(|entry| entry.0.clone()).collect();
        if !bad.is_empty() && !self.planted(Defect::BadVariablesSet) {
            return Reply::Refused(Refusal::BadVariables(bad));
        }
        let mut changed = Vec::with_capacity(variables.len());
        for (name, value) in variables {
            let name = Name::from(name);
            changed.push(name.clone());
            self.set_variable(name, value.filter(|value| !value.is_empty()));
        }
        if changed.is_empty() { Reply::Unchanged } else { Reply::Changed(changed) }
    }

    fn on_put_metric(&mut self, values: Vec<(Box<str>, f64)>) -> Reply {
        let config = self.config.clone();
        let find = |name: &str| config.metrics.iter().find(|metric| &*metric.name == name);
        let unknown: Vec<_> = values
            .iter()
            .filter(|entry| find(&entry.0).is_none())
            .map(|entry| entry.0.clone())
            .collect();
        if !unknown.is_empty() && !self.planted(Defect::UnknownMetricSwallowed) {
            return Reply::Refused(Refusal::UnknownMetrics(unknown));
        }
        let is_counter =
            |name: &str| find(name).is_some_and(|metric| metric.kind == MetricKind::Counter);
        let negative: Vec<_> = values
            .iter()
            .filter(|entry| entry.1 < 0.0 && is_counter(&entry.0))
            .map(|entry| entry.0.clone())
            .collect();
        if !negative.is_empty() {
            return Reply::Refused(Refusal::NegativeCounters(negative));
        }
        let mut changed = Vec::with_capacity(values.len());
        for (name, value) in values {
            if let Some(metric) = find(&name) {
                changed.push(metric.name.clone());
                self.out.push(Effect::Metric { name: metric.name.clone(), value });
            }
        }
        if changed.is_empty() { Reply::Unchanged } else { Reply::Changed(changed) }
    }

    fn on_maintenance_asked(&mut self, on: bool) -> Reply {
        if self.maintenance == on && !self.planted(Defect::MaintenanceTwice) {
            return Reply::Unchanged;
        }
        self.set_maintenance(on);
        Reply::Changed([Name::from("maintenance")].into())
    }

    fn on_signal_job(&mut self, name: Box<str>, signal: Signal) -> Reply {
        let Some(job) = self.find_job(&name) else {
            return Reply::Refused(Refusal::UnknownJob(name));
        };
        match self.slot(job) {
            Some(slot) if matches!(slot.process, Process::Running { .. }) => {
                let run = slot.run_id(job);
                self.out.push(Effect::Signal { run, signal });
                if self.planted(Defect::SignalStopsJob) {
                    self.begin_stop(job);
                }
                Reply::Changed([name.into()].into())
            }
            _ => Reply::Refused(Refusal::NotRunning(name)),
        }
    }

    fn on_restart_job(&mut self, name: Box<str>) -> Reply {
        let Some(job) = self.find_job(&name) else {
            return Reply::Refused(Refusal::UnknownJob(name));
        };
        let is_forgetful = self.planted(Defect::RestartOnlyStops);
        let Some(slot) = self.slot_mut(job) else {
            return Reply::Refused(Refusal::UnknownJob(name));
        };
        if slot.successor == Successor::Nothing && !is_forgetful {
            slot.successor = Successor::Job { spec: slot.spec.clone(), start: true };
        }
        match slot.life {
            Life::Ended(_) => self.succeed(job),
            Life::Waiting | Life::Active | Life::BackingOff => self.begin_stop(job),
            Life::Draining | Life::Withdrawing | Life::Ending => {}
        }
        Reply::Changed([name.into()].into())
    }

    fn find_job(&self, name: &str) -> Option<JobId> {
        let is_named = |job: &JobId| self.slot(*job).is_some_and(|slot| &*slot.spec.name == name);
        self.order.iter().copied().find(is_named)
    }
}
