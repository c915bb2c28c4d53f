// Live: the last hour, read every two seconds while the tab is looked at.

import { get } from "/web/api.js";
import { duration, h, number } from "/web/dom.js";
import { REASONS, WAYS } from "/web/lists.js";

const EVERY_MILLISECONDS = 2000;
const SVG = "http://www.w3.org/2000/svg";

export function open(main) {
  const facts = h("dl", { class: "facts" });
  const minutes = document.createElementNS(SVG, "svg");
  const ways = h("ul", { class: "bars" }), reasons = h("ul", { class: "bars" });
  const most = h("small", { class: "note" });
  const moved = h("p", { class: "note" });
  const fault = h("p", { class: "error" });
  minutes.setAttribute("class", "minutes");
  minutes.setAttribute("role", "img");
  minutes.setAttribute("preserveAspectRatio", "none");
  minutes.setAttribute("viewBox", "0 0 600 100");

  async function refresh() {
    if (document.hidden) return;
    try {
      draw(await get("/v1/live"));
      fault.textContent = "";
    } catch (error) {
      fault.textContent = error.message;
    }
  }

  function draw(hour) {
    const yesterday = hour.yesterday;
    facts.replaceChildren(
      ...fact("Lists in the last hour", number(hour.requests)),
      ...fact("Median time", duration(hour.p50_seconds)),
      ...fact("Slowest 1 %", duration(hour.p99_seconds)),
      ...fact("Waiting now", number(hour.waiting)),
      ...fact("Catalogue shown", `${(100 * hour.coverage).toFixed(hour.coverage < 0.1 ? 1 : 0)} %`),
      ...(yesterday ? fact("Lists, same hour yesterday", number(yesterday.requests)) : []));
    moved.replaceChildren(yesterday ? drift(yesterday) : "There is nothing of this hour yesterday to compare with.");
    most.textContent = ` · ${number(Math.max(...hour.per_minute))} at most`;
    drawMinutes(minutes, hour.per_minute);
    drawShares(ways, hour.ways, WAYS, yesterday?.ways);
    drawShares(reasons, hour.reasons, REASONS, yesterday?.reasons);
  }

  main.replaceChildren(
    h("h1", {}, "The last hour"),
    h("p", { class: "lead" }, "What this service has answered since it started, an hour at most. It counts lists, not people."),
    fault, facts,
    h("figure", {}, h("figcaption", {}, "Lists a minute", most), minutes,
      h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "60 minutes ago"), h("span", {}, "now"))),
    h("div", { class: "shares" },
      h("figure", {}, h("figcaption", {}, "How lists were made"), ways),
      h("figure", {}, h("figcaption", {}, "Why items are in them"), reasons)), moved);
  refresh();
  const timer = setInterval(refresh, EVERY_MILLISECONDS);
  return () => clearInterval(timer);
}

const fact = (name, value) => [h("div", {}, h("dt", {}, name), h("dd", {}, value))];

function drawMinutes(svg, counts) {
  const most = Math.max(1, ...counts);
  const bars = counts.map((count, at) => {
    const height = (96 * count) / most;
    return shape("rect", { x: 10 * at + 1, y: 99 - height, width: 8, height });
  });
  svg.replaceChildren(shape("line", { x1: 0, x2: 600, y1: 99.5, y2: 99.5 }), ...bars);
  svg.setAttribute("aria-label", `Lists a minute in the last hour: ${Math.max(...counts)} at most, ${counts.at(-1)} now`);
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** How far shares have moved since the same hour yesterday. */
function drift({ ways_shift: ways, reasons_shift: reasons }) {
  if (ways == null || reasons == null) return "Nothing was recommended in the last hour: nothing to compare with yesterday.";
  return `Since the same hour yesterday (thin lines), ${Math.round(100 * ways)} % of the lists are made in another way, and ${Math.round(100 * reasons)} % of the items are there for another reason.`;
}

function drawShares(list, counts, names, before = {}) {
  const earlier = Object.values(before).reduce((a, b) => a + b, 0);
  const sum = Object.values(counts).reduce((a, b) => a + b, 0) || 1;
  const gone = Object.fromEntries(Object.keys(before).map((name) => [name, 0]));
  const rows = Object.entries({ ...gone, ...counts }).sort((a, b) => b[1] - a[1]).map(([name, count]) => {
    const bar = h("i");
    bar.style.width = `${(100 * count) / sum}%`;
    const was = earlier ? h("i", { class: "was" }) : null;
    if (was) was.style.width = `${(100 * (before[name] ?? 0)) / earlier}%`;
    return h("li", {}, h("span", {}, names[name] ?? name), h("span", {}, bar, was), h("span", {}, `${Math.round((100 * count) / sum)} %`));
  });
  list.replaceChildren(...(rows.length ? rows : [h("li", { class: "empty" }, "Nothing yet")]));
}
