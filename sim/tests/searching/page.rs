//! The page in a real browser: Debian's `chromium`, without a head, at 3 lanes and at 30, light and
//! dark, narrow and wide. A script of the test's own looks at it: contrast, overlaps, what Tab
//! stops at, whether anything is covered or fetched.
//!
//! `STORY_DIR` names a folder that keeps the pages and their pictures, to be looked at.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use steersman_engine::config::Config;
use steersman_engine::defect::Defect;
use steersman_sim::explore::{Limits, Manners, NodeSpec, Progress, Search, Setting};
use steersman_sim::html;
use steersman_sim::story::{Story, tell_plan};

use crate::sample::{config, search, story_of};

const AUDIT: &str = include_str!("audit.js");

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
struct Look {
    scheme: &'static str,
    width: u32,
}

const LOOKS: [Look; 4] = [
    Look { scheme: "dark", width: 1400 },
    Look { scheme: "light", width: 1400 },
    Look { scheme: "dark", width: 520 },
    Look { scheme: "light", width: 520 },
];

/// Opens a file and gives what the browser says and what it wrote to its console.
fn browse(file: &Path, look: Look, profile: &Path, last: &str) -> (String, String) {
    // Blink counts the schemes: dark is 0, light is 1.
    let scheme = u8::from(look.scheme == "light");
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=20000"])
        .arg(format!("--window-size={},1000", look.width))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(last)
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot start chromium: {error}; tests/setup/install.sh brings it")
    });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Opens a page with the audit and gives what that found. The audit waits for the window to get its
/// focus; on a busy machine that may still come too late: then the page is opened again.
fn audit(page: &str, look: Look) -> Value {
    let found = (0..5).map(|_| audit_once(page, look)).find(|found| found["focused"] == true);
    found.expect("a window with the focus, in five attempts")
}

fn audit_once(page: &str, look: Look) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("page.html");
    std::fs::write(&file, format!("{page}<script>{AUDIT}</script>")).expect("a folder");
    let (elements, said) = browse(&file, look, folder.path(), "--dump-dom");
    let console: Vec<_> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "the console says {console:#?}");
    let (_, report) = elements.split_once("<pre id=\"audit\">").expect("the audit was made");
    let (report, _) = report.split_once("</pre>").expect("an element ends");
    let report = report.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
    serde_json::from_str(&report).expect("the audit writes JSON")
}

/// Looks at a page in every way; keeps pictures when they are wanted.
fn assert_readable(name: &str, story: &Story) {
    let page = html::page(story);
    assert_eq!(page, html::page(story), "equal stories are not equal bytes");
    for word in ["<script", "http:", "https:", "url(", "@import", "src="] {
        assert!(!page.contains(word), "{word} would be fetched or run");
    }
    if story.marks.len() <= 50 {
        assert!(page.len() < 100_000, "{} bytes for {} marks", page.len(), story.marks.len());
    }
    if let Ok(folder) = std::env::var("STORY_DIR") {
        let file = Path::new(&folder).join(format!("{name}.html"));
        std::fs::write(&file, &page).expect("a folder");
        for look in LOOKS {
            let picture = format!("{folder}/{name}-{}-{}.png", look.scheme, look.width);
            let profile = tempfile::tempdir().expect("a folder");
            browse(&file, look, profile.path(), &format!("--screenshot={picture}"));
        }
    }
    let is_fault =
        |one: &&steersman_sim::story::Stretch| one.tone == steersman_sim::story::Tone::Fault;
    let stops = story.marks.len() + story.stretches.iter().filter(is_fault).count();
    for look in LOOKS {
        let found = audit(&page, look);
        let wrong = found["wrong"].as_array().expect("a list");
        assert!(wrong.is_empty(), "{name}, {look:?}: {wrong:#?}");
        assert_eq!(found["stops"], stops, "{look:?}");
        assert_eq!(found[look.scheme], true, "{look:?}: {found}");
        let picture = found["picture"].as_f64().expect("a share");
        assert!(picture >= 0.999, "the picture leaves room unused: {found}");
    }
}

#[test]
fn page_is_readable_at_three_lanes() {
    let search = search(Some(Defect::ReloadOverlaps), 60);
    let found = search.go(&Progress::default());
    let first = found.breaches.first().expect("a run that shows the defect");
    let story = story_of(&search, first.seed);
    assert!(story.lanes.len() <= 4, "{:?}", story.lanes);
    assert_readable("three-lanes", &story);
}

/// A run as it was found, of six nodes with four jobs each.
fn crowd() -> Story {
    let jobs = config().jobs.into_iter().take(4).collect();
    let config = Config { jobs, ..Config::default() };
    let nodes = (1..=6).map(|nth| NodeSpec::new(&format!("node-{nth}"), config.clone()));
    let nodes: Vec<NodeSpec> = nodes.collect();
    let setting = Setting { manners: Manners::of(&nodes), nodes, ..Setting::default() };
    let limits = Limits { trouble: Duration::from_secs(8), settle: Duration::from_secs(10) };
    let search = Search { setting: Arc::new(setting), limits, ..search(None, 1) };
    tell_plan("a crowd", &search.setting, &search.plan_of(3), &search.suite)
}

#[test]
fn page_is_readable_at_thirty_lanes() {
    let story = crowd();
    assert_eq!(story.lanes.len(), 30);
    assert!(story.marks.len() > 50, "{} marks", story.marks.len());
    assert_readable("thirty-lanes", &story);
}

#[test]
fn page_is_made_within_fifty_milliseconds() {
    let search = search(Some(Defect::ReloadOverlaps), 60);
    let found = search.go(&Progress::default());
    let story = story_of(&search, found.breaches.first().expect("a breach").seed);
    // The machine may have other things to do: the quickest of a few counts.
    let took = (0..20).map(|_| {
        let began = Instant::now();
        let page = html::page(&story);
        (began.elapsed(), page.len())
    });
    let (took, _) = took.min().expect("twenty times");
    assert!(took < Duration::from_millis(50), "{took:?}");
}
