// Compare: one history, two settings or recommenders, and what differs between their lists.

import { post } from "/web/api.js";
import { h, say } from "/web/dom.js";
import { historyPanel, onChange, purchases } from "/web/history.js";
import { WAYS, entry } from "/web/lists.js";
import { settingsPanel } from "/web/settings.js";

const SIDES = ["A", "B"];

export function open(main, info) {
  const history = historyPanel(info);
  const sides = SIDES.map((name) => {
    const settings = settingsPanel(info, () => refresh(), { wishLabel: `A wish for ${name}` });
    const model = info.models.length ? recommenderOf(info.models, SIDES.indexOf(name), name, () => refresh()) : null;
    const how = h("p", { class: "how" }), list = h("ol", { class: "list", "aria-label": `List ${name}` });
    const element = h("section", { "aria-label": name },
      h("div", { class: "settings" }, h("h2", {}, name), model?.element, settings.element), how, list);
    const asked = () => ({ ...settings.asked(), ...(model ? { model: model.field.value } : {}) });
    return { name, asked, how, list, element };
  });
  const summary = h("p", { class: "lead", role: "status" });
  let asked = 0;

  async function refresh() {
    const mine = ++asked;
    const body = { history: purchases().slice(-1000), k: 10 };
    try {
      const answers = await Promise.all(sides.map((side) => post("/v1/recommend", { ...body, ...side.asked() })));
      if (mine === asked) draw(answers);
    } catch (error) {
      if (mine === asked) summary.replaceChildren(h("span", { class: "error" }, error.message));
    }
  }

  function draw(answers) {
    const places = answers.map((answer) => new Map(answer.items.map((item, place) => [item.item, place + 1])));
    const common = [...places[0].keys()].filter((item) => places[1].has(item)).length;
    summary.textContent = `${common} of ${answers[0].items.length} items stand in both lists.`;
    say(summary.textContent);
    sides.forEach((side, number) => {
      const other = places[1 - number];
      side.how.replaceChildren(h("strong", {}, WAYS[answers[number].way]));
      side.list.replaceChildren(...answers[number].items.map((item, place) => {
        const elsewhere = other.get(item.item);
        const note = elsewhere === undefined ? `only in ${side.name}`
          : elsewhere === place + 1 ? null : `${SIDES[1 - number]}: ${elsewhere}`;
        return entry(item, place + 1, [], { note, isOnly: elsewhere === undefined });
      }));
    });
  }

  main.replaceChildren(
    h("h1", {}, info.models.length ? "One history, two recommenders" : "One history, two settings"), summary,
    h("div", { class: "two" }, history.element, h("div", { class: "halves" }, ...sides.map((side) => side.element))));
  const stop = onChange(refresh);
  refresh();
  return () => { stop(); history.stop(); asked++; };
}

/** Which of the recommenders that are served a side asks; each side begins with its own. */
function recommenderOf(names, chosen, side, changed) {
  const field = h("select", { onchange: changed }, ...names.map((name, number) => h("option", { value: name, selected: number === chosen }, name)));
  return { field, element: h("label", {}, h("span", { class: "label" }, `Recommender of ${side}`), field) };
}
