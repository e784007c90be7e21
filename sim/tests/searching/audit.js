// Added to a page under test: looks at it as a person would, and writes down what is wrong.
const audit = () => {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const named = (element) => `${element.tagName}.${element.className} "${element.textContent.trim().slice(0, 40)}"`;

  // Colours, composed of what lies behind each other.
  const parse = (text) => {
    const numbers = (text.match(/[\d.]+(e-?\d+)?/g) || []).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    const [r, g, b, a = 1] = numbers;
    return [r * scale, g * scale, b * scale, a];
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const behind = (element) => {
    const own = parse(getComputedStyle(element).backgroundColor);
    if (own[3] === 1) return own;
    return over(own, element.parentElement ? behind(element.parentElement) : [255, 255, 255, 1]);
  };
  const luminance = ([r, g, b]) => {
    const part = (value) => ((value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const demand = (selector, least, beneath) => {
    for (const element of all(selector)) {
      const back = behind(beneath ? document.querySelector(beneath) : element);
      const found = contrast(over(parse(getComputedStyle(element).color), back), back);
      if (found < least) wrong.push(`contrast ${found.toFixed(2)} of ${named(element)}`);
    }
  };
  demand("h1,h2,.verdict,.verdict a,dt,dd,.name span,.corner,.hint,.key,.story li span,.story small,.story li>a,.faults li", 4.5);
  demand(".axis span", 4.5, ".frame");
  demand(".m", 3, ".frame");

  // Places.
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) wrong.push(`the page is ${page.scrollWidth} wide in ${innerWidth}`);
  const overlaps = (one, other) => one.left < other.right - 1 && other.left < one.right - 1;
  for (const axis of all(".axis")) {
    const labels = [...axis.children].map((label) => label.getBoundingClientRect());
    labels.forEach((label, nth) => {
      if (nth > 0 && overlaps(labels[nth - 1], label)) wrong.push(`times ${nth} and ${nth + 1} overlap`);
    });
  }
  const wide = document.querySelector(".wide").getBoundingClientRect();
  const lanes = new Map();
  for (const mark of all(".m")) {
    const place = mark.getBoundingClientRect();
    if (place.left < wide.left - 1 || place.right > wide.right + 1) wrong.push(`out of the picture: ${mark.id}`);
    const lane = lanes.get(mark.style.top) || [];
    lanes.set(mark.style.top, [...lane, place.left]);
    const item = document.querySelector(mark.getAttribute("href"));
    if (!item || !item.querySelector(`a[href="#${mark.id}"]`)) wrong.push(`no way to the list and back: ${mark.id}`);
  }
  for (const lane of lanes.values()) {
    lane.sort((a, b) => a - b);
    lane.forEach((left, nth) => {
      if (nth > 0 && left - lane[nth - 1] < 10) wrong.push(`two marks at ${left} of one lane`);
    });
  }
  const names = all(".name").map((name) => name.getBoundingClientRect().top);
  all(".row").forEach((row, nth) => {
    if (Math.abs(row.getBoundingClientRect().top - names[nth]) > 1.5) wrong.push(`lane ${nth + 1} is not beside its name`);
  });
  const star = document.querySelector(".m.broken");
  const line = document.querySelector(".broken-line");
  if (star) {
    const middle = (place) => (place.left + place.right) / 2;
    const apart = middle(star.getBoundingClientRect()) - middle(line.getBoundingClientRect());
    if (Math.abs(apart) > 1.5) wrong.push(`the star is ${apart} beside its line`);
  }

  // The keyboard: every stop in order of time, seen, explained, and on top.
  const stops = all(".lanes a");
  let last = -1;
  for (const stop of stops) {
    const label = stop.getAttribute("aria-label") || "";
    const time = Number((label.match(/(?:from |^\d+\. )(\d+\.\d+) s/) || [])[1]);
    if (!(time >= last)) wrong.push(`${label} comes after ${last} s`);
    last = time;
    stop.focus({ focusVisible: true });
    if (document.activeElement !== stop) { wrong.push(`cannot reach ${named(stop)}`); continue; }
    const style = getComputedStyle(stop);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) wrong.push(`focus is not seen: ${named(stop)}`);
    const tip = stop.querySelector(".tip");
    const place = tip.getBoundingClientRect();
    const inside = place.left >= 0 && place.right <= innerWidth && place.top >= 0 && place.bottom <= innerHeight;
    if (getComputedStyle(tip).display !== "block" || !inside) wrong.push(`no explanation in view: ${named(stop)}`);
    if (stop.matches(".m")) {
      const own = stop.getBoundingClientRect();
      const top = document.elementFromPoint((own.left + own.right) / 2, (own.top + own.bottom) / 2);
      if (!stop.contains(top)) wrong.push(`${stop.id} is covered by ${top ? named(top) : "nothing: it is out of view"}`);
    }
  }

  const fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
  if (fetched.length) wrong.push(`fetched ${fetched}`);
  const paper = luminance(behind(document.body));
  const report = document.createElement("pre");
  report.id = "audit";
  report.textContent = JSON.stringify({
    wrong, focused: document.hasFocus(), stops: stops.length, dark: paper < 0.2, light: paper > 0.8,
    picture: wide.width / document.querySelector(".scroll").clientWidth, width: innerWidth,
  });
  document.body.append(report);
};

// The window may get its focus after the page was loaded, and what is focused in it is not shown
// before: the clock of the page is virtual, so that waiting costs nothing.
addEventListener("load", () => {
  let left = 15_000;
  const look = () => {
    left -= 1;
    if (document.hasFocus() || left === 0) audit();
    else setTimeout(look, 1);
  };
  look();
});
