// Catalogue: search, page through, add, hide and remove items. What is removed can be taken back.

import { get, patch, post, put } from "/web/api.js";
import { h, number, paused, say, toast } from "/web/dom.js";

const SHOWN_COLUMNS = 4;

export function open(main, info) {
  const mayChange = info.scopes.includes("catalogue");
  const columns = info.columns.slice(0, SHOWN_COLUMNS);
  const count = h("p", { class: "lead" });
  const body = h("tbody");
  const more = h("button", { type: "button", class: "more", onclick: () => load(next) }, "More");
  const field = h("input", { type: "search", placeholder: "Search by title or id …", "aria-label": "Search the catalogue", oninput: paused(() => load(), 150) });
  let next = null, asked = 0;

  async function load(after = null) {
    const mine = ++asked;
    const query = new URLSearchParams({ limit: "50", q: field.value.trim().slice(0, 200), ...(after ? { after } : {}) });
    const page = await get(`/v1/items?${query}`);
    if (mine !== asked) return;
    next = page.next;
    more.hidden = !next;
    count.textContent = `${number(page.total)} items`;
    const rows = page.items.map(row);
    if (after) body.append(...rows);
    else body.replaceChildren(...rows);
    if (!body.children.length) body.append(h("tr", {}, h("td", { colspan: String(columns.length + 3), class: "empty" }, "Nothing is found.")));
    say(`${body.children.length} items shown`);
  }

  function row(item) {
    const line = h("tr", { class: item.hidden ? "off" : null },
      h("th", { scope: "row" }, item.title, item.hidden ? h("span", { class: "tag" }, "Hidden") : null),
      h("td", { class: "id" }, item.item),
      ...columns.map((name) => h("td", { class: "column" }, String(item.columns[name] ?? "–"))),
      mayChange ? h("td", { class: "act" },
        h("button", { type: "button", class: "quiet", "aria-label": `${item.hidden ? "Show" : "Hide"} ${item.title}`, onclick: toggle }, item.hidden ? "Show" : "Hide"),
        h("button", { type: "button", class: "quiet", "aria-label": `Remove ${item.title}`, onclick: remove }, "Remove")) : null);

    async function toggle() {
      await deed(() => patch(`/v1/items/${encodeURIComponent(item.item)}`, { hidden: !item.hidden }));
      const fresh = row({ ...item, hidden: !item.hidden });
      line.replaceWith(fresh);
      fresh.querySelector("button").focus();
      say(`${item.title} is ${item.hidden ? "shown" : "hidden"}`);
    }
    async function remove() {
      await deed(() => post("/v1/items/bulk", { remove: [item.item] }));
      const mark = document.createComment("");
      line.replaceWith(mark);
      const act = async () => { await post("/v1/items/bulk", { show: [item.item] }); mark.replaceWith(row({ ...item, hidden: false })); };
      toast(`${item.title} is removed.`, { label: "Take back", act });
    }
    return line;
  }

  main.replaceChildren(
    h("h1", {}, "Catalogue"), count,
    h("div", { class: "tools" }, field,
      mayChange ? h("button", { type: "button", class: "main", onclick: () => addItem(info, () => load()) }, "Add an item") : null),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Items" },
      h("table", { class: "items" },
        h("thead", {}, h("tr", {},
          h("th", { scope: "col" }, "Title"), h("th", { scope: "col", class: "id" }, "Id"),
          ...columns.map((name) => h("th", { scope: "col", class: "column" }, name)),
          mayChange ? h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Change")) : null)), body)),
    more);
  load();
  return () => { asked++; };
}

async function deed(run) {
  try {
    return await run();
  } catch (error) {
    toast(error.message);
    throw error;
  }
}

/** The dialog of a new item. */
function addItem(info, done) {
  const fault = h("p", { class: "note error", role: "alert" });
  const input = (name, label, required) => h("label", {}, h("span", { class: "label" }, label), h("input", { type: "text", name, required, maxlength: "200" }));
  const save = async (event) => {
    event.preventDefault();
    const given = new FormData(form);
    const columns = Object.fromEntries(info.columns.map((name) => [name, typed(given.get(`column-${name}`))]).filter(([, value]) => value !== null));
    try {
      await put(`/v1/items/${encodeURIComponent(given.get("item").trim())}`, { title: given.get("title").trim(), columns });
    } catch (error) {
      fault.textContent = error.message;
      return;
    }
    dialog.close();
    toast(`${given.get("title").trim()} is in the catalogue.`);
    done();
  };
  const form = h("form", { onsubmit: save },
    h("h2", { id: "add-title" }, "Add an item"),
    input("item", "Id", true), input("title", "Title", true),
    ...info.columns.map((name) => input(`column-${name}`, name, false)), fault,
    h("div", { class: "row" },
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { class: "main" }, "Add")));
  const dialog = h("dialog", { "aria-labelledby": "add-title", onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
}

/** What was typed for a column: a number if it reads like one; null for nothing. */
function typed(text) {
  if (!text.trim()) return null;
  return Number.isFinite(Number(text)) ? Number(text) : text.trim();
}
