// The service's API. The key is kept for this tab alone, and sent to nobody else.

import { h } from "/web/dom.js";

const KEY = "gloss-key";

/** What the service refuses, in its own words. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.errors?.length ? `${problem.errors[0].pointer}: ${problem.errors[0].detail}` : problem.detail);
    this.status = status;
  }
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);
export const put = (path, body) => call("PUT", path, body);
export const patch = (path, body) => call("PATCH", path, body);

/** The text of a page. */
export async function text(path) {
  return (await request("GET", path)).text();
}

/** Events of a stream: told is called with each title; resolves to the document of the last one. */
export async function stream(path, body, { signal, told }) {
  const answer = await request("POST", path, body, { signal, accept: "text/event-stream" });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", last = null;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const blocks = (text + part.value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const [name, data] = block.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      last = JSON.parse(data);
      if (name === "problem") throw new Refused(last.status, last);
      if (name === "title") told(last.title);
    }
  }
  return last;
}

async function call(method, path, body, options) {
  return (await request(method, path, body, options)).json();
}

async function request(method, path, body, { signal, accept } = {}) {
  const headers = accept ? { Accept: accept } : {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  if (answer.status === 401) {
    await askForKey(Boolean(key));
    return request(method, path, body, { signal, accept });
  }
  if (!answer.ok) throw new Refused(answer.status, await answer.json());
  return answer;
}

let asking = null;

/** Ask for a key; whoever asks meanwhile waits for the same answer. */
function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const field = h("input", { type: "password", autocomplete: "off", required: true, "aria-describedby": "key-note" });
    const dialog = h(
      "dialog", { "aria-labelledby": "key-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "key-title" }, "A key is needed"),
        h("label", {}, h("span", { class: "label" }, "Key"), field),
        h("p", { class: wasWrong ? "note error" : "note", id: "key-note" },
          wasWrong ? "The service does not know this key." : "Made by gloss key; kept until this tab is closed."),
        h("div", { class: "row" }, h("button", { class: "main" }, "Go on"))),
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, field.value.trim());
      dialog.remove();
      asking = null;
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}
