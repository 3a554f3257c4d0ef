// What each action does: of a key, or of a button by its data-act.
import { call } from "../http.js";
import { openReasons, sendOwnReason } from "./flag.js";

const SHOWN_MS = 6_000;
// What is pressed after an undo is meant for the item that it brings back.
/** @type {ReadonlySet<Ui.ActionName>} */
const FOR_THE_CARD = new Set(["accept", "send", "label", "skip", "flag", "note", "undo"]);

export class Actions {
  undoing = false;
  /** For the card, while an undo is on its way. @type {[Ui.ActionName, Ui.Detail?][]} */
  meant = [];

  /** @param {import("./screen.js").Screen} screen */
  constructor(screen) {
    this.screen = screen;
    const { at, batch, deciding, leads } = screen;
    /** @type {Record<Ui.ActionName, (detail?: Ui.Detail) => void>} */
    this.does = {
      accept: () => this.#accept(),
      send: () => this.#send(),
      label: (detail) => this.#label(detail),
      skip: () => deciding.decide("skip"),
      flag: () => screen.buffer.current && openReasons(at),
      "flag-send": () => sendOwnReason(at, (reason) => this.flag(reason)),
      "flag-cancel": () => at("flag-dialog").close(),
      note: () => this.#note(),
      undo: () => this.#undo(),
      highlights: () => this.#highlights(),
      help: () => at("help-dialog").showModal(),
      "help-close": () => at("help-dialog").close(),
      filter: () => screen.filters.open(),
      "filter-cancel": () => at("filter-dialog").close(),
      "filter-clear": () => screen.filtered && screen.choices.clear(),
      batch: () => this.#batch(),
      "batch-undo": () => batch.undo(),
      "batch-close": () => batch.close(),
      leads: () => screen.leading && leads.open(),
      "leads-close": () => leads.close(),
      "only-disputed": () => this.#only("disputed"),
      "only-flagged": () => this.#only("flagged"),
      logout: () => this.#logOut(),
    };
  }

  /**
   * @param {Ui.ActionName} name
   * @param {Ui.Detail} [detail]
   */
  act(name, detail) {
    if (this.undoing && FOR_THE_CARD.has(name)) this.meant.push([name, detail]);
    else this.does[name](detail);
  }

  /** @param {string} reason */
  flag(reason) {
    this.screen.at("flag-dialog").close();
    this.screen.deciding.decide("flag", null, reason);
  }

  /** Takes what is shown: nobody accepts what they neither see nor have begun. */
  #accept() {
    const { buffer, card, messages, words } = this.screen;
    const task = buffer.current;
    if (task && task.kind !== "label" && task.prediction === null && !card.begun) {
      messages.toast(task.blind ? words.blind_answer : words.no_prediction);
    } else this.#send();
  }

  #send() {
    const { buffer, card, deciding, messages } = this.screen;
    if (buffer.current === undefined) return;
    const { given } = card;
    if (given.answer === null) {
      messages.toast(given.why);
      card.kind.refused?.();
    } else deciding.decide(given.accepted ? "accept" : "correct", given);
  }

  /** @param {Ui.Detail} [index] of the label */
  #label(index) {
    if (this.screen.buffer.current) this.screen.card.kind.digit?.(Number(index));
  }

  #note() {
    const note = this.screen.at("note");
    note.hidden = false;
    note.focus();
  }

  async #undo() {
    this.undoing = true;
    const back = await this.screen.deciding.undo().finally(() => (this.undoing = false));
    const meant = this.meant.splice(0);
    if (back) for (const each of meant) this.act(...each);
  }

  #highlights() {
    const { buffer, card, messages, words } = this.screen;
    const task = buffer.current;
    if (task && task.kind !== "label") return; // words are weighed for a label
    if (task?.suggestion === null) messages.toast(task.blind ? words.blind_label : words.no_prediction);
    else messages.say(card.highlights.toggle() ? words.highlights_on : words.highlights_off);
  }

  async #batch() {
    const { batch, choices, leading, messages, outbox, words } = this.screen;
    if (!leading) return;
    if (!choices.narrows && batch.last === null) {
      messages.toast(words.batch_needs_filter, SHOWN_MS);
      return;
    }
    try {
      await outbox.flush(); // what is decided is not offered again
      await batch.open();
    } catch (error) {
      messages.toast(messages.explained(error), SHOWN_MS);
    }
  }

  /** @param {"disputed" | "flagged"} which */
  #only(which) {
    this.screen.leads.close();
    this.screen.choices.set({ only: which });
  }

  async #logOut() {
    const { buffer, outbox } = this.screen;
    buffer.release();
    try {
      await outbox.flush();
      await call("POST", "/logout");
    } finally {
      location.replace("/login");
    }
  }
}
