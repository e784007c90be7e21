//! Watches.

use std::time::Duration;

use super::command::boxed;
use super::fields::Fields;
use super::jobs::{exclude, is_service_name, path, shared};
use super::json5::Node;
use super::keys::WATCH;
use super::problem::{BAD_NAME, IGNORED_KEY, MISSING_KEY, Problem, Problems};
use super::text::At;
use crate::config::{Watch, WatchTarget};

/// A watch with the places that later checks point at.
#[derive(Clone, Debug)]
pub(crate) struct WatchDraft {
    pub(crate) watch: Watch,
    pub(crate) name: At<String>,
}

/// How old a reading of a key, prefix or file may be when nothing is said.
const INTERVAL: Duration = Duration::from_secs(10);

/// Reads one watch; `None` when it is no block.
pub(crate) fn watch(node: &Node, index: usize, problems: &mut Problems) -> Option<WatchDraft> {
    let mut fields = Fields::open(node, &WATCH, format!("watches[{index}]"), problems)?;
    let name = fields
        .text("name", problems)
        .unwrap_or(At { value: String::new(), span: fields.opening() });
    if !name.value.is_empty() {
        fields.owner = format!("watch \"{}\"", name.value);
    }
    exclude(&fields, &["service", "key", "prefix", "file"], problems);
    let tag = fields.text("tag", problems);
    let service = fields.text("service", problems);
    let key = path(&fields, "key", problems);
    let prefix = path(&fields, "prefix", problems);
    let file = path(&fields, "file", problems);
    let dc = fields.text("dc", problems);
    let interval = fields.duration("interval", problems);
    let is_service = key.is_none() && prefix.is_none() && file.is_none();
    if !is_service && let Some(tag) = &tag {
        let message = format!("cannot use {}: only services have tags", fields.label("tag"));
        problems.add(Problem::new(&IGNORED_KEY, tag.span, message));
    }
    if file.is_some()
        && let Some(dc) = &dc
    {
        let message = format!("cannot use {}: a file is in no data centre", fields.label("dc"));
        problems.add(Problem::new(&IGNORED_KEY, dc.span, message));
    }
    if is_service && interval.is_none() && fields.member("interval").is_none() {
        let message = format!("cannot leave out `interval` of {}", fields.owner);
        let help = "give the seconds for which a reading may be old; changes are seen at once \
                    where Consul can tell";
        problems.add(Problem::new(&MISSING_KEY, fields.opening(), message).help(help));
    }
    let target = match (key, prefix, file) {
        (Some(key), _, _) => WatchTarget::Key(key),
        (_, Some(prefix), _) => WatchTarget::Prefix(prefix),
        (_, _, Some(file)) => WatchTarget::File(file),
        (None, None, None) => {
            let service = service.as_ref().unwrap_or(&name);
            if !service.value.is_empty() && !is_service_name(&service.value) {
                let message = format!(
                    "cannot watch the service {:?}: there can be no such name",
                    service.value
                );
                let help = "a service's name is a lower-case letter, then one or more letters, \
                            digits and `-`";
                problems.add(Problem::new(&BAD_NAME, service.span, message).help(help));
            }
            WatchTarget::Service { name: Box::from(service.value.as_str()), tag: boxed(tag) }
        }
    };
    let watch = Watch {
        name: shared(&name),
        target,
        interval: interval.map_or(INTERVAL, |at| at.value),
        dc: boxed(dc),
        settle: fields.duration("settle", problems).map_or(Duration::ZERO, |at| at.value),
        stale: fields.duration("stale", problems).map(|at| at.value),
    };
    Some(WatchDraft { watch, name })
}
