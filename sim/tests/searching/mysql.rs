//! The published MySQL handlers and their repair, as programs: what the catalogue of failures says
//! of the originals comes true in the model, and does not with a lock in the configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use steersman_engine::front::Surroundings;
use steersman_sim::Action;
use steersman_sim::catalog::CatalogFault;
use steersman_sim::command::{FAILED, GOOD, Options, ReplayOptions, repeat, simulate};
use steersman_sim::explore::{Found, Limits, Progress, Scripted, Search, Span};
use steersman_sim::link::LinkState;
use steersman_sim::scenario::{self, Scenario};

const ORIGINAL: &str = "mysql-cold-start.json5";
const REPAIRED: &str = "mysql-repaired.json5";

/// The start of members one after another, in a good order.
const IN_ORDER: (&str, &str) = ("\"sleep 0s..120s\"", "\"sleep 60s\"");

/// Reads an example with other texts in it, faults and properties of its own, and only the nodes
/// of one kind.
fn scenario(file: &str, changes: &[(&str, &str)], properties: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(file);
    let mut text = fs::read_to_string(path).expect("the example");
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    let end = text.find("\n  faults: [").expect("faults");
    text.truncate(end);
    text.push_str(&format!(
        "\n  swarm: \"none\",\n  properties: [{properties}],\n  \
         limits: {{ settle: \"600s\" }},\n}}\n"
    ));
    let read = |path: &str| Err(format!("no {path} here"));
    scenario::load(file, &text, &read).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// Searches a few seeds with scripted deeds, on the nodes that are wanted.
fn search(
    mut scenario: Scenario,
    nodes: &[&str],
    deeds: Vec<Scripted>,
    settle: u64,
    seeds: u64,
) -> Found {
    scenario.setting.nodes.retain(|node| nodes.contains(&&*node.name));
    let limits = Limits { trouble: Duration::from_secs(1), settle: Duration::from_secs(settle) };
    let search = Search {
        setting: Arc::new(scenario.setting),
        suite: scenario.suite,
        faults: scenario.faults,
        limits,
        scripted: deeds,
        seeds: 0..seeds,
        shard: (0, 1),
        jobs: 2,
        check_determinism: false,
    };
    search.go(&Progress::default())
}

fn deed(at: u64, node: &str, actions: &[(u64, Action)]) -> Scripted {
    let exactly = |seconds| Span::exactly(Duration::from_secs(seconds));
    let actions = actions.iter().map(|(after, action)| (exactly(*after), action.clone()));
    Scripted { at: exactly(at), node: Arc::from(node), actions: actions.collect() }
}

fn broken(found: &Found) -> Vec<&str> {
    found.breaches.iter().map(|breach| &*breach.breach.property).collect()
}

const DB: [&str; 3] = ["db-1", "db-2", "db-3"];

const CONVERGES: &str =
    "{ name: 'converges', eventually: 'database mysql is converged', within: '200s' }";
const WRITER: &str = "{ name: 'one writer', atMostOne: 'database mysql is accepting' }";

#[test]
fn m01_members_that_start_together_never_all_serve_under_the_scripts() {
    let herd = [("\"sleep 0s..120s\"", "\"sleep 0s\"")];
    let found = search(scenario(ORIGINAL, &herd, CONVERGES), &DB, Vec::new(), 260, 2);
    assert_eq!(broken(&found), ["converges"]);
    let found = search(scenario(REPAIRED, &herd, CONVERGES), &DB, Vec::new(), 260, 2);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn members_that_start_in_order_all_serve_under_the_scripts() {
    let found = search(scenario(ORIGINAL, &[IN_ORDER], CONVERGES), &DB, Vec::new(), 260, 3);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m03_check_killed_while_it_makes_the_primary_is_never_made_good() {
    let limit = [IN_ORDER, ("timeout: \"600s\"", "timeout: \"5s\"")];
    let found = search(scenario(ORIGINAL, &limit, CONVERGES), &DB, Vec::new(), 260, 1);
    assert_eq!(broken(&found), ["converges"]);
}

#[test]
fn m10_another_primary_comes_late_or_never_after_a_kill() {
    let soon = "{ name: 'soon', whenever: 'node db-* is over', within: '150s',
                  then: 'count(database mysql is primary) == 1 and any mysql-primary is healthy' }";
    let kill = || vec![deed(200, "primary of mysql", &[(0, Action::Crash)])];
    let found = search(scenario(ORIGINAL, &[IN_ORDER], soon), &DB, kill(), 400, 6);
    assert_eq!(broken(&found), ["soon"]);
    let found = search(scenario(REPAIRED, &[], soon), &DB, kill(), 400, 3);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m11_second_of_two_never_leads_after_the_first_was_killed() {
    let says = "{ name: 'leads', eventually: 'any mysql-primary is healthy', within: '400s' }";
    let kill = || vec![deed(200, "primary of mysql", &[(0, Action::Crash)])];
    let two = ["db-1", "db-2"];
    let found = search(scenario(ORIGINAL, &[IN_ORDER], says), &two, kill(), 450, 2);
    assert_eq!(broken(&found), ["leads"]);
    let found = search(scenario(REPAIRED, &[], says), &two, kill(), 450, 2);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m13_all_is_green_without_a_primary_when_the_tool_dies_half_way() {
    // Whoever has the failover lock dies between the two halves of the tool's work.
    let slow = [
        IN_ORDER,
        ("\"sleep 1s..4s\"", "\"sleep 60s\""),
        ("\"sleep 2s..8s\",\n      \"best", "\"best"),
    ];
    let lies = "{ name: 'lies', longerThan: '60s', never: 'no database mysql is primary and \
                 every database mysql on db-2 is stopped and mysql is healthy' }";
    let deeds = vec![
        deed(200, "primary of mysql", &[(0, Action::Crash)]),
        deed(260, "db-3", &[(0, Action::Crash)]),
    ];
    let found = search(scenario(ORIGINAL, &slow, lies), &DB, deeds, 400, 6);
    assert_eq!(broken(&found), ["lies"]);
}

#[test]
fn m22_primary_that_only_consul_cannot_reach_goes_on_writing() {
    let cached = (
        "service: \"mysql-primary\", finds: \"listed\"",
        "service: \"mysql-primary\", finds: \"cached\", count: 1",
    );
    let both =
        ("clients: {", "clients: { other: { database: \"mysql\", service: \"mysql-primary\" },");
    let cut = || {
        let actions = [(0, Action::Link(LinkState::Cut)), (120, Action::Link(LinkState::Up))];
        vec![deed(200, "primary of mysql", &actions)]
    };
    let changes = [IN_ORDER, cached, both];
    let found = search(scenario(ORIGINAL, &changes, WRITER), &DB, cut(), 300, 6);
    assert_eq!(broken(&found), ["one writer"]);
    let found = search(scenario(REPAIRED, &changes[1..], WRITER), &DB, cut(), 300, 3);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m21_primary_that_stood_still_writes_beside_its_successor() {
    let cached = (
        "service: \"mysql-primary\", finds: \"listed\"",
        "service: \"mysql-primary\", finds: \"cached\"",
    );
    let two = "{ name: 'one primary', longerThan: '30s', \
               never: 'count(database mysql is primary) >= 2' }";
    let stand_still =
        || vec![deed(200, "primary of mysql", &[(0, Action::Freeze), (33, Action::Thaw)])];
    let changes = [IN_ORDER, cached];
    let found = search(scenario(ORIGINAL, &changes, two), &DB, stand_still(), 300, 6);
    assert_eq!(broken(&found), ["one primary"]);
    let found = search(scenario(REPAIRED, &changes[1..], two), &DB, stand_still(), 300, 3);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m26_old_primary_that_comes_back_in_place_takes_writes_again() {
    let volume = ("count: 3,", "count: 3,\n      volume: true,");
    let two = "{ name: 'one primary', longerThan: '60s', \
               never: 'count(database mysql is primary) >= 2' }";
    let again = || {
        let actions = [(0, Action::Crash), (120, Action::StartContainer)];
        vec![deed(200, "primary of mysql", &actions)]
    };
    let changes = [IN_ORDER, volume];
    let found = search(scenario(ORIGINAL, &changes, two), &DB, again(), 300, 6);
    assert_eq!(broken(&found), ["one primary"]);
    let both = format!("{two}, {CONVERGES}");
    let found = search(scenario(REPAIRED, &changes[1..], &both), &DB, again(), 300, 3);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m33_catalog_without_memory_has_no_primary_any_more() {
    let listed = "{ name: 'says so', within: '150s', \
                  eventually: 'database mysql is converged and any mysql-primary is healthy' }";
    let lose =
        || vec![deed(200, "primary of mysql", &[(0, Action::Catalog(CatalogFault::LoseState))])];
    let found = search(scenario(ORIGINAL, &[IN_ORDER], listed), &DB, lose(), 250, 2);
    assert_eq!(broken(&found), ["says so"]);
    let found = search(scenario(REPAIRED, &[], listed), &DB, lose(), 250, 2);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn m17_replica_that_reads_the_past_has_no_source_under_the_first_scripts() {
    let follows = "{ name: 'follows', within: '60s', \
                   whenever: 'node old-* is over and count(database store is primary) == 1', \
                   then: 'no database store on old-* is astray' }";
    let kill = || {
        let slow = |id| CatalogFault::SlowFollower(id, Duration::from_secs(100));
        let slow: Vec<_> = (0..3).map(|id| (0, Action::Catalog(slow(id)))).collect();
        let kill = [(0, Action::Crash)];
        vec![deed(199, "old-1", &slow), deed(200, "primary of store", &kill)]
    };
    let nodes = ["old-1", "old-2", "old-3"];
    let found = search(scenario(ORIGINAL, &[], follows), &nodes, kill(), 400, 6);
    assert_eq!(broken(&found), ["follows"]);
    let found = search(scenario(REPAIRED, &[], follows), &nodes, kill(), 400, 3);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

/// Searches an example as it is, and gives the status and what was said.
fn simulated(file: &str, change: impl FnOnce(&mut Options)) -> (u8, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(file);
    let path = path.to_str().expect("a plain path").to_owned();
    let mut options = Options { files: vec![path], seeds: 0..3, jobs: 2, ..Options::default() };
    change(&mut options);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let around = Surroundings::default();
    let status = simulate(&options, &around, &mut out, &mut err).expect("memory to write to");
    (status, String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
}

#[test]
fn example_finds_the_cold_start_tells_it_and_repeats_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (trace, page) = (at("out.trace"), at("out.html"));
    let (status, text) = simulated(ORIGINAL, |options| {
        options.trace = Some(trace.clone());
        options.html = Some(page.clone());
    });
    assert_eq!(status, FAILED, "{text}");
    assert!(text.contains("M01: those that start together all come to serve"), "{text}");
    assert!(text.contains("access denied: this database has no users of the cluster"), "{text}");
    assert!(fs::read_to_string(&page).expect("a page").contains("mysql data"));
    let options = ReplayOptions::of(&trace);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = repeat(&options, &mut out, &mut err).expect("memory to write to");
    assert_eq!(status, Some(GOOD), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn repaired_example_holds() {
    let (status, text) = simulated(REPAIRED, |_| {});
    assert_eq!(status, GOOD, "{text}");
}
