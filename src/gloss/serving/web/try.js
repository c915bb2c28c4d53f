// Try it: a history on the left, what would be shown on the right.

import { stream } from "/web/api.js";
import { duration, h, say } from "/web/dom.js";
import { add, historyPanel, onChange, purchases } from "/web/history.js";
import { WAYS, draft, entry } from "/web/lists.js";
import { settingsPanel } from "/web/settings.js";

const excluded = new Map();

const PATIENCE_MILLISECONDS = 150; // an answer that comes sooner needs no titles before it

export function open(main, info) {
  const settings = settingsPanel(info, refresh);
  const history = historyPanel(info);
  const how = h("p", { class: "how" });
  const list = h("ol", { class: "list", "aria-label": "Recommendations" });
  const without = h("p", { class: "note" });
  let request = new AbortController();

  async function refresh() {
    request.abort();
    request = new AbortController();
    list.setAttribute("aria-busy", "true");
    const { rules, ...asked } = settings.asked();
    const began = performance.now();
    try {
      const body = { history: purchases().slice(-1000), k: 10, ...asked, rules: { ...rules, exclude: [...excluded.keys()] } };
      const told = drafts(began);
      draw(await stream("/v1/recommend", body, { signal: request.signal, told }), performance.now() - began);
    } catch (error) {
      if (error.name === "AbortError") return;
      how.replaceChildren(h("span", { class: "error" }, error.message));
      list.replaceChildren();
    }
    list.setAttribute("aria-busy", "false");
  }

  /** Shows titles in the place of the list, as the model writes them. */
  function drafts(began) {
    const titles = [];
    return (title) => {
      titles.push(title);
      if (performance.now() - began < PATIENCE_MILLISECONDS) return;
      how.replaceChildren(h("strong", {}, "Being written"), h("span", {}, titles.length === 1 ? "1 title" : `${titles.length} titles`));
      list.replaceChildren(...titles.map((each, place) => draft(each, place + 1)));
    };
  }

  function draw(answer, milliseconds) {
    how.replaceChildren(
      h("strong", {}, WAYS[answer.way]),
      h("span", {}, `${answer.items.length} items in ${duration(milliseconds / 1000)}`));
    list.replaceChildren(...answer.items.map((item, place) => entry(item, place + 1, [
      h("button", { type: "button", class: "quiet", "aria-label": `Buy ${item.title}`, onclick: () => add(item) }, "Buy"),
      h("button", { type: "button", class: "quiet", "aria-label": `Not ${item.title}`,
                    onclick: () => { excluded.set(item.item, item.title); refresh(); } }, "Not this"),
    ])));
    without.replaceChildren(...(excluded.size ? [
      `${excluded.size === 1 ? "One item is" : `${excluded.size} items are`} left out. `,
      h("button", { type: "button", class: "quiet", onclick: () => { excluded.clear(); refresh(); } }, "Show all again"),
    ] : []));
    say(`${answer.items.length} recommendations: ${WAYS[answer.way]}`);
  }

  main.replaceChildren(
    h("h1", {}, "What will they want next?"),
    h("p", { class: "lead" }, "Build a history, or load a customer's. The list follows, and says why each item is there."),
    h("div", { class: "two" },
      h("div", { class: "stack" }, history.element,
        h("section", { "aria-labelledby": "rules-title" }, h("h2", { id: "rules-title" }, "Wish and rules"),
          h("div", { class: "below" }, settings.element))),
      h("section", { "aria-label": "Recommendations" }, how, list, without)));
  const stop = onChange(refresh);
  refresh();
  return () => { stop(); history.stop(); request.abort(); };
}
