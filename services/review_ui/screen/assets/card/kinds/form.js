// The fields of a form, one after the other: E begins, Enter goes on, Ctrl+Enter sends from within. What
// is wrong is named at its field at once.
import { editable } from "../editing.js";
import { field } from "../form-fields.js";
import { partShares } from "../predicted.js";
import { problems } from "../schema.js";
import { SpanText } from "../span-text.js";
import { make } from "../../show.js";
import { fill } from "../../words/words.js";

/** @typedef {import("../schema.js").Problem} Problem */

const ANY = { type: "object" };
const LEAST = 2; // characters: a shorter value is everywhere in a text

/** @implements {Ui.KindCard} */
export class FormCard {
  /** @type {import("../schema.js").Schema} */
  schema = ANY;
  /** @type {import("../form-fields.js").Field} */
  form = { element: make("div"), read: () => ({}) };
  text = "";

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.drawn = new SpanText(desk.at("text"));
    this.box = make("div", "rv-form");
    editable(this.box, { send: () => desk.send(), leave: () => this.#leave() });
    this.box.addEventListener("keydown", (event) => this.#next(event));
    this.box.addEventListener("focusin", ({ target }) => this.#mark(target));
  }

  get answer() {
    return { form: this.form.read() };
  }

  /**
   * @param {Ui.Task} task
   * @param {Ui.Answer | null} answer
   */
  show(task, answer) {
    const { at, me, words } = this.desk;
    const flow = me.workflows.find((each) => each.name === task.workflow);
    this.schema = flow?.schema ?? ANY;
    this.text = task.text;
    const making = {
      root: this.schema,
      words,
      shares: partShares(task),
      changed: () => this.#changed(),
    };
    const value = /** @type {Record<string, unknown> | undefined} */ (answer?.form);
    this.form = field(this.schema, value ?? (this.schema.properties ? {} : undefined), "", words.form, true, making);
    this.box.replaceChildren(this.form.element);
    at("labels").replaceChildren();
    at("work").replaceChildren(this.box);
    this.#name(this.#wrong().filter(({ why }) => why !== "wrong_missing"));
  }

  /** @param {KeyboardEvent} event */
  key({ key, ctrlKey, metaKey, altKey }) {
    if (key.toLowerCase() !== "e" || ctrlKey || metaKey || altKey) return false;
    this.#inputs()[0]?.focus();
    return true;
  }

  wrong() {
    const found = this.#wrong();
    const [first] = found;
    if (first === undefined) return null;
    return `${first.path ? `${first.path}: ` : ""}${this.#said(first)}`;
  }

  refused() {
    const found = this.#wrong();
    this.#name(found);
    const wrong = new Set(found.map(({ path }) => path));
    const places = /** @type {HTMLElement[]} */ ([...this.box.querySelectorAll("[data-path]:not(p)")]);
    places.find((each) => wrong.has(each.dataset.path ?? ""))?.focus();
  }

  brief() {
    return this.desk.words.form;
  }

  #changed() {
    // What is not there yet is no mistake while somebody is still at it.
    this.#name(this.#wrong().filter(({ why }) => why !== "wrong_missing"));
    this.desk.changed();
  }

  /** @returns {Problem[]} */
  #wrong() {
    const value = this.form.read();
    const is = typeof value === "object" && value !== null && !Array.isArray(value);
    return is ? problems(this.schema, value) : [{ path: "", why: "wrong_type", what: "object" }];
  }

  /** Names each problem at its field. @param {Problem[]} found */
  #name(found) {
    const said = new Map(found.map((each) => [each.path, this.#said(each)]));
    for (const each of /** @type {NodeListOf<HTMLElement>} */ (this.box.querySelectorAll("p.rv-problem"))) {
      const text = said.get(each.dataset.path ?? "") ?? "";
      if (each.textContent === text) continue;
      each.textContent = text;
      each.hidden = text === "";
      // A description that changes under the focus is not read out.
      if (text && document.activeElement?.getAttribute("aria-describedby") === each.id) this.desk.say(text);
    }
    for (const input of this.#inputs()) {
      input.setAttribute("aria-invalid", String(said.has(input.dataset.path ?? "")));
    }
  }

  /** @param {Problem} problem */
  #said({ why, what }) {
    return fill(this.desk.words[why], { what: what ?? "" });
  }

  #inputs() {
    return [
      .../** @type {NodeListOf<HTMLInputElement>} */ (this.box.querySelectorAll("input, select, textarea")),
    ];
  }

  /** Enter goes to the next field, and from the last one back to the card. @param {KeyboardEvent} event */
  #next(event) {
    const { key, target, isComposing, ctrlKey, metaKey, shiftKey } = event;
    if (key !== "Enter" || isComposing || ctrlKey || metaKey || event.defaultPrevented) return;
    const inputs = this.#inputs();
    const at = inputs.findIndex((each) => each === target);
    if (at < 0 || (target instanceof HTMLTextAreaElement && !shiftKey && target.rows > 3)) return;
    event.preventDefault();
    const next = inputs[at + (shiftKey ? -1 : 1)];
    if (next) next.focus();
    else this.#leave();
  }

  #leave() {
    this.desk.at("text").focus({ preventScroll: true });
    this.#draw("");
  }

  /** Marks where the text says what is in the field. @param {EventTarget | null} target */
  #mark(target) {
    const value = target instanceof HTMLInputElement ? target.value.trim() : "";
    this.#draw(value.length < LEAST ? "" : value);
  }

  /** @param {string} value */
  #draw(value) {
    const at = value ? this.text.toLowerCase().indexOf(value.toLowerCase()) : -1;
    const found = at < 0 ? [] : [{ start: at, end: at + value.length, label: "" }];
    this.drawn.draw(this.text, found, [""]);
    this.drawn.revealFirst();
  }
}
