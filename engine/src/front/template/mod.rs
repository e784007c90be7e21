//! The Go template that a configuration file is, rendered by gtmpl-ng under v3's rules.
//!
//! Three guards stand around the engine. A name that is referenced but not set renders empty (v3:
//! `missingkey=zero`), so such names are set to the empty string first. The environment goes in as
//! a plain map. Every text and action is wrapped in marks that the output carries along, so that
//! each byte of the rendered text leads back to the file; the marks are taken out again at the end.

mod functions;
mod go_regex;
mod literals;
mod marks;
mod segments;

use std::collections::BTreeMap;

use gtmpl_ng::{Context, ExecError, Limits, ParseError, Template, TemplateError, Value};

use self::functions::Installed;
use self::marks::{BadLiteral, Marked};
use self::segments::{BLOCKS_MAX, PARENTHESES_MAX, SplitError};
use super::near;
use super::problem::{Problem, TEMPLATE};
use super::text::{Piece, Source, Span};

/// Tells whether a text has anything to render.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// A rendered text and where its parts come from.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) pieces: Vec<Piece>,
}

/// Renders a template over an environment. The problem's place is in the file as written.
pub(crate) fn render(
    file: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<Rendered, Box<super::Diagnostic>> {
    let fail = |problem: Problem| Box::new(problem.locate(&Source::plain(file, text)));
    let actions = segments::split(text).map_err(|error| fail(no_outline(error)))?;
    // A mark is a NUL character, which no environment can hold and no configuration should.
    if let Some(at) = text.find('\0') {
        let message = "cannot render the template: it has a NUL character here";
        return Err(fail(Problem::new(&TEMPLATE, Span::new(at, at + 1), message)));
    }
    let marked = Marked::new(text, &actions).map_err(|BadLiteral(span)| {
        let message = "cannot render the template: this literal is none of Go's";
        fail(Problem::new(&TEMPLATE, span, message).help("a backslash itself is written as two"))
    })?;
    // Most templates do without `env`, and need no copy of the environment for it.
    let empty = BTreeMap::new();
    let readable = if marked.text.contains("env") { env } else { &empty };
    let _installed = Installed::new(readable, &marked.literals);
    let data = data(env, &marked);
    let output =
        execute(&marked.text, data).map_err(|error| fail(explain(error, &marked, text)))?;
    let (text, pieces) = marked.unmark(output);
    Ok(Rendered { text, pieces })
}

fn no_outline(error: SplitError) -> Problem {
    match error {
        SplitError::Unclosed(at) => {
            let message = "cannot render the template: this action does not end";
            Problem::new(&TEMPLATE, Span::new(at, at + 2), message)
                .help("close it with `}}` (and quotes within it before that)")
        }
        SplitError::TooDeep(at) => {
            let message = format!(
                "cannot render the template: it nests deeper than {PARENTHESES_MAX} parentheses or \
                 {BLOCKS_MAX} blocks (an `else if` counts as a block)"
            );
            Problem::new(&TEMPLATE, Span::new(at, at + 1), message)
        }
    }
}

fn execute(text: &str, data: Value) -> Result<String, TemplateError> {
    // A loop over a list from the environment may be long; recursion is bounded by gtmpl-ng itself.
    let limits = Limits::default().with_iterations(1_000_000);
    let mut template = Template::with_limits(limits);
    template.add_funcs(functions::FUNCTIONS);
    template.parse(text)?;
    Ok(template.render(&Context::from(data))?)
}

/// Builds the data: the environment, and an empty string for every name that is referenced but
/// unset.
fn data(env: &BTreeMap<String, String>, marked: &Marked) -> Value {
    let set = env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    let is_unset = |name: &&String| !env.contains_key(*name);
    let unset: Vec<&String> = marked.names.iter().filter(is_unset).collect();
    let empty = unset.iter().map(|name| (String::from(*name), Value::from("")));
    let listed = marked.uses_whole_map.then(|| {
        let names = unset.iter().map(|name| Value::from(name.as_str())).collect();
        (String::from(functions::UNSET), Value::Array(names))
    });
    Value::Map(set.chain(empty).chain(listed).collect())
}

/// Turns the engine's error into a problem with a place in the file.
fn explain(error: TemplateError, marked: &Marked, written: &str) -> Problem {
    let (place, reason) = match &error {
        TemplateError::ParseError(ParseError::WithContext(context, reason)) => {
            (Some((context.line, context.col, context.len)), reason.clone())
        }
        TemplateError::ExecError(ExecError::Structured(error)) => {
            let context = &error.context;
            (Some((context.line, context.col, context.len)), error.message.clone())
        }
        other => (None, other.to_string()),
    };
    let span = match place {
        Some((line, column, length)) => marked.written_span(line, column, length),
        None => Span::new(0, 0),
    };
    let span = Span::new(span.start.min(written.len()), span.end.min(written.len()));
    let reason = marks::without_marks(&reason);
    let problem = Problem::new(&TEMPLATE, span, format!("cannot render the template: {reason}"));
    let help =
        unknown_function(&reason).and_then(|name| near::suggestion(name, functions::names()));
    problem.maybe_help(help)
}

/// Finds the name of the function in a complaint that there is none.
fn unknown_function(reason: &str) -> Option<&str> {
    let at = reason.find("function ")?;
    if !reason.contains("not defined") && !reason.contains("undefined") {
        return None;
    }
    let name = reason[at + "function ".len()..].split_whitespace().next()?;
    Some(name.trim_matches(|c: char| !(c.is_alphanumeric() || c == '_')))
}

#[cfg(test)]
mod tests;
