//! Reads case files.
//!
//! A case begins with `== NAME` and is a list of steps:
//!
//! ```text
//! PUT /v1/kv/a?flags=1 <- body          a request with a body
//! GET /v1/kv/a [X-Consul-Token: T]      header fields in brackets
//! GET /v1/kv/a -> ix=X-Consul-Index     keeps a header or, with /, a place in the JSON body
//! start w GET /v1/kv/a?index={{ix}}     begins a request that blocks
//! end w                                 waits for it
//! sleep 300                             milliseconds
//! until GET /v1/agent/checks ~ TTL expired    asks again until the body contains the text
//! timed 900..1300                       the next request or `end` takes so many milliseconds
//! unordered                             the next body is a list whose order means nothing
//! status                                of the next body only status and headers count
//! ```
//!
//! `{{name}}` is a kept value, `{{name-1}}` and `{{name+1}}` its neighbours. `\xNN` in a body is a
//! byte, `<*N text*>` is N times the text. Lines that begin with `#` are comments.

/// A named list of steps.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One step of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends a request and compares the answer.
    Send(Sending),
    /// Begins a request on a connection of its own.
    Start {
        /// Names it for the end.
        name: String,
        /// The request.
        sending: Sending,
    },
    /// Waits for a begun request and compares the answer.
    End {
        /// Which one.
        name: String,
        /// How its answer is compared.
        view: View,
    },
    /// Lets time pass.
    Sleep {
        /// For how long.
        millis: u64,
    },
    /// Asks again until the answer contains a text.
    Until {
        /// What to ask.
        sending: Sending,
        /// What to wait for.
        text: String,
    },
}

/// A request with what is kept and compared of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<String>,
    /// Sent in chunks?
    pub chunked: bool,
    /// Values to keep: name and place.
    pub keeps: Vec<(String, String)>,
    /// How the answer is compared.
    pub view: View,
}

/// How an answer is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The lists of the body are sets.
    pub unordered: bool,
    /// The body does not count.
    pub status_only: bool,
    /// Of the indexes only 0 and 1 count.
    ///
    /// Registering a check again sends it once or twice, as the agent's two sending threads happen
    /// to meet; every later index is one higher or not.
    pub unranked: bool,
    /// It takes so many milliseconds.
    pub timed: Option<(u64, u64)>,
}

/// Reads all cases of a file.
///
/// When a line is not of the language above.
pub fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut view = View::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case { name: name.to_owned(), steps: Vec::new() });
            continue;
        }
        match line {
            _ if line.starts_with('#') => continue,
            "unordered" => view.unordered = true,
            "status" => view.status_only = true,
            _ if line.starts_with("timed ") => view.timed = Some(range(&line[6..])),
            _ => {
                let case = cases.last_mut().expect("a case has a name before its steps");
                case.steps.push(step(line, std::mem::take(&mut view)));
            }
        }
    }
    cases
}

fn range(text: &str) -> (u64, u64) {
    let (low, high) = text.split_once("..").expect("a range is LOW..HIGH");
    (low.trim().parse().expect("a number"), high.trim().parse().expect("a number"))
}

fn step(line: &str, view: View) -> Step {
    if let Some(millis) = line.strip_prefix("sleep ") {
        return Step::Sleep { millis: millis.parse().expect("milliseconds") };
    }
    if let Some(name) = line.strip_prefix("end ") {
        return Step::End { name: name.to_owned(), view };
    }
    if let Some(rest) = line.strip_prefix("start ") {
        let (name, rest) = rest.split_once(' ').expect("start NAME METHOD PATH");
        return Step::Start { name: name.to_owned(), sending: sending(rest, view) };
    }
    if let Some(rest) = line.strip_prefix("until ") {
        let (rest, text) = rest.split_once(" ~ ").expect("until METHOD PATH ~ TEXT");
        return Step::Until { sending: sending(rest, view), text: text.to_owned() };
    }
    Step::Send(sending(line, view))
}

fn sending(line: &str, view: View) -> Sending {
    let (line, body) = match line.split_once(" <- ") {
        Some((line, body)) => (line, Some(body)),
        None => (line.strip_suffix(" <-").unwrap_or(line), line.ends_with(" <-").then_some("")),
    };
    let (body, after) = match body.and_then(|body| body.rsplit_once(" -> ")) {
        Some((body, keeps)) => (Some(body), keeps),
        None => (body, ""),
    };
    let (line, before) = line.split_once(" -> ").unwrap_or((line, ""));
    let mut sending = Sending { view, body: body.map(str::to_owned), ..Sending::default() };
    for keep in [before, after].into_iter().flat_map(str::split_whitespace) {
        let (name, place) = keep.split_once('=').expect("-> NAME=PLACE");
        sending.keeps.push((name.to_owned(), place.to_owned()));
    }
    let (head, headers) = line.split_once(" [").unwrap_or((line, ""));
    for header in headers.split('[').map(|header| header.trim().trim_end_matches(']')) {
        if header == "chunked" {
            sending.chunked = true;
        } else if let Some((name, value)) = header.split_once(':') {
            sending.headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    let (method, target) = head.trim().split_once(' ').expect("METHOD PATH");
    sending.method = method.to_owned();
    sending.target = target.to_owned();
    sending
}
