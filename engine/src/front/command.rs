//! What to execute, as whom and where.

use super::fields::{Fields, list_of_texts, shown, whole_within};
use super::json5::{Node, Value};
use super::keys::LIMIT;
use super::near;
use super::problem::{
    BAD_NAME, BAD_VALUE, CONFLICTING_KEYS, DUPLICATE_KEY, HALF_IDENTITY, IGNORED_KEY, MISSING_KEY,
    OUT_OF_RANGE, Problem, Problems, SHELL_SYNTAX, WEAK_VALUE, WRONG_TYPE,
};
use super::text::At;
use crate::config::{Command, Limit, Resource, Signal};

/// Reads `exec` alone, of a job or a health check.
pub(crate) fn exec(fields: &Fields<'_>, problems: &mut Problems) -> Option<Vec<Box<str>>> {
    let node = fields.node("exec")?;
    let label = fields.label("exec");
    let words: Vec<String> = match &node.value {
        Value::Text(text) => {
            warn_about_shell(text, node, &label, problems);
            text.split_whitespace().map(String::from).collect()
        }
        Value::List(nodes) => {
            let before = nodes.len();
            let texts = list_of_texts(nodes, &label, problems);
            if texts.len() < before {
                return None;
            }
            texts.into_iter().map(|text| text.value).collect()
        }
        _ => {
            let message = format!(
                "cannot use {} as {label}: it must be a string or a list of strings",
                shown(node)
            );
            problems.add(Problem::new(&WRONG_TYPE, node.span, message));
            return None;
        }
    };
    let refuse = |problems: &mut Problems, reason: &str| {
        let message = format!("cannot execute {label}: {reason}");
        problems.add(Problem::new(&BAD_VALUE, node.span, message));
    };
    if words.first().is_none_or(|program| program.is_empty()) {
        refuse(problems, "it names no program");
        return None;
    }
    if words.iter().any(|word| word.contains('\0')) {
        refuse(problems, "it has a NUL character");
        return None;
    }
    Some(words.into_iter().map(String::into_boxed_str).collect())
}

/// Warns when a string has quotes or shell syntax, which mean nothing without a shell.
fn warn_about_shell(text: &str, node: &Node, label: &str, problems: &mut Problems) {
    let Some(syntax) = text.split_whitespace().find_map(shell_syntax) else {
        return;
    };
    let message = format!("cannot give `{syntax}` a meaning in {label}: no shell reads it");
    let help = "give a list, one string for each argument; for a shell [\"sh\", \"-c\", \"…\"]";
    problems.add(Problem::new(&SHELL_SYNTAX, node.span, message).help(help));
}

/// Finds what a shell would treat specially in a word.
fn shell_syntax(word: &str) -> Option<&str> {
    let operators = ["|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "2>", "2>>", "2>&1", "&>"];
    if operators.contains(&word) {
        return Some(word);
    }
    let quoted = word.starts_with(['"', '\'']) || word.ends_with(['"', '\'']);
    if quoted || word.contains("='") || word.contains("=\"") {
        return Some(if word.contains('\'') { "'" } else { "\"" });
    }
    if word.contains('`') {
        return Some("`");
    }
    if let Some(at) = word.find('$') {
        let next = word[at + 1..].chars().next();
        let is_expansion = next
            .is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '{' | '(' | '?' | '@'));
        return is_expansion.then_some("$");
    }
    let redirects = word.strip_prefix(['1', '2']).unwrap_or(word).starts_with('>');
    match word.ends_with(';') || redirects {
        true => Some(if redirects { ">" } else { ";" }),
        false => None,
    }
}

/// Reads everything about the process of a job; `None` without `exec`.
pub(crate) fn command(fields: &Fields<'_>, problems: &mut Problems) -> Option<Command> {
    let argv = exec(fields, problems);
    let command = Command {
        argv: argv.unwrap_or_default(),
        env: env(fields, problems),
        env_file: boxed(fields.text("envFile", problems)),
        workdir: boxed(fields.text("workdir", problems)),
        umask: umask(fields, problems),
        limits: limits(fields, problems),
        raw_output: raw_output(fields, problems),
        reads_input: fields.word("stdin", problems).is_some_and(|at| at.value == "inherit"),
        ..identity(fields, problems)
    };
    if fields.member("exec").is_none() {
        for name in
            ["env", "envFile", "workdir", "umask", "limits", "user", "stdin", "timeout", "restarts"]
        {
            if let Some(member) = fields.member(name) {
                let message = format!("cannot use {}: the job has no `exec`", fields.label(name));
                problems.add(Problem::new(&IGNORED_KEY, member.key_span, message));
            }
        }
        return None;
    }
    (!command.argv.is_empty()).then_some(command)
}

pub(crate) fn boxed(text: Option<At<String>>) -> Option<Box<str>> {
    text.map(|text| text.value.into_boxed_str())
}

/// Reads `logging: {raw}`.
pub(crate) fn raw_output(fields: &Fields<'_>, problems: &mut Problems) -> bool {
    let Some(node) = fields.node("logging") else {
        return false;
    };
    let owner = format!("`logging` of {}", fields.owner);
    let Some(logging) = Fields::open(node, &super::keys::JOB_LOGGING, owner, problems) else {
        return false;
    };
    logging.flag("raw", problems).is_some_and(|raw| raw.value)
}

/// Reads `user` and `group`, and refuses half of it.
fn identity(fields: &Fields<'_>, problems: &mut Problems) -> Command {
    let user = fields.text("user", problems);
    let group = fields.text("group", problems);
    match (&user, &group) {
        (None, Some(group)) => {
            let message = format!("cannot set {} alone: it needs `user`", fields.label("group"));
            let problem = Problem::new(&CONFLICTING_KEYS, group.span, message);
            problems.add(
                problem.help("a process with another group but the same user is half a change"),
            );
        }
        (Some(user), None) if user.value.bytes().all(|byte| byte.is_ascii_digit()) => {
            let message = format!(
                "cannot tell the group of user {} if the container does not know that user",
                user.value
            );
            let problem = Problem::new(&HALF_IDENTITY, user.span, message);
            problems.add(problem.help("give `group` as well"));
        }
        _ => {}
    }
    Command { user: boxed(user), group: boxed(group), ..Command::default() }
}

fn env(fields: &Fields<'_>, problems: &mut Problems) -> Vec<(Box<str>, Box<str>)> {
    let mut env = Vec::new();
    for (name, value) in fields.text_map("env", problems) {
        let label = fields.label("env");
        if name.value.is_empty() || name.value.contains(['=', '\0']) || value.value.contains('\0') {
            let message = format!("cannot set the variable {:?} in {label}", name.value);
            let help =
                "a name is not empty and has no `=`; neither name nor value has a NUL character";
            problems.add(Problem::new(&BAD_NAME, name.span, message).help(help));
            continue;
        }
        let is_usual = |(at, c): (usize, char)| {
            c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
        };
        if !name.value.char_indices().all(is_usual) {
            let message = format!("cannot use `{}` of {label} in a shell", name.value);
            let problem = Problem::new(&WEAK_VALUE, name.span, message);
            problems
                .add(problem.help("shells know letters, digits and `_`, with no digit in front"));
        }
        env.push((name.value.into_boxed_str(), value.value.into_boxed_str()));
    }
    env
}

fn umask(fields: &Fields<'_>, problems: &mut Problems) -> Option<u32> {
    let node = fields.node("umask")?;
    let label = fields.label("umask");
    let digits = match &node.value {
        Value::Text(text) => text.strip_prefix("0o").unwrap_or(text),
        Value::Number(number) if number.whole == Some(0) => "0",
        Value::Number(number) => {
            let message = format!("cannot use {} as {label}: is it octal?", number.text);
            let problem = Problem::new(&WRONG_TYPE, node.span, message);
            problems.add(problem.help("write octal digits in a string, such as \"027\""));
            return None;
        }
        _ => "",
    };
    let octal = digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(digits, 8) {
        Ok(mask) if octal && mask <= 0o777 => Some(mask),
        _ => {
            let message = format!("cannot use {} as {label}", shown(node));
            let problem = Problem::new(&BAD_VALUE, node.span, message);
            problems.add(problem.help("write octal digits in a string, from \"000\" to \"777\""));
            None
        }
    }
}

fn limits(fields: &Fields<'_>, problems: &mut Problems) -> Vec<Limit> {
    let Some(node) = fields.node("limits") else {
        return Vec::new();
    };
    let label = fields.label("limits");
    let Value::Object(members) = &node.value else {
        let message = format!("cannot use {} as {label}: it must be a block", shown(node));
        problems.add(Problem::new(&WRONG_TYPE, node.span, message));
        return Vec::new();
    };
    let mut limits: Vec<(Limit, super::text::Span)> = Vec::new();
    for member in members.iter().filter(|member| member.value.value != Value::Null) {
        let known = Resource::ALL.iter().find(|r| r.as_str().eq_ignore_ascii_case(&member.key));
        let Some(resource) = known.copied() else {
            let message =
                format!("cannot limit `{}` in {label}: there is no such resource", member.key);
            let names = Resource::ALL.iter().map(|resource| resource.as_str());
            let problem = Problem::new(&super::problem::UNKNOWN_KEY, member.key_span, message);
            problems.add(problem.maybe_help(near::suggestion(&member.key, names)));
            continue;
        };
        if let Some((_, first)) = limits.iter().find(|(limit, _)| limit.resource == resource) {
            let message = format!("cannot limit `{}` twice in {label}", member.key);
            let problem = Problem::new(&DUPLICATE_KEY, member.key_span, message);
            problems.add(problem.related(*first, "first given here"));
            continue;
        }
        let label = format!("`{}` in {label}", member.key);
        if let Some((soft, hard)) = limit(&member.value, &label, problems) {
            limits.push((Limit { resource, soft, hard }, member.key_span));
        }
    }
    limits.into_iter().map(|(limit, _)| limit).collect()
}

type Bounds = (Option<u64>, Option<u64>);

fn limit(node: &Node, label: &str, problems: &mut Problems) -> Option<Bounds> {
    if !matches!(node.value, Value::Object(_)) {
        let bound = bound(node, label, problems)?;
        return Some((bound, bound));
    }
    let fields = Fields::open(node, &LIMIT, String::from(label), problems)?;
    let side = |name: &str, problems: &mut Problems| {
        fields.node(name).map(|node| bound(node, &fields.label(name), problems))
    };
    let (soft, hard) = match (side("soft", problems), side("hard", problems)) {
        (Some(soft), Some(hard)) => (soft?, hard?),
        (Some(one), None) | (None, Some(one)) => {
            let one = one?;
            (one, one)
        }
        (None, None) => {
            let message = format!("cannot read {label}: it has neither `soft` nor `hard`");
            problems.add(Problem::new(&MISSING_KEY, fields.opening(), message));
            return None;
        }
    };
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        let message = format!("cannot use {label}: the soft limit is above the hard one");
        problems.add(Problem::new(&OUT_OF_RANGE, node.span, message));
        return None;
    }
    Some((soft, hard))
}

/// Reads one bound; the inner `None` is "unlimited".
fn bound(node: &Node, label: &str, problems: &mut Problems) -> Option<Option<u64>> {
    match &node.value {
        Value::Text(text) if text.eq_ignore_ascii_case("unlimited") => Some(None),
        _ => {
            let whole = whole_within(node, 0, i64::MAX, label, problems)?;
            Some(u64::try_from(whole).ok())
        }
    }
}

/// Reads a signal by name, with or without SIG, or by number.
pub(crate) fn signal(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<Signal> {
    let text = fields.text(name, problems)?;
    match Signal::parse(&text.value) {
        Some(signal) => Some(signal),
        None => {
            let message = format!(
                "cannot use {:?} as {}: there is no such signal",
                text.value,
                fields.label(name)
            );
            let upper = text.value.to_ascii_uppercase();
            let short = upper.strip_prefix("SIG").unwrap_or(&upper);
            let help = near::nearest(short, Signal::names())
                .map(|name| format!("did you mean `SIG{name}`?"));
            problems.add(Problem::new(&BAD_VALUE, text.span, message).maybe_help(help));
            None
        }
    }
}
