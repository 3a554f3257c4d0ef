// What the page says: a note that goes again by itself, a line for screen readers, and the words for
// an error.
import { explained } from "../http.js";

export class Messages {
  /** @type {Ui.Timer | undefined} */
  timer = undefined;

  /**
   * @param {Ui.At} at
   * @param {Ui.Words} words
   */
  constructor(at, words) {
    this.at = at;
    this.words = words;
  }

  /**
   * @param {string} text
   * @param {number} milliseconds
   */
  toast(text, milliseconds = 2_500) {
    const toast = this.at("toast");
    toast.textContent = text;
    toast.classList.add("rv-on");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => toast.classList.remove("rv-on"), milliseconds);
  }

  /**
   * For screen readers.
   * @param {string} text
   */
  say(text) {
    this.at("says").textContent = text;
  }

  /** @param {unknown} error */
  explained(error) {
    return explained(error, this.words);
  }
}
