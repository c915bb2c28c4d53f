// A field in which items are searched for while one types: a combobox by the ARIA pattern.

import { get } from "/web/api.js";
import { h, paused, say } from "/web/dom.js";

let count = 0;

/** The field. choose: called with an item; free: whether any text may be chosen, as a title. */
export function itemSearch({ label, placeholder, choose, free = false }) {
  const id = `found-${++count}`;
  const list = h("ul", { id, class: "found", role: "listbox", "aria-label": "Items", hidden: true });
  const field = h("input", {
    type: "text", role: "combobox", autocomplete: "off", placeholder, "aria-label": label,
    "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list",
  });
  let items = [], at = -1, asked = 0;

  const close = () => {
    list.hidden = true;
    at = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const pick = (item) => {
    field.value = "";
    close();
    choose(item);
  };
  const mark = (to) => {
    at = to;
    [...list.children].forEach((option, number) => option.setAttribute("aria-selected", number === at));
    list.children[at]?.scrollIntoView({ block: "nearest" });
    if (at < 0) field.removeAttribute("aria-activedescendant");
    else field.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const show = (found) => {
    items = found;
    list.replaceChildren(...found.map((item, number) =>
      h("li", { id: `${id}-${number}`, role: "option", "aria-selected": "false",
                onmousedown: (event) => { event.preventDefault(); pick(item); } },
        item.title, h("small", {}, item.item ?? "Not in the catalogue: taken as a title"))));
    list.hidden = !found.length;
    field.setAttribute("aria-expanded", String(!list.hidden));
    mark(-1);
    say(found.length === 1 ? "1 item" : `${found.length} items`);
  };
  const look = paused(async () => {
    const query = field.value.trim(), mine = ++asked;
    if (!query) return close();
    const found = (await get(`/v1/search?limit=8&q=${encodeURIComponent(query.slice(0, 200))}`)).items;
    if (mine !== asked || !field.value.trim()) return;
    show(free && !found.some((item) => item.title === query) ? [...found, { title: query }] : found);
  }, 120);

  field.addEventListener("input", look);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!items.length || list.hidden) return;
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      mark((at + step + items.length + (at < 0 && step < 0 ? 1 : 0)) % items.length);
    } else if (event.key === "Enter" && !list.hidden) {
      event.preventDefault();
      pick(items[Math.max(at, 0)]);
    } else if (event.key === "Escape") close();
  });
  return { element: h("div", { class: "search" }, field, list), field };
}
