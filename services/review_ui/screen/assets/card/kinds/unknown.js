// A kind of answer that this page cannot take: the item is shown, to be skipped or flagged.

/** @implements {Ui.KindCard} */
export class UnknownCard {
  answer = null;

  /** @param {Ui.Desk} desk */
  constructor({ at, words }) {
    this.at = at;
    this.words = words;
  }

  show() {
    this.at("labels").replaceChildren();
  }

  wrong() {
    return this.words.no_card;
  }

  brief() {
    return "";
  }
}
