//! One defect, from a plain configuration to a page.

use steersman_engine::defect::Defect;
use steersman_sim::explore::{Progress, replay};
use steersman_sim::html;
use steersman_sim::shrink::{Effort, shrink};
use steersman_sim::story::{Teller, to_text};
use steersman_sim::tap::Level;

use crate::sample::search;

#[test]
fn planted_defect_is_found_shrunk_repeated_and_shown() {
    let search = search(Some(Defect::RestartBesideChild), 300);
    let found = search.go(&Progress::default());
    let first = found.breaches.first().expect("a run that shows the defect");
    let plan = search.plan_of(first.seed);
    let shrunk = shrink(&search.setting, &plan, &search.suite, Effort::default());
    let shrunk = shrunk.expect("a failing seed fails again");
    assert!(shrunk.breach.is_like(&first.breach));
    assert!(shrunk.weight.1 <= 3, "{:#?}", shrunk.plan);

    let run = || replay(&shrunk.setting, &shrunk.plan, &search.suite, Level::Everything);
    let (once, again) = (run(), run());
    assert_eq!(once.lines, again.lines);
    assert_eq!(once.breach.as_ref(), Some(&shrunk.breach));

    let nodes = shrunk.setting.nodes.iter().map(|node| (&*node.name, &node.config));
    let mut teller = Teller::new("a planted defect", nodes, shrunk.setting.manners.clone());
    once.lines.iter().for_each(|line| teller.listen(line));
    let story = teller.finish(once.breach.as_ref());
    let text = to_text(&story);
    assert!(text.contains("fault"), "{text}");
    let page = html::page(&story);
    assert_eq!(page, html::page(&story));
    assert!(page.len() < 100_000);
    if let Ok(folder) = std::env::var("STORY_DIR") {
        std::fs::write(format!("{folder}/story.html"), &page).expect("a folder");
        std::fs::write(format!("{folder}/story.txt"), &text).expect("a folder");
    }
}
