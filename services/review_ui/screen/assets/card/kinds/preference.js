// Which of several texts is better: a digit says it, T that none is. Who judges sees them in an order
// of their own, so that no text wins because it stands first; the answer counts in the item's order.
import { labelButton } from "../label-button.js";
import { shuffled } from "../shuffled.js";
import { make, makeButton, shortText, span } from "../../show.js";

const NAMED = 24; // characters of a text in the list of decisions

/** @implements {Ui.KindCard} */
export class PreferenceCard {
  decides = true;
  /** @type {Ui.Task | null} */
  task = null;
  /** The candidates' places in the item, as they are shown. @type {number[]} */
  order = [];

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    this.desk = desk;
  }

  /** The predicted one, where there is one to see. */
  get answer() {
    return this.task?.prediction?.answer ?? null;
  }

  /** @param {Ui.Task} task */
  show(task) {
    const { at, me, words } = this.desk;
    const candidates = task.candidates ?? [];
    this.task = task;
    this.order = shuffled(candidates.length, `${me.name}\n${task.id}`);
    const texts = this.order.map((place, shown) => {
      const title = make("h2", "", [make("kbd", "", String(shown + 1)), span(this.#named(shown))]);
      const text = make("div", "rv-candidate-text", candidates[place]);
      text.tabIndex = 0; // to scroll it by keys
      text.dir = "auto";
      text.setAttribute("role", "region");
      text.setAttribute("aria-label", this.#named(shown));
      return make("section", "rv-candidate", [title, text]);
    });
    at("work").replaceChildren(make("div", "rv-candidates", texts));
    const chosen = this.answer?.preferred;
    const buttons = this.order.map((place, shown) => {
      const button = labelButton(this.#named(shown), shown);
      button.classList.toggle("rv-chosen", place === chosen);
      return button;
    });
    const tie = makeButton(
      "rv-button rv-label",
      [make("kbd", "", "T"), span(words.tie, "rv-name")],
      () => this.#prefer(null),
    );
    tie.setAttribute("aria-keyshortcuts", "t");
    tie.classList.toggle("rv-chosen", chosen === null);
    at("labels").replaceChildren(...buttons, tie);
  }

  /** @param {number} shown */
  digit(shown) {
    const place = this.order[shown];
    if (place !== undefined) this.#prefer(place);
  }

  /** @param {KeyboardEvent} event */
  key({ key, ctrlKey, metaKey, altKey, repeat }) {
    if (key.toLowerCase() !== "t" || ctrlKey || metaKey || altKey || repeat) return false;
    this.#prefer(null);
    return true;
  }

  wrong() {
    const { words } = this.desk;
    if (this.answer !== null) return null;
    return this.task?.blind ? words.blind_answer : words.no_prediction;
  }

  /** @param {Ui.Answer} answer */
  brief({ preferred }) {
    if (preferred === null) return this.desk.words.tie;
    const shown = this.order.indexOf(Number(preferred));
    const text = this.task?.candidates?.[Number(preferred)] ?? "";
    return `${shown + 1}: ${shortText(text.replace(/\s+/g, " "), NAMED)}`;
  }

  /** @param {number} shown */
  #named(shown) {
    return this.desk.words.candidate.replace("{n}", String(shown + 1));
  }

  /** @param {number | null} preferred in the item's order */
  #prefer(preferred) {
    const answer = { preferred };
    this.desk.decide("correct", { answer, brief: this.brief(answer) });
  }
}
