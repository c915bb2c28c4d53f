// A history that is built by searching, by a customer's id, or at random: shared by two tabs.

import { get } from "/web/api.js";
import { h, say } from "/web/dom.js";
import { itemSearch } from "/web/search.js";

const entries = [];
const listeners = new Set();

/** What the service is asked with: ids, or titles that the catalogue lacks. */
export const purchases = () => entries.map((entry) => entry.item ?? entry.title);

export const titles = () => entries.map((entry) => entry.title);

/** Call a function after each change, until the function that is returned is called. */
export function onChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function add(item) {
  entries.push({ item: item.item, title: item.title });
  changed(`${item.title} added`);
}

function changed(said) {
  say(said);
  for (const listener of [...listeners]) listener();
}

/** The panel. info: what is served. */
export function historyPanel(info) {
  const list = h("ol", { class: "history", "aria-label": "Purchases, earliest first" });
  const search = itemSearch({
    label: "Search for a purchase", placeholder: "Search for a purchase …", choose: add, free: true,
  });
  const draw = () => list.replaceChildren(...(entries.length ? entries.map(row) : [
    h("li", { class: "empty" }, h("span", {}), "Nothing yet: the list shows what is bought most."),
  ]));
  const row = (entry, place) =>
    h("li", {},
      h("span", { class: "place" }, String(place + 1)), h("span", {}, entry.title),
      h("button", { type: "button", class: "quiet", "aria-label": `Remove ${entry.title}`,
                    onclick: () => { entries.splice(place, 1); changed(`${entry.title} removed`); search.field.focus(); } },
        "Remove"));
  const stop = onChange(draw);
  draw();
  const buttons = h("div", { class: "row" },
    h("button", { type: "button", class: "quiet", onclick: surprise }, "Random"),
    h("button", { type: "button", class: "quiet",
                  onclick: () => { entries.length = 0; changed("Empty"); search.field.focus(); } }, "Clear"));
  const element = h("section", { "aria-labelledby": "history-title" },
    h("div", { class: "spread" }, h("h2", { id: "history-title" }, "Bought so far"), buttons),
    search.element, list,
    info.scopes.includes("events") ? customer() : null);
  return { element, stop, field: search.field };
}

async function surprise() {
  const page = await get("/v1/items?limit=200");
  const shown = page.items.filter((item) => !item.hidden);
  const chosen = Array.from({ length: 3 }, () => shown[Math.floor(Math.random() * shown.length)]);
  entries.splice(0, entries.length, ...chosen.map(({ item, title }) => ({ item, title })));
  changed("Three items at random");
}

function customer() {
  const note = h("p", { class: "note", role: "status" });
  const field = h("input", { type: "text", placeholder: "Customer …", "aria-label": "A customer's id", maxlength: "200" });
  const load = async (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (!name) return;
    const { events } = await get(`/v1/users/${encodeURIComponent(name)}`);
    note.textContent = events.length ? "" : "The service has seen no purchase of this customer.";
    if (!events.length) return;
    const bought = events.map(({ item, title }) => ({ item: title ? item : undefined, title: title ?? item }));
    entries.splice(0, entries.length, ...bought);
    changed(`${events.length} purchases of ${name}`);
  };
  return h("form", { onsubmit: load },
    h("div", { class: "row" }, h("div", { class: "grow" }, field), h("button", {}, "Load")), note);
}
