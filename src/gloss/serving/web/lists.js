// A list of recommendations, with the reason of each item.

import { h } from "/web/dom.js";

export const WAYS = {
  fused: "Language model and rankers",
  "language-model": "Language model",
  rankers: "Rankers",
  "similar-titles": "Titles like these",
  wish: "The wish",
  popular: "What is bought most",
};

export const REASONS = {
  bought: "Because of a purchase",
  written: "Written by the model",
  searched: "Found for a text",
  popular: "Often bought",
};

/** One entry. place: from 1; actions: buttons; note: a mark beside the reason. */
export function entry(item, place, actions, { note, isOnly = false } = {}) {
  return h("li", {},
    h("span", { class: "place" }, String(place)),
    h("div", { class: isOnly ? "only" : null },
      h("p", { class: "title" }, ...marked(item.title, item.words)),
      h("p", { class: "why" }, ...because(item), note ? h("span", { class: "moved" }, ` · ${note}`) : null)),
    h("div", { class: "actions" }, ...actions));
}

/** A title that the model has written, before there is a list. */
export const draft = (title, place) =>
  h("li", { class: "draft" }, h("span", { class: "place" }, String(place)), h("p", { class: "title" }, title));

function because({ reason, why, title }) {
  if (reason === "popular") return ["Often bought"];
  if (reason === "bought") return ["Because of ", h("q", {}, why)];
  if (reason === "searched") return ["Found for ", h("q", {}, why)];
  return why && why !== title ? ["The model wrote ", h("q", {}, why)] : ["The model wrote this title"];
}

/** A title with the words marked that it shares with what led to it. */
function marked(title, words) {
  const shared = new Set(words);
  return title.split(/([\p{L}\p{N}_]+)/u).map((part) => (shared.has(part) ? h("mark", {}, part) : part));
}
