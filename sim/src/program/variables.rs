//! The variables of a process: texts, and answers with what belongs to them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What belongs to an answer, by suffix: suffixes have no dot in them.
pub type Suffixes = Vec<(&'static str, Arc<str>)>;

/// The variables of a process, by name. What belongs to an answer is named after it: `s.source`.
///
/// Every name is in one place only, so that an answer is taken over as it comes.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    plain: BTreeMap<Arc<str>, Arc<str>>,
    answers: Vec<(Arc<str>, Suffixes)>,
}

impl Variables {
    /// Sets a variable.
    pub fn insert(&mut self, name: Arc<str>, text: Arc<str>) {
        match self.belonging(&name) {
            Some(known) => *known = text,
            None => drop(self.plain.insert(name, text)),
        }
    }

    /// Takes over an answer; what belonged to an earlier one and not to it stays.
    pub fn answer(&mut self, name: Arc<str>, text: Arc<str>, more: Suffixes) {
        if !more.is_empty() {
            let is_of = |known: &str| known.len() > name.len() && known.starts_with(&*name);
            if self.plain.keys().any(|known| is_of(known)) {
                for (suffix, _) in &more {
                    self.plain.remove(&*format!("{name}.{suffix}"));
                }
            }
            match self.answers.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) if has_same(known, &more) => *known = more,
                Some((_, known)) => more.into_iter().for_each(|one| put(known, one)),
                None => self.answers.push((name.clone(), more)),
            }
        }
        self.insert(name, text);
    }

    /// Gives the value of a variable.
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        let answer = || {
            let (answer, suffix) = name.rsplit_once('.')?;
            let (_, more) = self.answers.iter().find(|(known, _)| **known == *answer)?;
            more.iter().find(|(known, _)| *known == suffix).map(|(_, text)| text)
        };
        answer().or_else(|| self.plain.get(name))
    }

    fn belonging(&mut self, name: &str) -> Option<&mut Arc<str>> {
        let (answer, suffix) = name.rsplit_once('.')?;
        let (_, more) = self.answers.iter_mut().find(|(known, _)| **known == *answer)?;
        more.iter_mut().find(|(known, _)| *known == suffix).map(|(_, text)| text)
    }
}

/// Makes a text to be shared; none is made for an empty one.
pub(crate) fn text_of(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { Arc::from(text) }
}

/// Writes a number down.
pub(crate) fn digits_of(mut number: u64) -> Arc<str> {
    let mut room = [0; 20];
    let mut from = room.len();
    loop {
        from -= 1;
        room[from] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    Arc::from(core::str::from_utf8(&room[from..]).unwrap_or_default())
}

fn has_same(known: &Suffixes, more: &Suffixes) -> bool {
    known.len() == more.len() && known.iter().zip(more).all(|(one, other)| one.0 == other.0)
}

fn put(known: &mut Suffixes, (suffix, text): (&'static str, Arc<str>)) {
    match known.iter_mut().find(|(other, _)| *other == suffix) {
        Some((_, old)) => *old = text,
        None => known.push((suffix, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_down_as_ever() {
        for number in [0, 7, 10, 99, 1_000, u64::MAX] {
            assert_eq!(*digits_of(number), *number.to_string());
        }
    }

    #[test]
    fn every_name_has_the_value_that_was_set_last() {
        let text = Arc::<str>::from;
        let mut variables = Variables::default();
        variables.insert(text("s.source"), text("own"));
        variables.insert(text("s.other"), text("stays"));
        let value = |variables: &Variables, name| variables.get(name).map(|it| it.to_string());
        assert_eq!(value(&variables, "s.source").as_deref(), Some("own"));
        let more = vec![("source", text("db-1")), ("term", text("1"))];
        variables.answer(text("s"), text("up"), more);
        variables.answer(text("s"), text("down"), vec![("term", text("2"))]);
        for (name, expected) in
            [("s", "down"), ("s.source", "db-1"), ("s.term", "2"), ("s.other", "stays")]
        {
            assert_eq!(value(&variables, name).as_deref(), Some(expected), "{name}");
        }
        variables.insert(text("s.source"), text("set"));
        assert_eq!(value(&variables, "s.source").as_deref(), Some("set"));
        assert_eq!(variables.get("s.absent"), None);
        assert_eq!(variables.get("absent"), None);
    }
}
