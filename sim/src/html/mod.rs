//! The story as one page: nothing is fetched, nothing needs a script, equal stories are equal
//! bytes.

mod layout;

use core::fmt::Write as _;

use layout::Layout;

use crate::story::{Lane, LaneKind, Mark, MarkKind, Story, Stretch, Tone, seconds};

const STYLE: &str = include_str!("style.css");
const GLYPHS: &str = include_str!("glyphs.svg");

/// With more lanes than this the times are written below them as well.
const SHORT_MAX: usize = 14;
/// Marks bear their numbers in a picture of at most so many lanes and marks.
const NUMBERED_ROWS_MAX: usize = 12;
/// See [`NUMBERED_ROWS_MAX`].
const NUMBERED_MAX: usize = 60;

/// Writes the page.
pub fn page(story: &Story) -> String {
    let mut page = String::with_capacity(32 * 1024);
    let title = escape(&story.title);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<body>\n{GLYPHS}"
    );
    write_head(&mut page, story, &title);
    write_picture(&mut page, story);
    write_legend(&mut page, story);
    write_list(&mut page, story);
    page.push_str("</body>\n</html>\n");
    page
}

fn write_head(page: &mut String, story: &Story, title: &str) {
    let _ = write!(page, "<header>\n<h1>{title}</h1>\n");
    match &story.verdict {
        Some(verdict) => {
            let last = story.marks.len();
            let _ = writeln!(
                page,
                "<p class=\"verdict\"><b>Broken</b> at {} — <b>{}</b><br>\
                 <a href=\"#e{last}\">{}</a></p>",
                seconds(verdict.at),
                escape(&verdict.property),
                escape(&verdict.what)
            );
        }
        None => page.push_str("<p class=\"verdict good\"><b>Nothing was broken.</b></p>\n"),
    }
    if !story.facts.is_empty() {
        page.push_str("<dl>\n");
        for (name, value) in &story.facts {
            let (name, value) = (escape(name), escape(value));
            let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
        page.push_str("</dl>\n");
    }
    page.push_str("</header>\n");
}

fn write_picture(page: &mut String, story: &Story) {
    let layout = Layout::new(story);
    let height = layout.lane_height * layout.rows.len() as f64;
    let (width, lane_height) = (px(layout.width), px(layout.lane_height));
    let is_long = layout.rows.len() > SHORT_MAX;
    let _ = write!(
        page,
        "<main>\n<a class=\"skip\" href=\"#list\">Skip the picture: what happened, as a list</a>\n\
         <div class=\"frame\" style=\"--lane:{lane_height}px\">\n<div class=\"names\">\n\
         <div class=\"corner\">time</div>\n"
    );
    for row in &layout.rows {
        let lane = &story.lanes[row.lane];
        let (kind, name) = (lane.kind.as_str(), escape(&lane.name));
        let _ = writeln!(
            page,
            "<div class=\"name {kind}\" title=\"{kind} {name}\"><i>{kind}</i><span>{name}</span>\
             </div>"
        );
    }
    if is_long {
        page.push_str("<div class=\"corner\">time</div>\n");
    }
    let _ = writeln!(
        page,
        "</div>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"Timeline; the list below says the same\">\n\
         <div class=\"wide\" style=\"min-width:{width}px\">"
    );
    write_axis(page, &layout);
    let numbered = layout.rows.len() <= NUMBERED_ROWS_MAX && story.marks.len() <= NUMBERED_MAX;
    let numbers = if numbered { "" } else { " plain" };
    let _ = writeln!(page, "<div class=\"lanes{numbers}\" style=\"height:{}px\">", px(height));
    for row in &layout.rows {
        let kind = story.lanes[row.lane].kind.as_str();
        let top = px(row.middle - layout.lane_height / 2.0);
        let _ = writeln!(page, "<div class=\"row {kind}\" style=\"top:{top}px\"></div>");
    }
    for (x, _) in &layout.labels {
        let _ = writeln!(page, "<div class=\"line\" style=\"left:{}\"></div>", layout.share(*x));
    }
    for stretch in story.stretches.iter().filter(|stretch| stretch.tone != Tone::Fault) {
        write_stretch(page, story, &layout, stretch);
    }
    write_arrows(page, story, &layout, height);
    write_stops(page, story, &layout);
    page.push_str("</div>\n");
    if is_long {
        write_axis(page, &layout);
    }
    page.push_str("</div>\n</div>\n</div>\n");
    page.push_str(
        "<p class=\"hint\">Time runs to the right; gaps are squeezed, order is kept. Point at a \
         mark or step through them with Tab to read why it happened; Enter leads to its place \
         in the list.</p>\n</main>\n",
    );
}

fn write_axis(page: &mut String, layout: &Layout) {
    page.push_str("<div class=\"axis\">\n");
    for (x, label) in &layout.labels {
        let _ = writeln!(page, "<span style=\"left:{}\">{label}</span>", layout.share(*x));
    }
    page.push_str("</div>\n");
}

/// Writes what Tab stops at, in the order of time: faults, then what happened while they lasted.
fn write_stops(page: &mut String, story: &Story, layout: &Layout) {
    let is_fault = |stretch: &&Stretch| stretch.tone == Tone::Fault;
    let mut faults: Vec<&Stretch> = story.stretches.iter().filter(is_fault).collect();
    faults.sort_by_key(|fault| fault.from);
    let mut faults = faults.into_iter().peekable();
    for (nth, mark) in story.marks.iter().enumerate() {
        while let Some(fault) = faults.next_if(|fault| fault.from <= mark.at) {
            write_stretch(page, story, layout, fault);
        }
        write_mark(page, story, layout, nth, mark);
    }
    faults.for_each(|fault| write_stretch(page, story, layout, fault));
}

fn write_stretch(page: &mut String, story: &Story, layout: &Layout, stretch: &Stretch) {
    let to = stretch.to.unwrap_or(story.end);
    if to <= stretch.from && stretch.tone != Tone::Fault {
        return;
    }
    let from = layout.at(stretch.lane, stretch.from);
    let end = match stretch.to {
        Some(to) => layout.at(stretch.lane, to),
        None => layout.width,
    };
    let class = class_of(stretch.tone.as_str());
    let what = escape(&stretch.what);
    let until = stretch.to.map_or_else(|| String::from("the end"), seconds);
    let lane = lane_label(&story.lanes[stretch.lane]);
    let (left, top) = (layout.share(from), px(layout.middle(stretch.lane)));
    let place = format!("left:{left};top:{top}px;width:{}", layout.share((end - from).max(0.0)));
    let text = format!("{}: {what}, from {} to {until}", escape(&lane), seconds(stretch.from));
    if stretch.tone == Tone::Fault {
        let _ = writeln!(
            page,
            "<a class=\"s {class}\" style=\"{place}\" tabindex=\"0\" role=\"img\" \
             aria-label=\"fault: {text}\"><span class=\"tip\"><b>Fault</b> {text}</span></a>"
        );
    } else {
        let _ =
            writeln!(page, "<div class=\"s {class}\" style=\"{place}\" title=\"{text}\"></div>");
    }
}

fn write_arrows(page: &mut String, story: &Story, layout: &Layout, height: f64) {
    let (width, height) = (px(layout.width), px(height));
    let _ = writeln!(
        page,
        "<svg class=\"arrows\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\">"
    );
    for (mark, (x, y)) in story.marks.iter().zip(&layout.marks) {
        let Some(cause) = mark.cause else { continue };
        if story.marks[cause].lane == mark.lane || mark.kind == MarkKind::Breach {
            continue;
        }
        let (from_x, from_y) = layout.marks[cause];
        let bend = (x - from_x).clamp(8.0, 60.0) * 0.5;
        let _ = writeln!(
            page,
            "<path d=\"M{} {}C{} {} {} {} {} {}\"/>",
            px(from_x),
            px(from_y),
            px(from_x + bend),
            px(from_y),
            px(x - bend),
            px(*y),
            px(*x),
            px(*y)
        );
    }
    page.push_str("</svg>\n");
}

fn write_mark(page: &mut String, story: &Story, layout: &Layout, nth: usize, mark: &Mark) {
    let (x, y) = layout.marks[nth];
    let (left, top) = (layout.share(x), px(y));
    let number = nth + 1;
    let class = class_of(mark.kind.as_str());
    let lane = escape(&lane_label(&story.lanes[mark.lane]));
    let (what, why) = (escape(&mark.what), escape(&mark.why));
    let at = seconds(mark.at);
    if mark.kind == MarkKind::Breach {
        let _ = writeln!(page, "<div class=\"broken-line\" style=\"left:{left}\"></div>");
    }
    let _ = writeln!(
        page,
        "<a class=\"m {class}\" id=\"m{number}\" href=\"#e{number}\" \
         style=\"left:{left};top:{top}px\" aria-label=\"{number}. {at}, {lane}: {what}. {why}\">\
         <svg><use href=\"#g-{class}\"/></svg><i>{number}</i><span class=\"tip\">\
         <em>{number}</em> {at} <b>{lane}: {what}</b> {why}</span></a>"
    );
}

fn write_legend(page: &mut String, story: &Story) {
    page.push_str("<section class=\"legend\" aria-label=\"Legend\">\n");
    for kind in MarkKind::ALL {
        if story.marks.iter().any(|mark| mark.kind == *kind) {
            let (class, word) = (class_of(kind.as_str()), kind.as_str());
            let _ = writeln!(
                page,
                "<span class=\"key {class}\"><svg><use href=\"#g-{class}\"/></svg>{word}</span>"
            );
        }
    }
    for tone in Tone::ALL {
        let is_seen = |stretch: &Stretch| {
            stretch.to.is_none_or(|to| to > stretch.from) || stretch.tone == Tone::Fault
        };
        if story.stretches.iter().any(|stretch| stretch.tone == *tone && is_seen(stretch)) {
            let (class, word) = (class_of(tone.as_str()), tone.as_str());
            let _ = writeln!(page, "<span class=\"key\"><i class=\"s {class}\"></i>{word}</span>");
        }
    }
    page.push_str("</section>\n");
}

fn write_list(page: &mut String, story: &Story) {
    page.push_str(
        "<section>\n<h2 id=\"list\" tabindex=\"-1\">What happened</h2>\n<ol class=\"story\">\n",
    );
    for (nth, mark) in story.marks.iter().enumerate() {
        let number = nth + 1;
        let class = class_of(mark.kind.as_str());
        let lane = escape(&lane_label(&story.lanes[mark.lane]));
        let (what, why) = (escape(&mark.what), escape(&mark.why));
        let _ = write!(
            page,
            "<li id=\"e{number}\" class=\"{class}\"><a href=\"#m{number}\"><time>{}</time></a> \
             <svg><use href=\"#g-{class}\"/></svg><span><b>{lane}</b> {what}\
             <small>{why}",
            seconds(mark.at)
        );
        if let Some(cause) = mark.cause.filter(|_| mark.kind != MarkKind::Breach) {
            let cause = cause + 1;
            let _ = write!(page, " <a href=\"#e{cause}\">← {cause}</a>");
        }
        page.push_str("</small></span></li>\n");
    }
    page.push_str("</ol>\n");
    write_faults(page, story);
    for note in &story.notes {
        let _ = writeln!(page, "<p class=\"hint\">{}</p>", escape(note));
    }
    page.push_str("</section>\n");
}

fn write_faults(page: &mut String, story: &Story) {
    let faults = || story.stretches.iter().filter(|stretch| stretch.tone == Tone::Fault);
    if faults().next().is_none() {
        return;
    }
    page.push_str("<h2>What was out of the ordinary</h2>\n<ul class=\"faults\">\n");
    for fault in faults() {
        let until = fault.to.map_or_else(|| String::from("the end"), seconds);
        let _ = writeln!(
            page,
            "<li>{}: {} <small>from {} to {until}</small></li>",
            escape(&lane_label(&story.lanes[fault.lane])),
            escape(&fault.what),
            seconds(fault.from)
        );
    }
    page.push_str("</ul>\n");
}

fn lane_label(lane: &Lane) -> String {
    match lane.kind {
        LaneKind::Node => lane.name.clone(),
        _ => format!("{}/{}", lane.node, lane.name),
    }
}

fn class_of(word: &str) -> String {
    word.replace(' ', "-")
}

/// Writes pixels with at most one decimal, the same on every machine.
fn px(value: f64) -> String {
    let tenths = (value * 10.0).round() as i64;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{}", tenth.abs()),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<b a=\"'\">&\u{1b}"), "&lt;b a=&quot;&#39;&quot;&gt;&amp; ");
    }

    #[test]
    fn pixels_are_written_the_same_everywhere() {
        assert_eq!([px(1.0), px(1.25), px(0.04), px(-3.3)], ["1", "1.3", "0", "-3.3"]);
    }
}
