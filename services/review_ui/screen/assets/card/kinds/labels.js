// Any number of labels of the whole text: digits switch them on and off, 0 all of them off.
import { labelButton } from "../label-button.js";
import { partShares } from "../predicted.js";
import { fill } from "../../words/words.js";

/** @implements {Ui.KindCard} */
export class LabelsCard {
  /** @type {Ui.Task | null} */
  task = null;
  /** @type {Set<string>} */
  on = new Set();
  /** @type {HTMLButtonElement[]} */
  buttons = [];

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    this.desk = desk;
  }

  /** In the workflow's order, as the server keeps it. */
  get answer() {
    return { labels: (this.task?.labels ?? []).filter((label) => this.on.has(label)) };
  }

  /**
   * @param {Ui.Task} task
   * @param {Ui.Answer | null} answer to begin with
   */
  show(task, answer) {
    this.task = task;
    this.on = new Set(/** @type {string[]} */ (answer?.labels ?? []));
    const shares = partShares(task);
    this.buttons = task.labels.map((label, place) => labelButton(label, place, shares[label]));
    this.buttons.forEach((_, place) => this.#draw(place));
    this.desk.at("labels").replaceChildren(...this.buttons);
  }

  /** @param {number} place */
  digit(place) {
    const { say, changed, words } = this.desk;
    const label = this.task?.labels[place];
    if (label === undefined) return;
    const off = this.on.delete(label);
    if (!off) this.on.add(label);
    this.#draw(place);
    changed();
    // A button with the focus says so itself.
    if (document.activeElement !== this.buttons[place]) {
      say(fill(off ? words.label_off : words.label_on, { label }));
    }
  }

  /** @param {KeyboardEvent} event */
  key({ key }) {
    if (key !== "0") return false;
    this.on.clear();
    this.buttons.forEach((_, place) => this.#draw(place));
    this.desk.changed();
    this.desk.say(this.desk.words.labels_none);
    return true;
  }

  wrong() {
    return null; // no label at all is an answer
  }

  /** @param {Ui.Answer} answer */
  brief({ labels }) {
    return /** @type {string[]} */ (labels).join(", ") || this.desk.words.labels_none;
  }

  /** @param {number} place */
  #draw(place) {
    const on = this.on.has(this.task?.labels[place] ?? "");
    this.buttons[place]?.setAttribute("aria-pressed", String(on));
    this.buttons[place]?.classList.toggle("rv-chosen", on);
  }
}
