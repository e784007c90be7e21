//! Where everything goes: time runs to the right, gaps are squeezed, order is kept.

use std::collections::{BTreeMap, BTreeSet};

use steersman_engine::Time;

use crate::story::{Lane, LaneKind, Story, Tone, seconds};

/// From the middle of one mark to the next at the same instant.
const SLOT: f64 = 20.0;
/// The least distance between two instants.
const GAP_MIN: f64 = 10.0;
/// What ten times longer adds to a gap.
const GAP_DECADE: f64 = 13.0;
/// Left of the first instant and right of the last.
const MARGIN: f64 = 18.0;
/// The least distance between two labels of the axis.
const LABEL_GAP: f64 = 74.0;

/// Places, from the top left corner of the picture: in pixels, of which the horizontal ones are the
/// least that it can do with.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) lane_height: f64,
    /// The lanes from top to bottom: which, and where its middle is.
    pub(super) rows: Vec<Row>,
    /// Where each mark is.
    pub(super) marks: Vec<(f64, f64)>,
    /// The labels of the axis.
    pub(super) labels: Vec<(f64, String)>,
    columns: BTreeMap<Time, f64>,
    /// Where the last mark of a lane at an instant is.
    edges: BTreeMap<(usize, Time), f64>,
    lane_rows: BTreeMap<usize, usize>,
}

/// One row of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) lane: usize,
    pub(super) middle: f64,
}

impl Layout {
    /// Finds a place for everything.
    pub(super) fn new(story: &Story) -> Layout {
        let lanes = order(&story.lanes);
        let lane_height = match lanes.len() {
            0..=12 => 36.0,
            13..=24 => 29.0,
            _ => 24.0,
        };
        let middle = |nth: usize| lane_height * (nth as f64 + 0.5);
        let rows = lanes.iter().enumerate();
        let rows: Vec<Row> =
            rows.map(|(nth, lane)| Row { lane: *lane, middle: middle(nth) }).collect();
        let lane_rows = rows.iter().enumerate().map(|(nth, row)| (row.lane, nth)).collect();
        let slots = slots(story);
        let mut layout = Layout {
            width: 0.0,
            lane_height,
            rows,
            marks: Vec::new(),
            labels: Vec::new(),
            columns: BTreeMap::new(),
            edges: BTreeMap::new(),
            lane_rows,
        };
        layout.place_columns(story, &slots);
        layout.place_marks(story, &slots);
        layout.place_labels();
        layout
    }

    /// The middle of a lane.
    pub(super) fn middle(&self, lane: usize) -> f64 {
        self.lane_rows.get(&lane).map_or(0.0, |row| self.rows[*row].middle)
    }

    /// Where something that happens on a lane at an instant is.
    pub(super) fn at(&self, lane: usize, time: Time) -> f64 {
        if let Some(edge) = self.edges.get(&(lane, time)) {
            return *edge;
        }
        let column = self.columns.range(time..).next();
        column.map_or(self.width - MARGIN, |(_, x)| *x)
    }

    /// Writes a distance as a share of the whole: the picture takes the width that there is.
    pub(super) fn share(&self, x: f64) -> String {
        let thousandths = (x * 100_000.0 / self.width.max(1.0)).round() as i64;
        format!("{}.{:03}%", thousandths / 1000, thousandths % 1000)
    }

    fn place_columns(&mut self, story: &Story, slots: &[usize]) {
        let mut widths: BTreeMap<Time, usize> = BTreeMap::new();
        for (mark, slot) in story.marks.iter().zip(slots) {
            let width = widths.entry(mark.at).or_default();
            *width = (*width).max(*slot);
        }
        let mut times: BTreeSet<Time> = widths.keys().copied().collect();
        times.insert(Time(0));
        times.insert(story.end);
        for stretch in story.stretches.iter().filter(|stretch| stretch.tone == Tone::Fault) {
            times.insert(stretch.from);
            times.extend(stretch.to);
        }
        let mut x = MARGIN;
        let mut before: Option<Time> = None;
        for time in times {
            if let Some(before) = before {
                let slots = widths.get(&before).copied().unwrap_or(0);
                x += slots as f64 * SLOT + gap(time.0 - before.0);
            }
            self.columns.insert(time, x);
            before = Some(time);
        }
        let last = before.and_then(|time| widths.get(&time)).copied().unwrap_or(0);
        self.width = x + last as f64 * SLOT + MARGIN;
    }

    fn place_marks(&mut self, story: &Story, slots: &[usize]) {
        for (mark, slot) in story.marks.iter().zip(slots) {
            let column = self.columns.get(&mark.at).copied().unwrap_or(MARGIN);
            let x = column + *slot as f64 * SLOT;
            self.marks.push((x, self.middle(mark.lane)));
            let edge = self.edges.entry((mark.lane, mark.at)).or_insert(x);
            *edge = edge.max(x);
        }
    }

    fn place_labels(&mut self) {
        let mut free_from = 0.0;
        for (time, x) in &self.columns {
            if *x >= free_from {
                self.labels.push((*x, seconds(*time)));
                free_from = x + LABEL_GAP;
            }
        }
    }
}

/// Nodes in their order, each followed by what belongs to it.
fn order(lanes: &[Lane]) -> Vec<usize> {
    let nodes: Vec<&Lane> = lanes.iter().filter(|lane| lane.kind == LaneKind::Node).collect();
    let rank = |lane: &Lane| nodes.iter().position(|node| node.node == lane.node);
    let mut order: Vec<usize> = (0..lanes.len()).collect();
    order.sort_by_key(|index| (rank(&lanes[*index]), lanes[*index].kind, *index));
    order
}

/// Puts marks of one instant side by side: after their cause, and no two of a lane in one place.
fn slots(story: &Story) -> Vec<usize> {
    let mut slots: Vec<usize> = Vec::with_capacity(story.marks.len());
    let mut free: BTreeMap<(usize, u64), usize> = BTreeMap::new();
    for mark in &story.marks {
        let next = free.entry((mark.lane, mark.at.0)).or_default();
        let cause = mark.cause.filter(|cause| story.marks[*cause].at == mark.at);
        let slot = cause.map_or(0, |cause| slots[cause] + 1).max(*next);
        *next = slot + 1;
        slots.push(slot);
    }
    slots
}

/// Squeezes a gap: a second is not a thousand times a millisecond.
fn gap(nanos: u64) -> f64 {
    let millis = nanos as f64 / 1e6;
    GAP_MIN + GAP_DECADE * (1.0 + millis).log10()
}
