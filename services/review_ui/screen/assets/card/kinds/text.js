// A text to be corrected: E edits, Ctrl+Enter sends, and what differs from the draft is shown below.
import { difference } from "../difference.js";
import { editable } from "../editing.js";
import { make, span } from "../../show.js";

const LONGEST = 100_000; // characters
const SHOWN_AFTER_MS = 80; // after the last key: a long text is compared once, not at every key

/** @implements {Ui.KindCard} */
export class TextCard {
  draft = "";
  /** @type {Ui.Timer | undefined} */
  timer = undefined;

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    const { words } = desk;
    this.desk = desk;
    this.field = make("textarea", "rv-edit");
    this.field.maxLength = LONGEST;
    this.field.dir = "auto";
    this.field.id = "rv-edit";
    this.field.addEventListener("input", () => this.#edited());
    editable(this.field, { send: () => desk.send(), leave: () => desk.at("text").focus() });
    this.shown = make("div", "rv-difference");
    this.shown.dir = "auto";
    const title = make("label", "", [make("kbd", "", "E"), span(words.text_answer)]);
    title.htmlFor = this.field.id;
    this.part = make("div", "rv-part", [title, this.field]);
    this.other = make("section", "rv-part", [make("h2", "", words.text_difference), this.shown]);
    this.problem = make("p", "rv-problem", words.text_empty);
    this.problem.id = "rv-edit-problem";
    this.problem.setAttribute("role", "alert");
    this.problem.hidden = true;
  }

  get answer() {
    return { text: normal(this.field.value) };
  }

  /**
   * @param {Ui.Task} task
   * @param {Ui.Answer | null} answer
   */
  show(task, answer) {
    this.draft = task.draft ?? "";
    this.field.value = String(answer?.text ?? this.draft);
    this.desk.at("labels").replaceChildren();
    this.desk.at("work").replaceChildren(make("div", "rv-correction", [this.part, this.other]), this.problem);
    this.problem.hidden = true;
    this.#compare();
  }

  /** @param {KeyboardEvent} event */
  key({ key, ctrlKey, metaKey, altKey }) {
    if (key.toLowerCase() !== "e" || ctrlKey || metaKey || altKey) return false;
    this.field.focus();
    return true;
  }

  wrong() {
    const empty = normal(this.field.value) === "";
    this.problem.hidden = !empty;
    this.field.setAttribute("aria-invalid", String(empty));
    if (empty) this.field.setAttribute("aria-describedby", this.problem.id);
    else this.field.removeAttribute("aria-describedby");
    return empty ? this.desk.words.text_empty : null;
  }

  brief() {
    return this.desk.words.corrected; // it stands beside the button, whole
  }

  #edited() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#compare(), SHOWN_AFTER_MS);
    this.desk.changed();
  }

  #compare() {
    clearTimeout(this.timer);
    const parts = difference(normal(this.draft), normal(this.field.value));
    const tags = /** @type {const} */ ({ same: "span", gone: "del", new: "ins" });
    this.shown.replaceChildren(...parts.map(({ kind, text }) => make(tags[kind], "", text)));
    if (parts.every(({ kind }) => kind === "same")) {
      this.shown.replaceChildren(span(this.desk.words.text_same, "rv-hint"));
    }
    this.other.hidden = this.draft === "";
  }
}

/** As the server keeps it. @param {string} text */
function normal(text) {
  return text.replace(/\r\n?/g, "\n").normalize("NFC").trim();
}
