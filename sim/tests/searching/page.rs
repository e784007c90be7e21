//! The page in a real browser: Debian's `chromium`, without a head. Without it these are skipped,
//! and say so; CI sets `STEERSMAN_NEEDS_CHROMIUM`.

use std::path::Path;
use std::process::{Command, Stdio};

use steersman_engine::defect::Defect;
use steersman_sim::explore::Progress;
use steersman_sim::html;

use crate::sample::{search, story_of};

/// Opens a page and gives its elements after it was laid out, and the size of its picture.
fn open(page: &str, folder: &Path, scheme: &str) -> Option<(String, u64)> {
    let file = folder.join("page.html");
    std::fs::write(&file, page).expect("a folder");
    let picture = folder.join("page.png");
    let run = |last: &str| {
        let profile = format!("--user-data-dir={}", folder.join("profile").display());
        let dark = format!("--blink-settings=preferredColorScheme={scheme}");
        let run = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"])
            .args([&profile, &dark, last])
            .arg(format!("file://{}", file.display()))
            .stderr(Stdio::null())
            .output();
        match run {
            Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
            Err(_) if std::env::var_os("STEERSMAN_NEEDS_CHROMIUM").is_none() => None,
            Err(error) => panic!("cannot start chromium: {error}"),
        }
    };
    let elements = run("--dump-dom")?;
    run(&format!("--screenshot={}", picture.display()))?;
    let size = std::fs::metadata(&picture).expect("a picture").len();
    Some((elements, size))
}

#[test]
fn page_opens_in_a_browser_in_light_and_dark() {
    let search = search(Some(Defect::ReloadOverlaps), 60);
    let found = search.go(&Progress::default());
    let first = found.breaches.first().expect("a run that shows the defect");
    let story = story_of(&search, first.seed);
    let page = html::page(&story);
    assert!(!page.contains("<script") && !page.contains("http"), "something would be fetched");
    let folder = tempfile::tempdir().expect("a folder");
    for scheme in ["0", "1"] {
        let Some((elements, size)) = open(&page, folder.path(), scheme) else {
            eprintln!("skipped: there is no chromium here");
            return;
        };
        let marks = elements.matches("<a class=\"m ").count();
        let items = elements.matches("<li id=\"e").count();
        assert_eq!((marks, items), (story.marks.len(), story.marks.len()));
        assert_eq!(elements.matches("<div class=\"name ").count(), story.lanes.len());
        assert_eq!(elements.matches("class=\"broken-line\"").count(), 1);
        assert_eq!(
            elements.matches("class=\"m ").count(),
            elements.matches("aria-label=\"").count()
                - elements.matches("class=\"s fault\" style").count()
                - 2
        );
        assert!(size > 10_000, "the picture is empty");
    }
}
