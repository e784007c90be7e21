//! Replaces the values of variables: equal values by equal words, with a key that is never stored.
//!
//! What the engine itself makes (process ids and addresses in variables) is kept: a replay makes it
//! again, and would differ otherwise.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use steersman_engine::config::{Command, Config, Job};
use steersman_engine::input::Control;
use steersman_engine::{Effect, Engine, Input};

/// Replaces values with words that only say whether they are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    // Random at each start, so that a short secret cannot be found by trying.
    key: RandomState,
}

/// The variables whose values somebody gave over the control plane, rather than the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given(Vec<Box<str>>);

impl Given {
    /// Gives the variables that an input sets.
    pub(super) fn by(input: &Input) -> Given {
        match input {
            Input::Control { command: Control::PutEnv(pairs), .. } => {
                Given(pairs.iter().map(|pair| pair.0.clone()).collect())
            }
            Input::Control { .. }
            | Input::Loaded { .. }
            | Input::Begin
            | Input::Tick
            | Input::Started { .. }
            | Input::StartFailed { .. }
            | Input::Exited { .. }
            | Input::TreeGone { .. }
            | Input::Consul { .. }
            | Input::Keeper(_)
            | Input::Signal(_) => Given::default(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|given| **given == *name)
    }
}

impl Redactor {
    /// Builds a redactor with a key of its own.
    pub(super) fn new() -> Redactor {
        Redactor::default()
    }

    /// Replaces the values in an input.
    pub(super) fn input<'a>(&self, input: &'a Input) -> Cow<'a, Input> {
        match input {
            Input::Control { request, command: Control::PutEnv(pairs) } => {
                let replaced = pairs.iter().map(|(name, value)| {
                    (name.clone(), value.as_deref().map(|value| self.value(value)))
                });
                let command = Control::PutEnv(replaced.collect());
                Cow::Owned(Input::Control { request: *request, command })
            }
            Input::Loaded { config: Ok(config) } => {
                Cow::Owned(Input::Loaded { config: Ok(Box::new(self.config(config))) })
            }
            Input::Control { .. }
            | Input::Loaded { config: Err(_) }
            | Input::Begin
            | Input::Tick
            | Input::Started { .. }
            | Input::StartFailed { .. }
            | Input::Exited { .. }
            | Input::TreeGone { .. }
            | Input::Consul { .. }
            | Input::Keeper(_)
            | Input::Signal(_) => Cow::Borrowed(input),
        }
    }

    /// Replaces the values in effects.
    pub(super) fn effects<'a>(&self, effects: &'a [Effect], given: &Given) -> Cow<'a, [Effect]> {
        if effects.iter().all(|effect| self.effect(effect, given).is_none()) {
            return Cow::Borrowed(effects);
        }
        let replaced = effects
            .iter()
            .map(|effect| self.effect(effect, given).unwrap_or_else(|| effect.clone()));
        Cow::Owned(replaced.collect())
    }

    fn effect(&self, effect: &Effect, given: &Given) -> Option<Effect> {
        match effect {
            Effect::Start { run, command } if !command.env.is_empty() => {
                Some(Effect::Start { run: *run, command: self.command(command) })
            }
            Effect::SetVariable { name, value: Some(value) } if given.has(name) => {
                let value = Some(self.value(value));
                Some(Effect::SetVariable { name: name.clone(), value })
            }
            Effect::Applied(config) => Some(Effect::Applied(Arc::new(self.config(config)))),
            Effect::Start { .. }
            | Effect::SetVariable { .. }
            | Effect::Signal { .. }
            | Effect::Published(_)
            | Effect::Consul { .. }
            | Effect::Snapshot { .. }
            | Effect::WriteFile { .. }
            | Effect::Guard { .. }
            | Effect::Metric { .. }
            | Effect::Log(_)
            | Effect::Reply { .. }
            | Effect::LoadConfig
            | Effect::ReopenLogs
            | Effect::Exit { .. } => None,
        }
    }

    /// Replaces the values in a configuration.
    pub(super) fn config(&self, config: &Config) -> Config {
        let mut config = config.clone();
        for job in &mut config.jobs {
            if has_values(job) {
                *job = Arc::new(self.job(job));
            }
        }
        config
    }

    /// Replaces the values in a machine.
    pub(super) fn engine(&self, engine: &mut Engine) {
        engine.redefine(&|job| has_values(job).then(|| self.job(job)));
    }

    fn job(&self, job: &Job) -> Job {
        let mut job = job.clone();
        job.command = job.command.map(|command| self.command(&command));
        if let Some(health) = &mut job.health {
            health.command = health.command.take().map(|command| self.command(&command));
        }
        job
    }

    fn command(&self, command: &Arc<Command>) -> Arc<Command> {
        if command.env.is_empty() {
            return Arc::clone(command);
        }
        let mut command = Command::clone(command);
        for (_, value) in &mut command.env {
            *value = self.value(value);
        }
        Arc::new(command)
    }

    /// Empty stays empty: it unsets.
    fn value(&self, value: &str) -> Box<str> {
        if value.is_empty() {
            return Box::from("");
        }
        format!("redacted-{:016x}", self.key.hash_one(value)).into()
    }
}

fn has_values(job: &Job) -> bool {
    let check = job.health.as_ref().and_then(|health| health.command.as_ref());
    job.command.iter().chain(check).any(|command| !command.env.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_engine::RequestId;

    #[test]
    fn equal_values_get_equal_words_and_the_value_is_gone() {
        let redactor = Redactor::new();
        let (a, b, c) = (redactor.value("hunter2"), redactor.value("hunter2"), redactor.value("x"));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert!(!a.contains("hunter2"));
        assert_ne!(a, Redactor::new().value("hunter2"));
        assert_eq!(&*redactor.value(""), "");
    }

    #[test]
    fn values_that_the_engine_makes_are_kept() {
        let name = "CONTAINERPILOT_APP_PID".into();
        let effects = [Effect::SetVariable { name, value: Some(Box::from("77")) }];
        let redacted = Redactor::new();
        assert_eq!(*redacted.effects(&effects, &Given::by(&Input::Tick)), effects);
    }

    #[test]
    fn every_place_of_a_value_is_replaced() {
        let redactor = Redactor::new();
        let mut command = Command::new(["app"]);
        command.env.push((Box::from("PASSWORD"), Box::from("hunter2")));
        let job = Job::new("app", command.clone());
        let config = Config { jobs: vec![Arc::new(job)], ..Config::default() };
        let pairs = vec![(Box::from("PASSWORD"), Some(Box::from("hunter2")))];
        let input = Input::Control { request: RequestId(1), command: Control::PutEnv(pairs) };
        let loaded = Input::Loaded { config: Ok(Box::new(config.clone())) };
        let effects = [
            Effect::SetVariable { name: "PASSWORD".into(), value: Some(Box::from("hunter2")) },
            Effect::Applied(Arc::new(config.clone())),
        ];
        let texts = [
            serde_json::to_string(&redactor.input(&input)).unwrap(),
            serde_json::to_string(&redactor.input(&loaded)).unwrap(),
            serde_json::to_string(&redactor.effects(&effects, &Given::by(&input))).unwrap(),
            serde_json::to_string(&redactor.config(&config)).unwrap(),
        ];
        for text in texts {
            assert!(text.contains("PASSWORD"), "{text}");
            assert!(text.contains("redacted-"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
