// Which card shows a task: one for each kind of answer.
import { FormCard } from "./form.js";
import { LabelCard } from "./label.js";
import { LabelsCard } from "./labels.js";
import { PreferenceCard } from "./preference.js";
import { SpansCard } from "./spans.js";
import { TextCard } from "./text.js";
import { UnknownCard } from "./unknown.js";

/** @type {Partial<Record<Api.Task["kind"], new (desk: Ui.Desk) => Ui.KindCard>>} */
const CARDS = {
  label: LabelCard,
  labels: LabelsCard,
  spans: SpansCard,
  form: FormCard,
  text: TextCard,
  preference: PreferenceCard,
};

export class Kinds {
  /** Each made when it is first needed. @type {Map<Api.Task["kind"], Ui.KindCard>} */
  made = new Map();

  /** @param {Ui.Desk} desk */
  constructor(desk) {
    this.desk = desk;
  }

  /**
   * @param {Api.Task["kind"]} kind
   * @returns {Ui.KindCard}
   */
  of(kind) {
    const card = this.made.get(kind) ?? new (CARDS[kind] ?? UnknownCard)(this.desk);
    this.made.set(kind, card);
    return card;
  }
}
