//! Which planted defects a search of a plain configuration finds.

use std::time::Instant;

use steersman_engine::defect::Defect;
use steersman_sim::explore::Progress;
use steersman_sim::shrink::{Effort, shrink};

use steersman_sim::story::to_text;

use crate::sample::{search, story_of};

#[test]
fn a_sound_engine_breaks_nothing() {
    let search = search(None, 400);
    let found = search.go(&Progress::default());
    assert_eq!(found.runs, 400);
    let stories = found.breaches.iter().map(|one| story_of(&search, one.seed));
    let stories: Vec<_> = stories.map(|story| to_text(&story)).collect();
    assert!(stories.is_empty(), "{}", stories.join("\n"));
}

/// Writes the table that `docs/simulation` quotes.
#[test]
#[ignore = "takes minutes: run it to see the table"]
fn table_of_planted_defects() {
    let mut seen = 0;
    for defect in Defect::ALL {
        let began = Instant::now();
        let search = search(Some(*defect), 300);
        let found = search.go(&Progress::default());
        let took = began.elapsed();
        let Some(first) = found.breaches.first() else {
            println!("{defect:?}: not seen");
            continue;
        };
        seen += 1;
        let began = Instant::now();
        let plan = search.plan_of(first.seed);
        let shrunk = shrink(&search.setting, &plan, &search.suite, Effort::default());
        let shrunk = shrunk.expect("a failing seed fails again");
        println!(
            "{defect:?}: seed {} ({} of 300, {took:.1?}); {} -> {} in {} runs, {:.1?}: {}",
            first.seed,
            first.count,
            shrunk.weight.0,
            shrunk.weight.1,
            shrunk.replays,
            began.elapsed(),
            shrunk.breach.what
        );
    }
    println!("{seen} of {}", Defect::ALL.len());
}
