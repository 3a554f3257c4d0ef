// A page for a test: happy-dom's window in the place of the browser's, and a server that answers as
// the test says.
import { Window } from "happy-dom";

const BROWSER = [
  "document",
  "location",
  "history",
  "navigator",
  "localStorage",
  "sessionStorage",
  "addEventListener",
  "scrollBy",
  "Element",
  "HTMLElement",
  "Event",
];

/**
 * Opens a page; what the scripts under test take for the browser is this one.
 * @param {object} [given]
 * @param {string} [given.address]
 * @param {string} [given.html]
 */
export function open({ address = "/", html = "" } = {}) {
  const window = new Window({ url: `http://review.test${address}` });
  window.document.body.innerHTML = html;
  for (const name of BROWSER) {
    const value = Reflect.get(window, name);
    const bound = name === "addEventListener" || name === "scrollBy" ? value.bind(window) : value;
    Object.defineProperty(globalThis, name, { value: bound, configurable: true, writable: true });
  }
  Object.defineProperty(globalThis, "Option", { value: option, configurable: true });
  return window;
}

/**
 * The constructor that happy-dom lacks.
 * @param {string} text
 * @param {string} value
 */
function option(text, value) {
  return Object.assign(document.createElement("option"), { textContent: text, value });
}

/** The element that the template calls so, made when it is first asked for. */
export function elements() {
  /** @type {Map<string, HTMLElement>} */
  const made = new Map();
  const tag = (/** @type {string} */ name) => {
    if (name.endsWith("-dialog")) return "dialog";
    if (["workflow", "queue", "filter-label"].includes(name)) return "select";
    if (/^filter-(min|max|q)$/.test(name)) return "input";
    return name.endsWith("-form") ? "form" : "div";
  };
  return /** @type {Ui.At} */ (
    (name) => {
      const element = made.get(name) ?? document.createElement(tag(name));
      made.set(name, element);
      return element;
    }
  );
}

/**
 * A server: `answer(path, body)` is what it says to the next request; thrown, it is not reached.
 * @param {(path: string, body: any) => unknown} answer
 */
export function serve(answer) {
  /** @type {{ path: string, body: any }[]} */
  const asked = [];
  globalThis.fetch = async (path, options) => {
    const body = options?.body ? JSON.parse(String(options.body)) : undefined;
    const request = { path: String(path).replace("/api/v1", ""), body };
    asked.push(request);
    const said = await answer(request.path, body);
    return said instanceof Response ? said : Response.json(said);
  };
  return asked;
}

/**
 * The API's refusal.
 * @param {number} status
 * @param {string} code
 */
export function refusal(status, code) {
  return Response.json({ error: { code, message: `said: ${code}` } }, { status });
}

/** Until everything that can happen without waiting has happened. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
}
