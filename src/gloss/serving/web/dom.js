// Elements, without HTML from strings: every text is a text node, so no title can be markup.

/** An element. props: attributes; on*: listeners; booleans are set or left out. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

/** Say something to those who hear the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A message at the lower edge, with a button that takes the deed back. */
export function toast(text, { label, act } = {}) {
  const box = h("div", { class: "toast", role: "status" }, h("span", {}, text));
  if (act) box.append(h("button", { type: "button", onclick: () => { box.remove(); act(); } }, label));
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), 8000);
}

/** A function that runs once its calls have paused. */
export function paused(run, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), milliseconds);
  };
}

export const number = (value) => new Intl.NumberFormat("en").format(value);

export const duration = (seconds) => {
  if (seconds == null) return "–";
  return seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`;
};
