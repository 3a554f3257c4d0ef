// One label of the whole text: a digit gives it, and the next item is there.
import { labelButton } from "../label-button.js";

/** @implements {Ui.KindCard} */
export class LabelCard {
  /** @type {Ui.Task | null} */
  task = null;
  decides = true;

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    this.desk = desk;
  }

  /** The suggested one, where there is one to see. */
  get answer() {
    const label = this.task?.suggestion?.label;
    return label === undefined ? null : { label };
  }

  /** @param {Ui.Task} task */
  show(task) {
    this.task = task;
    const { suggestion } = task;
    this.desk.at("labels").replaceChildren(
      ...task.labels.map((label, place) => {
        const button = labelButton(label, place, suggestion?.distribution[label]);
        if (label === suggestion?.label) button.classList.add("rv-chosen");
        return button;
      }),
    );
  }

  /** @param {number} place */
  digit(place) {
    const label = this.task?.labels[place];
    if (label !== undefined) this.desk.decide("correct", { answer: { label }, brief: label });
  }

  wrong() {
    const { words } = this.desk;
    if (this.answer !== null) return null;
    return this.task?.blind ? words.blind_label : words.no_prediction;
  }

  /** @param {Ui.Answer} answer */
  brief({ label }) {
    return String(label);
  }
}
