// Which key does what, on whichever keyboard, and when it is none of our business.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bindKeys, digit } from "../../services/review_ui/screen/assets/card/keys.js";
import { open } from "./support/page.js";

/** @param {string} html */
function page(html) {
  const window = open({ html: `<div id="root">${html}<div data-id="text" tabindex="0"></div></div>` });
  const root = /** @type {HTMLElement} */ (document.querySelector("#root"));
  Object.defineProperty(root, "offsetParent", { value: document.body, configurable: true });
  /** @type {unknown[][]} */
  const done = [];
  bindKeys(root, (...given) => done.push(given), () => {});
  /**
   * @param {string} key
   * @param {KeyboardEventInit & { on?: string }} [given]
   */
  const press = (key, { on = "body", ...given } = {}) => {
    const event = new window.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, .../** @type {object} */ (given) });
    document.querySelector(on)?.dispatchEvent(/** @type {any} */ (event));
    const [found] = done.splice(0);
    return found ?? null;
  };
  return { press, root };
}

test("one key per decision", () => {
  const { press } = page("");
  const expected = { a: "accept", Enter: "send", s: "skip", f: "flag", u: "undo", n: "note", "/": "filter", "?": "help" };
  for (const [key, name] of Object.entries(expected)) assert.deepEqual(press(key), [name], key);
  assert.deepEqual(press("1"), ["label", 0]);
  assert.deepEqual(press("9"), ["label", 8]);
  for (const key of ["0", "q", "Tab", "Escape", "F5"]) assert.equal(press(key), null, key);
});

test("capitals count as well, and other alphabets by the key's place", () => {
  const { press } = page("");
  assert.deepEqual(press("A", { shiftKey: true }), ["accept"]);
  assert.deepEqual(press("ф", { code: "KeyA" }), ["accept"]);
  // but a Latin letter is what it says, wherever it lies (AZERTY)
  assert.deepEqual(press("a", { code: "KeyQ" }), ["accept"]);
  assert.equal(press("q", { code: "KeyA" }), null);
});

test("digits, also where they need Shift, and no sign that shares their key", () => {
  const { press } = page("");
  assert.deepEqual(press("&", { code: "Digit1" }), ["label", 0]); // AZERTY
  assert.deepEqual(press("1", { code: "Digit1", shiftKey: true }), ["label", 0]);
  assert.deepEqual(press("3", { code: "Numpad3" }), ["label", 2]);
  assert.equal(press("!", { code: "Digit1", shiftKey: true }), null);
  assert.deepEqual(press("/", { code: "Digit7", shiftKey: true }), ["filter"]); // QWERTZ
  const event = /** @type {KeyboardEvent} */ ({ key: "0", code: "Digit0", shiftKey: false });
  assert.equal(digit(event), null);
});

test("the browser's shortcuts, held keys and half-typed characters are left alone", () => {
  const { press } = page("");
  for (const given of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }, { repeat: true }, { isComposing: true }]) {
    assert.equal(press("a", given), null, JSON.stringify(given));
  }
});

test("what is typed into a field is text", () => {
  const { press } = page("<input><textarea></textarea><select></select>");
  for (const on of ["input", "textarea", "select"]) assert.equal(press("a", { on }), null, on);
});

test("Enter on a button means that button, other keys mean the card", () => {
  const { press } = page('<button type="button"></button>');
  assert.equal(press("Enter", { on: "button" }), null);
  assert.deepEqual(press("a", { on: "button" }), ["accept"]);
});

test("an open dialog has the keys to itself; one just closed has not", () => {
  const { press } = page('<dialog open><textarea></textarea></dialog>');
  assert.equal(press("a"), null);
  document.querySelector("dialog")?.removeAttribute("open");
  assert.deepEqual(press("a", { on: "textarea" }), ["accept"]);
});

test("a card that is not shown does nothing", () => {
  const { press, root } = page("");
  Object.defineProperty(root, "offsetParent", { value: null, configurable: true });
  assert.equal(press("a"), null);
});
